"""The OpenAI API as a client sees it: chat completions, responses, completions, embeddings, models.

Azure's paths lead here too; there the deployment in the path is the model.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Iterator

from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, Tool, count_tokens, deltas, say, tool
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

MODELS = ("gpt-lab", "gpt-lab-mini", "text-embedding-lab")
CREATED = 1767261600
_DONE = b"data: [DONE]\n\n"
_AZURE = re.compile(r"/openai/deployments/(?P<deployment>[^/]+)/(?P<operation>.+)")
_PREFIX = re.compile(r"/(?:openai/)?(?:v1(?:beta)?/)?(?:openai/)?(?P<operation>.*)")


def model_of(request: Incoming) -> str:
    deployment = _AZURE.fullmatch(request.path)
    return string_at(request.json(), "model") or (deployment["deployment"] if deployment else "")


def answer(request: Incoming) -> Reply:
    """Answer a request as api.openai.com or an Azure resource would."""
    key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if "invalid" in (key or request.headers.get("api-key", "invalid")):
        return error(401)
    azure = _AZURE.fullmatch(request.path)
    match = azure or _PREFIX.fullmatch(request.path)
    operation = match["operation"] if match else ""
    model = model_of(request)
    if status := behaviour_of(model).error:
        return error(status)
    if request.method == "GET":
        return _models(operation)
    body = request.json()
    match operation:
        case "chat/completions":
            return _chat(body, model)
        case "responses":
            return _responses(body, model)
        case "completions":
            return _completion(body, model)
        case "embeddings":
            return _embeddings(body, model)
        case _:
            return error(404, f"Unknown request URL: {request.method} {request.path}.")


def error(status: int, message: str = "") -> Reply:
    """Return an error in OpenAI's shape."""
    kinds: dict[int, tuple[str, str | None, str]] = {
        401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: ****."),
        404: ("invalid_request_error", "model_not_found", "The model does not exist."),
        429: (
            "tokens",
            "rate_limit_exceeded",
            "Rate limit reached on tokens per min. Please try again in 20ms.",
        ),
    }
    default = (
        ("server_error", None, "The server had an error while processing your request.")
        if status >= 500
        else ("invalid_request_error", None, "The request was refused by the lab.")
    )
    kind, code, text = kinds.get(status, default)
    return json_reply(
        {"error": {"message": message or text, "type": kind, "param": None, "code": code}}, status
    )


