"""Every cassette yields what the manifest says."""

import json
import random

import pytest

from sallyport.exchange import Surface
from wire.samples import Sample, call, feed, manifest, operation_of, samples, streams

PERSONAL = manifest()["strings"]["personal_data_in_requests"]


def usage_of(expected: dict) -> tuple:
    return tuple(
        expected["usage"][name] for name in ("input", "cache_read", "cache_write", "output", "reasoning")
    )


def usage_tuple(usage) -> tuple:
    return (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)


def channel_texts(events, surface: Surface) -> str:
    return "".join(d.text for e in events for d in e.deltas if d.surface is surface and not d.whole)


@pytest.mark.parametrize("sample", samples("request"), ids=str)
def test_a_request_gives_all_its_texts(sample: Sample):
    request = sample.dialect.read_request(sample.body, call(operation_of(sample)))
    texts = [s.text for s in request.segments]
    everything = "\n".join(texts)
    assert request.stream is sample.expected["stream"]
    source = sample.body.decode()
    for value in (*PERSONAL, manifest()["strings"]["secret_in_system"]):
        assert everything.count(value) >= source.count(value), value
    if "gemini" not in sample.name:
        assert request.model == json.loads(sample.body)["model"]


@pytest.mark.parametrize("sample", samples("response", "block"), ids=str)
def test_an_answer_gives_text_finish_and_usage(sample: Sample):
    response = sample.dialect.read_response(sample.body, sample.status)
    expected = sample.expected
    own = [s.text for s in response.segments if s.surface is Surface.ASSISTANT]
    if "text" in expected:
        assert own == [expected["text"]]
    if "block_text" in expected:
        assert expected["block_text"] in [s.text for s in response.segments]
    if "reasoning" in expected:
        assert expected["reasoning"] in [s.text for s in response.segments if s.surface is Surface.REASONING]
    if "tool" in expected:
        calls = [s.text for s in response.segments if s.surface is Surface.TOOL_CALL]
        assert expected["tool"]["name"] in calls
        arguments = expected["tool"]["arguments"]
        source = next((json.loads(t) for t in calls if t.startswith("{")), None)
        assert source == arguments or {"tracking", arguments["tracking"], arguments["notify"]} <= set(calls)
    if "finish" in expected:
        # A refusal part counts as filtered here; the manifest tells how the provider spells it.
        assert response.finish_reason == {"stop (refusal part)": "filtered"}.get(
            expected["finish"], expected["finish"]
        )
    if expected.get("usage"):
        assert usage_tuple(response.usage) == usage_of(expected)
    assert response.error is None


@pytest.mark.parametrize("sample", samples("error"), ids=str)
def test_an_error_gives_its_code_and_its_text_is_a_segment(sample: Sample):
    response = sample.dialect.read_response(sample.body, sample.status)
    body = json.loads(sample.body)
    error = (body[0] if isinstance(body, list) else body)["error"]
    assert response.error in {str(error.get(name)) for name in ("code", "type", "status")}
    assert error["message"] in [s.text for s in response.segments]


@pytest.mark.parametrize("sample", streams(), ids=str)
def test_a_stream_gives_text_finish_and_usage(sample: Sample):
    events = feed(sample.dialect, sample.content_type, [sample.body])
    expected = sample.expected
    assert b"".join(e.raw for e in events) == sample.body
    if "text" in expected:
        assert channel_texts(events, Surface.ASSISTANT) == expected["text"]
    if "block_text" in expected and "prompt" not in sample.name and sample.dialect.name != "gemini_generate":
        assert channel_texts(events, Surface.ASSISTANT) == expected["block_text"]
    if "reasoning" in expected:
        assert channel_texts(events, Surface.REASONING) == expected["reasoning"]
    if "tool" in expected:
        arguments = expected["tool"]["arguments"]
        pieces = "".join(d.text for e in events for d in e.deltas if d.json and not d.whole)
        if pieces:
            assert json.loads(pieces) == arguments
        else:
            leaves = {d.at.rsplit("/", 1)[1]: d.text for e in events for d in e.deltas if "/args/" in d.at}
            assert {k: leaves[k] for k in arguments} == arguments
    finishes = [e.finish_reason for e in events if e.finish_reason]
    if "finish" in expected:
        assert finishes == [expected["finish"]]
    if expected.get("usage"):
        assert usage_tuple([e.usage for e in events if e.usage][-1]) == usage_of(expected)
    if sample.kind == "stream_error":
        assert [e.error for e in events if e.error]
        assert finishes == ["error"]


@pytest.mark.parametrize("sample", streams(), ids=str)
def test_a_stream_gives_the_same_events_in_every_cutting(sample: Sample):
    body = sample.body
    whole = feed(sample.dialect, sample.content_type, [body])
    assert feed(sample.dialect, sample.content_type, [body[i : i + 1] for i in range(len(body))]) == whole
    chance = random.Random(sample.name)
    for _ in range(20):
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(1, 40)))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert feed(sample.dialect, sample.content_type, pieces) == whole


@pytest.mark.parametrize("sample", streams(), ids=str)
def test_a_stream_gives_the_same_events_in_every_two_part_cut(sample: Sample):
    body = sample.body
    whole = feed(sample.dialect, sample.content_type, [body])
    if sample.content_type == "application/json":
        for cut in range(1, len(body)):
            assert feed(sample.dialect, sample.content_type, [body[:cut], body[cut:]]) == whole
        return
    # A cut only touches one server-sent event, so each event is tried alone: linear, not quadratic.
    for event in whole:
        for cut in range(1, len(event.raw)):
            got = feed(sample.dialect, sample.content_type, [event.raw[:cut], event.raw[cut:]])
            assert [(e.raw, e.deltas, e.error) for e in got] == [(event.raw, event.deltas, event.error)]
