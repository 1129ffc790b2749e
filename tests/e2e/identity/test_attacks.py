"""Attacks on identity, tenants and tenant restrictions through the running gateway, each by somebody with an aim."""

import contextlib
import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest

import rawclient
from e2e.identity.speaking import Speaker
from e2e.traffic import (
    CHAT,
    OPENAI,
    Wire,
    chat,
    eventually,
    model_of,
    models_seen,
    of_kind,
    recorded,
    running,
    settled,
)
from gateways import OPEN_POLICY, GatewayProcess
from issuing import AUDIENCE, ISSUER, Idp
from listening import serve_each
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from sallyport.state.tokens.sources import Place, fetch

OURS = "0a1b2c3d-0000-4000-8000-00000000abcd"
SIGN_IN = "login.microsoftonline.com"
HEADER = b"sec-restrict-tenant-access-policy"
IDP = Idp()


# -- whoever wants to sign in with a private account --------------------------------------------------------

RESTRICTED = (
    OPEN_POLICY
    + f"""
hosts: {{connect_ports: [443, 80]}}
restrictions:
  microsoft_tenant_policy: ['{OURS}:{OURS}']
"""
)


@dataclass
class SignIn:
    """A host where people sign in: keeps what came, byte by byte, and answers with an advertisement of HTTP/3."""

    ca: LabCa
    plain: bool = False
    came: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        serve_each(self._listener, self._serve)

    def close(self) -> None:
        self._listener.close()

    def _serve(self, raw: socket.socket) -> None:
        context = self.ca.server_context(SIGN_IN)
        with (
            contextlib.suppress(OSError),
            raw if self.plain else context.wrap_socket(raw, server_side=True) as sock,
        ):
            own = bytearray()
            if isinstance(sock, ssl.SSLSocket) and sock.selected_alpn_protocol() == "h2":
                self._speak_h2(sock)
                return
            while piece := sock.recv(65536):
                own += piece
                self.came += piece
                if _is_over(bytes(own)):
                    own.clear()
                    answer = b'HTTP/1.1 200 OK\r\nalt-svc: h3=":443"; ma=86400\r\ncontent-length: 2\r\n\r\nok'
                    sock.sendall(answer)

    def _speak_h2(self, sock: ssl.SSLSocket) -> None:
        """Write headers and trailers down as HTTP/1 would have them."""
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        conn.initiate_connection()
        sock.sendall(conn.data_to_send())
        while piece := sock.recv(65536):
            for event in conn.receive_data(piece):
                if isinstance(event, h2.events.RequestReceived | h2.events.TrailersReceived):
                    self.came += b"".join(b"%s: %s\r\n" % field for field in event.headers)
                elif isinstance(event, h2.events.StreamEnded):
                    conn.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            sock.sendall(conn.data_to_send())


