"""Transparent mode behind a real redirect: what a client on the network can try, and what it cannot reach.

Client, gateway and upstream stand in network namespaces of their own; the choke point is the one that
`sallyport redirect apply` makes. Stock mitmdump behind the bare redirect of the tutorials is the control.
"""

import os
import re
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from choke.choke_net import FAMILIES
from proxy.crossing import ELSEWHERE, LISTENER, REDIRECT, Site, network, open_files, sallyport, stock
from proxy.door import AI, ECH, SEGMENT_PAUSE_S, call, client_hello, head, server_names, talk
from rawclient import Talk
from sallyport.choke import namespaces

POLICY = "version: 1\nidentity: {unknown: anonymous}\ntransport: {header_timeout_s: 3, max_connections_per_client: 200}\n"
PAGE = Path(__file__).parents[2] / "docs" / "bypass-resistance.md"

type Try = Callable[[Site, str], Talk]


@dataclass(frozen=True)
class Crossing:
    """reason: as in attempts.py; empty where the kernel refuses and the gateway sees nothing.

    goes: address to which the one connection that may open must go; None for no connection at all.
    """

    id: str
    run: Try
    reason: str
    goes: str | None = None


def unknown(mark: str, **changed: str) -> bytes:
    """A call that the gateway refuses once it can read it."""
    return call(mark, path="/v1/threads", **changed)


def segments(*sizes: int) -> Try:
    """TLS whose first bytes come in segments of these sizes, then a call that must be refused."""

    def run(site: Site, mark: str) -> Talk:
        with closing(site.dial()) as sock:
            return talk(Sliced(sock, sizes).tls(site), unknown(mark))

    return run


class Sliced:
    """A relay before a socket that cuts the first bytes into segments, so that any TLS client can be used."""

    def __init__(self, sock: socket.socket, sizes: tuple[int, ...]) -> None:
        self._sock, self._sizes = sock, sizes

    def tls(self, site: Site) -> socket.socket:
        context = ssl.create_default_context(cafile=str(site.ca))
        near, far = socket.socketpair()

        def relay(source: socket.socket, sink: socket.socket, sizes: tuple[int, ...]) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    for size in sizes:
                        sink.sendall(data[:size])
                        data = data[size:]
                        time.sleep(SEGMENT_PAUSE_S)
                    sizes = ()
                    sink.sendall(data)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        for source, sink, sizes in ((far, self._sock, self._sizes), (self._sock, far, ())):
            threading.Thread(target=relay, args=(source, sink, sizes), daemon=True).start()
        near.settimeout(5)
        return context.wrap_socket(near, server_hostname=AI)


def raw(*pieces: bytes, **where: object) -> Try:
    return lambda site, mark: talk(site.dial(**where), *(p.replace(b"%MARK", mark.encode()) for p in pieces))  # type: ignore[arg-type]


def hello(
    *names: bytes, lists: list[bytes] | None = None, extra: bytes = b"", address: str = "upstream"
) -> Try:
    def run(site: Site, mark: str) -> Talk:
        return talk(site.dial(address=address), client_hello(names, lists=lists, extra=extra), wait_s=0.3)

    return run


def inside(sni: str | None, build: Callable[[str], bytes] = unknown, **where: object) -> Try:
    def run(site: Site, mark: str) -> Talk:
        try:
            return talk(site.tls(sni, **where), build(mark))  # type: ignore[arg-type]
        except OSError as problem:
            return Talk(0, b"", b"", type(problem).__name__)

    return run


def plain(host: str, *, port: int = 443, address: str = "upstream") -> Try:
    return lambda site, mark: talk(site.dial(port=port, address=address), call(mark, host=host))


def refused(**where: object) -> Try:
    """A connection the kernel must refuse, or never answer."""

    def run(site: Site, mark: str) -> Talk:
        with pytest.raises((ConnectionRefusedError, TimeoutError)):
            site.dial(**where)  # type: ignore[arg-type]
        return Talk(0, b"", b"")

    return run


