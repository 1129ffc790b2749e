"""The providers of the matrix: the lab's stand-ins, found by the catalogue's dialect instead of their own hosts.

Speaks h2 and HTTP/1.1. One more word in a model's name than the lab knows: garble puts bytes that no client can read
into the middle of the answer.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from conformance.cases import catalogue
from conformance.kept import Kept
from sallyport.exchange import Operation
from sallyport.lab import anthropic, gemini, mistral, openai, provider
from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.server import Lab
from sallyport.lab.values import Incoming, Reply, dumps, json_reply, strings
from sallyport.policy.catalogue import Endpoint

_CANONICAL = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "openai_completions": "/v1/completions",
    "openai_embeddings": "/v1/embeddings",
}
_GARBAGE = {
    "text/event-stream": b'data: {"broken": [1, }\n\n',
    "application/x-ndjson": b'{"broken": [1, }\n',
}


_FILED = (Operation.FILE, Operation.BATCH)


class Origin:
    """What `Lab` asks in place of its own providers."""

    def __init__(self) -> None:
        self._kept = Kept()

    def model_of(self, request: Incoming) -> str:
        endpoint = _endpoint(request)
        if endpoint is None:
            return ""
        if endpoint.operation in _FILED:
            return self._kept.name_of(request, endpoint)
        return endpoint.model or str(request.json().get("model") or "")

    def answer(self, request: Incoming) -> Reply:
        endpoint = _endpoint(request)
        if endpoint is None:
            return json_reply({"error": {"message": "not in the catalogue"}}, 404)
        if endpoint.operation in _FILED:
            return self._kept.answer(request, endpoint)
        reply = _answer(request, endpoint)
        return _garbled(reply) if "garble" in self.model_of(request) else reply


@contextmanager
def origin() -> Iterator[Lab]:
    with Lab(alpn=("h2", "http/1.1"), answering=Origin()).in_thread() as lab:
        yield lab


def _endpoint(request: Incoming) -> Endpoint | None:
    found = catalogue().provider(request.host)
    target = request.path + ("?" + request.query if request.query else "")
    return found.endpoint(request.method, target) if found else None


def _answer(request: Incoming, endpoint: Endpoint) -> Reply:
    status = behaviour_of(endpoint.model or str(request.json().get("model") or "")).error
    if status and endpoint.dialect.startswith("openai"):
        return openai.error(status)
    if endpoint.operation is Operation.LIST_MODELS:
        card = {"id": "model-lab", "object": "model", "name": "models/model-lab"}
        return json_reply({"object": "list", "data": [card], "models": [card], "has_more": False})
    if endpoint.operation is Operation.MODERATION:
        return json_reply({"id": "modr", "model": "m", "results": [{"flagged": False, "categories": {}}]})
    if endpoint.dialect == "openai_responses" and endpoint.operation is Operation.COUNT_TOKENS:
        return json_reply(
            {"object": "response.input_tokens", "input_tokens": len([*strings(request.json())])}
        )
    if mistral.is_mine(request) and endpoint.operation is Operation.EMBEDDING:
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}
        usage = {"prompt_tokens": 1, "completion_tokens": 0, "total_tokens": 1}
        return json_reply({"id": "emb", "object": "list", "model": "m", "data": [vector], "usage": usage})
    if mistral.is_mine(request):
        return mistral.answer(request)
    if endpoint.dialect in _CANONICAL:
        return openai.answer(
            replace(request, path=_CANONICAL[endpoint.dialect], body=_with_model(request, endpoint))
        )
    if endpoint.dialect == "anthropic_messages":
        end = "/count_tokens" if endpoint.operation is Operation.COUNT_TOKENS else ""
        named = {"anthropic-version": "2023-06-01", **request.headers}
        body = _with_model(request, endpoint)
        return anthropic.answer(replace(request, path=f"/v1/messages{end}", headers=named, body=body))
    if endpoint.dialect == "gemini_generate":
        path = request.path if "odels/" in request.path else request.path.replace("/endpoints/", "/models/")
        return gemini.answer(replace(request, path=path))
    return provider.answer(request)


def _with_model(request: Incoming, endpoint: Endpoint) -> bytes:
    body = dict(request.json())
    if endpoint.model:
        body["model"] = endpoint.model
    if endpoint.stream:
        body["stream"] = True
    return json.dumps(body).encode()


def _garbled(reply: Reply) -> Reply:
    if not reply.streamed:
        return replace(reply, pieces=(dumps("x").encode()[:-1], *reply.pieces[1:]))
    kind = reply.content_type.partition(";")[0]
    middle = len(reply.pieces) // 2
    garbage = _GARBAGE.get(kind, b"\0garbage, \1no frame and no JSON")
    return replace(reply, pieces=(*reply.pieces[:middle], garbage, *reply.pieces[middle:]))