def _is_over(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.startswith(b"0\r\n") or (b"\r\n0\r\n" in body and body.endswith(b"\r\n\r\n"))
    return bool(found)


@pytest.fixture(scope="module")
def sign_in(lab: Lab) -> Iterator[SignIn]:
    # A LabCa of its own: contexts are kept, and those of the lab do not offer HTTP/2.
    server = SignIn(LabCa(lab.ca.certificate.parent, alpn=("h2", "http/1.1")))
    yield server
    server.close()


@pytest.fixture(scope="module")
def plain_sign_in(lab: Lab) -> Iterator[SignIn]:
    server = SignIn(lab.ca, plain=True)
    yield server
    server.close()


@pytest.fixture(scope="module")
def restricted(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, sign_in: SignIn, plain_sign_in: SignIn
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("restricted")
    extra = ["--connect-to", f"{SIGN_IN}:80:127.0.0.1:{plain_sign_in.port}"]
    with running(folder, lab, policy=RESTRICTED, extra=extra, to={SIGN_IN: sign_in.port}) as up:
        yield up


def lines_of(came: bytes) -> list[bytes]:
    return [line.strip().lower() for line in came.split(b"\r\n")]


def restricts(came: bytes) -> bool:
    """Say whether the vendor would read our value, once, and nothing takes it out on the way."""
    lines = lines_of(came)
    ours = f"{HEADER.decode()}: {OURS}:{OURS}".encode()
    named = [line for line in lines if line.replace(b"_", b"-").startswith(HEADER)]
    hops = [line for line in lines if line.startswith(b"connection:") and HEADER in line]
    return named == [ours] and not hops


def signed_in(gateway: GatewayProcess, sign_in: SignIn, request: bytes) -> bytes:
    """Send a request inside the intercepted connection; what the host got of it."""
    before = len(sign_in.came)
    wire = Wire.open(gateway, SIGN_IN)
    wire.send(request)
    wire.read_all()
    return bytes(sign_in.came[before:])


@pytest.mark.parametrize(
    "line",
    [
        f"Connection: {HEADER.decode()}",
        f"Connection: keep-alive, {HEADER.decode()}",
        "Connection: Sec-Restrict-Tenant-Access-Policy\r\nConnection: close",
        f"sec_restrict_tenant_access_policy: {'f' * 8}",
        f"Sec-Restrict-Tenant_Access-Policy: {'f' * 8}",
        f"{HEADER.decode()}: {'f' * 8}\r\n{HEADER.decode().upper()}: {'e' * 8}",
    ],
)
def test_no_header_line_takes_a_restriction_out_on_its_way(
    restricted: GatewayProcess, sign_in: SignIn, line: str
) -> None:
    came = signed_in(restricted, sign_in, post("/signin", b"x=1", SIGN_IN, line))
    assert restricts(came), came[:600]


@pytest.mark.parametrize("name", [HEADER.decode(), "sec_restrict_tenant_access_policy"])
def test_trailers_of_a_sign_in_bring_no_restriction_of_the_client_s(
    restricted: GatewayProcess, sign_in: SignIn, name: str
) -> None:
    head = post("/signin", b"", SIGN_IN, "Transfer-Encoding: chunked", f"Trailer: {name}")
    came = signed_in(restricted, sign_in, head + b"3\r\nx=1\r\n0\r\n" + f"{name}: ffff\r\n\r\n".encode())
    assert not came or restricts(came), came[:600]


def test_trailers_over_http2_neither(restricted: GatewayProcess, sign_in: SignIn) -> None:
    before = len(sign_in.came)
    raw = rawclient.tunnel(restricted.port, SIGN_IN, timeout=10)
    with rawclient.tls(raw, SIGN_IN, restricted.confdir / "ca-cert.pem", alpn=["h2"]) as sock:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        conn.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", SIGN_IN), (":path", "/signin")]
        conn.send_headers(1, pseudo)
        conn.send_data(1, b"x=1")
        conn.send_headers(1, [(HEADER.decode(), "ffff"), ("x-other", "1")], end_stream=True)
        sock.sendall(conn.data_to_send())
        sock.settimeout(10)
        answered = False
        while not answered and (piece := sock.recv(65536)):
            answered = any(isinstance(e, h2.events.ResponseReceived) for e in conn.receive_data(piece))
    came = bytes(sign_in.came[before:])
    assert b":path: /signin" in came
    assert restricts(came), came
    assert b"x-other" not in came


def test_a_sign_in_host_cannot_send_browsers_off_to_a_protocol_that_is_not_opened(
    restricted: GatewayProcess, sign_in: SignIn
) -> None:
    wire = Wire.open(restricted, SIGN_IN)
    wire.send(post("/signin", b"x=1", SIGN_IN))
    wire.read_all()
    assert wire.status == 200
    assert b"alt-svc" not in bytes(wire.data).lower()


def test_plain_http_to_a_sign_in_host_is_restricted_too(
    restricted: GatewayProcess, plain_sign_in: SignIn
) -> None:
    before = len(plain_sign_in.came)
    with socket.create_connection(("127.0.0.1", restricted.port), timeout=10) as raw:
        line = f"Connection: {HEADER.decode()}\r\n{HEADER.decode()}: ffff"
        request = post(f"http://{SIGN_IN}/signin", b"x=1", SIGN_IN, line)
        raw.sendall(request)
        talk = rawclient.read_answer(raw, timeout=10)
    came = bytes(plain_sign_in.came[before:])
    assert not came or restricts(came), (talk.head, came[:600])


@pytest.mark.parametrize("connect", ["{}.:443", "{}..:443", "{upper}:443"])
def test_no_spelling_of_a_sign_in_host_makes_a_tunnel_of_it(
    restricted: GatewayProcess, sign_in: SignIn, connect: str
) -> None:
    before = len(settled(restricted.confdir))
    target = connect.format(SIGN_IN, upper=SIGN_IN.upper())
    for sni in (SIGN_IN, None):
        with contextlib.suppress(OSError):
            raw = rawclient.tunnel(restricted.port, SIGN_IN, connect=target, timeout=10)
            with rawclient.tls(raw, sni, restricted.confdir / "ca-cert.pem") as sock:
                sock.sendall(post("/spelt", b"x=1", SIGN_IN))
                rawclient.read_answer(sock)
    events = recorded(restricted.confdir)[before:]
    assert all(e.detail == "restricted" for e in of_kind(events, EventKind.TUNNELLED)), events


# -- a tenant that caps what the company caps ----------------------------------------------------------------

ACME = """
version: 1
access: {parameters: {max_output_tokens: {max: 50, action: cap}}}
"""
CAPPED = """
version: 1
identity:
  header: {name: X-User, tenant_header: X-Tenant, trusted_peers: [127.0.0.0/8]}
  tokens:
    - id: corp
      issuer: ISSUER
      audience: [AUDIENCE]
      keys: {file: keys.json}
  conflicts: deny
tenants: {files: {acme: acme.yaml}}
access: {parameters: {max_output_tokens: {max: 100, action: cap}}}
""".replace("ISSUER", ISSUER).replace("AUDIENCE", AUDIENCE)


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "keys.json").write_text(json.dumps(IDP.jwks()))
    (folder / "acme.yaml").write_text(ACME)
    with running(folder, lab, policy=CAPPED) as up:
        yield up


@pytest.mark.parametrize(("tenant", "leaves"), [("acme", 50), ("other", 100)])
def test_of_two_caps_the_tenant_s_lower_one_leaves(
    gateway: GatewayProcess, lab: Lab, tenant: str, leaves: int
) -> None:
    model = f"attack-cap-{tenant}"
    asked = post(CHAT, chat(model, max_tokens=5000), OPENAI, "X-User: ann", f"X-Tenant: {tenant}")
    assert rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, asked).status == 200
    (sent,) = [r.json() for r in lab.requests if model_of(r) == model]
    assert isinstance(sent, dict)
    assert sent["max_tokens"] == leaves


