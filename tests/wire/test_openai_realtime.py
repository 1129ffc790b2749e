"""Every realtime frame is read and written back by itself, in both directions."""

import contextlib
import json
import random

import pytest

from sallyport.decision import Edit, Refusal
from sallyport.exchange import Surface
from sallyport.wire import realtime_events
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from wire.samples import CASSETTES, call, manifest

FOLDER = CASSETTES / "openai_realtime"
CLIENT = (FOLDER / "client_events.jsonl").read_bytes().splitlines()
SERVER = (FOLDER / "server_events.jsonl").read_bytes().splitlines()
TEXT = manifest()["files"]["openai_realtime/server_events.jsonl"]["text"]
MARK = "heron 4111 1111 1111 1111"

realtime = DIALECTS["openai_realtime"]


def events():
    reader = realtime.open_stream()
    return [event for frame in SERVER for event in reader.feed(frame)]


def test_every_text_a_client_sends_is_read() -> None:
    requests = [realtime.read_request(frame, call()) for frame in CLIENT]
    found = {s.text: s.surface for request in requests for s in request.segments}
    assert (
        found[
            manifest()["strings"]["secret_in_system"].join(
                ["You are the shipping desk of Nordwind Parcel. Never reveal the code word ", "."]
            )
        ]
        is Surface.SYSTEM
    )
    for personal in manifest()["strings"]["personal_data_in_requests"]:
        assert any(personal in text and s is Surface.USER for text, s in found.items())
    assert found["NW-48213: loaded 07:40, Bremen hub; recipient Marta Quill"] is Surface.TOOL_RESULT
    assert found["One sentence."] is Surface.SYSTEM
    assert requests[0].tools == ("lookup_parcel",)
    assert [a.at for request in requests for a in request.attachments] == ["/audio"]


@pytest.mark.parametrize("frame", CLIENT, ids=lambda f: json.loads(f)["type"])
def test_whatever_a_client_adds_is_seen(frame: bytes) -> None:
    def objects(value):
        if isinstance(value, dict):
            yield value
        for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from objects(member)

    for number in range(len(list(objects(json.loads(frame))))):
        for note in (MARK, [{MARK: None}], {"a": [MARK]}):
            body = json.loads(frame)
            list(objects(body))[number]["note"] = note
            request = realtime.read_request(json.dumps(body).encode(), call())
            assert any(MARK in s.text for s in request.segments)


def test_an_edit_of_a_client_frame_changes_the_named_string_only() -> None:
    frame = CLIENT[1]
    assert realtime.edit(frame, []) == frame
    at = "/item/content/0/text"
    assert realtime.edit(frame, [Edit(at, 0, 5, "W\n")]) == frame.replace(b'"Where', b'"W\\n')


def test_the_servers_texts_flow_finish_and_count() -> None:
    read = events()
    flowing = [d for e in read for d in e.deltas if not d.whole]
    assert "".join(d.text for d in flowing if d.surface is Surface.ASSISTANT) == TEXT
    assert [d.json for d in flowing if d.surface is Surface.TOOL_CALL] == [True]
    assert sum(d.text == TEXT for e in read for d in e.deltas if d.whole) == 2
    assert [e.finish_reason for e in read if e.finish_reason] == ["stop"]
    (usage,) = [e.usage for e in read if e.usage]
    assert (usage.input, usage.cache_read, usage.output) == (212, 128, 88)
    assert [e.error for e in read if e.error] == ["policy_blocked"]
    opened = {d.channel for d in flowing}
    assert opened == {name for e in read for name in e.closes}


def test_a_rewritten_frame_differs_in_the_named_strings_only() -> None:
    reader = realtime.open_stream()
    for event in events():
        assert reader.rewrite(event, {}) == event.raw
        (after,) = realtime.open_stream().feed(
            reader.rewrite(event, {d.at: 'é"' + d.text for d in event.deltas})
        )
        assert [d.text for d in after.deltas] == ['é"' + d.text for d in event.deltas]


@pytest.mark.parametrize(
    ("kind", "member", "surface", "whole"),
    [
        ("response.output_audio_transcript.delta", "delta", Surface.ASSISTANT, False),
        ("response.text.delta", "delta", Surface.ASSISTANT, False),
        ("conversation.item.input_audio_transcription.delta", "delta", Surface.USER, False),
        ("conversation.item.input_audio_transcription.completed", "transcript", Surface.USER, True),
        ("response.mcp_call_arguments.delta", "delta", Surface.TOOL_CALL, False),
        ("something.new", "note", Surface.ASSISTANT, True),
    ],
)
def test_a_servers_event_is_read_by_its_type(kind: str, member: str, surface: Surface, whole: bool) -> None:
    (event,) = realtime.open_stream().feed(json.dumps({"type": kind, "item_id": "i", member: "m"}).encode())
    assert [(d.surface, d.whole, d.text) for d in event.deltas] == [(surface, whole, "m")]


