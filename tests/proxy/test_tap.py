"""A streamed answer gets its values back in every dialect, wherever it was cut, and nothing else changes."""

import random
from pathlib import Path

import pytest

from proxy.outflows import output_filter, refused
from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.proxy.tap import MAX_QUEUED_BYTES, AnswerTap, Looking
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import StreamEvent
from sallyport.wire.dialects import DIALECTS

CASSETTES = Path(__file__).parent.parent / "cassettes"
MAIL = "marta.quill@example.com"
SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
PLACEHOLDER = SCOPE.placeholder("EMAIL_ADDRESS", MAIL)
REFUSAL = Refusal("upstream.unreadable", "The gateway ended this answer.", "id-1", 502)

STREAMS = {
    "openai_chat": ("openai_chat/stream.sse", "text/event-stream"),
    "openai_chat tool": ("openai_chat/stream_tool.sse", "text/event-stream"),
    "azure": ("azure_openai/stream.sse", "text/event-stream"),
    "openai_completions": ("openai_other/completions_stream.sse", "text/event-stream"),
    "openai_responses": ("openai_responses/stream.sse", "text/event-stream"),
    "openai_responses tool": ("openai_responses/stream_tool.sse", "text/event-stream"),
    "anthropic_messages": ("anthropic_messages/stream.sse", "text/event-stream"),
    "anthropic_messages tool": ("anthropic_messages/stream_tool.sse", "text/event-stream"),
    "gemini_generate": ("gemini_generate/stream.sse", "text/event-stream"),
    "gemini_generate tool": ("gemini_generate/stream_tool.sse", "text/event-stream"),
    "gemini_generate array": ("gemini_generate/stream_array.json", "application/json"),
}
NAMES = {"azure": "openai_chat"}


def dialect_of(case: str):
    name = case.partition(" ")[0]
    return DIALECTS[NAMES.get(name, name)]


def read(case: str, data: bytes) -> list[StreamEvent]:
    reader = dialect_of(case).open_stream(STREAMS[case][1])
    return [*reader.feed(data), *reader.end()]


def channels(case: str, data: bytes) -> dict[str, str]:
    """The text of each channel that flows, and each whole text under its place and ordinal."""
    found: dict[str, str] = {}
    for number, event in enumerate(read(case, data)):
        for delta in event.deltas:
            key = f"{number}{delta.at}" if delta.whole else delta.channel
            found[key] = found.get(key, "") + delta.text
    return found


def masked(case: str, rng: random.Random) -> bytes:
    """The cassette as a provider would have sent it that saw the placeholder, its texts cut anew."""
    data = (CASSETTES / STREAMS[case][0]).read_bytes()
    reader = dialect_of(case).open_stream(STREAMS[case][1])
    events = [*reader.feed(data), *reader.end()]
    flowing: dict[str, list[tuple[int, str]]] = {}
    texts: list[dict[str, str]] = [{} for _ in events]
    for number, event in enumerate(events):
        for delta in event.deltas:
            if delta.surface is Surface.REASONING:
                continue
            if delta.whole:
                texts[number][delta.at] = delta.text.replace(MAIL, PLACEHOLDER)
            else:
                flowing.setdefault(delta.channel, []).append((number, delta.at))
    whole = channels(case, data)
    for channel, places in flowing.items():
        text = whole[channel].replace(MAIL, PLACEHOLDER)
        cuts = sorted(rng.randint(0, len(text)) for _ in places[1:])
        for (number, at), start, end in zip(places, [0, *cuts], [*cuts, len(text)], strict=True):
            texts[number][at] = text[start:end]
    return b"".join(reader.rewrite(e, t) if t else e.raw for e, t in zip(events, texts, strict=True))


def through(case: str, data: bytes, sizes: list[int], *, lookup: bool = True) -> tuple[bytes, AnswerTap]:
    dialect = dialect_of(case)
    tap = AnswerTap(
        dialect,
        dialect.open_stream(STREAMS[case][1]),
        REFUSAL,
        lookup=SCOPE.original if lookup else None,
        remember=lambda text: None,
    )
    out, position = [], 0
    for size in sizes:
        out += tap.feed(data[position : position + size]).out
        position += size
    if position < len(data):
        out += tap.feed(data[position:]).out
    out += tap.end().out
    return b"".join(out), tap


@pytest.mark.parametrize("case", STREAMS)
def test_values_come_back_in_every_cutting(case: str) -> None:
    original = channels(case, (CASSETTES / STREAMS[case][0]).read_bytes())
    assert any(MAIL in text for text in original.values())
    rng = random.Random(case)
    for _ in range(60):
        data = masked(case, rng)
        assert MAIL.encode() not in data
        sizes = [rng.choice([1, 2, 7, 23, 400]) for _ in range(len(data))]
        got, tap = through(case, data, sizes)
        assert tap.failed is None
        assert channels(case, got) == original
        assert PLACEHOLDER.encode() not in got


@pytest.mark.parametrize("case", STREAMS)
def test_the_placeholder_may_be_cut_at_every_position(case: str) -> None:
    """Two deltas, the border at each character of the placeholder in turn."""
    original = channels(case, (CASSETTES / STREAMS[case][0]).read_bytes())

    class Fixed(random.Random):
        def __init__(self, cut: int) -> None:
            super().__init__(0)
            self.cut = cut

        def randint(self, low: int, high: int) -> int:
            return min(self.cut, high)

    for cut in range(130):
        got, _ = through(case, masked(case, Fixed(cut)), [])
        assert channels(case, got) == original


