"""The Anthropic API as a client sees it: messages, count_tokens, models."""

from collections.abc import Iterator

from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, deltas, say, tool
from sallyport.lab.values import (
    Incoming,
    Json,
    Reply,
    content_text,
    dumps,
    json_reply,
    object_at,
    objects,
    sse,
    string_at,
    strings,
)

MODELS = ("claude-lab", "claude-lab-mini")
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def model_of(request: Incoming) -> str:
    return string_at(request.json(), "model")


def answer(request: Incoming) -> Reply:
    """Answer a request as api.anthropic.com would."""
    key = request.headers.get("x-api-key", "") or request.headers.get("authorization", "").removeprefix(
        "Bearer "
    )
    if not key.strip() or "invalid" in key:
        return error(401, "invalid x-api-key")
    if not request.headers.get("anthropic-version"):
        return error(400, "anthropic-version: header is required")
    path = request.path.removeprefix("/anthropic")
    if request.method == "GET":
        return _models(path)
    body = request.json()
    if status := behaviour_of(string_at(body, "model")).error:
        return error(status)
    if path not in ("/v1/messages", "/v1/messages/count_tokens"):
        return error(404, "Not found")
    messages = [*objects(body.get("messages"))]
    if not messages:
        return error(400, "messages: at least one message is required")
    heard = _hear(body, messages)
    if path.endswith("/count_tokens"):
        return json_reply({"input_tokens": heard.tokens})
    if not isinstance(body.get("max_tokens"), int):
        return error(400, "max_tokens: Field required")
    said = say(heard)
    whole = _message(heard, said)
    if heard.stream:
        pieces = [*_events(whole)]
        if "stream-error" in heard.model:
            failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            pieces = [*pieces[: len(pieces) // 2], sse(failure, event="error")]
        return Reply(200, "text/event-stream; charset=utf-8", tuple(pieces), streamed=True)
    return json_reply(whole)


def error(status: int, message: str = "") -> Reply:
    """Return an error in Anthropic's shape."""
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    body = {"type": kind, "message": message or f"The lab answers {status}."}
    return json_reply({"type": "error", "error": body, "request_id": "req_lab"}, status)


def _hear(body: Json, messages: list[Json]) -> Heard:
    users = [message.get("content") for message in messages if message.get("role") == "user"]
    results = [block for block in objects(messages[-1].get("content")) if block.get("type") == "tool_result"]
    forbidden = string_at(object_at(body, "tool_choice"), "type") == "none"
    declared = [] if forbidden else [entry for entry in objects(body.get("tools")) if "input_schema" in entry]
    return Heard(
        model=string_at(body, "model"),
        last=next((text for text in map(content_text, reversed(users)) if text), ""),
        texts=(*strings(body.get("system")), *strings(body.get("messages"))),
        tools=tuple(tool(string_at(entry, "name"), object_at(entry, "input_schema")) for entry in declared),
        tool_result=content_text(results[-1].get("content")) if results else None,
        stream=body.get("stream") is True,
    )


def _message(heard: Heard, said: Said) -> Json:
    content: list[object] = []
    if said.reasoning:
        content.append({"type": "thinking", "thinking": said.reasoning, "signature": f"SIGNED+{heard.id}=="})
    if said.call:
        call = {"id": f"toolu_{heard.id}", "name": said.call.tool, "input": said.call.arguments}
        content.append({"type": "tool_use", **call})
    else:
        content.append({"type": "text", "text": said.text})
    return {
        "id": f"msg_{heard.id}",
        "type": "message",
        "role": "assistant",
        "model": heard.model,
        "content": content,
        "stop_reason": "tool_use" if said.call else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": heard.tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": said.tokens,
            "service_tier": "standard",
        },
    }


def _events(whole: Json) -> Iterator[bytes]:
    def event(kind: str, **fields: object) -> bytes:
        return sse({"type": kind, **fields}, event=kind)

    usage = object_at(whole, "usage")
    start = {**whole, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    yield event("message_start", message=start)
    yield event("ping")
    for index, block in enumerate(objects(whole["content"])):
        empty, parts = _block(block)
        yield event("content_block_start", index=index, content_block=empty)
        for part in parts:
            yield event("content_block_delta", index=index, delta=part)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage=usage)
    yield event("message_stop")


def _block(block: Json) -> tuple[Json, list[Json]]:
    """Return a content block as it opens, and the deltas that fill it."""
    match block["type"]:
        case "thinking":
            thoughts = [
                {"type": "thinking_delta", "thinking": piece}
                for piece in deltas(string_at(block, "thinking"))
            ]
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [*thoughts, signed]
        case "tool_use":
            pieces = ["", *deltas(dumps(block["input"]))]
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in pieces
            ]
        case _:
            texts = [{"type": "text_delta", "text": piece} for piece in deltas(string_at(block, "text"))]
            return {**block, "text": ""}, [*texts]


def _models(path: str) -> Reply:
    cards = {
        name: {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in MODELS
    }
    if path == "/v1/models":
        ends = {"first_id": MODELS[0], "last_id": MODELS[-1]}
        return json_reply({"data": [*cards.values()], "has_more": False, **ends})
    name = path.removeprefix("/v1/models/")
    return json_reply(cards[name]) if name in cards else error(404, "Not found")