def quic(family: str) -> Try:
    def run(site: Site, mark: str) -> Talk:
        """A datagram shaped like a QUIC Initial."""
        chosen, lab = FAMILIES[family], site.net.lab
        upstream = site.net.listen(lab.upstream, 443, socket.SOCK_DGRAM)
        ended = site.net.datagram(lab.client, chosen, chosen.upstream, 443)
        upstream.setblocking(False)
        with closing(upstream), pytest.raises(BlockingIOError):
            upstream.recv(1500)
        assert ended == "refused"
        return Talk(0, b"", b"")

    return run


def silent(site: Site, mark: str) -> Talk:
    return talk(site.dial(), wait_s=6)


def half_a_hello(site: Site, mark: str) -> Talk:
    return talk(site.dial(), client_hello([AI.encode()])[:30], wait_s=6)


TUNNELLED = namespaces.ELSEWHERE_V4

CROSSINGS = [
    Crossing("net-first-segment-1-byte", segments(1), "access.unknown_endpoint"),
    Crossing("net-first-segment-2-bytes", segments(2), "access.unknown_endpoint"),
    Crossing("net-first-segments-1-1-1-1", segments(1, 1, 1, 1), "access.unknown_endpoint"),
    Crossing("net-unknown-endpoint-ipv6", inside(AI, family="v6"), "access.unknown_endpoint"),
    Crossing("net-sni-upper-case", inside("API.OpenAI.com"), "access.unknown_endpoint"),
    Crossing("net-sni-trailing-dot", inside("api.openai.com."), "access.unknown_endpoint"),
    Crossing("net-sni-absent", inside(None), "no_name"),
    Crossing("net-sni-empty", hello(b""), "bad_name"),
    Crossing("net-sni-address", hello(b"10.77.2.2"), "address_instead_of_name"),
    Crossing("net-sni-address-hex", hello(b"0x0a4d0202"), "address_instead_of_name"),
    Crossing("net-sni-utf-8", hello("api.openаi.com".encode()), "bad_name"),
    Crossing("net-sni-nul", hello(b"www.example.com\0"), "bad_name"),
    Crossing("net-sni-two-names", hello(lists=[server_names([(0, b"www.example.com"), (0, AI.encode())])]), "bad_name"),
    Crossing("net-sni-two-extensions", hello(lists=[server_names([(0, b"www.example.com")]), server_names([(0, AI.encode())])]), "bad_name"),
    Crossing("net-ech-public-name", hello(b"cloudflare-ech.com", extra=ECH), "hidden_name"),
    Crossing("net-ai-name-other-address", inside(AI, address="elsewhere"), "access.unknown_endpoint"),
    Crossing("net-unlisted-name-ai-address", hello(ELSEWHERE.encode()), "tunnelled", goes=TUNNELLED),
    Crossing("net-private-name", hello(b"files.example.com"), "unreachable_private"),
    Crossing("net-host-other-than-sni", inside(AI, lambda mark: call(mark, host="api.anthropic.com")), "transport.host_mismatch"),
    Crossing("net-absolute-form", inside(AI, lambda mark: call(mark, path="https://api.anthropic.com/v1/messages")), "transport.host_mismatch"),
    Crossing("net-connect-request", raw(head(f"CONNECT {AI}:443 HTTP/1.1", f"Host: {AI}:443") + b"%MARK"), "transport.plain_http"),
    Crossing("net-plain-http-to-ai", plain(AI, port=80), "transport.plain_http"),
    Crossing("net-plain-http-on-443", plain(AI), "transport.plain_http"),
    Crossing("net-plain-http-unlisted-on-80", plain(ELSEWHERE, port=80), "transport.plain_http"),
    Crossing("net-raw-tcp", raw(b"\x01\x02\x03%MARK"), "not_http"),
    Crossing("net-raw-tcp-1-byte-first", raw(b"\x01", b"\x02\x03%MARK"), "not_http"),
    Crossing("net-ssh-banner", raw(b"SSH-2.0-x %MARK\r\n\r\n"), "framing_request_line"),
    Crossing("net-leading-crlf", raw(b"\r\nPOST / HTTP/1.1\r\n\r\n%MARK"), "not_http"),
    Crossing("net-h2-prior-knowledge", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "framing_request_line"),
    Crossing("net-silence", silent, "too_slow"),
    Crossing("net-half-a-hello", half_a_hello, "too_slow"),
    Crossing("net-quic", quic("v4"), ""),
    Crossing("net-quic-ipv6", quic("v6"), ""),
    Crossing("net-listener-directly", refused(address="gateway", port=LISTENER), ""),
    Crossing("net-listener-directly-ipv6", refused(address="gateway", port=LISTENER, family="v6"), ""),
    Crossing("net-gateway-address-443", inside(AI, address="gateway"), "access.unknown_endpoint"),
    Crossing("net-other-port", refused(port=8443), ""),
    Crossing("net-other-port-ipv6", refused(port=8443, family="v6"), ""),
]  # fmt: skip


