"""How each dialect is asked by hand, and how its answers are read by hand: nothing here uses the gateway's readers."""

import json
from collections.abc import Iterator
from typing import Any

from conformance import filed
from conformance.cases import Form, Route
from conformance.filed import Filed
from sallyport.exchange import Operation

type Json = dict[str, Any]


def request(route: Route, form: Form, model: str, text: str) -> bytes:
    """Return the body of a call; b"" for one without."""
    if route.method == "GET" or route.filed is not None:
        return b""
    body = _BODIES[route.dialect](route, text)
    if not route.model_in_path:
        body["model"] = model
    if (
        route.stream is None and Operation.CHAT is route.operation
    ) or route.operation is Operation.COMPLETION:
        body["stream"] = form is not Form.JSON
    return json.dumps(body).encode()


def headers(route: Route) -> dict[str, str]:
    """Return what a client of this dialect sends besides the body."""
    named = {"content-type": "application/json"} if route.method != "GET" else {}
    if route.dialect in ("anthropic_messages", "anthropic_other", "anthropic_form"):
        named["anthropic-version"] = "2023-06-01"
    if route.dialect == "gemini_generate" or (route.filed is not None and route.provider == "gemini"):
        return named | {"x-goog-api-key": "AIza-test-EXAMPLE"}
    if route.provider == "anthropic":
        return named | {"x-api-key": "sk-ant-test-EXAMPLE"}
    return named | {"authorization": "Bearer sk-test-EXAMPLE"}


def query(route: Route, form: Form) -> str:
    """Return the query a call needs, with its question mark."""
    if route.provider == "azure_openai":
        return "?api-version=2024-10-21"
    return "?alt=sse" if route.dialect == "gemini_generate" and form is Form.SSE else ""


def said(route: Route, form: Form, body: bytes) -> tuple[str, str]:
    """Return the text of an answer and the error it reports, "" for none; each "?" where it cannot be told."""
    try:
        events = [*_events(form, body)]
    except ValueError:
        return "?", "?"
    errors = [error for event in events if (error := _error(event))]
    text = "".join(_text(route, event, form) for event in events)
    return text, errors[-1] if errors else ""


# -- asking ------------------------------------------------------------------------------------------


def _chat(route: Route, text: str) -> Json:
    return {"messages": [{"role": "user", "content": text}]}


def _prompt(route: Route, text: str) -> Json:
    return {"prompt": text}


def _input(route: Route, text: str) -> Json:
    return {"input": text}


def _anthropic(route: Route, text: str) -> Json:
    body = _chat(route, text)
    if route.operation is Operation.CHAT:
        body["max_tokens"] = 100
    if route.provider == "vertex":
        body["anthropic_version"] = "vertex-2023-10-16"
    return body


def _gemini(route: Route, text: str) -> Json:
    content = {"role": "user", "parts": [{"text": text}]}
    if route.template.endswith(":batchEmbedContents"):
        return {"requests": [{"model": "models/model-lab", "content": content}]}
    return {"content": content} if route.operation is Operation.EMBEDDING else {"contents": [content]}


def _cohere(route: Route, text: str) -> Json:
    if route.operation is Operation.EMBEDDING:
        return {"texts": [text], "input_type": "search_document", "embedding_types": ["float"]}
    return _chat(route, text)


def _ollama(route: Route, text: str) -> Json:
    if route.operation is Operation.EMBEDDING:
        return {"input": text}
    return _prompt(route, text) if route.operation is Operation.COMPLETION else _chat(route, text)


def _converse(route: Route, text: str) -> Json:
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def _invoke(route: Route, text: str) -> Json:
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, **_chat(route, text)}


_BODIES = {
    "openai_chat": _chat,
    "openai_responses": _input,
    "openai_completions": _prompt,
    "openai_embeddings": _input,
    "anthropic_messages": _anthropic,
    "gemini_generate": _gemini,
    "cohere_v2": _cohere,
    "ollama_chat": _ollama,
    "bedrock_converse": _converse,
    "bedrock_invoke": _invoke,
}


