"""The real SDKs raise their own exceptions on our refusals, after one attempt, and read what we rewrote."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.wire.dialects import DIALECTS
from wire.samples import CASSETTES, manifest

anthropic = pytest.importorskip("anthropic")
openai = pytest.importorskip("openai")
genai = pytest.importorskip("google.genai")

REFUSAL = Refusal("secrets.found", "A key was found. Remove it and ask again.", "gw-7f3a")
ANSWER = manifest()["strings"]["answer"]
SSE = (("content-type", "text/event-stream"),)


class Loopback:
    """Answers every request alike and counts them."""

    def __init__(self) -> None:
        self.asked = 0
        self.status, self.headers, self.body = 200, SSE, b""
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                loopback.asked += 1
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(loopback.status)
                for name, value in loopback.headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(loopback.body)))
                self.end_headers()
                self.wfile.write(loopback.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, status: int, headers, body: bytes) -> None:
        self.asked, self.status, self.headers, self.body = 0, status, headers, body

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


def openai_client(url: str):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="test")


def chat(url: str, stream: bool) -> str:
    answer = openai_client(url).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], stream=stream
    )
    if not stream:
        return answer.choices[0].message.content
    return "".join(c.choices[0].delta.content or "" for c in answer if c.choices)


def completions(url: str, stream: bool) -> str:
    answer = openai_client(url).completions.create(model="m", prompt="x", stream=stream)
    return "".join(c.choices[0].text for c in answer) if stream else answer.choices[0].text


def embeddings(url: str, stream: bool) -> str:
    return str(openai_client(url).embeddings.create(model="m", input="x").data)


def responses(url: str, stream: bool) -> str:
    answer = openai_client(url).responses.create(model="m", input="x", stream=stream)
    if not stream:
        return answer.output_text
    return "".join(e.delta for e in answer if e.type == "response.output_text.delta")


def messages(url: str, stream: bool) -> str:
    client = anthropic.Anthropic(base_url=url, api_key="test")
    answer = client.messages.create(
        model="m", max_tokens=5, messages=[{"role": "user", "content": "x"}], stream=stream
    )
    if not stream:
        return "".join(b.text for b in answer.content if b.type == "text")
    return "".join(
        e.delta.text for e in answer if e.type == "content_block_delta" and e.delta.type == "text_delta"
    )


def gemini(url: str, stream: bool) -> str:
    client = genai.Client(api_key="test", http_options=genai.types.HttpOptions(base_url=url))
    if not stream:
        return client.models.generate_content(model="m", contents="x").text
    chunks = client.models.generate_content_stream(model="m", contents="x")
    return "".join(p.text for c in chunks for p in c.candidates[0].content.parts if not p.thought)


CLIENTS = {
    "openai_chat": (chat, openai.PermissionDeniedError, openai.APIError),
    "openai_completions": (completions, openai.PermissionDeniedError, openai.APIError),
    "openai_embeddings": (embeddings, openai.PermissionDeniedError, None),
    "openai_responses": (responses, openai.PermissionDeniedError, openai.APIError),
    "anthropic_messages": (messages, anthropic.PermissionDeniedError, anthropic.APIStatusError),
    "gemini_generate": (gemini, genai.errors.ClientError, genai.errors.ClientError),
}
STREAMS = [n for n in CLIENTS if CLIENTS[n][2] is not None]


def recorded(name: str) -> bytes:
    path = "openai_other/completions_stream.sse" if name == "openai_completions" else f"{name}/stream.sse"
    return (CASSETTES / path).read_bytes()


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
def test_the_sdk_raises_its_own_error_after_one_attempt(loopback: Loopback, name: str, stream: bool):
    ask, error, _ = CLIENTS[name]
    answer = DIALECTS[name].refuse(REFUSAL, stream)
    loopback.answer(answer.status, answer.headers, answer.body)
    with pytest.raises(error) as raised:
        ask(loopback.url, stream)
    assert "gw-7f3a" in str(raised.value)
    assert loopback.asked == 1
    if name.startswith("openai"):
        assert (raised.value.code, raised.value.type) == ("secrets.found", "policy_refusal")


@pytest.mark.parametrize("name", CLIENTS)
def test_a_refusal_for_a_limit_is_not_retried_either(loopback: Loopback, name: str):
    refusal = Refusal("limits.rate", "Slow down.", "gw-7f3a", 429, 1)
    answer = DIALECTS[name].refuse(refusal, False)
    loopback.answer(answer.status, answer.headers, answer.body)
    with pytest.raises(Exception, match="gw-7f3a"):
        CLIENTS[name][0](loopback.url, False)
    assert loopback.asked == 1


@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_raises_when_a_started_stream_is_ended(loopback: Loopback, name: str):
    ask, _, error = CLIENTS[name]
    started = b"".join(e.raw for e in DIALECTS[name].open_stream().feed(recorded(name))[:3])
    loopback.answer(200, SSE, started + DIALECTS[name].stream_error(REFUSAL))
    with pytest.raises(error) as raised:
        ask(loopback.url, True)
    assert "gw-7f3a" in str(raised.value)
    assert loopback.asked == 1


@pytest.mark.parametrize("name", STREAMS)
def test_the_sdk_reads_a_rewritten_stream(loopback: Loopback, name: str):
    reader = DIALECTS[name].open_stream()
    body = b""
    for event in reader.feed(recorded(name)) + reader.end():
        texts = {d.at: d.text.upper() for d in event.deltas if d.surface is Surface.ASSISTANT}
        body += reader.rewrite(event, texts)
    loopback.answer(200, SSE, body)
    assert CLIENTS[name][0](loopback.url, True) == ANSWER.upper()
