"""Whatever a caller writes, wherever it stands in a request, is among the segments."""

import copy
import json

import pytest

from sallyport.exchange import Operation, Surface
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError
from wire.samples import Sample, call, operation_of, samples

MARK = "heron 4111 1111 1111 1111"
CARD = 4111111111111111


def places(value, path=()):
    """Yield the path of every string, and of every object."""
    if isinstance(value, str | dict):
        yield path, value
    if isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(member, (*path, key))


def changed(body, path, change):
    """Return a copy of a body in which change(holder, last key) was made at a path."""
    root = {"": copy.deepcopy(body)}
    holder, key = root, ""
    for step in path:
        holder, key = holder[key], step
    change(holder, key)
    return json.dumps(root[""]).encode()


def seen(sample: Sample, body: bytes, what: str) -> bool:
    try:
        request = sample.dialect.read_request(body, call(operation_of(sample)))
    except WireError:
        return True  # refused is not unseen
    return any(what in s.text for s in request.segments)


def put(value):
    def change(holder, key):
        holder[key] = value

    return change


def add(name, value):
    def change(holder, key):
        holder[key][name] = value

    return change


@pytest.mark.parametrize("sample", samples("request"), ids=str)
def test_every_string_that_is_no_protocol_word_is_seen(sample: Sample):
    body = json.loads(sample.body)
    for path, value in places(body):
        if isinstance(value, str):
            assert seen(sample, changed(body, path, put(MARK)), MARK), path


@pytest.mark.parametrize("sample", samples("request"), ids=str)
def test_whatever_is_added_to_an_object_is_seen(sample: Sample):
    body = json.loads(sample.body)
    for path, value in places(body):
        if isinstance(value, dict):
            assert seen(sample, changed(body, path, add(MARK, 1)), MARK), path
            assert seen(sample, changed(body, path, add("note", MARK)), MARK), path
            assert seen(sample, changed(body, path, add("note", {"a": [[MARK]]})), MARK), path
            assert seen(sample, changed(body, path, add("note", [{MARK: None}])), MARK), path
            assert seen(sample, changed(body, path, add("note", CARD)), str(CARD)), path


@pytest.mark.parametrize("sample", samples("request"), ids=str)
def test_an_object_or_a_list_where_a_string_was_is_seen(sample: Sample):
    body = json.loads(sample.body)
    for path, value in places(body):
        if isinstance(value, str):
            for other in ({"a": MARK}, [MARK], {MARK: [0]}, [{"text": MARK, "type": "text"}]):
                assert seen(sample, changed(body, path, put(other)), MARK), path


@pytest.mark.parametrize("sample", samples("request"), ids=str)
def test_every_segment_can_be_edited(sample: Sample):
    from sallyport.decision import Edit

    request = sample.dialect.read_request(sample.body, call(operation_of(sample)))
    edits = [Edit(s.at, len(s.text), len(s.text), "!") for s in request.segments if not s.at.endswith("~k")]
    again = sample.dialect.read_request(sample.dialect.edit(sample.body, edits), call(operation_of(sample)))
    texts = {s.at: s.text for s in again.segments}
    assert all(texts[s.at] == s.text + "!" for s in request.segments if not s.at.endswith("~k"))


def ask(name: str, body: dict, operation=Operation.CHAT, **more):
    return DIALECTS[name].read_request(json.dumps(body).encode(), call(operation, **more))


def test_the_surface_tells_who_wrote_a_text():
    request = ask(
        "openai_chat",
        {
            "messages": [
                {"role": r, "content": r}
                for r in ("system", "developer", "user", "assistant", "tool", "function", "stranger")
            ]
        },
    )
    S = Surface
    assert [s.surface for s in request.segments] == [
        S.SYSTEM,
        S.SYSTEM,
        S.USER,
        S.ASSISTANT,
        S.TOOL_RESULT,
        S.TOOL_RESULT,
        S.USER,
    ]
    request = ask(
        "gemini_generate", {"contents": [{"parts": [{"text": "x", "thought": True}, {"text": "y"}]}]}
    )
    assert [s.surface for s in request.segments] == [S.REASONING, S.USER]