# -- reading -----------------------------------------------------------------------------------------


def _events(form: Form, body: bytes) -> Iterator[Json]:
    if form is Form.SSE and not body.lstrip().startswith(b"{"):
        for line in body.splitlines():
            data = line.removeprefix(b"data:").strip()
            if line.startswith(b"data:") and data != b"[DONE]":
                yield json.loads(data)
    elif form in (Form.NDJSON, Form.LINES):
        yield from map(json.loads, body.splitlines())
    elif form is Form.FRAMES and not body.lstrip().startswith(b"{"):
        yield from _frames(body)
    else:
        whole = json.loads(body)
        yield from whole if isinstance(whole, list) else [whole]


def _frames(body: bytes) -> Iterator[Json]:
    """Read AWS event-stream frames with botocore's own reader, which checks both sums of each."""
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    buffer.add_data(body)
    for message in buffer:
        named = message.headers
        payload = json.loads(message.payload)
        if named.get(":message-type") != "event":
            yield {"error": {"code": named.get(":exception-type") or named.get(":error-code")}}
        elif "bytes" in payload:
            import base64

            yield json.loads(base64.b64decode(payload["bytes"]))
        else:
            yield {str(named[":event-type"]): payload}


def _error(event: Json) -> str:
    """Return the code of an error in any of the shapes that providers have."""
    response = event.get("response")
    error = event.get("error") or (response.get("error") if isinstance(response, dict) else None)
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        return str(error.get("code") or error.get("status") or error.get("type") or "error")
    if event.get("type") == "message-end" and event["delta"].get("finish_reason") == "ERROR":
        return "ERROR"
    if "error" in (event.get("type"), event.get("object")):
        return str(event.get("code") or "error")
    if "__type" in event or (
        set(event) <= {"message", "id", "Message"} and ("message" in event or "Message" in event)
    ):
        return str(event.get("__type") or "error")
    return ""


def _text(route: Route, event: Json, form: Form) -> str:
    if route.filed is Filed.RESULTS:
        return "" if _error(event) else filed.said(route.provider, event)
    match route.dialect:
        case "openai_completions" if route.provider != "mistral":
            return "".join(str(choice.get("text") or "") for choice in event.get("choices") or [])
        case "openai_chat" | "openai_completions":  # Mistral answers a completion in the shape of a chat
            choices = event.get("choices") or [{}]
            message = (choices[0].get("delta" if form is Form.SSE else "message") or {}) if choices else {}
            return str(message.get("content") or "")
        case "openai_responses":
            if form is Form.SSE:
                return str(event["delta"]) if event.get("type") == "response.output_text.delta" else ""
            parts = [part for item in event.get("output") or [] for part in item.get("content") or []]
            return "".join(str(part.get("text") or "") for part in parts)
        case "anthropic_messages" | "bedrock_invoke":
            if form is not Form.JSON:
                return str((event.get("delta") or {}).get("text") or "")
            return "".join(str(block.get("text") or "") for block in event.get("content") or [])
        case "gemini_generate":
            candidates = event.get("candidates") or [{}]
            parts = (candidates[0].get("content") or {}).get("parts") or []
            return "".join(str(part.get("text") or "") for part in parts)
        case "cohere_v2":
            message = (event.get("delta") or {}).get("message") or event.get("message") or {}
            content = message.get("content") if isinstance(message, dict) else None
            content = [content] if isinstance(content, dict) else content or []
            return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
        case "ollama_chat":
            return str((event.get("message") or {}).get("content") or event.get("response") or "")
        case "bedrock_converse":
            if form is Form.JSON:
                message = (event.get("output") or {}).get("message") or {}
                return "".join(str(part.get("text") or "") for part in message.get("content") or [])
            return str(((event.get("contentBlockDelta") or {}).get("delta") or {}).get("text") or "")
        case _:
            return ""
