"""Cohere's second API as a client sees it: chat, embed, models."""

from collections.abc import Iterator

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

HOSTS = ("api.cohere.com", "api.cohere.ai")


def is_mine(request: Incoming) -> bool:
    return request.host in HOSTS and "/compatibility/" not in request.path


def model_of(request: Incoming) -> str:
    return string_at(request.json(), "model")


def answer(request: Incoming) -> Reply:
    """Answer a request as api.cohere.com would."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key or "invalid" in key:
        return error(401, "invalid api token")
    if request.method == "GET" and request.path == "/v1/models":
        return json_reply({"models": [{"name": "command-lab", "endpoints": ["chat"]}]})
    body = request.json()
    model = string_at(body, "model")
    if status := behaviour_of(model).error:
        return error(status)
    match request.path:
        case "/v2/chat":
            return _chat(body, model)
        case "/v2/embed":
            return _embed(body)
        case _:
            return error(404)


def error(status: int, message: str = "") -> Reply:
    """Return an error in Cohere's shape."""
    return json_reply({"id": "lab", "message": message or f"The lab answers {status}."}, status)


def _chat(body: Json, model: str) -> Reply:
    messages = [*objects(body.get("messages"))]
    if not messages:
        return error(400, "invalid request: messages must be at least 1 in length.")
    users = [content_text(message.get("content")) for message in messages if message.get("role") == "user"]
    last = messages[-1]
    functions = [object_at(entry, "function") for entry in objects(body.get("tools"))]
    if body.get("tool_choice") == "NONE":
        functions = []
    heard = Heard(
        model=model,
        last=users[-1] if users else "",
        texts=(*strings(body.get("messages")), *strings(body.get("documents"))),
        tools=tuple(tool(string_at(each, "name"), object_at(each, "parameters")) for each in functions),
        tool_result="; ".join(strings(last.get("content"))) if last.get("role") == "tool" else None,
        stream=body.get("stream") is True,
    )
    said = say(heard)
    counts = {"input_tokens": heard.tokens, "output_tokens": said.tokens}
    ending = {
        "finish_reason": "TOOL_CALL" if said.call else "COMPLETE",
        "usage": {"billed_units": counts, "tokens": counts},
    }
    if heard.stream:
        pieces = [*_events(heard, said, ending)]
        if "stream-error" in model:
            failed = {"finish_reason": "ERROR", "error": "The lab's model broke off."}
            pieces = [*pieces[: len(pieces) // 2], _event("message-end", id=heard.id, delta=failed)]
        return Reply(200, "text/event-stream", tuple(pieces), streamed=True)
    return json_reply({"id": heard.id, "message": _message(heard, said), **ending})


def _message(heard: Heard, said: Said) -> Json:
    content: list[Json] = [{"type": "thinking", "thinking": said.reasoning}] if said.reasoning else []
    if not said.call:
        return {"role": "assistant", "content": [*content, {"type": "text", "text": said.text}]}
    function = {"name": said.call.tool, "arguments": said.call.json}
    calls = [{"id": f"{said.call.tool}_{heard.id}", "type": "function", "function": function}]
    message = {"role": "assistant", "tool_plan": f"I will use {said.call.tool}.", "tool_calls": calls}
    return {**message, "content": content} if content else message


def _event(kind: str, **members: object) -> bytes:
    return sse({"type": kind, **members}, event=kind)


def _events(heard: Heard, said: Said, ending: Json) -> Iterator[bytes]:
    yield _event(
        "message-start",
        id=heard.id,
        delta={"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}},
    )
    blocks = [("thinking", said.reasoning)] if said.reasoning else []
    blocks += [] if said.call else [("text", said.text)]
    for index, (kind, text) in enumerate(blocks):
        opening = {"message": {"content": {"type": kind, kind: ""}}}
        yield _event("content-start", index=index, delta=opening)
        for piece in deltas(text):
            yield _event("content-delta", index=index, delta={"message": {"content": {kind: piece}}})
        yield _event("content-end", index=index)
    if said.call:
        for piece in deltas(f"I will use {said.call.tool}."):
            yield _event("tool-plan-delta", delta={"message": {"tool_plan": piece}})
        function = {"name": said.call.tool, "arguments": ""}
        call = {"id": f"{said.call.tool}_{heard.id}", "type": "function", "function": function}
        yield _event("tool-call-start", index=0, delta={"message": {"tool_calls": call}})
        for piece in deltas(said.call.json):
            part = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
            yield _event("tool-call-delta", index=0, delta=part)
        yield _event("tool-call-end", index=0)
    yield _event("message-end", id=heard.id, delta=ending)


def _embed(body: Json) -> Reply:
    texts = [*strings(body.get("texts"))] or [*strings(body.get("inputs"))]
    vectors = [[len(text) / 1000, 0.5, -0.5] for text in texts]
    units = {"billed_units": {"input_tokens": sum(map(len, texts)) // 4}}
    embedded = {"id": "lab", "embeddings": {"float": vectors}, "texts": texts, "meta": units}
    return json_reply({**embedded, "response_type": "embeddings_by_type"})