@pytest.mark.parametrize("case", STREAMS)
def test_without_anything_masked_every_byte_passes_at_once(case: str) -> None:
    data = (CASSETTES / STREAMS[case][0]).read_bytes()
    for size in (1, 17, len(data)):
        got, tap = through(case, data, [size] * (len(data) // size), lookup=False)
        assert got == data
        assert tap.finish_reason is not None


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_without_placeholders_is_not_changed_by_the_look(case: str) -> None:
    data = (CASSETTES / STREAMS[case][0]).read_bytes()
    assert through(case, data, [11] * (len(data) // 11))[0] == data


@pytest.mark.parametrize("case", ["openai_chat", "anthropic_messages", "gemini_generate", "openai_responses"])
def test_prose_is_not_held(case: str) -> None:
    """Each event without an opener comes out of the very feed that completed it."""
    data = (CASSETTES / STREAMS[case][0]).read_bytes()
    dialect = dialect_of(case)
    tap = AnswerTap(dialect, dialect.open_stream(), REFUSAL, lookup=SCOPE.original, remember=lambda t: None)
    for event in read(case, data):
        assert b"".join(tap.feed(event.raw).out) == event.raw


@pytest.mark.parametrize("case", ["openai_chat", "anthropic_messages", "gemini_generate", "openai_responses"])
@pytest.mark.parametrize(
    "rubbish", [b"data: {not json\n\n", b"event: x\ndata: [1,2\n\n", b"data: \xff\xfe\n\n"]
)
def test_what_cannot_be_read_ends_the_stream_in_the_dialects_own_error(case: str, rubbish: bytes) -> None:
    data = (CASSETTES / STREAMS[case][0]).read_bytes()
    first = read(case, data)[0].raw
    dialect = dialect_of(case)
    tap = AnswerTap(dialect, dialect.open_stream(), REFUSAL, lookup=SCOPE.original, remember=lambda t: None)
    assert tap.feed(first).out == [first]
    step = tap.feed(rubbish)
    assert step.finish
    assert step.out == [dialect.stream_error(REFUSAL)]
    assert tap.feed(data).out == []
    assert tap.end().out == []


def test_a_cut_stream_gives_out_nothing_that_was_held() -> None:
    dialect = DIALECTS["openai_chat"]
    tap = AnswerTap(dialect, dialect.open_stream(), REFUSAL, lookup=SCOPE.original, remember=lambda t: None)
    head = PLACEHOLDER[:9]
    raw = b'data: {"choices":[{"index":0,"delta":{"content":"to %s"}}]}\n\n' % head.encode()
    assert tap.feed(raw).out == []
    assert tap.broken().out == [dialect.stream_error(REFUSAL)]


def test_observe_passes_on_what_it_cannot_read() -> None:
    dialect = DIALECTS["openai_chat"]
    tap = AnswerTap(
        dialect, dialect.open_stream(), REFUSAL, lookup=None, remember=lambda t: None, lenient=True
    )
    assert tap.feed(b"data: {oops\n\n").out == [b"data: {oops\n\n"]
    assert tap.feed(b"more").out == [b"more"]
    assert tap.failed is None


def test_reasoning_is_remembered_whole_and_never_restored() -> None:
    remembered: list[str] = []
    dialect = DIALECTS["anthropic_messages"]
    tap = AnswerTap(
        dialect, dialect.open_stream(), REFUSAL, lookup=SCOPE.original, remember=remembered.append
    )
    text = f"think of {PLACEHOLDER} now"
    raw = b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":' \
          b'{"type":"thinking","thinking":""}}\n\n'  # fmt: skip
    for piece in (text[:14], text[14:]):
        raw += b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":' \
               b'{"type":"thinking_delta","thinking":"%s"}}\n\n' % piece.encode()  # fmt: skip
    raw += b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    assert b"".join(tap.feed(raw).out) == raw
    assert text in remembered


def test_a_channel_that_never_goes_on_delays_the_others_only_so_far() -> None:
    dialect = DIALECTS["openai_chat"]
    tap = AnswerTap(dialect, dialect.open_stream(), REFUSAL, lookup=SCOPE.original, remember=lambda t: None)
    held = b'data: {"choices":[{"index":0,"delta":{"content":"a <E"}}]}\n\n'
    other = b'data: {"choices":[{"index":1,"delta":{"content":"%s"}}]}\n\n' % (b"x" * 1000)
    assert tap.feed(held).out == []
    waited = 0
    while not (out := tap.feed(other).out):
        waited += len(other)
    assert waited <= 33 * 1024
    assert b"".join(out).startswith(held)


def said(text: str) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % text.encode()


@pytest.mark.parametrize("before", [said("word ") * 1000, said("word " * 10_000)], ids=["many", "one"])
@pytest.mark.parametrize("policy", ["", "pii: mask"], ids=["restored", "masked"])
def test_a_value_at_the_end_of_a_long_read_is_waited_for(before: bytes, policy: str) -> None:
    """A fast provider sends more in one read than may wait behind a held event: what waits for nothing does not count."""
    value, shown = (MAIL, "[EMAIL_ADDRESS]") if policy else (PLACEHOLDER, MAIL)
    dialect = DIALECTS["openai_chat"]
    tap = AnswerTap(
        dialect,
        dialect.open_stream(),
        REFUSAL,
        lookup=SCOPE.original,
        remember=lambda t: None,
        looking=Looking(output_filter(policy, dialect), None, refused) if policy else None,
    )
    first = before[: -len(b'"}}]}\n\n')] + value[:9].encode() + b'"}}]}\n\n'
    assert len(first) > MAX_QUEUED_BYTES
    got = b"".join([*tap.feed(first).out, *tap.feed(said(f"{value[9:]} now")).out, *tap.end().out])
    text = "".join(d.text for event in read("openai_chat", got) for d in event.deltas)
    assert text.endswith(f"word {shown} now")