def _chat(body: Json, model: str) -> Reply:
    messages = [*objects(body.get("messages"))]
    if not messages:
        return error(400, "Invalid 'messages': empty array. Expected an array with minimum length 1.")
    users = [content_text(message.get("content")) for message in messages if message.get("role") == "user"]
    last = messages[-1]
    if "busy" in model:
        model = next((other for other in strings(body.get("models"))), model)
    heard = Heard(
        model=model,
        last=users[-1] if users else "",
        texts=(*strings(body.get("messages")),),
        tools=_tools(body, nested=True),
        tool_result=content_text(last.get("content")) if last.get("role") in ("tool", "function") else None,
        stream=body.get("stream") is True,
    )
    said = say(heard)
    usage = {
        "prompt_tokens": heard.tokens,
        "completion_tokens": said.tokens,
        "total_tokens": heard.tokens + said.tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": f"chatcmpl-{heard.id}", "created": CREATED, "model": model, "system_fingerprint": "fp_lab"}
    if heard.stream:
        with_usage = object_at(body, "stream_options").get("include_usage") is True
        return _stream(_chat_chunks(head, said, usage if with_usage else None), model)
    message: dict[str, object] = {"role": "assistant", "content": said.text or None, "refusal": None}
    if said.call:
        message["tool_calls"] = [
            {
                "id": f"call_{heard.id}",
                "type": "function",
                "function": {"name": said.call.tool, "arguments": said.call.json},
            }
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(said)}
    return json_reply({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _chat_chunks(head: Json, said: Said, usage: Json | None) -> Iterator[bytes]:
    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        tail = {"usage": None} if usage is not None else {}
        return sse({**head, "object": "chat.completion.chunk", "choices": [choice], **tail})

    if said.call:
        start = {
            "index": 0,
            "id": f"call_{head['id']}",
            "type": "function",
            "function": {"name": said.call.tool, "arguments": ""},
        }
        yield chunk({"role": "assistant", "content": None, "tool_calls": [start]})
        for piece in deltas(said.call.json):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in deltas(said.text):
            yield chunk({"content": piece})
    yield chunk({}, _finish(said))
    if usage is not None:
        yield sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    yield _DONE


def _responses(body: Json, model: str) -> Reply:
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else [*objects(given)]
    if not items:
        return error(400, "Missing required parameter: 'input'.")
    users = [content_text(item.get("content")) for item in items if item.get("role") == "user"]
    result: str | None = None
    if items[-1].get("type") == "function_call_output":
        result = content_text(items[-1].get("output"))
    heard = Heard(
        model=model,
        last=users[-1] if users else "",
        texts=(*strings(body.get("instructions")), *strings(given)),
        tools=_tools(body, nested=False),
        tool_result=result,
        stream=body.get("stream") is True,
    )
    said = say(heard)
    whole = _response_object(body, heard, said)
    if heard.stream:
        return _stream(_response_events(whole), model)
    if whole["background"]:
        # A receipt; the lab keeps nothing that could be asked for later.
        return json_reply({**whole, "status": "queued", "output": [], "usage": None})
    return json_reply(whole)


def _response_object(body: Json, heard: Heard, said: Said) -> Json:
    output: list[object] = []
    if said.reasoning:
        summary = [{"type": "summary_text", "text": said.reasoning}]
        output.append({"id": f"rs_{heard.id}", "type": "reasoning", "summary": summary})
    if said.call:
        call = {"call_id": f"call_{heard.id}", "name": said.call.tool, "arguments": said.call.json}
        output.append({"id": f"fc_{heard.id}", "type": "function_call", "status": "completed", **call})
    else:
        part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
        message = {"type": "message", "status": "completed", "role": "assistant", "content": [part]}
        output.append({"id": f"msg_{heard.id}", **message})
    return {
        "id": f"resp_{heard.id}",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "background": body.get("background") is True,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": heard.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": body.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": heard.tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": said.tokens,
            "output_tokens_details": {"reasoning_tokens": count_tokens(said.reasoning)},
            "total_tokens": heard.tokens + said.tokens,
        },
        "user": None,
        "metadata": {},
    }


def _response_events(whole: Json) -> Iterator[bytes]:
    events = [
        ("response.created", {"response": {**whole, "status": "in_progress", "output": [], "usage": None}}),
        (
            "response.in_progress",
            {"response": {**whole, "status": "in_progress", "output": [], "usage": None}},
        ),
        *(
            event
            for index, item in enumerate(objects(whole["output"]))
            for event in _item_events(index, item)
        ),
        ("response.completed", {"response": whole}),
    ]
    for number, (kind, fields) in enumerate(events):
        yield sse({"type": kind, **fields, "sequence_number": number}, event=kind)


def _item_events(index: int, item: Json) -> Iterator[tuple[str, Json]]:
    """Yield the events of one output item; the text comes again in every closing event, as at OpenAI."""
    at = {"item_id": item["id"], "output_index": index}
    kind = item["type"]
    if kind == "reasoning":
        empty: Json = {**item, "summary": []}
    elif kind == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
    else:
        empty = {**item, "status": "in_progress", "content": []}
    yield "response.output_item.added", {"output_index": index, "item": empty}
    if kind == "function_call":
        arguments = string_at(item, "arguments")
        for piece in deltas(arguments):
            yield "response.function_call_arguments.delta", {**at, "delta": piece}
        yield "response.function_call_arguments.done", {**at, "name": item["name"], "arguments": arguments}
    elif kind == "reasoning":
        part = next(objects(item["summary"]))
        at |= {"summary_index": 0}
        yield "response.reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}
        for piece in deltas(string_at(part, "text")):
            yield "response.reasoning_summary_text.delta", {**at, "delta": piece}
        yield "response.reasoning_summary_text.done", {**at, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**at, "part": part}
    else:
        part = next(objects(item["content"]))
        at |= {"content_index": 0}
        yield "response.content_part.added", {**at, "part": {**part, "text": ""}}
        for piece in deltas(string_at(part, "text")):
            yield "response.output_text.delta", {**at, "delta": piece, "logprobs": []}
        yield "response.output_text.done", {**at, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**at, "part": part}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _completion(body: Json, model: str) -> Reply:
    texts = (*strings(body.get("prompt")),)
    heard = Heard(
        model=model, last=texts[-1] if texts else "", texts=texts, stream=body.get("stream") is True
    )
    said = say(heard)
    head = {"id": f"cmpl-{heard.id}", "object": "text_completion", "created": CREATED, "model": model}

    def choice(text: str, finish: str | None) -> list[object]:
        return [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}]

    if heard.stream:
        pieces = [sse({**head, "choices": choice(piece, None)}) for piece in deltas(said.text)]
        return _stream([*pieces, sse({**head, "choices": choice("", "stop")}), _DONE], model)
    usage = {"prompt_tokens": heard.tokens, "completion_tokens": said.tokens}
    usage["total_tokens"] = heard.tokens + said.tokens
    return json_reply({**head, "choices": choice(said.text, "stop"), "usage": usage})


def _embeddings(body: Json, model: str) -> Reply:
    given = body.get("input")
    texts = [dumps(item) for item in given] if isinstance(given, list) else [dumps(given)]
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _vector(text, as_base64)}
        for index, text in enumerate(texts)
    ]
    tokens = sum(count_tokens(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_reply({"object": "list", "data": data, "model": model, "usage": usage})


def _vector(text: str, as_base64: bool) -> object:
    """Return eight numbers between -1 and 1 that depend on the text alone."""
    numbers = [byte / 127.5 - 1 for byte in hashlib.sha256(text.encode()).digest()[:8]]
    return base64.b64encode(struct.pack("<8f", *numbers)).decode() if as_base64 else numbers


def _models(operation: str) -> Reply:
    cards = {
        name: {"id": name, "object": "model", "created": CREATED, "owned_by": "lab", "supported_features": []}
        for name in MODELS
    }
    if operation == "models":
        return json_reply({"object": "list", "data": [*cards.values()]})
    name = operation.removeprefix("models/")
    return json_reply(cards[name]) if name in cards else error(404)


def _tools(body: Json, *, nested: bool) -> tuple[Tool, ...]:
    if body.get("tool_choice") == "none":
        return ()
    declared = [entry for entry in objects(body.get("tools")) if entry.get("type") == "function"]
    functions = [object_at(entry, "function") for entry in declared] if nested else declared
    return tuple(tool(string_at(entry, "name"), object_at(entry, "parameters")) for entry in functions)


def _finish(said: Said) -> str:
    return "tool_calls" if said.call else "stop"


def _stream(pieces: Iterator[bytes] | list[bytes], model: str) -> Reply:
    sent = [*pieces]
    if "stream-error" in model:
        failure = {"message": "The server had an error.", "type": "server_error", "param": None, "code": None}
        sent = [*sent[: len(sent) // 2], sse({"error": failure})]
    return Reply(200, "text/event-stream; charset=utf-8", tuple(sent), streamed=True)