def test_the_page_lists_every_crossing_with_what_is_recorded_and_no_other() -> None:
    found = re.findall(r"^\| `(net-[^`]+)` \| (?:`([^`]+)`|the kernel refuses) \|", PAGE.read_text(), re.M)
    assert dict(found) == {c.id: c.reason for c in CROSSINGS}


# -- the gateway at the choke point ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def permitted() -> None:
    if not namespaces.permitted():
        reason = "needs root and network namespaces: transparent mode is NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def site(permitted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with network(tmp_path_factory.mktemp("site")) as built, sallyport(built, POLICY):
        built.net.apply()
        yield built


@pytest.mark.root
@pytest.mark.parametrize("crossing", CROSSINGS, ids=lambda c: c.id)
def test_nothing_crosses_that_the_gateway_has_not_judged(site: Site, crossing: Crossing) -> None:
    mark = f"MARK-{crossing.id}-END"
    site.marks.append(mark)
    since, before = len(site.events()), len(site.arrivals())
    crossing.run(site, mark)
    if crossing.reason:
        assert site.told(since, crossing.reason), [
            (e.kind, e.reason, e.detail) for e in site.events()[since:]
        ]
    arrived = site.arrivals()[before:]
    opened = [a["local"].split()[0] for a in arrived if a["event"] == "opened"]
    assert opened == ([crossing.goes] if crossing.goes else [])
    assert not any(mark in str(a) for a in arrived)


@pytest.mark.root
def test_who_names_no_server_is_no_error_of_a_hook(site: Site) -> None:
    since, said = len(site.events()), (site.folder / "gateway.log").stat().st_size
    inside(None)(site, "MARK-nameless")
    assert site.told(since, "no_name")
    assert "raised" not in (site.folder / "gateway.log").read_text()[said:]


@pytest.mark.root
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("address", ["upstream", "elsewhere"])
def test_a_sound_call_passes_whatever_address_it_was_sent_to(site: Site, family: str, address: str) -> None:
    """The name decides: the provider is resolved by the gateway, on either IP version."""
    mark = f"SOUND-{family}-{address}"
    answer = talk(site.tls(AI, family=family, address=address), call(mark))
    assert answer.status == 200
    assert any(mark in a["body"] for a in site.arrivals() if a["event"] == "request" and a["body"])


@pytest.mark.root
def test_a_client_whose_hello_comes_in_tiny_segments_is_served(site: Site) -> None:
    with closing(site.dial()) as sock:
        assert talk(Sliced(sock, (1,) * 8).tls(site), call("SOUND-tiny")).status == 200


@pytest.mark.root
def test_a_host_that_is_no_ai_host_is_tunnelled_with_its_own_certificate(site: Site) -> None:
    sock = site.tls(ELSEWHERE, ca=site.lab_ca, address="elsewhere")
    assert talk(sock, head("GET /SOUND-tunnel HTTP/1.1", f"Host: {ELSEWHERE}")).status == 200


