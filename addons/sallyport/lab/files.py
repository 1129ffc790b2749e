"""Files and batches as OpenAI, Azure, Mistral, Anthropic and Gemini keep them; images and speech beside them.

What is put here stays for the process, up to MAX_KEPT pieces. A batch is done as soon as it is asked for.
"""

import base64
import hashlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass, replace

from sallyport.lab import anthropic, openai
from sallyport.lab.values import Incoming, Json, Reply, dumps, json_reply, object_at, objects, string_at

MAX_KEPT = 200
CREATED = 1767261600
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SOUND = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 40
"""The beginning of an MP3: no text in it."""

_GEMINI = "generativelanguage.googleapis.com"
_PREFIX = re.compile(r"/(?:openai/)?(?:deployments/[^/]+/)?(?:v1(?:beta)?/)?")
_MINE = re.compile(
    r"(?:files|batches|images|audio|messages/batches|upload|batch/jobs|vector_stores)\b.*|.*:batchGenerateContent"
)
_PART = re.compile(rb'name="([^"]*)"(?:; *filename="([^"]*)")?')


@dataclass(frozen=True, slots=True)
class Kept:
    """One piece: what it is as its provider describes it, and its bytes."""

    about: Json
    content: bytes = b""


_kept: OrderedDict[str, Kept] = OrderedDict()


def is_mine(request: Incoming) -> bool:
    host = request.host
    known = host in ("api.openai.com", "api.anthropic.com", "api.mistral.ai", _GEMINI)
    return (known or host.endswith(".openai.azure.com")) and _MINE.fullmatch(_operation(request)) is not None


def model_of(request: Incoming) -> str:
    return string_at(request.json(), "model")


def answer(request: Incoming) -> Reply:
    """Answer as the host's provider would."""
    operation = _operation(request)
    if request.host == _GEMINI:
        return _gemini(request, operation)
    if request.host == "api.anthropic.com":
        return _anthropic(request, operation)
    return _openai(request, operation)


def _operation(request: Incoming) -> str:
    return _PREFIX.sub("", request.path, count=1)


# -- OpenAI, Azure, Mistral ----------------------------------------------------------------------------


def _openai(request: Incoming, operation: str) -> Reply:
    kind, _, rest = operation.partition("/")
    if kind == "images":
        prompt = string_at(request.json(), "prompt") or _form(request).get("prompt", (b"", ""))[0].decode()
        made = {"b64_json": base64.b64encode(PNG).decode(), "revised_prompt": f"A picture of: {prompt}"}
        return json_reply({"created": CREATED, "data": [made]})
    if kind == "audio":
        if rest == "speech":
            return Reply(200, "audio/mpeg", (SOUND,))
        return json_reply({"text": f"Somebody said: {_form(request).get('prompt', (b'', ''))[0].decode()}"})
    if kind == "files" and request.method == "POST":
        return json_reply(_put_file(request, "file-", "object", "file"))
    if kind in ("batches", "batch") and request.method == "POST" and rest in ("", "jobs"):
        return _openai_batch(request)
    if kind == "vector_stores" and (request.method == "POST" or "/" in rest):
        return _vector_store(request, rest)
    return _kept_answer(request, rest.removeprefix("jobs/") if kind == "batch" else rest)


def _openai_batch(request: Incoming) -> Reply:
    source = string_at(request.json(), "input_file_id")
    if source not in _kept:
        return openai.error(404, "No such file.")
    lines = []
    for line in _kept[source].content.splitlines():
        asked = json.loads(line)
        inner = replace(request, path=asked["url"], body=dumps(asked["body"]).encode())
        told = json.loads(b"".join(openai.answer(inner).pieces))
        response = {"status_code": 200, "request_id": "req_lab", "body": told}
        lines.append(
            dumps(
                {"id": _id("r", line), "custom_id": asked["custom_id"], "response": response, "error": None}
            )
        )
    content = "\n".join(lines).encode() + b"\n"
    output = _keep(
        "file-", {"object": "file", "filename": "output.jsonl", "purpose": "batch_output"}, content
    )
    about = {
        "object": "batch",
        "endpoint": string_at(request.json(), "endpoint"),
        "input_file_id": source,
        "completion_window": "24h",
        "status": "completed",
        "output_file_id": string_at(output, "id"),
        "error_file_id": None,
        "created_at": CREATED,
    }
    return json_reply(_keep("batch_", about, content))


def _vector_store(request: Incoming, rest: str) -> Reply:
    """Answer what makes or changes a store, and what is asked of its files; they are ready at once."""
    asked, (store, _, what) = request.json(), rest.partition("/")
    kind, _, inside = what.partition("/")
    counts = {"in_progress": 0, "completed": 1, "failed": 0, "cancelled": 0, "total": 1}
    about = {"created_at": CREATED, "status": "completed", "usage_bytes": 1, "file_counts": counts, **asked}
    if not store:
        return json_reply(_keep("vs_", {"object": "vector_store", **about}, request.body))
    if store not in _kept:
        return openai.error(404, "There is no such store.")
    if not kind:
        return json_reply({**_kept[store].about, **asked})
    about |= {
        "vector_store_id": store,
        "object": f"vector_store.{'file' if kind == 'files' else 'files_batch'}",
    }
    if request.method == "DELETE":
        return json_reply({"id": inside, "object": "vector_store.file.deleted", "deleted": True})
    if request.method == "GET" and (what == "files" or inside.endswith("/files")):
        return json_reply({"object": "list", "data": [{**about, "id": "file-one"}], "has_more": False})
    return json_reply({**about, "id": inside.partition("/")[0] or string_at(asked, "file_id") or "vsfb_lab"})