def test_token_ids_are_an_attachment():
    for prompt, at in (([1, 2, 3], "/prompt"), ([[1, 2, 3]], "/prompt/0")):
        (attachment,) = ask("openai_completions", {"model": "m", "prompt": prompt}).attachments
        assert (attachment.at, attachment.media_type, attachment.size) == (at, "application/x-token-ids", 12)
    assert ask("openai_embeddings", {"input": [1, 2]}, Operation.EMBEDDING).attachments
    mixed = ask("openai_completions", {"prompt": ["a", [1, 2]]})
    assert [s.text for s in mixed.segments] == ["a"]
    assert len(mixed.attachments) == 1


@pytest.mark.parametrize(
    ("url", "media_type", "size", "read"),
    [
        ("data:image/png;base64,iVBO", "image/png", 3, False),
        ("data:text/plain;base64,/wA=", "text/plain", 2, False),
        ("DATA:image/PNG;BASE64,iVBO", "image/png", 3, False),
        ("data:image/png;name=heron;base64,QUJD", "image/png", 3, True),
        ("data:text/plain,heron", "text/plain", 5, True),
        ("data:image/png;base64,not base64!", "image/png", 8, True),
        ("data:heron", "application/octet-stream", 10, True),
        ("https://evil.example/?q=heron", "image/*", None, True),
    ],
)
def test_an_image_is_an_attachment_and_its_url_a_text(url, media_type, size, read):
    part = {"type": "image_url", "image_url": {"url": url}}
    request = ask("openai_chat", {"messages": [{"role": "user", "content": [part]}]})
    (attachment,) = request.attachments
    assert (attachment.media_type, attachment.size) == (media_type, size)
    assert [s.text for s in request.segments] == ([url] if read else [])


@pytest.mark.parametrize(
    "item",
    [
        {"type": "item_reference", "id": "msg_1"},
        {"id": "msg_1"},
        {"id": "msg_1", "type": None},
        {"id": "msg_1", "role": None, "status": "completed"},
    ],
    ids=["typed", "untyped", "null type", "null role"],
)
def test_a_reference_to_an_item_that_the_provider_keeps_is_an_attachment_with_a_type_and_without(item: dict):
    (attachment,) = ask("openai_responses", {"input": [item]}).attachments
    assert (attachment.at, attachment.media_type) == ("/input/0/id", "application/x-file-reference")


def test_a_message_with_an_id_is_no_reference_whether_it_has_a_type_or_not():
    items = [
        {"id": "msg_1", "role": "user", "content": MARK},
        {"id": "msg_2", "content": MARK, "type": "message"},
    ]
    request = ask("openai_responses", {"input": items})
    assert request.attachments == ()
    assert [s.text for s in request.segments].count(MARK) == 2


def test_what_stands_beside_a_reference_is_read():
    request = ask(
        "openai_responses", {"input": [{"id": "msg_1", "content": [{"type": "input_text", "text": MARK}]}]}
    )
    assert MARK in [s.text for s in request.segments]


def test_blobs_that_a_provider_made_are_attachments_and_text_if_they_are_no_blobs():
    blocks = [
        {"type": "thinking", "thinking": "t", "signature": "QUJD"},
        {"type": "redacted_thinking", "data": "my number is 4111"},
    ]
    request = ask("anthropic_messages", {"messages": [{"role": "assistant", "content": blocks}]})
    assert [a.at for a in request.attachments] == [
        "/messages/0/content/0/signature",
        "/messages/0/content/1/data",
    ]
    assert {a.media_type for a in request.attachments} == {"application/x-provider-state"}
    assert [s.text for s in request.segments] == ["t", "my number is 4111"]


