"""An answer in a coding that nobody asked for is read as its client would read it, and what was read goes out."""

import gzip
import json
import zlib
from collections.abc import Iterator

import pytest

from e2e.traffic import Villain, ask, by_model, eventually, recorded, running, say, villain
from gateways import GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa

MAIL = "marta.quill@example.com"
POLICY = """\
version: 1
identity: {unknown: anonymous}
output: {pii: mask}
"""


def said(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}).encode()


def two_members(body: bytes) -> bytes:
    return gzip.compress(body[:60]) + gzip.compress(body[60:])


CODINGS = {
    "gzip": ("gzip", gzip.compress, False),
    "deflate": ("deflate", zlib.compress, False),
    "x-gzip": ("x-gzip", gzip.compress, True),
    "members": ("gzip", two_members, True),
}
"""By name: the header, what encodes, and whether clients differ on it, so that it leaves without its coding."""


@pytest.fixture(scope="module")
def gateway(
    ca: LabCa, upstream: Villain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    extra = ["--upstream-ca", str(ca.certificate)]
    to = {"api.openai.com": upstream.port}
    with running(tmp_path_factory.mktemp("coded"), None, policy=POLICY, extra=extra, to=to) as up:
        yield up


@pytest.fixture(scope="module")
def upstream(ca: LabCa) -> Iterator[Villain]:
    with villain(ca, {}) as server:
        yield server


@pytest.mark.parametrize("name", CODINGS)
@pytest.mark.parametrize("text", ["Good morning.", f"Write to {MAIL}."], ids=["plain", "masked"])
def test_an_answer_in_a_coding_is_read_and_masked(
    gateway: GatewayProcess, upstream: Villain, name: str, text: str
) -> None:
    header, encode, differs = CODINGS[name]
    body = encode(said(text))
    model = f"{name}-{text[:4]}".lower()
    top = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {header}\r\n"
    upstream.deeds[model] = say(f"{top}content-length: {len(body)}\r\n\r\n".encode() + body)
    answer = ask(gateway, model)
    assert answer.status == 200
    is_coded = b"content-encoding" in answer.head
    if differs or MAIL in text:
        assert not is_coded
        assert json.loads(answer.body) == json.loads(said(text.replace(MAIL, "[EMAIL_ADDRESS]")))
    else:
        assert is_coded
        assert answer.body == body
    eventually(lambda: len(by_model(recorded(gateway.confdir), model)) == 2, 5, "it has ended")
    assert by_model(recorded(gateway.confdir), model) == [EventKind.ADMITTED, EventKind.COMPLETED]


@pytest.mark.parametrize("value", ["none", ""])
def test_a_stream_whose_header_names_no_coding_is_read_as_one_without_it(
    gateway: GatewayProcess, upstream: Villain, value: str
) -> None:
    model = f"no-coding-{value}"
    chunk = {
        "id": "c",
        "model": "m",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": f"To {MAIL}."}}],
    }
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
    top = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {value}\r\n"
    upstream.deeds[model] = say(f"{top}content-length: {len(body)}\r\n\r\n".encode() + body)
    answer = ask(gateway, model, stream=True)
    assert answer.status == 200
    assert f"content-encoding: {value}\r\n".encode() in answer.head + b"\r\n"
    assert b"[EMAIL_ADDRESS]" in answer.body
    assert MAIL.encode() not in answer.body
