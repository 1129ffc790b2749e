"""The digest of a client hello: the same for every connection of one client, another for another client."""

import ssl

import pytest
from mitmproxy.proxy.layers.tls import parse_client_hello
from mitmproxy.tls import ClientHello

from sallyport.proxy.hello import digest_of


def hello(
    host: str | None = "api.openai.com",
    *,
    alpn: list[str] | None = None,
    ciphers: str | None = None,
    newest: ssl.TLSVersion | None = None,
    session: ssl.SSLSession | None = None,
) -> ClientHello:
    """The hello of Python's own TLS."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    if newest:
        context.maximum_version = newest
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=host, session=session).do_handshake()
    found = parse_client_hello(out.read())
    assert found is not None
    return found


def grease(source: ClientHello, suite: int, extension: int) -> ClientHello:
    """The same hello as a browser would write it, with numbers that mean nothing strewn in (RFC 8701)."""
    raw = bytearray(source.raw_bytes(wrap_in_record=False))
    at = 34 + 1 + raw[34]
    length = int.from_bytes(raw[at : at + 2])
    raw[at : at + 2] = (length + 2).to_bytes(2)
    raw[at + 2 : at + 2] = suite.to_bytes(2)
    at += 2 + length + 2
    at += 1 + raw[at]
    length = int.from_bytes(raw[at : at + 2])
    raw[at : at + 2] = (length + 4).to_bytes(2)
    raw[at + 2 : at + 2] = extension.to_bytes(2) + b"\0\0"
    return ClientHello(bytes(raw))


def test_it_says_version_and_protocol_and_is_short() -> None:
    assert digest_of(hello(alpn=["h2", "http/1.1"])).startswith("sp1-13-h2-")
    assert digest_of(hello(alpn=["http/1.1"])).startswith("sp1-13-http/1.1-")
    assert digest_of(hello(newest=ssl.TLSVersion.TLSv1_2)).startswith("sp1-12-00-")
    assert len(digest_of(hello())) == len("sp1-13-00-") + 16


def test_the_host_and_the_random_bytes_do_not_change_it() -> None:
    assert (
        len({digest_of(hello(host)) for host in ("api.openai.com", "a.example", None) for _ in range(3)}) == 1
    )


def test_grease_does_not_change_it() -> None:
    plain = hello()
    greased = {digest_of(grease(plain, s, e)) for s, e in ((0x0A0A, 0x1A1A), (0xFAFA, 0x3A3A))}
    assert greased == {digest_of(plain)}


def test_another_list_of_ciphers_changes_it() -> None:
    assert digest_of(hello()) != digest_of(hello(ciphers="ECDHE+AESGCM"))


def test_a_protocol_that_is_no_name_is_not_shown() -> None:
    assert digest_of(hello(alpn=["a\x00\n\x1b[31m"])).startswith("sp1-13-00-")
