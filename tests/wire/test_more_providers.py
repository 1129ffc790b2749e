"""Bedrock, Cohere and Ollama: every cassette yields what the manifest says, in every cutting."""

import base64
import contextlib
import itertools
import json
import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sallyport.decision import Edit, Refusal
from sallyport.exchange import Operation, Surface
from sallyport.wire.dialect import Dialect, StreamEvent
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from sallyport.wire.eventstream import FrameReader, json_frame
from wire.samples import CASSETTES, call, feed, manifest

FOLDERS = ("bedrock_converse", "bedrock_invoke", "cohere_v2", "ollama_chat")
NAMES = ("input", "cache_read", "cache_write", "output", "reasoning")
PERSONAL = manifest()["strings"]["personal_data_in_requests"]
MARK = "heron 4111 1111 1111 1111"
CARD = 4111111111111111


@dataclass(frozen=True)
class Cassette:
    name: str
    expected: dict

    def __str__(self) -> str:
        return self.name

    @property
    def dialect(self) -> Dialect:
        return DIALECTS[self.name.split("/")[0]]

    @property
    def body(self) -> bytes:
        return (CASSETTES / self.name).read_bytes()

    @property
    def operation(self) -> Operation:
        return Operation.COMPLETION if "generate" in self.name else Operation.CHAT

    def read(self, body: bytes | None = None):
        return self.dialect.read_request(self.body if body is None else body, call(self.operation))


def cassettes(*kinds: str) -> list[Cassette]:
    files = manifest()["files"].items()
    return [Cassette(n, e) for n, e in files if n.split("/")[0] in FOLDERS and e["kind"] in kinds]


REQUESTS = cassettes("request")
ANSWERS = cassettes("response", "block")
BROKEN = "bedrock_converse/stream_bad_crc.bin"
STREAMS = [c for c in cassettes("stream", "block_stream", "stream_error") if c.name != BROKEN]


def usage_of(usage) -> tuple:
    return tuple(getattr(usage, name) for name in NAMES)


def flowing(events: list[StreamEvent], surface: Surface) -> str:
    return "".join(d.text for e in events for d in e.deltas if d.surface is surface and not d.whole)


def run(cassette: Cassette, pieces: list[bytes]) -> list[StreamEvent]:
    return feed(cassette.dialect, cassette.expected["content_type"], pieces)


@pytest.mark.parametrize("cassette", REQUESTS, ids=str)
def test_a_request_gives_all_its_texts(cassette: Cassette) -> None:
    request = cassette.read()
    everything = "\n".join(s.text for s in request.segments)
    for value in (*PERSONAL, manifest()["strings"]["secret_in_system"]):
        assert everything.count(value) >= cassette.body.decode().count(value)
    assert request.max_output_tokens == 300
    assert request.model == json.loads(cassette.body).get("model")
    assert request.tools == (("lookup_parcel",) if b'"tools"' in cassette.body else ())
    inline = [a for a in request.attachments if a.size == 70]
    assert len(inline) == cassette.body.count(b"iVBORw0KGgo")


@pytest.mark.parametrize("cassette", ANSWERS, ids=str)
def test_an_answer_gives_text_finish_and_usage(cassette: Cassette) -> None:
    response = cassette.dialect.read_response(cassette.body, 200)
    expected = cassette.expected
    texts = [s.text for s in response.segments]
    own = [s.text for s in response.segments if s.surface is Surface.ASSISTANT]
    assert own[0] == expected["text"] if "text" in expected else True
    assert own == [expected["block_text"]] if "block_text" in expected else True
    if "reasoning" in expected:
        assert expected["reasoning"] in [s.text for s in response.segments if s.surface is Surface.REASONING]
    if "tool" in expected:
        assert expected["tool"]["name"] in texts
        source = next((json.loads(t) for t in texts if t.startswith("{")), None)
        assert source == expected["tool"]["arguments"] or {"tracking", "NW-48213", "Übergröße"} <= set(texts)
    assert response.finish_reason == expected["finish"]
    if expected.get("usage"):
        assert usage_of(response.usage) == usage_of_expected(expected)
    assert response.error is None


def usage_of_expected(expected: dict) -> tuple:
    return tuple(expected["usage"][name] for name in NAMES)