def test_a_request_tells_model_stream_limit_tools_and_previous():
    request = ask(
        "openai_responses",
        {
            "model": "gpt-5",
            "input": "x",
            "stream": True,
            "max_output_tokens": 9,
            "previous_response_id": "resp_1",
            "tools": [{"type": "web_search"}, {"type": "function", "name": "f"}],
        },
    )
    assert (request.model, request.stream, request.max_output_tokens) == ("gpt-5", True, 9)
    assert (request.previous, request.tools) == ("resp_1", ("web_search", "f"))
    request = ask(
        "gemini_generate",
        {
            "contents": [],
            "generation_config": {"max_output_tokens": "7", "candidateCount": 3},
            "cachedContent": "c/1",
            "tools": [{"googleSearch": {}}],
        },
        model="g",
        stream=True,
    )
    assert (request.model, request.stream, request.max_output_tokens) == ("g", True, 21)
    assert (request.previous, request.tools) == ("c/1", ("googleSearch",))
    request = ask("openai_chat", {"messages": [], "max_tokens": 5, "n": 4, "stream": None})
    assert (request.model, request.stream, request.max_output_tokens) == (None, False, 20)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("openai_chat", {}),
        ("openai_chat", {"messages": "x"}),
        ("openai_chat", {"messages": ["x"]}),
        ("openai_chat", {"messages": [], "stream": "true"}),
        ("openai_chat", {"messages": [], "stream": 1}),
        ("openai_chat", {"messages": [], "model": 5}),
        ("openai_chat", {"messages": [], "max_tokens": "many"}),
        ("openai_chat", {"messages": [], "max_tokens": True}),
        ("openai_chat", {"messages": [], "max_tokens": -1}),
        ("openai_completions", {"prompt": {"a": 1}}),
        ("openai_embeddings", {"input": None}),
        ("openai_responses", {"input": 5}),
        ("anthropic_messages", {"messages": {}}),
        ("anthropic_messages", {"messages": [], "system": 4}),
        ("gemini_generate", {"contents": {}}),
        ("gemini_generate", {}),
        ("gemini_generate", {"contents": [], "generationConfig": {"maxOutputTokens": "x"}}),
    ],
)
def test_an_ill_typed_essential_is_refused(name: str, body: dict):
    with pytest.raises(WireError) as refused:
        ask(name, body)
    assert refused.value.reason == "json.type"


def test_an_opaque_body_is_one_attachment():
    opaque = DIALECTS["opaque"]
    assert opaque.read_request(b"", call(Operation.LIST_MODELS)).attachments == ()
    (attachment,) = opaque.read_request(
        b"\xff\x00", call(Operation.OPAQUE, content_type="audio/WAV; x=1")
    ).attachments
    assert (attachment.at, attachment.media_type, attachment.size) == ("", "audio/wav", 2)
    assert opaque.read_response(b"\xff", 200).segments == ()
    assert opaque.edit(b"\xff", []) == b"\xff"


def test_a_long_integer_is_a_text_but_a_seed_is_not():
    request = ask(
        "openai_chat", {"messages": [{"role": "user", "content": CARD}], "seed": CARD, "max_tokens": 5}
    )
    assert [(s.at, s.text) for s in request.segments] == [("/messages/0/content", str(CARD))]


def test_an_answer_may_hold_many_vectors():
    body = json.dumps(
        {"data": [{"embedding": [0.5] * 3000} for _ in range(50)], "usage": {"prompt_tokens": 2}}
    )
    response = DIALECTS["openai_embeddings"].read_response(body.encode(), 200)
    assert (response.usage.input, response.usage.output) == (2, 0)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("model", "gpt-4.1-2025-04-14", False),
        ("model", "accounts/fireworks/models/llama-v3p1-70b", False),
        ("model", "ft:gpt-4o-mini:acme:desk:9abcDEF1", False),
        ("model", "sk-proj-abcdefghijklmnopqrstuvwxyz", True),
        ("model", "m-4111-1111-1111-1111", True),
        ("model", "AKIAIOSFODNN7EXAMPLEX", True),
        ("service_tier", "auto", False),
        ("service_tier", "tier 1", True),
        ("reasoning_effort", "a" * 65, True),
        ("verbosity", "v12025550147", True),
    ],
)
def test_a_word_is_left_out_only_while_it_looks_like_one(field: str, value: str, read: bool):
    request = ask("openai_chat", {"messages": [], field: value})
    assert [s.text for s in request.segments] == ([value] if read else [])
