"""A value that stands in no part of an answer or a request, and in all of them joined as clients and providers do."""

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from proxy.outflows import answer_rules, exchange_of, only_recording, output_filter, refused
from sallyport.decision import Refusal
from sallyport.exchange import Operation
from sallyport.policy.output import OutputAction
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.flowing import Lookup
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.stages.restoring import restore, restore_parts
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Call, Dialect, Stamp
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.eventstream import json_frame

CARD = ("The card is 4111 1111", " 1111 1111, a test.")
MASK = "pii: mask; secrets: mask"


def whole_body(dialect: str, parts: tuple[str, ...], between: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer of these texts, one part each. between: a part that stands between the first and the others."""
    kinds = {"openai_responses": "output_text"}
    content: list[dict[str, Any]] = [{"type": kinds.get(dialect, "text"), "text": text} for text in parts]
    if dialect in ("gemini_generate", "bedrock_converse"):
        content = [{"text": text} for text in parts]
    if between is not None:
        content.insert(1, between)
    match dialect:
        case "openai_chat":
            return {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
        case "openai_responses":
            return {"id": "r", "status": "completed", "output": [{"type": "message", "content": content}]}
        case "anthropic_messages":
            return {"id": "m", "type": "message", "role": "assistant", "content": content}
        case "gemini_generate":
            return {"candidates": [{"index": 0, "content": {"parts": content}}]}
        case "bedrock_converse":
            return {
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": "end_turn",
            }
        case _:
            return {"id": "i", "message": {"role": "assistant", "content": content}}


WHOLE = [
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "bedrock_converse",
    "cohere_v2",
]


def texts_of(dialect: str, body: bytes) -> list[str]:
    return [s.text for s in DIALECTS[dialect].read_response(body, 200).segments]


def edited(dialect: str, body: dict[str, Any], policy: str | None, lookup: Lookup | None = None) -> Any:
    spoken, data = DIALECTS[dialect], json.dumps(body).encode()
    output = output_filter(policy, spoken) if policy is not None else None
    return edited_answer(spoken, spoken.read_response(data, 200), data, lookup, output)


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_value_divided_over_parts_of_an_answer_is_masked(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, CARD), MASK)
    assert texts_of(dialect, found.body) == ["The card is [CREDIT_CARD]", ", a test."]


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_value_divided_over_three_parts_is_masked_once(dialect: str) -> None:
    found = edited(
        dialect, whole_body(dialect, ("A card: 4111", " 1111 1111", " 1111 here; b@example.org")), MASK
    )
    assert texts_of(dialect, found.body)[0] == "A card: [CREDIT_CARD]"
    assert texts_of(dialect, found.body)[-1] == " here; [EMAIL_ADDRESS]"


@pytest.mark.parametrize("dialect", WHOLE)
def test_an_answer_ends_where_a_divided_value_begins(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, CARD), "pii: truncate")
    assert found.stop is not None
    assert found.stop.action is OutputAction.TRUNCATE
    body = DIALECTS[dialect].shortened(found.body, *found.cut)
    assert "".join(texts_of(dialect, body)) == "The card is "


@pytest.mark.parametrize("dialect", WHOLE)
def test_parts_that_share_nothing_stay_as_they_are(dialect: str) -> None:
    found = edited(dialect, whole_body(dialect, ("The year 1980", " was a good one.")), MASK)
    assert not found.changed


def test_texts_before_and_behind_a_call_are_not_one() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    found = edited("anthropic_messages", whole_body("anthropic_messages", CARD, call), MASK)
    assert not found.changed


SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
JOAN = "joan.arc@example.org"
PLACEHOLDER = SCOPE.placeholder("EMAIL_ADDRESS", JOAN)


@pytest.mark.parametrize("policy", [None, MASK], ids=str)
@pytest.mark.parametrize("dialect", WHOLE)
def test_a_placeholder_divided_over_parts_of_an_answer_is_restored_where_it_begins(
    dialect: str, policy: str | None
) -> None:
    parts = (f"Ask {PLACEHOLDER[:9]}", PLACEHOLDER[9:20], f"{PLACEHOLDER[20:]} or {PLACEHOLDER}, please.")
    found = edited(dialect, whole_body(dialect, parts), policy, SCOPE.original)
    assert "".join(texts_of(dialect, found.body)) == f"Ask {JOAN} or {JOAN}, please."
    assert texts_of(dialect, found.body)[0] == f"Ask {JOAN}"


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_placeholder_stays_where_a_part_before_it_has_begun_a_link(dialect: str) -> None:
    for before, behind in (
        ("See https://evil.example/", "now"),
        ("![x](", "a)"),
        ("<img src=", ">"),
        ("Go", ".evil.example/a"),
    ):
        parts = (before, PLACEHOLDER, behind)
        found = edited(dialect, whole_body(dialect, parts), None, SCOPE.original)
        assert "".join(texts_of(dialect, found.body)) == "".join(parts)


def test_a_placeholder_stays_in_what_is_a_link_where_its_part_is_shown_alone() -> None:
    parts = ("Go to", f"\\\\evil\\{PLACEHOLDER}", f" or to {PLACEHOLDER}")
    found = edited("openai_chat", whole_body("openai_chat", parts), None, SCOPE.original)
    assert texts_of("openai_chat", found.body) == [*parts[:2], f" or to {JOAN}"]


def test_a_divided_placeholder_before_and_behind_a_call_is_none() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    parts = (PLACEHOLDER[:9], PLACEHOLDER[9:])
    found = edited("anthropic_messages", whole_body("anthropic_messages", parts, call), None, SCOPE.original)
    assert not found.changed


def test_an_answer_is_cut_where_its_text_ends_behind_what_was_restored() -> None:
    parts = (f"Ask {PLACEHOLDER[:9]}", f"{PLACEHOLDER[9:]}. The card is 4111 1111 1111 1111, a test.")
    found = edited("openai_chat", whole_body("openai_chat", parts), "pii: truncate", SCOPE.original)
    assert found.stop is not None
    body = DIALECTS["openai_chat"].shortened(found.body, *found.cut)
    assert texts_of("openai_chat", body) == [f"Ask {JOAN}", ". The card is "]


def test_parts_are_restored_as_their_text_joined_would_be() -> None:
    rng = random.Random(5)
    pieces = [
        PLACEHOLDER,
        PLACEHOLDER[:12],
        "<",
        " ",
        "\n\n",
        "See ",
        "(",
        ")",
        "](",
        "https://a.example/",
        ", ",
        "ä",
    ]
    told = 0
    for _ in range(3000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, 5)))
        parts = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
        out = restore_parts(parts, SCOPE.original)
        assert "".join(out) == restore(text, SCOPE.original)
        told += JOAN in "".join(out)
    assert told > 500


def _sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {e.get('type')}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def blocks(*contents: str | dict[str, Any]) -> bytes:
    """A stream of Messages with a block for each: of a text, or as it is given."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "content": [], "usage": {}}}
    ]
    for index, one in enumerate(contents):
        block = {"type": "text", "text": ""} if isinstance(one, str) else one
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if isinstance(one, str):
            half = len(one) // 2
            for piece in (one[:half], one[half:]):
                delta = {"type": "text_delta", "text": piece}
                events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
    )
    return _sse(*events, {"type": "message_stop"})