# -- whoever runs the key server of one of several issuers ---------------------------------------------------


@contextlib.contextmanager
def key_server(ca: LabCa, speak: Callable[[ssl.SSLSocket], None]) -> Iterator[str]:
    """Serve `localhost` over TLS, one connection after the other; the address of its keys."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(raw: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            ca.server_context("localhost").wrap_socket(raw, server_side=True) as sock,
        ):
            sock.recv(65536)
            speak(sock)

    serve_each(listener, serve)
    try:
        yield f"https://localhost:{listener.getsockname()[1]}/keys"
    finally:
        listener.close()


def answer(body: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *lines, b"", body])


def trickle(sock: ssl.SSLSocket) -> None:
    """Never come to the end of the head, and never be silent for long."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        sock.sendall(b"a")
        time.sleep(0.5)


def test_one_issuer_s_slow_server_holds_up_the_keys_of_no_other(lab: Lab, tmp_path: Path) -> None:
    """Else a partner's issuer could keep a key in force that the company has withdrawn."""
    now = [Idp()]
    entry = (
        "    - {{id: {0}, issuer: https://{0}.example.com, audience: [a], "
        f"keys: {{{{url: '{{1}}', ca_file: '{lab.ca.certificate}', refresh_s: 1}}}}}}}}\n"
    )
    with (
        key_server(lab.ca, lambda sock: sock.sendall(answer(json.dumps(now[0].jwks()).encode()))) as good,
        key_server(lab.ca, trickle) as slow,
    ):
        policy = (
            "version: 1\nidentity:\n  tokens:\n" + entry.format("partner", slow) + entry.format("corp", good)
        )
        with running(tmp_path, lab, policy=policy) as gateway:

            def say(idp: Idp) -> str:
                token = idp.token(iss="https://corp.example.com", aud="a")
                speaker = Speaker(gateway)
                said = speaker.say("attack-slow", ("X-Sallyport-Token", token))
                speaker.close()
                return said.reason

            first = now[0]
            eventually(lambda: say(first) == "", 20, "the company's keys are read")
            now[0] = Idp()
            eventually(
                lambda: say(first) == "identity.token_signature", 20, "a withdrawn key is out of force"
            )


