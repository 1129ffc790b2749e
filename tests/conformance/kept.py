"""What the matrix's origin keeps: files and batches, each under an id made of its name. A batch is done at once."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from conformance.filed import is_put_off, name_in, next_name, uploading
from sallyport.lab import anthropic, gemini, openai
from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.values import Incoming, Reply, dumps, json_reply
from sallyport.policy.catalogue import Endpoint

type Json = dict[str, Any]

_PART = re.compile(rb"\r\n\r\n(.*?)\r\n--", re.DOTALL)
_WHEN = "2026-01-01T10:00:00Z"


class Kept:
    """Files and batches by their ids: the description of each, and its bytes."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Json, bytes]] = {}

    def name_of(self, request: Incoming, endpoint: Endpoint) -> str:
        """Return the name whose words the answer goes by, "" for one that is put off."""
        name = _name(request, endpoint)
        return "" if is_put_off(name) else name

    def answer(self, request: Incoming, endpoint: Endpoint) -> Reply:
        """Answer a call about files and batches as its provider does."""
        family = endpoint.dialect.partition("_")[0]
        provider = "gemini" if family in ("gemini", "opaque") else family
        error = {"anthropic": anthropic.error, "gemini": gemini.error, "openai": openai.error}[provider]
        status = behaviour_of(self.name_of(request, endpoint)).error
        if status:
            return error(status)
        if request.method == "GET":
            return self._get(request) or error(404)
        made = next_name(_name(request, endpoint))
        if request.path.startswith("/upload/"):
            return self._upload(request, made)
        if request.path.endswith("/files"):
            (*_, content) = _PART.findall(request.body)
            return json_reply(self._keep(f"file-{made}", _file(content), content))
        return json_reply(_BATCHES[provider](self, request, made))

    def _get(self, request: Incoming) -> Reply | None:
        parts = request.path.split("/")
        whole = parts[-1] in ("content", "results")
        found = self._kept.get(parts[-2] if whole else parts[-1])
        if found is None:
            return None
        about, content = found
        return Reply(200, "application/octet-stream", (content,)) if whole else json_reply(about)

    def _keep(self, id: str, about: Mapping[str, Any], content: bytes = b"") -> Json:
        named = {"id": id, **about}
        self._kept[id] = (named, content)
        return named

    def _upload(self, request: Incoming, made: str) -> Reply:
        """Answer the two steps of Gemini's upload: where to, and all bytes at once."""
        if request.headers.get("x-goog-upload-command") == "start":
            url = f"https://{request.host}{request.path}?{uploading(made)}"
            return replace(
                json_reply({}), headers=(("x-goog-upload-url", url), ("x-goog-upload-status", "active"))
            )
        about = {"name": f"files/{made}", "mimeType": "text/plain", "sizeBytes": "9", "state": "ACTIVE"}
        self._kept[made] = (about, request.body)
        return replace(json_reply({"file": about}), headers=(("x-goog-upload-status", "final"),))

    def openai_batch(self, request: Incoming, made: str) -> Json:
        asked = request.json()
        source = str(asked["input_file_id"])
        line = json.loads(self._kept[source][1])
        inner = replace(request, path=line["url"], body=dumps(line["body"]).encode())
        response = {"status_code": 200, "request_id": "req_lab", "body": _json(openai.answer(inner))}
        told = {"id": "batch_req", "custom_id": line["custom_id"], "response": response, "error": None}
        self._keep(f"file-{made}", _file(b""), dumps(told).encode() + b"\n")
        about = {
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": source,
            "completion_window": "24h",
            "status": "completed",
            "output_file_id": f"file-{made}",
            "created_at": 1767261600,
        }
        return self._keep(f"batch_{made}", about)

    def anthropic_batch(self, request: Incoming, made: str) -> Json:
        (asked,) = json.loads(request.body)["requests"]
        inner = replace(request, path="/v1/messages", body=dumps({**asked["params"], "model": "m"}).encode())
        told = {
            "custom_id": "one",
            "result": {"type": "succeeded", "message": _json(anthropic.answer(inner))},
        }
        id = f"msgbatch_{made}"
        about = {
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0},
            **dict.fromkeys(("created_at", "ended_at", "expires_at"), _WHEN),
            "results_url": f"https://{request.host}/v1/messages/batches/{id}/results",
        }
        return self._keep(id, about, dumps(told).encode() + b"\n")

    def gemini_batch(self, request: Incoming, made: str) -> Json:
        (asked,) = json.loads(request.body)["batch"]["inputConfig"]["requests"]["requests"]
        inner = replace(
            request, path="/v1beta/models/m:generateContent", query="", body=dumps(asked["request"]).encode()
        )
        told = {"inlinedResponses": {"inlinedResponses": [{"response": _json(gemini.answer(inner))}]}}
        name, dates = f"batches/{made}", dict.fromkeys(("createTime", "updateTime"), _WHEN)
        done = {"model": "models/m", "state": "BATCH_STATE_SUCCEEDED", "name": name, **dates}
        self._kept[made] = (
            {"name": name, "metadata": {**done, "output": told}, "done": True, "response": told},
            b"",
        )
        return {"name": name, "metadata": {**done, "state": "BATCH_STATE_PENDING"}}


_BATCHES = {"openai": Kept.openai_batch, "anthropic": Kept.anthropic_batch, "gemini": Kept.gemini_batch}


def _name(request: Incoming, endpoint: Endpoint) -> str:
    return name_in(request.method, request.path, request.query, request.body, endpoint.model)


def _json(reply: Reply) -> Any:
    return json.loads(b"".join(reply.pieces))


def _file(content: bytes) -> Json:
    """Return a description of a file that OpenAI's SDK reads, and Anthropic's."""
    both = {"filename": "in.jsonl", "purpose": "batch", "status": "processed", "mime_type": "text/plain"}
    sizes = {"bytes": len(content), "size_bytes": len(content)}
    return {"object": "file", "type": "file", "created_at": 1767261600, **both, **sizes}