@pytest.mark.root
def test_the_log_of_all_this_holds_nothing_that_passed(site: Site) -> None:
    test_nothing_crosses_that_the_gateway_has_not_judged(site, CROSSINGS[0])
    log = (site.folder / "gateway.log").read_text()
    assert "MARK-" not in log
    assert "SOUND-" not in log
    assert "sk-test" not in log
    assert not any("MARK-" in repr(e) or "SOUND-" in repr(e) for e in site.events())


@pytest.mark.root
def test_with_the_gateway_dead_nothing_passes(site: Site) -> None:
    """The last one of this site: it kills the gateway."""
    assert site.gateway is not None
    before = len(site.arrivals())
    os.kill(site.gateway.pid, signal.SIGKILL)
    site.gateway.wait(10)
    for family in FAMILIES:
        with pytest.raises(ConnectionRefusedError):
            site.dial(family=family)
    assert [a for a in site.arrivals()[before:] if a["event"] != "closed"] == []


# -- the bare redirect: our gateway without its choke point, and stock mitmproxy --------------------------

EXACT_NAMES = """
from mitmproxy import http

AI = {"api.openai.com"}

def tls_clienthello(data):
    if data.client_hello.sni not in AI:
        data.ignore_connection = True

def request(flow):
    flow.response = http.Response.make(403, b"refused")
"""


@pytest.fixture(scope="module")
def bare(permitted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with network(tmp_path_factory.mktemp("bare")) as built:
        built.net.nft("-f", "-", stdin=REDIRECT)
        yield built


@pytest.mark.root
def test_stock_mitmproxy_behind_the_bare_redirect_lets_through_what_we_do_not(bare: Site) -> None:
    """Control for rows 4, 5, 6 and 8 of the must-do table, on one mitmdump."""
    with stock(bare, EXACT_NAMES) as process:
        assert talk(bare.tls(AI), call("mark-normal")).status == 403
        assert not holds(bare, "mark-normal")
        for sizes in ((1,), (2,)):
            with closing(bare.dial()) as sock:
                outside = Site(bare.net, bare.folder, bare.record, bare.lab_ca, bare.lab_ca)
                assert talk(Sliced(sock, sizes).tls(outside), unknown(f"mark-cut-{sizes[0]}")).status != 403
            assert holds(bare, f"mark-cut-{sizes[0]}")
        for number, name in enumerate(("API.OpenAI.com", "api.openai.com.")):
            assert talk(bare.tls(name, ca=bare.lab_ca), call(f"mark-name-{number}")).status == 200
            assert holds(bare, f"mark-name-{number}")
        upstream = bare.net.listen(bare.net.lab.upstream, 443, socket.SOCK_DGRAM)
        bare.net.datagram(bare.net.lab.client, FAMILIES["v4"], FAMILIES["v4"].upstream, 443)
        assert upstream.recv(100) == b"initial"
        before = open_files(process)
        with closing(bare.dial(address="gateway", port=LISTENER)) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            deadline = time.monotonic() + 20
            while open_files(process) < 110 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert open_files(process) - before > 50, "it did not connect to itself"


@pytest.mark.root
def test_our_gateway_does_not_connect_to_itself_even_without_its_choke_point(bare: Site) -> None:
    with sallyport(bare, POLICY):
        assert bare.gateway is not None
        before, since = open_files(bare.gateway), len(bare.events())
        for family in FAMILIES:
            for said in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", client_hello([AI.encode()]), b""):
                answer = talk(bare.dial(address="gateway", port=LISTENER, family=family), said, wait_s=1)
                assert answer.status in (0, 403, 400)
        assert bare.told(since, "not_redirected")
        assert open_files(bare.gateway) <= before + 6
        assert talk(bare.tls(AI), call("mark-after")).status == 200


def holds(site: Site, mark: str) -> bool:
    """Say whether a mark arrived at the lab, in a request or in bytes that are none."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        if any(mark in str(a) for a in site.arrivals()):
            return True
        time.sleep(0.05)
    return False
