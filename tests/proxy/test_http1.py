"""Which request heads are taken: HTTP/1.0 opens tunnels, and does nothing else."""

import pytest

from sallyport.proxy.http1 import framing_error


@pytest.mark.parametrize(
    ("head", "error"),
    [
        (b"CONNECT api.openai.com:443 HTTP/1.0", None),
        (b"CONNECT api.openai.com:443 HTTP/1.0\r\nProxy-Connection: Keep-Alive", None),
        (b"CONNECT api.openai.com:443 HTTP/1.0\r\nHost: api.openai.com", None),
        (b"CONNECT api.openai.com:443 HTTP/1.0\r\nContent-Length: 5", "connect_body"),
        (b"CONNECT api.openai.com:443 HTTP/1.0\r\nTransfer-Encoding: chunked", "connect_body"),
        (b"CONNECT api.openai.com:443 HTTP/1.0\r\nHost: a\r\nHost: b", "repeated_host"),
        (b"CONNECT api.openai.com:443 HTTP/1.1", "no_host"),
        (b"CONNECT api.openai.com:443 HTTP/0.9", "request_line"),
        (b"GET / HTTP/1.0", "request_line"),
        (b"GET / HTTP/1.0\r\nHost: api.openai.com", "request_line"),
        (b"POST /v1/chat/completions HTTP/1.0\r\nHost: api.openai.com", "request_line"),
    ],
)
def test_http_1_0_may_open_a_tunnel_and_nothing_else(head: bytes, error: str | None) -> None:
    assert framing_error(head, 100) == error