def test_keys_that_unpack_to_more_than_they_are_are_not_unpacked(lab: Lab) -> None:
    plain = json.dumps(IDP.jwks()).encode()
    for coding, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
        said = answer(packed, b"Content-Encoding: " + coding.encode())
        with key_server(lab.ca, lambda sock, said=said: sock.sendall(said)) as url:  # type: ignore[misc]
            found = fetch(Place(url, ca_file=lab.ca.certificate))
            assert found == packed
    with key_server(lab.ca, lambda sock: sock.sendall(answer(plain))) as url:
        assert fetch(Place(url, ca_file=lab.ca.certificate)) == plain


# -- several people on one connection ------------------------------------------------------------------------


def people_of(gateway: GatewayProcess, prefix: str) -> dict[str, tuple[str, str]]:
    """Principal and tenant of each exchange that ended, by model."""
    ends = [e for e in recorded(gateway.confdir) if e.is_end and e.model.startswith(prefix)]
    return {e.model: (e.principal, e.tenant) for e in ends}


def test_each_of_many_requests_sent_at_once_is_its_own_caller_s(gateway: GatewayProcess, lab: Lab) -> None:
    """Written in one go on one HTTP/1.1 connection, as a client does that shares it among people."""
    callers = [
        "X-User: ann",
        "X-User: bob\r\nX-Tenant: acme",
        f"X-Sallyport-Token: {IDP.token()}",
        "X-User: eve",
    ]
    names = ["attack-pipe-a", "attack-pipe-b", "attack-pipe-c", "attack-pipe-d", "attack-pipe-e"]
    wire = Wire.open(gateway)
    wire.send(b"".join(post(CHAT, chat(n), OPENAI, c) for n, c in zip(names, callers, strict=False)))
    wire.send(post(CHAT, chat(names[4]), OPENAI, "Connection: close"))
    with contextlib.suppress(OSError):
        while piece := wire.sock.recv(65536):
            wire.data += piece
    eventually(lambda: len(people_of(gateway, "attack-pipe")) == 5, 5, "all are recorded")
    assert people_of(gateway, "attack-pipe") == {
        "attack-pipe-a": ("ann", "default"),
        "attack-pipe-b": ("bob", "acme"),
        "attack-pipe-c": ("corp|ada", "default"),
        "attack-pipe-d": ("eve", "default"),
        "attack-pipe-e": ("", ""),
    }
    assert models_seen(lab, "attack-pipe-e") == {}, "who says nothing is not who spoke before"