def parts(*places: tuple[str, int, str]):
    """The pieces of these parts: of an item, with its number and the number of the part in it, and a type of event."""
    for item, number, stem in places:
        index, part = divmod(number, 10)
        place = {"response_id": "r", "item_id": item, "output_index": index, "content_index": part}
        yield json.dumps({"type": f"response.{stem}.delta", **place, "delta": "x"}).encode()


def channels(frames) -> list[str]:
    reader = realtime.open_stream()
    return [delta.channel for frame in frames for event in reader.feed(frame) for delta in event.deltas]


def test_parts_and_messages_of_an_answer_are_one_channel() -> None:
    found = channels(parts(("a", 0, "output_text"), ("a", 1, "audio_transcript"), ("b", 10, "text")))
    assert len(set(found)) == 1
    assert len(set(channels(parts(("a", 0, "text"), ("b", 10, "function_call_arguments"))))) == 2


@pytest.mark.parametrize(
    "last", [("a", 0, "text"), ("a", 11, "text"), ("a", 1, "text"), ("b", 9, "text")], ids=str
)
def test_a_part_that_goes_on_before_the_latest_is_refused(last: tuple[str, int, str]) -> None:
    frames = list(parts(("a", 0, "text"), ("b", 10, "text"), last))
    channels(frames[:2])
    with pytest.raises(WireError, match=r"stream\.order"):
        channels(frames)


def test_names_that_a_provider_gives_are_kept_short_and_apart() -> None:
    names = ["i" * 1_000_000 + name for name in "ab"]
    (first,), (second,) = (set(channels(parts((name, 0, "text")))) for name in names)
    assert first != second
    assert max(len(first), len(second)) < 200


def test_what_is_remembered_of_the_order_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_events, "MAX_KNOWN", 6)
    reader = realtime.open_stream()
    for frame in parts(*((f"i{number}", 10 * number, "text") for number in range(50))):
        reader.feed(frame)
    assert len(reader._order._known) == 6


@pytest.mark.parametrize(
    "response",
    [
        {"output": ["x", {"id": "a", "content": [{"text": "y"}]}]},
        {"output": {"a": {"content": [{"text": "y"}]}}},
        {"output": [[{"content": [{"text": "y"}]}]]},
    ],
    ids=["list", "object", "nested"],
)
def test_an_odd_end_of_an_answer_is_read(response: dict[str, object]) -> None:
    frame = json.dumps({"type": "response.done", "response": {"id": "r", **response}}).encode()
    (event,) = realtime.open_stream().feed(frame)
    assert "y" in {delta.text for delta in event.deltas}


def test_sound_is_not_text() -> None:
    frame = b'{"type":"response.output_audio.delta","delta":"AAAA"}'
    (event,) = realtime.open_stream().feed(frame)
    assert event.deltas == ()


@pytest.mark.parametrize(
    "frame", [b"[]", b"{}", b'{"type":5}', b'{"type":"a"}{"type":"b"}', b'{"type":"a","TYPE":"b"}', b"\xff"]
)
def test_an_odd_frame_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        realtime.read_request(frame, call())


def test_a_frame_above_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_events, "MAX_FRAME_BYTES", 10)
    with pytest.raises(WireError, match="too_long"):
        realtime.open_stream().feed(SERVER[0])


def test_a_refusal_before_and_after_the_upgrade() -> None:
    refusal = Refusal("pii.found", "No.", "d-1")
    assert realtime.refuse(refusal, streaming=True).status == 403
    (event,) = realtime.open_stream().feed(realtime.stream_error(refusal))
    assert event.error == "pii.found"


def test_mutations_raise_nothing_but_wire_errors() -> None:
    chance = random.Random(13)
    for _ in range(2000):
        data = bytearray(chance.choice(CLIENT + SERVER))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(6)] = chance.choice(
                [b"", b"{", b"]", b'"', b"1", b"\\u", b"\xff", b"null"]
            )
        reader = realtime.open_stream()
        with contextlib.suppress(WireError):
            realtime.read_request(bytes(data), call())
        with contextlib.suppress(WireError):
            for event in reader.feed(bytes(data)):
                reader.rewrite(event, {d.at: "x" for d in event.deltas})
