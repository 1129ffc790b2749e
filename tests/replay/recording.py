"""Flows as `mitmdump -w` writes them, made by hand."""

import json
from collections.abc import Iterable
from pathlib import Path

from mitmproxy import connection, http
from mitmproxy.flow import Flow
from mitmproxy.io import FlowWriter

HOST = "api.openai.com"
BEGAN = 1_780_000_000.0
"""Seconds since 1970 of the first flow: a day of May 2026."""


def flow(
    text: str,
    *,
    at: float = 0.0,
    model: str = "gpt-5-mini",
    host: str = HOST,
    address: str = "10.0.0.5",
    path: str = "/v1/chat/completions",
    answer: dict[str, object] | bytes | None = None,
    kind: str = "application/json",
    headers: dict[str, str] | None = None,
    takes_s: float = 1.0,
    body: bytes | None = None,
    version: str = "HTTP/1.1",
) -> http.HTTPFlow:
    """Return one recorded call. at: seconds after BEGAN. body: in place of a chat with the text."""
    began = BEGAN + at
    client = connection.Client(
        peername=(address, 40000), sockname=("10.0.0.1", 8080), timestamp_start=began, sni=host
    )
    client.tls = True
    server = connection.Server(address=(host, 443), sni=host)
    made = http.HTTPFlow(client, server)
    asked = {"model": model, "messages": [{"role": "user", "content": text}]}
    fields = {
        "host": host,
        "content-type": "application/json",
        "authorization": "Bearer k",
        **(headers or {}),
    }
    made.request = http.Request.make(
        "POST", f"https://{host}{path}", json.dumps(asked).encode() if body is None else body, fields
    )
    made.request.http_version = version
    made.request.timestamp_start, made.request.timestamp_end = began, began + 0.01
    said = ANSWER if answer is None else answer
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    made.response = http.Response.make(200, raw, {"content-type": kind})
    made.response.timestamp_start, made.response.timestamp_end = began + takes_s, began + takes_s
    return made


ANSWER: dict[str, object] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Good."}}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500},
}


def write(path: Path, flows: Iterable[Flow]) -> Path:
    with path.open("wb") as file:
        writer = FlowWriter(file)
        for each in flows:
            writer.add(each)
    return path