@pytest.mark.parametrize("cassette", cassettes("error"), ids=str)
def test_an_error_is_read_and_its_text_is_a_segment(cassette: Cassette) -> None:
    wrapped = json.loads(cassette.body)
    body = wrapped["body"] if "headers" in wrapped else wrapped
    response = cassette.dialect.read_response(json.dumps(body).encode(), cassette.expected["status"])
    assert response.error == f"http_{cassette.expected['status']}"
    assert [s.text for s in response.segments] == [body.get("message") or body["error"]]


@pytest.mark.parametrize("cassette", STREAMS, ids=str)
def test_a_stream_gives_text_finish_and_usage(cassette: Cassette) -> None:
    events = run(cassette, [cassette.body])
    expected = cassette.expected
    assert b"".join(e.raw for e in events) == cassette.body
    for key, surface in (
        ("text", Surface.ASSISTANT),
        ("block_text", Surface.ASSISTANT),
        ("reasoning", Surface.REASONING),
    ):
        assert key not in expected or flowing(events, surface) == expected[key]
    if "tool" in expected:
        source = "".join(d.text for e in events for d in e.deltas if d.json and not d.whole)
        leaves = {d.at.rsplit("/", 1)[1]: d.text for e in events for d in e.deltas if "/arguments/" in d.at}
        found = json.loads(source) if source else {k: leaves[k] for k in expected["tool"]["arguments"]}
        assert found == expected["tool"]["arguments"]
    finishes = [e.finish_reason for e in events if e.finish_reason]
    assert finishes == ([expected["finish"]] if "finish" in expected else finishes)
    if expected.get("usage"):
        assert usage_of([e.usage for e in events if e.usage][-1]) == usage_of_expected(expected)
    if expected["kind"] == "stream_error":
        (error,) = [e.error for e in events if e.error]
        assert error in expected["sdk_raises"] or error == "ollama_error"
        assert finishes == ["error"]
    assert [e.terminal for e in events] == [False] * (len(events) - 1) + [True]


@pytest.mark.parametrize("cassette", STREAMS, ids=str)
def test_a_stream_closes_every_channel_it_opened(cassette: Cassette) -> None:
    opened: set[str] = set()
    for event in run(cassette, [cassette.body]):
        opened |= {d.channel for d in event.deltas if not d.whole}
        opened = set() if "*" in event.closes else opened - set(event.closes)
    assert not opened


@pytest.mark.parametrize("cassette", STREAMS, ids=str)
def test_a_stream_gives_the_same_events_in_every_cutting(cassette: Cassette) -> None:
    body = cassette.body
    whole = run(cassette, [body])
    assert run(cassette, [body[i : i + 1] for i in range(len(body))]) == whole
    assert all(run(cassette, [body[:cut], body[cut:]]) == whole for cut in range(len(body)))
    chance = random.Random(cassette.name)
    for _ in range(20):
        cuts = sorted(chance.randrange(len(body) + 1) for _ in range(chance.randrange(1, 40)))
        assert run(cassette, [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])]) == whole


@pytest.mark.parametrize("cassette", STREAMS, ids=str)
def test_a_stream_that_stops_inside_an_event_is_refused(cassette: Cassette) -> None:
    body = cassette.body
    ends = set(itertools.accumulate(len(e.raw) for e in run(cassette, [body])))
    for cut in range(1, len(body)):
        # Without its last line ends a whole event is still whole.
        if cut in ends or not body[cut:].split(b"\n")[0].strip():
            continue
        with contextlib.suppress(WireError):
            events = run(cassette, [body[:cut]])
            assert cassette.name.startswith("cohere"), cut
            assert events[-1].deltas == ()


def test_a_frame_with_a_wrong_checksum_ends_the_stream() -> None:
    with pytest.raises(WireError, match="crc"):
        feed(DIALECTS["bedrock_converse"], "", [(CASSETTES / BROKEN).read_bytes()])


