"""The rows of files and batches: which endpoints are run, how their bodies are written, and what they answer.

A name of a file or of a model makes the origin behave, as everywhere in the matrix. What is made of it is called by the
same name: `later-` before it puts its effect off, by one step each, since most of what is asked here was made before.
"""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

type Json = dict[str, Any]


class Filed(StrEnum):
    """What an endpoint of files and batches is for."""

    UPLOAD = "upload"
    """Text goes to the provider, in a file."""
    UNREAD = "unread upload"
    """A file goes to the provider in steps, as content that nobody reads."""
    BATCH = "batch"
    """A batch is asked for, with its texts in the request."""
    STATUS = "status"
    """What was made is asked for; nothing of it is text."""
    RESULTS = "results"
    """The answers of a batch come back."""


FILED: dict[tuple[str, str], Filed] = {
    ("openai", "POST /v1/files"): Filed.UPLOAD,
    ("openai", "GET /v1/files/{id}"): Filed.STATUS,
    ("openai", "GET /v1/files/{id}/content"): Filed.RESULTS,
    ("openai", "POST /v1/batches"): Filed.BATCH,
    ("openai", "GET /v1/batches/{id}"): Filed.STATUS,
    ("azure_openai", "POST /openai/v1/files"): Filed.UPLOAD,
    ("azure_openai", "GET /openai/v1/files/{id}/content"): Filed.RESULTS,
    ("azure_openai", "POST /openai/v1/batches"): Filed.BATCH,
    ("anthropic", "POST /v1/messages/batches"): Filed.BATCH,
    ("anthropic", "GET /v1/messages/batches/{id}"): Filed.STATUS,
    ("anthropic", "GET /v1/messages/batches/{id}/results"): Filed.RESULTS,
    ("anthropic", "POST /v1/files"): Filed.UPLOAD,
    ("gemini", "POST /v1beta/models/{model}:batchGenerateContent"): Filed.BATCH,
    ("gemini", "GET /v1beta/batches/{id}"): Filed.RESULTS,
    ("gemini", "POST /upload/v1beta/files"): Filed.UNREAD,
    ("gemini", "GET /v1beta/files/{id}"): Filed.STATUS,
}
"""The endpoints that are run, by provider, method and path."""

PUT_OFF = "later-"
RESULTS_ONLY = "results-"
"""Before a name of a batch whose words hold for its results alone: Anthropic's SDK asks for its status first."""
BOUNDARY = "a-boundary-of-the-matrix"
_ID = re.compile(r"(?:file|batch|msgbatch)s?[-_]([a-z0-9-]+)")
_IN_PATH = re.compile(r"/(?:files|batches)/([^/:]+)")
_DISPLAYED = re.compile(rb'"display_?[nN]ame": *"([a-z0-9-]+)"')
_FILENAME = re.compile(rb'filename="([^".]+)')


def filed(provider: str, method: str, listed: str) -> Filed | None:
    """Return what an endpoint is for, None where its like is run elsewhere."""
    return FILED.get((provider, f"{method} {listed}"))


def steps_before(provider: str, listed: str) -> Sequence[tuple[str, str]]:
    """Return what has to be made before an endpoint can be asked: method and path, in order."""
    match provider, listed.rpartition("/")[2]:
        case "anthropic", "{id}" | "results" if "/batches/" in listed:
            return [("POST", "/v1/messages/batches")]
        case "gemini", "{id}" if "/batches/" in listed:
            return [("POST", "/v1beta/models/{model}:batchGenerateContent")]
        case "gemini", "{id}":
            return [("POST", "/upload/v1beta/files")]
        case _, "content":
            root = listed.partition("/files")[0]
            return [("POST", f"{root}/files"), ("POST", f"{root}/batches")]
        case _, "{id}" if "/batches/" in listed:
            return [("POST", "/v1/files"), ("POST", "/v1/batches")]
        case _, "{id}" | "batches" if provider != "anthropic":
            return [("POST", f"{listed.partition('/batches')[0].partition('/files')[0]}/files")]
        case _:
            return []


def made_of(answer: Json, listed: str) -> str:
    """Return the id that the next step asks for. listed: the path of that next step."""
    if listed.endswith("/content"):
        return str(answer["output_file_id"])
    about = answer.get("file", answer)
    return str(about.get("id") or about["name"]).rpartition("/")[2]


