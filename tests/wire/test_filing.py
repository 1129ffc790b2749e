"""Files, jobs and batches: every text of a request is read, answers of any kind are, and only what is named changes."""

import json
from typing import Any

import pytest

from sallyport.decision import Edit, Refusal
from sallyport.exchange import Attachment, Operation, Request, Response, Surface, ToolKind
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

MAIL = "odile@example.org"
OURS = ("openai_other", "anthropic_other", "gemini_batch")


def read(dialect: str, payload: object, operation: Operation = Operation.BATCH) -> Request:
    return DIALECTS[dialect].read_request(json.dumps(payload).encode(), Call("p", operation))


def params(**more: object) -> dict[str, object]:
    return {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": MAIL}], **more}


def batch(*requests: object) -> dict[str, object]:
    return {"requests": [{"custom_id": f"row-{n}", "params": one} for n, one in enumerate(requests)]}


def gemini(*requests: dict[str, object]) -> dict[str, object]:
    inner = [{"request": one, "metadata": {"key": "k"}} for one in requests]
    return {"batch": {"displayName": "d", "inputConfig": {"requests": {"requests": inner}}}}


def contents(**more: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": [{"text": MAIL}]}], **more}


@pytest.mark.parametrize("dialect", OURS)
def test_a_request_without_a_body_says_nothing(dialect: str) -> None:
    request = DIALECTS[dialect].read_request(b"", Call("p", Operation.BATCH, content_type=""))
    assert (request.segments, request.attachments, request.operation) == ((), (), Operation.BATCH)


@pytest.mark.parametrize("dialect", OURS)
@pytest.mark.parametrize("body", [b"{", b"[]", b"{}x", b"\xff", b'{"a":1,"a":2}'], ids=repr)
def test_a_body_that_is_not_one_object_is_refused(dialect: str, body: bytes) -> None:
    with pytest.raises(WireError):
        DIALECTS[dialect].read_request(body, Call("p", Operation.BATCH))


def test_what_a_policy_judges_is_gathered_from_every_request_of_an_anthropic_batch() -> None:
    tool = {"name": "look", "input_schema": {"type": "object"}}
    server = {"type": "url", "name": "s", "url": "https://mcp.example.com"}
    request = read(
        "anthropic_other", batch(params(), params(temperature=0.5, tools=[tool], mcp_servers=[server]))
    )
    assert (request.model, request.answers, request.max_output_tokens) == ("m", 2, 10)
    assert request.tools == ("look",)
    assert {(t.kind, t.server or t.name) for t in request.declared} == {
        (ToolKind.FUNCTION, "look"),
        (ToolKind.MCP, "mcp.example.com"),
    }
    assert ("temperature", 0.5, "/requests/1/params/temperature") in [
        (p.name, p.value, p.at) for p in request.parameters
    ]
    users = [s.at for s in request.segments if s.surface is Surface.USER and s.text == MAIL]
    assert users == [f"/requests/{n}/params/messages/0/content" for n in (0, 1)]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (batch(params(), params(model="other")), "batch.models"),
        ({"requests": [{"custom_id": "x"}]}, "json.type"),
        ({"requests": [{"custom_id": "x", "params": {"messages": "hello"}}]}, "json.type"),
        ({"requests": "hello"}, "json.type"),
    ],
)
def test_an_anthropic_batch_that_nobody_can_judge_is_refused(payload: object, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        read("anthropic_other", payload)
    assert refused.value.reason == reason


def test_what_a_policy_judges_is_gathered_from_every_request_of_a_gemini_batch() -> None:
    tool = {"functionDeclarations": [{"name": "look"}]}
    second = contents(tools=[tool], generationConfig={"temperature": 0.5, "maxOutputTokens": 7})
    request = read("gemini_batch", gemini(contents(), second))
    assert (request.tools, request.answers, request.max_output_tokens) == (("look",), 2, 7)
    assert [(p.name, p.at) for p in request.parameters if p.name == "temperature"] == [
        ("temperature", "/batch/inputConfig/requests/requests/1/request/generationConfig/temperature")
    ]
    assert [s.text for s in request.segments if s.surface is Surface.USER].count(MAIL) == 2


@pytest.mark.parametrize("payload", [{}, {"batch": {}}, gemini({"contents": "hello"}),
    {"batch": {"inputConfig": {"fileName": "files/a"}, "input_config": {"fileName": "files/b"}}}])  # fmt: skip
def test_a_gemini_batch_that_nobody_can_judge_is_refused(payload: object) -> None:
    with pytest.raises(WireError):
        read("gemini_batch", payload)


def test_requests_that_lie_in_a_file_are_content_by_reference() -> None:
    (found,) = read("gemini_batch", {"batch": {"inputConfig": {"fileName": "files/abc"}}}).attachments
    assert (found.media_type, found.size) == ("application/x-file-reference", None)
    found, *_ = read("openai_other", {"input_file_id": "file-abc", "endpoint": "/v1/responses"}).attachments
    assert found == Attachment("/input_file_id", "application/x-file-reference", None)
    assert read("openai_other", {"input_file_id": "file-abc"}).previous == "file-abc"


@pytest.mark.parametrize(
    ("payload", "texts"),
    [
        ({"model": "gpt-image-1", "prompt": MAIL, "size": "1024x1024", "n": 2}, [MAIL]),
        ({"model": "tts-1", "input": MAIL, "voice": "alloy", "instructions": "slowly"}, [MAIL, "slowly"]),
        ({"query": MAIL, "filters": {"key": "city", "value": "Graz"}}, [MAIL, "Graz"]),
        ({"metadata": {"note": MAIL}, "something_new": [MAIL]}, [MAIL, MAIL, "note"]),
    ],
)
def test_every_text_of_other_calls_is_read(payload: dict[str, Any], texts: list[str]) -> None:
    found = [s.text for s in read("openai_other", payload, Operation.IMAGE).segments]
    assert not [text for text in texts if text not in found]
    assert read("openai_other", payload, Operation.IMAGE).answers == payload.get("n", 1)


LINES = "".join(
    json.dumps({"custom_id": f"row-{n}", "response": {"status_code": 200, "body": {"choices": [
        {"index": 0, "message": {"role": "assistant", "content": MAIL}}]}}}) + "\n" for n in (1, 2)
).encode()  # fmt: skip
ANTHROPIC_LINES = "".join(
    json.dumps({"custom_id": f"row-{n}", "result": {"type": "succeeded", "message": {
        "id": "msg", "content": [{"type": "thinking", "thinking": MAIL, "signature": "c2ln"}, {"type": "text", "text": MAIL}]}}}) + "\n" for n in (1, 2)
).encode()  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "body", "places"),
    [
        ("openai_other", LINES, ["/0/response/body/choices/0/message/content", "/1/response/body/choices/0/message/content"]),
        ("openai_other", LINES.splitlines()[0], ["/response/body/choices/0/message/content"]),
        ("openai_other", b'{"created":1,"data":[{"b64_json":"iVBORw==","revised_prompt":"' + MAIL.encode() + b'"}]}', ["/data/0/revised_prompt"]),
        ("openai_other", f"name\n{MAIL}\n".encode(), [""]),
        ("openai_other", f"{{not json, but {MAIL}".encode(), [""]),
        ("anthropic_other", ANTHROPIC_LINES, ["/0/result/message/content/1/text", "/1/result/message/content/1/text"]),
        ("anthropic_other", ANTHROPIC_LINES.splitlines()[0], ["/result/message/content/1/text"]),
    ],
)  # fmt: skip
def test_answers_of_every_kind_are_read_and_changed_where_they_are_named(
    dialect: str, body: bytes, places: list[str]
) -> None:
    answer = DIALECTS[dialect].read_response(body, 200)
    held = {s.at: s for s in answer.segments if MAIL in s.text and s.surface is not Surface.REASONING}
    assert sorted(held) == sorted(places)
    edits = [Edit(at, s.text.index(MAIL), s.text.index(MAIL) + len(MAIL), "<X>") for at, s in held.items()]
    assert DIALECTS[dialect].edit(body, []) == body
    changed = DIALECTS[dialect].edit(body, edits)
    reasoning = body.count(b'"thinking": "' + MAIL.encode())
    assert changed.count(b"<X>") == len(places)
    assert changed.replace(b"<X>", MAIL.encode()) == body
    assert changed.count(MAIL.encode()) == reasoning