def frames(*contents: str | dict[str, Any]) -> bytes:
    """A stream of Converse with a block for each: of a text, or of a delta as it is given."""

    def frame(kind: str, payload: dict[str, Any]) -> bytes:
        return json_frame("event", kind, json.dumps(payload).encode())

    out = [frame("messageStart", {"role": "assistant"})]
    for index, one in enumerate(contents):
        delta = {"text": one} if isinstance(one, str) else one
        out.append(frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta}))
        out.append(frame("contentBlockStop", {"contentBlockIndex": index}))
    return b"".join(
        [*out, frame("messageStop", {"stopReason": "end_turn"}), frame("metadata", {"usage": {}})]
    )


def _gemini(*texts: str) -> bytes:
    chunks = [{"candidates": [{"index": 0, "content": {"parts": [{"text": text} for text in texts]}}]}]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def _chat(*texts: str) -> bytes:
    content = [{"type": "text", "text": text} for text in texts]
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': content}}]})}\n\n".encode()


def responses(*contents: str | dict[str, Any], items: bool = False) -> bytes:
    """A stream of Responses with a part for each text, in one item or in one each; an item as it is given."""
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {"id": "r", "output": []}}]
    output: list[dict[str, Any]] = []
    for one in contents:
        if not isinstance(one, str):
            events += _item_events(len(output), one, one)
            output.append(one)
            continue
        if items or not output or output[-1]["type"] != "message":
            output.append({"type": "message", "id": f"m{len(output)}", "role": "assistant", "content": []})
            events.append(
                {
                    "type": "response.output_item.added",
                    "output_index": len(output) - 1,
                    "item": dict(output[-1], content=[]),
                }
            )
        place = {"output_index": len(output) - 1, "content_index": len(output[-1]["content"])}
        part = {"type": "output_text", "text": one, "annotations": []}
        events.append({"type": "response.content_part.added", **place, "part": {**part, "text": ""}})
        half = len(one) // 2
        events += [
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in (one[:half], one[half:])
        ]
        events.append({"type": "response.output_text.done", **place, "text": one, "logprobs": []})
        events.append({"type": "response.content_part.done", **place, "part": part})
        output[-1]["content"].append(part)
    for index, item in enumerate(output):
        if item["type"] == "message":
            events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    whole = {"id": "r", "status": "completed", "output": output}
    return _sse(*events, {"type": "response.completed", "response": whole})


