"""The Gemini API as a client sees it: generateContent, its streams, countTokens, embeddings, models."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote

from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, Tool, count_tokens, deltas, say, tool
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

MODELS = ("gemini-lab", "gemini-lab-mini")
_VERB = re.compile(r".*/(?:models|tunedModels)/(?P<model>[^/:]+):(?P<verb>\w+)")
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    504: "DEADLINE_EXCEEDED",
}


def model_of(request: Incoming) -> str:
    match = _VERB.fullmatch(unquote(request.path))
    return match["model"] if match else ""


def answer(request: Incoming) -> Reply:
    """Answer a request as generativelanguage.googleapis.com would."""
    query = parse_qs(request.query)
    key = (
        request.headers.get("x-goog-api-key")
        or request.headers.get("authorization")
        or query.get("key", [""])[0]
    )
    if not key or "invalid" in key:
        return error(400, "API key not valid. Please pass a valid API key.")
    if request.method == "GET":
        return _models(request.path)
    match = _VERB.fullmatch(unquote(request.path))
    if not match:
        return error(404)
    if status := behaviour_of(match["model"]).error:
        return error(status)
    body = request.json()
    heard = _hear(body, match["model"])
    match match["verb"]:
        case "generateContent":
            return json_reply(_chunk(heard, _parts(say(heard)), say(heard)))
        case "streamGenerateContent":
            return _stream([*_chunks(heard, say(heard))], heard.model, query.get("alt") == ["sse"])
        case "countTokens":
            return json_reply({"totalTokens": heard.tokens})
        case "embedContent":
            return json_reply({"embedding": _embedding(body)})
        case "batchEmbedContents":
            return json_reply({"embeddings": [_embedding(entry) for entry in objects(body.get("requests"))]})
        case _:
            return error(404)


def error(status: int, message: str = "") -> Reply:
    """Return an error in Google's shape."""
    name = _STATUS.get(status, "UNAVAILABLE" if status >= 500 else "FAILED_PRECONDITION")
    text = message or f"The lab answers {status}."
    return json_reply({"error": {"code": status, "message": text, "status": name}}, status)


def _hear(body: Json, model: str) -> Heard:
    contents = [*objects(body.get("contents"))]
    said_by_user = [_text(entry) for entry in contents if entry.get("role", "user") == "user"]
    newest = [*objects(contents[-1].get("parts"))] if contents else []
    result = next((found for part in newest if (found := _either(part, "functionResponse"))), None)
    return Heard(
        model=model,
        last=next((text for text in reversed(said_by_user) if text), ""),
        texts=(*strings(_either(body, "systemInstruction")), *strings(body.get("contents"))),
        tools=_tools(body),
        tool_result="; ".join(strings(object_at(result, "response"))) if result else None,
    )


def _tools(body: Json) -> tuple[Tool, ...]:
    config = _either(_either(body, "toolConfig"), "functionCallingConfig")
    if string_at(config, "mode").upper() == "NONE":
        return ()
    declared = [
        function
        for entry in objects(body.get("tools"))
        for key in ("functionDeclarations", "function_declarations")
        for function in objects(entry.get(key))
    ]
    schemas = [_either(entry, "parametersJsonSchema") or object_at(entry, "parameters") for entry in declared]
    return tuple(
        tool(string_at(entry, "name"), schema) for entry, schema in zip(declared, schemas, strict=True)
    )


def _either(value: Json, camel: str) -> Json:
    """Return a member under its camelCase or snake_case name; Google reads both."""
    return object_at(value, camel) or object_at(
        value, re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), camel)
    )


def _text(content: Json) -> str:
    return "\n".join(text for part in objects(content.get("parts")) if (text := string_at(part, "text")))


def _parts(said: Said) -> list[Json]:
    thought: list[Json] = [{"text": said.reasoning, "thought": True}] if said.reasoning else []
    if said.call:
        call = {"functionCall": {"name": said.call.tool, "args": said.call.arguments}}
        return [*thought, {**call, "thoughtSignature": "U0lHTkVE"}]
    return [*thought, {"text": said.text}]


def _chunk(heard: Heard, parts: list[Json], said: Said, *, final: bool = True) -> Json:
    usage = {
        "promptTokenCount": heard.tokens,
        "candidatesTokenCount": said.tokens - count_tokens(said.reasoning),
        "thoughtsTokenCount": count_tokens(said.reasoning),
        "totalTokenCount": heard.tokens + said.tokens,
    }
    candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if final:
        candidate["finishReason"] = "STOP"
    head = {"modelVersion": heard.model, "responseId": heard.id}
    return {"candidates": [candidate], "usageMetadata": usage, **head}


def _chunks(heard: Heard, said: Said) -> Iterator[Json]:
    """Yield the stream: a function call comes whole in one chunk, as at Google."""
    for piece in deltas(said.reasoning):
        yield _chunk(heard, [{"text": piece, "thought": True}], said, final=False)
    if said.call:
        yield _chunk(heard, _parts(Said(call=said.call)), said)
        return
    pieces = [*deltas(said.text)] or [""]
    for piece in pieces[:-1]:
        yield _chunk(heard, [{"text": piece}], said, final=False)
    yield _chunk(heard, [{"text": pieces[-1]}], said)


def _stream(chunks: list[Json], model: str, as_sse: bool) -> Reply:
    if "stream-error" in model:
        failure = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        chunks = [*chunks[: len(chunks) // 2], failure]
    if as_sse:
        pieces = tuple(f"data: {dumps(chunk)}\r\n\r\n".encode() for chunk in chunks)
        return Reply(200, "text/event-stream", pieces, streamed=True)
    array = [(("[" if index == 0 else ",\r\n") + dumps(chunk)).encode() for index, chunk in enumerate(chunks)]
    return Reply(200, "application/json; charset=UTF-8", (*array, b"\n]"), streamed=True)


def _embedding(body: Json) -> Json:
    length = sum(len(text) for text in strings(body.get("content")))
    return {"values": [length / 1000, 0.5, -0.5]}


def _models(path: str) -> Reply:
    cards = {
        name: {
            "name": f"models/{name}",
            "displayName": name,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        for name in MODELS
    }
    if path.endswith("/models"):
        return json_reply({"models": [*cards.values()]})
    name = path.rpartition("/")[2]
    return json_reply(cards[name]) if name in cards else error(404)