def test_bytes_are_told_as_bytes_and_stay() -> None:
    answer = DIALECTS["openai_other"].read_response(b"ID3\x04\x00\xff", 200)
    assert (answer.segments, answer.attachments) == ((), (Attachment("", "application/octet-stream", 6),))
    with pytest.raises(WireError):
        DIALECTS["openai_other"].edit(b"ID3\x04\x00\xff", [Edit("", 0, 1, "x")])


def test_what_an_answer_makes_is_named_so_that_it_can_be_followed() -> None:
    made = {
        "id": "batch_a",
        "output_file_id": "file-b",
        "error_file_id": None,
        "data": [{"id": "file-other"}],
    }
    answer = DIALECTS["openai_other"].read_response(json.dumps(made).encode(), 200)
    assert (answer.id, answer.made) == ("batch_a", ("file-b",))
    listed = {"object": "list", "data": [made], "first_id": "batch_a"}
    answer = DIALECTS["openai_other"].read_response(json.dumps(listed).encode(), 200)
    assert (answer.id, answer.made) == (None, ())
    assert DIALECTS["gemini_batch"].read_response(b'{"name":"batches/xyz"}', 200).id == "xyz"


def test_a_batch_of_gemini_reads_alike_by_itself_and_in_a_list() -> None:
    said = {"content": {"role": "model", "parts": [{"text": "Tides"}]}, "finishReason": "STOP"}
    done = {"inlinedResponses": {"inlinedResponses": [{"response": {"candidates": [said]}}]}}
    one = {
        "name": "batches/xyz",
        "done": True,
        "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": done,
    }

    def texts(payload: object) -> list[tuple[str, Surface]]:
        answer = DIALECTS["gemini_batch"].read_response(json.dumps(payload).encode(), 200)
        return [(s.text, s.surface) for s in answer.segments]

    assert ("Tides", Surface.ASSISTANT) in texts(one)
    assert texts({"operations": [one, one]}) == texts(one) * 2


@pytest.mark.parametrize("dialect", OURS)
@pytest.mark.parametrize(("status", "error"), [(200, None), (204, None), (404, "http_404")])
def test_nothing_is_an_answer_too(dialect: str, status: int, error: str | None) -> None:
    assert DIALECTS[dialect].read_response(b"", status) == Response(status, error=error)


@pytest.mark.parametrize("dialect", [*OURS, "anthropic_form"])
def test_a_refusal_is_an_error_of_its_provider(dialect: str) -> None:
    answer = DIALECTS[dialect].refuse(Refusal("access.operation", "Not here.", "id-1", status=403), False)
    assert answer.status == 403
    said = json.loads(answer.body)
    assert "Not here." in said["error"]["message"]
    assert ("type" in said) == dialect.startswith("anthropic")