def _item_events(index: int, begun: dict[str, Any], done: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        {"type": "response.output_item.done", "output_index": index, "item": done},
    ]


def _mistral(*texts: str) -> bytes:
    """Chat completions in which a list of parts comes piece by piece, with a reference between the texts."""
    parts = [{"type": "text", "text": text} for text in texts]
    content = [[part, {"type": "reference", "reference_ids": [1]}] for part in parts]
    chunks = [{"choices": [{"index": 0, "delta": {"content": one}}]} for one in content]
    return b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks)


def _chunks(*texts: str) -> bytes:
    return b"".join(map(_gemini, texts))


def cohere(*contents: str | dict[str, Any]) -> bytes:
    """A stream of Cohere with a content for each text; a call of a tool, or another content, as it is given."""
    events: list[dict[str, Any]] = [
        {"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant", "content": []}}}
    ]

    def event(kind: str, index: int, message: dict[str, Any] | None = None) -> None:
        more = {} if message is None else {"delta": {"message": message}}
        events.append({"type": kind, "index": index, **more})

    index = 0
    for one in contents:
        if isinstance(one, dict) and "function" in one:
            event("tool-call-start", 0, {"tool_calls": one})
            event("tool-call-end", 0)
            continue
        begun = {"type": "text", "text": ""} if isinstance(one, str) else one
        event("content-start", index, {"content": begun})
        if isinstance(one, str):
            half = len(one) // 2
            for piece in (one[:half], one[half:]):
                event("content-delta", index, {"content": {"text": piece}})
        event("content-end", index)
        index += 1
    return _sse(*events, {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}})


def _lines(*texts: str) -> bytes:
    lines: list[dict[str, Any]] = [
        {"model": "m", "message": {"role": "assistant", "content": text}, "done": False} for text in texts
    ]
    lines.append({"model": "m", "message": {"role": "assistant", "content": ""}, "done": True})
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


STREAMS = {
    "anthropic_messages": (blocks, "text/event-stream"),
    "cohere_v2": (cohere, "text/event-stream"),
    "gemini_generate in chunks": (_chunks, "text/event-stream"),
    "ollama_chat": (_lines, "application/x-ndjson"),
    "openai_chat of Mistral": (_mistral, "text/event-stream"),
    "bedrock_converse": (frames, "application/vnd.amazon.eventstream"),
    "gemini_generate": (_gemini, "text/event-stream"),
    "openai_chat": (_chat, "text/event-stream"),
    "openai_responses": (responses, "text/event-stream"),
}


def dialect_of(name: str) -> Dialect:
    """Return the dialect of a kind of stream."""
    return DIALECTS[name.partition(" ")[0]]


def through(
    dialect: str, data: bytes, policy: str, step: int = 37, lookup: Lookup | None = None
) -> tuple[bytes, AnswerTap]:
    spoken, content_type = dialect_of(dialect), STREAMS[dialect][1]
    ending = spoken.ending(exchange_of(spoken).request, Stamp("i", 1), content_type)
    tap = AnswerTap(
        spoken,
        spoken.open_stream(content_type),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=lookup,
        remember=lambda text: None,
        looking=Looking(output_filter(policy, spoken), ending, refused),
    )
    out: list[bytes] = []
    for start in range(0, len(data), step):
        found = tap.feed(data[start : start + step])
        out += found.out
        if found.finish:
            return b"".join(out), tap
    out += tap.end().out
    return b"".join(out), tap


def said(dialect: str, data: bytes) -> str:
    reader = dialect_of(dialect).open_stream(STREAMS[dialect][1])
    events = [*reader.feed(data), *reader.end()]
    return "".join(d.text for e in events for d in e.deltas if not d.whole)


