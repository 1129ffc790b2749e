"""Mistral's chat as a client sees it, where it differs from OpenAI's; everything else is OpenAI's stand-in.

A model that thinks answers with a list of chunks, streams end with their usage unasked, errors are flat.
"""

import json
from collections.abc import Iterator

from sallyport.lab import openai
from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, deltas, say, tool
from sallyport.lab.values import (
    Incoming,
    Json,
    Reply,
    content_text,
    json_reply,
    object_at,
    objects,
    sse,
    string_at,
    strings,
)

HOSTS = ("api.mistral.ai", "api.eu.mistral.ai", "api.us.mistral.ai", "codestral.mistral.ai")


def is_mine(request: Incoming) -> bool:
    return request.host in HOSTS


def model_of(request: Incoming) -> str:
    return string_at(request.json(), "model")


def answer(request: Incoming) -> Reply:
    """Answer a request as api.mistral.ai would."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key or "invalid" in key:
        return json_reply({"detail": "Unauthorized"}, 401)
    body = request.json()
    model = string_at(body, "model")
    if status := behaviour_of(model).error:
        return error(status)
    if request.path in ("/v1/chat/completions", "/v1/fim/completions"):
        return _chat(body, model)
    if request.path == "/v1/embeddings":
        given = openai.answer(request)
        return json_reply({"id": "lab", **json.loads(given.pieces[0])}, given.status)
    return openai.answer(request)


def error(status: int, message: str = "") -> Reply:
    """Return an error in Mistral's shape; one of a body that does not fit lists what is wrong."""
    if status == 422:
        wrong = {"type": "missing", "loc": ["body", "messages"], "msg": "Field required", "input": None}
        return json_reply({"detail": [wrong]}, 422)
    text = message or f"The lab answers {status}."
    kind = "rate_limited" if status == 429 else "invalid_request_error"
    told = {"object": "error", "message": text, "type": kind, "param": None, "code": str(status)}
    return json_reply(told, status)


def _chat(body: Json, model: str) -> Reply:
    messages = [*objects(body.get("messages"))] or [{"role": "user", "content": body.get("prompt")}]
    users = [content_text(message.get("content")) for message in messages if message.get("role") == "user"]
    last = messages[-1]
    functions = [object_at(entry, "function") for entry in objects(body.get("tools"))]
    if body.get("tool_choice") == "none":
        functions = []
    heard = Heard(
        model=model,
        last=users[-1] if users else "",
        texts=(*strings(messages),),
        tools=tuple(tool(string_at(each, "name"), object_at(each, "parameters")) for each in functions),
        tool_result=content_text(last.get("content")) if last.get("role") == "tool" else None,
        stream=body.get("stream") is True,
    )
    said = say(heard)
    usage = {
        "prompt_tokens": heard.tokens,
        "completion_tokens": said.tokens,
        "total_tokens": heard.tokens + said.tokens,
    }
    head = {"id": heard.id, "created": openai.CREATED, "model": model}
    if heard.stream:
        pieces = [*_chunks(head, heard, said, usage), b"data: [DONE]\n\n"]
        return Reply(200, "text/event-stream; charset=utf-8", tuple(pieces), streamed=True)
    message: dict[str, object] = {"role": "assistant", "content": _content(said)}
    if said.call:
        message["tool_calls"] = [_call(heard, said)]
    choice = {"index": 0, "message": message, "finish_reason": _finish(said)}
    return json_reply({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _content(said: Said) -> object:
    if not said.reasoning:
        return said.text
    return [_thought(said.reasoning), {"type": "text", "text": said.text}]


def _thought(text: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _call(heard: Heard, said: Said) -> Json:
    assert said.call is not None
    function = {"name": said.call.tool, "arguments": said.call.json}
    return {"id": heard.id[:9], "type": "function", "function": function, "index": 0}


def _finish(said: Said) -> str:
    return "tool_calls" if said.call else "stop"


def _chunks(head: Json, heard: Heard, said: Said, usage: Json) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return sse({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    for piece in deltas(said.reasoning):
        yield chunk({"content": [_thought(piece)]})
    for piece in deltas(said.text):
        yield chunk({"content": piece})
    last: Json = {"content": "", "tool_calls": [_call(heard, said)]} if said.call else {"content": ""}
    yield chunk(last, _finish(said), usage=usage)