@pytest.mark.parametrize("cassette", STREAMS, ids=str)
def test_a_rewritten_stream_differs_in_the_named_strings_only(cassette: Cassette) -> None:
    reader = cassette.dialect.open_stream(cassette.expected["content_type"])
    before = reader.feed(cassette.body)
    assert all(reader.rewrite(e, {}) == e.raw for e in before)
    same = [reader.rewrite(e, {d.at: d.text for d in e.deltas}) for e in before]
    assert [e.deltas for e in run(cassette, same)] == [e.deltas for e in before]
    new = [
        reader.rewrite(e, {d.at: f'é"\\\n{d.text}' for d in e.deltas if d.at[-2:] != "~k"}) for e in before
    ]
    after = run(cassette, new)
    assert [[d.text.removeprefix('é"\\\n') for d in e.deltas] for e in after] == [
        [d.text for d in e.deltas] for e in before
    ]
    assert [(e.closes, e.finish_reason, e.usage) for e in after] == [
        (e.closes, e.finish_reason, e.usage) for e in before
    ]
    assert all(len(a.raw) == len(b.raw) for a, b in zip(after, before, strict=True) if not b.deltas)


@pytest.mark.parametrize("cassette", REQUESTS + ANSWERS, ids=str)
@given(data=st.data())
@settings(max_examples=25)
def test_an_edit_changes_the_named_strings_only(cassette: Cassette, data: st.DataObject) -> None:
    def read(body: bytes):
        if cassette in REQUESTS:
            return cassette.read(body).segments
        return cassette.dialect.read_response(body, 200).segments

    body = cassette.body
    assert cassette.dialect.edit(body, []) is body
    texts = {s.at: s.text for s in read(body) if not s.at.endswith("~k")}
    edits, wanted = [], dict(texts)
    for at in data.draw(st.lists(st.sampled_from(sorted(texts)), unique=True, max_size=4)):
        start = data.draw(st.integers(0, len(texts[at])))
        end = data.draw(st.integers(start, len(texts[at])))
        replacement = "A" + data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
        edits.append(Edit(at, start, end, replacement))
        wanted[at] = texts[at][:start] + replacement + texts[at][end:]
    changed = cassette.dialect.edit(body, edits)
    # The bytes outside the edited tokens: put the old texts back and compare.
    got = {s.at: s.text for s in read(changed)}
    assert {at: got.get(at, wanted[at]) for at in wanted} == wanted
    back = [Edit(e.at, 0, len(wanted[e.at]), texts[e.at]) for e in edits]
    assert json.loads(cassette.dialect.edit(changed, back)) == json.loads(body)


@pytest.mark.parametrize("cassette", REQUESTS, ids=str)
def test_whatever_a_caller_writes_is_seen(cassette: Cassette) -> None:
    def places(value, path=()):
        yield path, value
        if isinstance(value, dict | list):
            for key, member in value.items() if isinstance(value, dict) else enumerate(value):
                yield from places(member, (*path, key))

    def seen(path, what, mark: str) -> bool:
        root = {"": json.loads(cassette.body)}
        holder, key = root, ""
        for step in path:
            holder, key = holder[key], step
        holder[key] = what(holder[key])
        try:
            request = cassette.read(json.dumps(root[""]).encode())
        except WireError:
            return True
        return any(mark in s.text for s in request.segments)

    for path, value in places(json.loads(cassette.body)):
        if isinstance(value, str):
            for other in (MARK, {"a": MARK}, [MARK], {MARK: [0]}, [{"text": MARK, "type": "text"}]):
                assert seen(path, lambda _, other=other: other, MARK), path
        if isinstance(value, dict):
            for note in (MARK, {"a": [[MARK]]}, [{MARK: None}]):
                assert seen(path, lambda old, note=note: {**old, "note": note}, MARK), path
            assert seen(path, lambda old: {**old, MARK: 1}, MARK), path
            assert seen(path, lambda old: {**old, "note": CARD}, str(CARD)), path


SAY = Refusal("pii.found", "Blocked by policy.", "d-1")


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529])
def test_a_refusal_has_a_status_that_no_sdk_retries(name: str, status: int) -> None:
    answer = DIALECTS[name].refuse(Refusal("r", "Blocked.", "d-1", status, retry_after_s=30), streaming=True)
    retried = {408, 409, 429, 500, 502, 503, 504, 529} if name != "ollama_chat" else set()
    assert answer.status not in retried
    read = DIALECTS[name].read_response(answer.body, answer.status)
    assert [s.text for s in read.segments][-1] == "Blocked. (decision d-1)"


