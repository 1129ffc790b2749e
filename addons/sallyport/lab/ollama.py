"""Ollama's own API as a client sees it: chat, generate, embed, tags; streams are JSON lines."""

from collections.abc import Iterator

from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, deltas, say, tool
from sallyport.lab.values import (
    Incoming,
    Json,
    Reply,
    dumps,
    json_reply,
    object_at,
    objects,
    string_at,
    strings,
)

HOSTS = ("ollama.com", "api.ollama.com")
_AT = "2026-01-01T00:00:00.000000Z"


def is_mine(request: Incoming) -> bool:
    return request.host in HOSTS and request.path.startswith("/api/")


def model_of(request: Incoming) -> str:
    return string_at(request.json(), "model")


def answer(request: Incoming) -> Reply:
    """Answer a request as ollama.com would."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key or "invalid" in key:
        return error(401, "unauthorized")
    if request.method == "GET" and request.path == "/api/tags":
        return json_reply({"models": [{"name": "lab:latest", "model": "lab:latest"}]})
    body = request.json()
    model = string_at(body, "model")
    if status := behaviour_of(model).error:
        return error(status)
    match request.path:
        case "/api/chat":
            return _chat(body, model)
        case "/api/generate":
            return _generate(body, model)
        case "/api/embed":
            texts = [*strings(body.get("input"))]
            vectors = [[len(text) / 1000, 0.5, -0.5] for text in texts]
            return json_reply({"model": model, "embeddings": vectors, "prompt_eval_count": len(texts)})
        case _:
            return error(404, "not found")


def error(status: int, message: str = "") -> Reply:
    """Return an error in Ollama's shape."""
    return json_reply({"error": message or f"The lab answers {status}."}, status)


def _chat(body: Json, model: str) -> Reply:
    messages = [*objects(body.get("messages"))]
    users = [string_at(message, "content") for message in messages if message.get("role") == "user"]
    last = messages[-1] if messages else {}
    functions = [object_at(entry, "function") for entry in objects(body.get("tools"))]
    heard = Heard(
        model=model,
        last=users[-1] if users else "",
        texts=(*strings(body.get("messages")),),
        tools=tuple(tool(string_at(each, "name"), object_at(each, "parameters")) for each in functions),
        tool_result=string_at(last, "content") if last.get("role") == "tool" else None,
        stream=body.get("stream") is not False,
    )
    said = say(heard)
    if not heard.stream:
        message: dict[str, object] = {"role": "assistant", "content": said.text}
        if said.reasoning:
            message["thinking"] = said.reasoning
        if said.call:
            message["tool_calls"] = [_call(said)]
        return json_reply({"model": model, "created_at": _AT, "message": message, **_ending(heard, said)})
    return _lines(model, [*_chat_lines(heard, said)])


def _call(said: Said) -> Json:
    assert said.call is not None
    return {"function": {"name": said.call.tool, "arguments": said.call.arguments}}


def _chat_lines(heard: Heard, said: Said) -> Iterator[Json]:
    def line(**message: object) -> Json:
        return {
            "model": heard.model,
            "created_at": _AT,
            "message": {"role": "assistant", "content": "", **message},
            "done": False,
        }

    for piece in deltas(said.reasoning):
        yield line(thinking=piece)
    if said.call:
        yield line(tool_calls=[_call(said)])
    for piece in deltas(said.text):
        yield line(content=piece)
    yield {**line(), **_ending(heard, said)}


def _generate(body: Json, model: str) -> Reply:
    prompt = string_at(body, "prompt")
    stream = body.get("stream") is not False
    heard = Heard(model=model, last=prompt, texts=(*strings(body.get("system")), prompt), stream=stream)
    said = say(heard)
    head = {"model": model, "created_at": _AT}
    if not stream:
        return json_reply({**head, "response": said.text, **_ending(heard, said)})
    lines: list[Json] = [{**head, "response": piece, "done": False} for piece in deltas(said.text)]
    return _lines(model, [*lines, {**head, "response": "", **_ending(heard, said)}])


def _ending(heard: Heard, said: Said) -> Json:
    counts = {"prompt_eval_count": heard.tokens, "eval_count": said.tokens}
    times = dict.fromkeys(("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"), 7)
    return {"done": True, "done_reason": "stop", **counts, **times}


def _lines(model: str, lines: list[Json]) -> Reply:
    if "stream-error" in model:
        lines = [*lines[: len(lines) // 2], {"error": "The lab's model broke off."}]
    pieces = tuple(f"{dumps(line)}\n".encode() for line in lines)
    return Reply(200, "application/x-ndjson", pieces, streamed=True)