@pytest.mark.parametrize("dialect", STREAMS)
@pytest.mark.parametrize("step", [1, 37, 10_000])
def test_a_value_divided_over_parts_of_a_stream_is_masked(dialect: str, step: int) -> None:
    out, tap = through(dialect, STREAMS[dialect][0](*CARD), MASK, step)
    assert tap.failed is None
    assert said(dialect, out) == "The card is [CREDIT_CARD], a test."


@pytest.mark.parametrize("dialect", STREAMS)
def test_a_stream_ends_where_a_divided_value_begins(dialect: str) -> None:
    out, tap = through(dialect, STREAMS[dialect][0](*CARD), "pii: truncate")
    assert tap.ended_early is not None
    assert said(dialect, out) == "The card is "


@pytest.mark.parametrize("dialect", STREAMS)
@pytest.mark.parametrize("step", [1, 37, 10_000])
def test_a_placeholder_divided_over_parts_of_a_stream_is_restored(dialect: str, step: int) -> None:
    parts = (f"Ask {PLACEHOLDER[:9]}", f"{PLACEHOLDER[9:]}, please.")
    out, tap = through(dialect, STREAMS[dialect][0](*parts), MASK, step, SCOPE.original)
    assert tap.failed is None
    assert said(dialect, out) == f"Ask {JOAN}, please."


@pytest.mark.parametrize("dialect", STREAMS)
@pytest.mark.parametrize("step", [1, 37, 10_000])
def test_a_placeholder_stays_where_a_part_of_a_stream_before_it_has_begun_a_link(
    dialect: str, step: int
) -> None:
    for before, behind in (("See https://evil.example/", "now"), ("![x](", "a)"), ("<img src=", ">")):
        parts = (before, PLACEHOLDER, behind)
        out, tap = through(dialect, STREAMS[dialect][0](*parts), MASK, step, SCOPE.original)
        assert tap.failed is None
        assert said(dialect, out) == "".join(parts)


def again(data: bytes) -> dict[str, list[str]]:
    """What a stream of Responses says whole, by the part; and what it says in pieces, joined, as the first."""
    pieces: dict[str, str] = {}
    whole: dict[str, list[str]] = {}
    for line in data.decode().split("\n"):
        event = json.loads(line[6:]) if line.startswith("data: ") else {}
        place = f"{event.get('output_index')}/{event.get('content_index')}"
        match event.get("type"):
            case "response.output_text.delta":
                pieces[place] = pieces.get(place, "") + event["delta"]
            case "response.output_text.done":
                whole.setdefault(place, []).append(event["text"])
            case "response.content_part.done":
                whole.setdefault(place, []).append(event["part"]["text"])
            case "response.output_item.done" | "response.completed" | "response.incomplete":
                items = event["response"]["output"] if "response" in event else [event["item"]]
                for number, item in enumerate(items, event.get("output_index", 0)):
                    for part, one in enumerate(item.get("content", [])):
                        whole.setdefault(f"{number}/{part}", []).append(one["text"])
            case _:
                pass
    return {place: [text, *whole[place]] for place, text in pieces.items()}


@pytest.mark.parametrize("items", [False, True])
@pytest.mark.parametrize("step", [1, 100, 10_000])
def test_what_is_said_again_of_divided_parts_is_what_was_said(step: int, items: bool) -> None:
    texts = ("The card is 4111 1111", " 1111 1111", f", of {PLACEHOLDER[:7]}", f"{PLACEHOLDER[7:]} he")
    out, tap = through("openai_responses", responses(*texts, items=items), MASK, step, SCOPE.original)
    assert tap.failed is None
    told = again(out)
    assert len(told) == 4
    assert all(len(each) == 5 and len(set(each)) == 1 for each in told.values())
    assert "".join(each[0] for each in told.values()) == f"The card is [CREDIT_CARD], of {JOAN} he"
    assert "4111" not in out.decode()


def test_what_ends_in_a_divided_value_says_it_nowhere() -> None:
    out, tap = through("openai_responses", responses(*CARD), "pii: truncate")
    assert tap.ended_early is not None
    assert b"4111" not in out
    assert "".join(each[0] for each in again(out).values()) == "The card is "


def test_a_repetition_that_is_none_is_looked_at_by_itself() -> None:
    data = responses("All is well", " in the garden.")
    lying = data.replace(b'"text": "All is well"', b'"text": "Mail b@example.org"')
    out, _ = through("openai_responses", lying, MASK)
    assert b"b@example.org" not in out
    assert out.count(b"Mail [EMAIL_ADDRESS]") == 4