@pytest.mark.parametrize(
    ("status", "sent", "kind"),
    [
        (400, 400, "ValidationException"),
        (429, 403, "AccessDeniedException"),
        (413, 400, "ValidationException"),
    ],
)
def test_bedrock_names_its_error_in_a_header(status: int, sent: int, kind: str) -> None:
    answer = DIALECTS["bedrock_converse"].refuse(Refusal("r", "No.", "d", status), streaming=False)
    assert answer.status == sent
    assert dict(answer.headers)["x-amzn-errortype"] == kind
    assert json.loads(answer.body).keys() == {"message"}


@pytest.mark.parametrize("name", FOLDERS)
def test_an_error_in_a_stream_is_read_as_one(name: str) -> None:
    (event,) = feed(DIALECTS[name], "", [DIALECTS[name].stream_error(SAY)])
    assert event.error
    assert event.closes == ("*",)
    assert event.terminal
    assert [d.text for d in event.deltas] == ["Blocked by policy. (decision d-1)"]


@pytest.mark.parametrize(
    ("body", "stream"),
    [({}, True), ({"stream": None}, True), ({"stream": True}, True), ({"stream": False}, False)],
)
def test_ollama_streams_unless_told_not_to(body: dict, stream: bool) -> None:
    body = json.dumps({"messages": [], **body}).encode()
    assert DIALECTS["ollama_chat"].read_request(body, call(Operation.CHAT)).stream is stream
    assert not DIALECTS["ollama_chat"].read_request(b'{"input":"x"}', call(Operation.EMBEDDING)).stream


def test_a_body_of_invoke_without_a_label_is_json_as_awss_sdk_sends_it() -> None:
    body = b'{"inputText": "hello"}'
    unlabelled = replace(call(), content_type="")
    assert [s.text for s in DIALECTS["bedrock_invoke"].read_request(body, unlabelled).segments] == ["hello"]
    with pytest.raises(WireError, match=r"content_type\.other"):
        DIALECTS["bedrock_invoke"].read_request(body, replace(call(), content_type="text/plain"))
    with pytest.raises(WireError, match=r"content_type\.other"):
        DIALECTS["bedrock_converse"].read_request(b'{"messages": []}', unlabelled)


def chunk(inner: dict, **beside) -> bytes:
    payload = {"bytes": base64.b64encode(json.dumps(inner).encode()).decode(), **beside}
    return json_frame("event", "chunk", json.dumps(payload).encode())


METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 2}}
FAMILIES = {
    "titan": [{"outputText": "ab", "index": 0}, {"outputText": "c", "completionReason": "FINISH", **METRICS}],
    "llama": [
        {"generation": "ab", "stop_reason": None},
        {"generation": "c", "stop_reason": "stop", **METRICS},
    ],
    "mistral": [
        {"outputs": [{"text": "ab"}]},
        {"outputs": [{"text": "c", "stop_reason": "stop"}], **METRICS},
    ],
    "chat": [
        {"choices": [{"index": 0, "delta": {"content": "ab"}}]},
        {"choices": [{"index": 0, "delta": {"content": "c"}, "finish_reason": "stop"}]},
    ],
    "nova": [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "ab"}}},
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "c"}}},
        {"messageStop": {"stopReason": "end_turn"}},
    ],
}


@pytest.mark.parametrize("inner", FAMILIES.values(), ids=FAMILIES.keys())
def test_every_family_of_invoke_streams_is_read_and_rewritten(inner: list[dict]) -> None:
    dialect = DIALECTS["bedrock_invoke"]
    reader = dialect.open_stream()
    events = reader.feed(b"".join(chunk(i, p="abc") for i in inner))
    assert flowing(events, Surface.ASSISTANT) == "abc"
    assert [e.finish_reason for e in events if e.finish_reason] == ["stop"]
    assert len({d.channel for e in events for d in e.deltas}) == 1
    new = b"".join(reader.rewrite(e, {d.at: d.text.upper() for d in e.deltas}) for e in events)
    assert flowing(dialect.open_stream().feed(new), Surface.ASSISTANT) == "ABC"