# -- asking by hand ------------------------------------------------------------------------------------


def request(provider: str, method: str, listed: str, name: str, text: str, made: str) -> tuple[bytes, str]:
    """Return the body of a call and its content type. made: the id of what was made before."""
    if method == "GET":
        return b"", ""
    if listed.startswith("/upload/"):
        return text.encode(), "text/plain"
    if listed.endswith("/files"):
        purpose = {} if provider == "anthropic" else {"purpose": "batch"}
        return _form(purpose, name, batch_file(text)), f"multipart/form-data; boundary={BOUNDARY}"
    return json.dumps(_batch(provider, name, text, made)).encode(), "application/json"


def target(listed: str, name: str, made: str) -> str:
    """Return path and query of a call. made: the id of what it asks for."""
    path = listed.replace("{id}", made).replace("{model}", name)
    return f"{path}?{uploading(name)}" if path.startswith("/upload/") else path


def uploading(name: str) -> str:
    """Return the query of an upload that has begun."""
    return f"upload_id=upload-{name}&upload_protocol=resumable"


def batch_file(text: str) -> bytes:
    """Return a batch of one request as OpenAI takes it, a file of JSON lines."""
    body = {"model": "model-lab", "messages": [{"role": "user", "content": text}]}
    line = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(line).encode() + b"\n"


def _batch(provider: str, name: str, text: str, made: str) -> Json:
    match provider:
        case "anthropic":
            params = {"model": name, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
            return {"requests": [{"custom_id": "one", "params": params}]}
        case "gemini":
            one = {"request": {"contents": [{"role": "user", "parts": [{"text": text}]}]}}
            return {"batch": {"displayName": "a batch", "inputConfig": {"requests": {"requests": [one]}}}}
        case _:
            asked = {"input_file_id": made, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            return {**asked, "metadata": {"note": text}}


def _form(fields: dict[str, str], name: str, content: bytes) -> bytes:
    head = 'Content-Disposition: form-data; name="{}"'
    parts = [f"{head.format(key)}\r\n\r\n{value}".encode() for key, value in fields.items()]
    file = f'{head.format("file")}; filename="{name}.jsonl"\r\nContent-Type: application/octet-stream\r\n\r\n'
    parts.append(file.encode() + content)
    mark = f"--{BOUNDARY}"
    return b"".join(f"{mark}\r\n".encode() + part + b"\r\n" for part in parts) + f"{mark}--\r\n".encode()


def said(provider: str, answer: Json) -> str:
    """Return the text of one line of results, or of a batch with its results in it."""
    match provider:
        case "anthropic":
            return "".join(block["text"] for block in answer["result"]["message"]["content"])
        case "gemini":
            lines = answer["response"]["inlinedResponses"]["inlinedResponses"]
            parts = [part for line in lines for part in line["response"]["candidates"][0]["content"]["parts"]]
            return "".join(part["text"] for part in parts)
        case _:
            return str(answer["response"]["body"]["choices"][0]["message"]["content"])


# -- what the origin is told ---------------------------------------------------------------------------


def name_in(method: str, path: str, query: str, body: bytes, model: str | None) -> str:
    """Return the name that a call is made with, of which the origin goes by the words."""
    if (found := _IN_PATH.search(path)) is not None:
        name = own_name(found[1])
        of_status = name.startswith(RESULTS_ONLY) and not path.endswith("/results")
        return "" if of_status else name.removeprefix(RESULTS_ONLY)
    if method == "GET":
        return ""
    if path.startswith("/upload/"):
        asked = re.search(r"upload_id=upload-([a-z0-9-]+)", query)
        begun = _DISPLAYED.search(body)
        return asked[1] if asked else begun[1].decode() if begun else ""
    if path.endswith("/files"):
        named = _FILENAME.search(body)
        return named[1].decode() if named else ""
    asked_for = json.loads(body)
    if "input_file_id" in asked_for:
        return own_name(str(asked_for["input_file_id"]))
    return model or str(next((one["params"]["model"] for one in asked_for.get("requests", [])), ""))


def own_name(id: str) -> str:
    """Return the name in an id."""
    found = _ID.fullmatch(id)
    return found[1] if found else id


def next_name(name: str) -> str:
    """Return the name of what is made of something with a name."""
    return name.removeprefix(PUT_OFF)


def is_put_off(name: str) -> bool:
    return name.startswith(PUT_OFF)