def _kept_answer(request: Incoming, rest: str) -> Reply:
    """Answer what is asked of a piece: its description, its content, that it go."""
    id, _, what = rest.partition("/")
    if not id:
        return json_reply(
            {"object": "list", "data": [kept.about for kept in _kept.values()], "has_more": False}
        )
    if id not in _kept:
        return openai.error(404, "There is no such thing.")
    if request.method == "DELETE":
        del _kept[id]
        return json_reply({"id": id, "object": "file", "deleted": True})
    if what in ("content", "results"):
        return Reply(200, "application/octet-stream", (_kept[id].content,))
    return json_reply(_kept[id].about)


# -- Anthropic -----------------------------------------------------------------------------------------


def _anthropic(request: Incoming, operation: str) -> Reply:
    if operation == "files" and request.method == "POST":
        return json_reply(_put_file(request, "file_", "type", "file"))
    if operation == "messages/batches" and request.method == "POST":
        return _anthropic_batch(request)
    return _kept_answer(request, operation.removeprefix("messages/batches").removeprefix("files").lstrip("/"))


def _anthropic_batch(request: Incoming) -> Reply:
    lines = []
    for asked in objects(request.json().get("requests")):
        inner = replace(request, path="/v1/messages", body=dumps(object_at(asked, "params")).encode())
        message = json.loads(b"".join(anthropic.answer(inner).pieces))
        lines.append(
            dumps({"custom_id": asked["custom_id"], "result": {"type": "succeeded", "message": message}})
        )
    content = "\n".join(lines).encode() + b"\n"
    id = _id("msgbatch_", content)
    counts = {"processing": 0, "succeeded": len(lines), "errored": 0, "canceled": 0, "expired": 0}
    about = {
        "type": "message_batch",
        "processing_status": "ended",
        "request_counts": counts,
        "created_at": "2026-01-01T10:00:00Z",
        "expires_at": "2026-01-02T10:00:00Z",
        "ended_at": "2026-01-01T10:00:01Z",
        "results_url": f"https://{request.host}/v1/messages/batches/{id}/results",
    }
    return json_reply(_keep("msgbatch_", about, content))


# -- Gemini --------------------------------------------------------------------------------------------


def _gemini(request: Incoming, operation: str) -> Reply:
    if request.path.startswith("/upload/"):
        return _gemini_upload(request)
    id = operation.removeprefix("files/")
    if id in _kept:
        return json_reply(_kept[id].about)
    return json_reply({"error": {"code": 404, "message": "Not found.", "status": "NOT_FOUND"}}, 404)


def _gemini_upload(request: Incoming) -> Reply:
    """Answer the two steps of a resumable upload: it starts, then all bytes come at once."""
    if request.headers.get("x-goog-upload-command") == "start":
        url = f"https://{request.host}/upload/v1beta/files?upload_id=lab0000001&upload_protocol=resumable"
        started = (("x-goog-upload-url", url), ("x-goog-upload-status", "active"))
        return replace(json_reply({}), headers=started)
    id = _id("", request.body)
    about = {
        "name": f"files/{id}",
        "uri": f"https://{request.host}/v1beta/files/{id}",
        "mimeType": "text/plain",
        "sizeBytes": str(len(request.body)),
        "state": "ACTIVE",
    }
    _kept[id] = Kept(about, request.body)
    return replace(json_reply({"file": about}), headers=(("x-goog-upload-status", "final"),))


# -- keeping -------------------------------------------------------------------------------------------


def _put_file(request: Incoming, prefix: str, kind: str, word: str) -> Json:
    form = _form(request)
    content, filename = form.get("file", (b"", ""))
    about = {
        kind: word,
        "bytes": len(content),
        "size_bytes": len(content),
        "created_at": "2026-01-01T10:00:00Z" if kind == "type" else CREATED,
        "filename": filename,
        "mime_type": "text/plain",
        "purpose": form.get("purpose", (b"", ""))[0].decode(),
        "status": "processed",
    }
    return _keep(prefix, about, content)


def _keep(prefix: str, about: Json, content: bytes) -> Json:
    id = _id(prefix, content)
    _kept[id] = Kept({"id": id, **about}, content)
    while len(_kept) > MAX_KEPT:
        _kept.popitem(last=False)
    return _kept[id].about


def _id(prefix: str, content: bytes) -> str:
    """Return an id of letters: one with many digits would be taken for a number of somebody's."""
    digest = hashlib.sha256(prefix.encode() + content).hexdigest()[:16]
    return prefix + digest.translate(str.maketrans("0123456789", "ghijklmnop"))


def _form(request: Incoming) -> dict[str, tuple[bytes, str]]:
    """Return the fields of a form: content and file name."""
    found: dict[str, tuple[bytes, str]] = {}
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].strip('"').encode()
    for part in request.body.split(b"--" + boundary)[1:-1] if boundary else []:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _PART.search(head)
        if name:
            found[name[1].decode()] = (content.removesuffix(b"\r\n"), (name[2] or b"").decode())
    return found