def test_a_repetition_behind_the_end_says_no_more_than_was_said() -> None:
    data = responses(*CARD, "The card is 4111 1111 1111 1111, once more.")
    done = {
        "type": "response.output_text.done",
        "output_index": 0,
        "content_index": 2,
        "text": "The card is 4111 1111 1111 1111, once more.",
    }
    for step in (1, 10_000):
        out, _ = through("openai_responses", data + _sse(done, done), MASK, step)
        assert b"4111" not in out
        assert out.count(b"The card is [CREDIT_CARD], once more.") == 6


def test_late_pieces_of_a_part_end_the_stream() -> None:
    data = responses("Some", " more")
    late = {
        "type": "response.output_text.delta",
        "output_index": 0,
        "content_index": 0,
        "delta": " b@example.org ",
    }
    cut = data.index(b"event: response.output_item.done")
    out, tap = through("openai_responses", data[:cut] + _sse(late) + data[cut:], MASK)
    assert tap.failed == "wire.stream.order"
    assert b"b@example.org" not in out


def test_only_recorded_a_divided_value_is_found_once() -> None:
    tap, output = only_recording(DIALECTS["openai_responses"], MASK)
    data = responses(*CARD, " Mail b@example.org.")
    assert b"".join([*tap.feed(data).out, *tap.end().out]) == data
    found = [finding.entity for finding, _ in output.found if finding.entity != "URL"]
    assert sorted(found) == ["CREDIT_CARD", "EMAIL_ADDRESS"]


@pytest.mark.parametrize("kind", ["function_call", "web_search_call"])
def test_a_text_of_responses_does_not_wait_for_what_follows_it(kind: str) -> None:
    call = {"type": kind, "id": "t", "name": "f", "arguments": "{}", "call_id": "c"}
    data = responses("The card is 4111 1111", call, " 1111 1111, a test.")
    out, tap = through("openai_responses", data, MASK)
    assert tap.failed is None
    assert said("openai_responses", out) == "The card is 4111 1111 1111 1111, a test."
    spoken = DIALECTS["openai_responses"]
    fresh = AnswerTap(
        spoken,
        spoken.open_stream(),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=None,
        remember=lambda text: None,
        looking=Looking(output_filter(MASK, spoken), None, refused),
    )
    end_of_start = data.index(b"\n\n", data.index(kind.encode())) + 2
    assert kind.encode() in b"".join(fresh.feed(data[:end_of_start]).out)


def test_a_text_does_not_wait_for_a_call_that_follows_it() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    data = blocks("The card is 4111 1111", call, " 1111 1111, a test.")
    begun = data.index(b'"tool_use"')
    spoken = DIALECTS["anthropic_messages"]
    tap = AnswerTap(
        spoken,
        spoken.open_stream(),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=None,
        remember=lambda text: None,
        looking=Looking(output_filter(MASK, spoken), None, refused),
    )
    end_of_start = data.index(b"\n\n", begun) + 2
    out = b"".join(tap.feed(data[:end_of_start]).out)
    assert b"tool_use" in out
    assert said("anthropic_messages", out) == "The card is 4111 1111"


REQUESTS = {
    "openai_chat": lambda *t: {"model": "m", "messages": [{"role": "user", "content": _parts(*t)}]},
    "openai_responses": lambda *t: {
        "model": "m",
        "input": [{"role": "user", "content": _parts(*t, kind="input_text")}],
    },
    "anthropic_messages": lambda *t: {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": _parts(*t)}],
    },
    "gemini_generate": lambda *t: {"contents": [{"role": "user", "parts": [{"text": one} for one in t]}]},
    "bedrock_converse": lambda *t: {"messages": [{"role": "user", "content": [{"text": one} for one in t]}]},
    "cohere_v2": lambda *t: {"model": "m", "messages": [{"role": "user", "content": _parts(*t)}]},
    "ollama_chat": lambda *t: {"model": "m", "messages": [{"role": "user", "content": one} for one in t]},
}


def _parts(*texts: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, "text": text} for text in texts]


@pytest.mark.parametrize("dialect", REQUESTS)
def test_a_value_divided_over_parts_of_a_request_is_found(dialect: str) -> None:
    body = json.dumps(REQUESTS[dialect](*CARD)).encode()
    request = DIALECTS[dialect].read_request(body, Call("test", Operation.CHAT, model="m"))
    found = answer_rules()._scanner.scan(request.segments)
    assert {f.entity for f in found} >= {"CREDIT_CARD"}