@pytest.mark.parametrize(
    ("body", "surface", "limit"),
    [
        ({"inputText": MARK, "textGenerationConfig": {"maxTokenCount": 9}}, Surface.USER, 9),
        ({"prompt": MARK, "max_gen_len": 9}, Surface.USER, 9),
        ({"message": MARK, "chat_history": [], "max_tokens": 9}, Surface.USER, 9),
        ({"chat_history": [{"role": "CHATBOT", "message": MARK}]}, Surface.ASSISTANT, None),
        ({"texts": [MARK], "input_type": "search_document"}, Surface.USER, None),
        ({"messages": [{"role": "tool", "content": MARK}], "max_tokens": 9}, Surface.TOOL_RESULT, 9),
        (
            {
                "messages": [{"role": "user", "content": [{"text": MARK}]}],
                "inferenceConfig": {"maxTokens": 9},
            },
            Surface.USER,
            9,
        ),
        ({"unheard_of": {"deep": [MARK]}}, Surface.DOCUMENT, None),
    ],
)
def test_every_family_of_invoke_requests_is_read(body: dict, surface: Surface, limit: int | None) -> None:
    request = DIALECTS["bedrock_invoke"].read_request(json.dumps(body).encode(), call(model="m", stream=True))
    assert [s.surface for s in request.segments if s.text == MARK] == [surface]
    assert (request.max_output_tokens, request.model, request.stream) == (limit, "m", True)


@pytest.mark.parametrize(
    "frame",
    [
        chunk({}, note="hidden"),
        json_frame("event", "chunk", b'{"bytes":"e30=\\n"}'),
        json_frame("event", "chunk", b'{"bytes":7}'),
        json_frame("event", "chunk", b"{}"),
        json_frame("event", "", b"{}"),
        json_frame("note", "chunk", b"{}"),
        json_frame("event", "messageStop", b""),
    ],
)
def test_an_odd_frame_is_refused(frame: bytes) -> None:
    for name in ("bedrock_invoke", "bedrock_converse"):
        with pytest.raises(WireError):
            DIALECTS[name].open_stream().feed(frame)


def test_a_body_in_base64_that_bedrock_would_count_is_refused() -> None:
    body = b'{"input":{"invokeModel":{"body":"e30="}}}'
    with pytest.raises(WireError, match="encoded_body"):
        DIALECTS["bedrock_converse"].read_request(body, call(Operation.COUNT_TOKENS))


def mutated(chance: random.Random, body: bytes) -> bytes:
    data = bytearray(body)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + chance.randrange(20)]
            case 2:
                other = chance.randrange(len(data) + 1)
                data[at:at] = data[other : other + chance.randrange(40)]
            case _:
                data[at:at] = chance.choice(
                    [b'"', b"\\u", b"{", b"]", b"null", b"-1", b'":[', b"\n", b"\xff"]
                )
    return bytes(data)


def reframed(chance: random.Random, body: bytes) -> bytes:
    """Mutate payloads under good checksums, so that what lies below the frames is reached too."""
    frames = FrameReader().feed(body)
    return b"".join(
        f.with_payload(mutated(chance, f.payload)) if chance.random() < 0.3 else f.raw for f in frames
    )


@pytest.mark.parametrize("cassette", REQUESTS + ANSWERS + STREAMS + cassettes("error"), ids=str)
def test_mutations_raise_nothing_but_wire_errors(cassette: Cassette) -> None:
    chance = random.Random(cassette.name)
    body = cassette.body
    for turn in range(150):
        data = reframed(chance, body) if body[0] == 0 and turn % 2 else mutated(chance, body)
        reader = cassette.dialect.open_stream(cassette.expected["content_type"])
        with contextlib.suppress(WireError):
            cassette.read(data)
        with contextlib.suppress(WireError):
            cassette.dialect.read_response(data, chance.choice([200, 400]))
        with contextlib.suppress(WireError):
            cassette.dialect.edit(data, [Edit("/messages/0/content", 0, 1, "x")])
        with contextlib.suppress(WireError):
            for event in [*reader.feed(data), *reader.end()]:
                reader.rewrite(event, {d.at: "x" for d in event.deltas})