def test_each_stream_of_a_connection_is_its_own_caller_s(gateway: GatewayProcess, lab: Lab) -> None:
    said = {
        "attack-mux-a": [("x-user", "ann")],
        "attack-mux-b": [("x-sallyport-token", IDP.token("ES256"))],
        "attack-mux-c": [("x-user", "bob"), ("x-tenant", "acme")],
        "attack-mux-d": [],
    }
    raw = rawclient.tunnel(gateway.port, OPENAI, timeout=10)
    with rawclient.tls(raw, OPENAI, gateway.confdir / "ca-cert.pem", alpn=["h2"]) as sock:
        conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        conn.initiate_connection()
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", OPENAI), (":path", CHAT)]
        fixed = [("authorization", "Bearer sk-test-EXAMPLE"), ("content-type", "application/json")]
        # All heads before any body: whoever mixes streams up does so here.
        for stream, lines in zip((1, 3, 5, 7), said.values(), strict=True):
            conn.send_headers(stream, [*pseudo, *fixed, *lines])
        for stream, model in zip((7, 5, 3, 1), reversed(said), strict=True):
            conn.send_data(stream, chat(model), end_stream=True)
        sock.sendall(conn.data_to_send())
        sock.settimeout(10)
        ended = 0
        while ended < len(said) and (piece := sock.recv(65536)):
            ended += sum(isinstance(e, h2.events.StreamEnded) for e in conn.receive_data(piece))
            sock.sendall(conn.data_to_send())
    eventually(lambda: len(people_of(gateway, "attack-mux")) == 4, 5, "all are recorded")
    assert people_of(gateway, "attack-mux") == {
        "attack-mux-a": ("ann", "default"),
        "attack-mux-b": ("corp|ada", "default"),
        "attack-mux-c": ("bob", "acme"),
        "attack-mux-d": ("", ""),
    }
    assert set(models_seen(lab, "attack-mux")) == {"attack-mux-a", "attack-mux-b", "attack-mux-c"}


@pytest.mark.parametrize("target", [f"{OPENAI}:443", "evil.example:443", OPENAI])
def test_a_connect_inside_the_connection_opens_nothing(
    gateway: GatewayProcess, lab: Lab, target: str
) -> None:
    before = len(lab.requests)
    wire = Wire.open(gateway)
    wire.send(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nX-User: ann\r\n\r\n".encode())
    with contextlib.suppress(OSError):
        wire.sock.settimeout(3)
        wire.data += wire.sock.recv(65536)
    assert wire.status != 200, bytes(wire.data)
    with contextlib.suppress(OSError):
        wire.send(post(CHAT, chat("attack-nested"), OPENAI))
        wire.read_all()
    assert len(lab.requests) == before


def test_a_refused_host_is_refused_under_its_other_spelling(lab: Lab, tmp_path: Path) -> None:
    policy = OPEN_POLICY + "hosts: {refuse: ['b\u00fccher.example']}\n"
    with running(tmp_path, lab, policy=policy, to={"xn--bcher-kva.example": lab.port}) as gateway:
        with pytest.raises(ConnectionError, match="403"):
            rawclient.tunnel(gateway.port, "xn--bcher-kva.example")
        eventually(
            lambda: "host_refused" in [e.detail for e in recorded(gateway.confdir)], 5, "it is recorded"
        )


def test_a_host_with_other_letters_is_reached_under_its_name(lab: Lab, tmp_path: Path) -> None:
    with running(tmp_path, lab, to={"xn--bcher-kva.example": lab.port}) as gateway:
        raw = rawclient.tunnel(gateway.port, "xn--bcher-kva.example")
        with ssl._create_unverified_context().wrap_socket(
            raw, server_hostname="xn--bcher-kva.example"
        ) as sock:
            assert sock.version()
        (event,) = of_kind(settled(gateway.confdir), EventKind.TUNNELLED)
        assert event.host == "xn--bcher-kva.example"
