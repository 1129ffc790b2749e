"""What the tests of operations share: clients that keep going, upstreams that misbehave, and looking things up."""

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import rawclient
from e2e.zygote import Forked
from gateways import OPEN_POLICY, GatewayProcess, connect_to
from ledger_law import assert_counted
from listening import serve_each
from ports import free_port
from rawclient import Talk, post
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.store import Store
from sallyport.lab.authority import LabCa
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab

OPENAI = "api.openai.com"
ANTHROPIC = "api.anthropic.com"
GEMINI = "generativelanguage.googleapis.com"
CHAT = "/v1/chat/completions"

CANARY = "canary-vellum-otter-quince"
"""A phrase in every text that is sent or answered here; no rule knows it, so nothing takes it out."""


# -- looking things up ---------------------------------------------------------------------------------


def eventually(holds: Callable[[], object], within_s: float, what: str) -> None:
    """Wait until something holds; fail if it does not in several times what an idle machine needs at most."""
    patience_s = max(within_s, min(6 * within_s, 60))
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.04)


def recorded(where: Path | str) -> list[Event]:
    """Return all events of a confdir or a store URL, oldest first."""
    store = Store.open(where / "audit.db" if isinstance(where, Path) else where, create=False)
    try:
        return store.events(limit=1_000_000)[::-1]
    finally:
        store.close()


def settled(where: Path | str, within_s: float = 5) -> list[Event]:
    """Return all events once the gateway's start is there, and the end of every exchange.

    Both are queued, and may be a moment late.
    """

    def has_settled() -> bool:
        events = recorded(where)
        exchanges = [e for e in events if e.exchange]
        ended = {e.exchange for e in exchanges if e.is_end}
        return bool(of_kind(events, EventKind.STARTED)) and all(e.exchange in ended for e in exchanges)

    eventually(has_settled, within_s, "the start, and an end of every exchange")
    return recorded(where)


def of_kind(events: Sequence[Event], *kinds: EventKind) -> list[Event]:
    return [e for e in events if e.kind in kinds]


def by_model(events: Sequence[Event], model: str) -> list[EventKind]:
    """Return what happened to the exchanges of one model name, in order."""
    return [e.kind for e in events if e.model == model]


def model_of(request: SeenRequest) -> str:
    """The model a request names in its body; nothing for what has no JSON object there (lists, uploads)."""
    try:
        body = request.json()
    except ValueError:
        return ""
    return str(body.get("model", "")) if isinstance(body, dict) else ""


def models_seen(lab: Lab, prefix: str) -> Counter[str]:
    """Model names of the requests that reached the lab, with how often. Tests share one lab."""
    names = (model_of(request) for request in lab.requests)
    return Counter(name for name in names if name.startswith(prefix))


def assert_sound(events: Sequence[Event]) -> None:
    """Every exchange has at most one admission and exactly one end, and every event knows its policy."""
    exchanges = [e for e in events if e.exchange]
    admitted = Counter(e.exchange for e in exchanges if e.kind is EventKind.ADMITTED)
    ended = Counter(e.exchange for e in exchanges if e.kind in END_KINDS)
    assert max(admitted.values(), default=1) == 1
    assert max(ended.values(), default=1) == 1
    assert admitted.keys() <= ended.keys(), f"{len(admitted.keys() - ended.keys())} exchanges are open"
    assert len({e.id for e in events}) == len(events)
    assert all(e.policy_revision and e.rules_revision for e in events)
    assert_counted(events)


def assert_clean(gateway: GatewayProcess, *words: str) -> None:
    """Nothing that was sent or answered is in the log, the database or any other file of the gateway."""
    for file in (gateway.log, *(f for f in gateway.confdir.rglob("*") if f.is_file())):
        written = file.read_bytes()
        for word in (CANARY, *words):
            for spelling in (word.encode(), word.encode().hex().encode()):
                at = written.find(spelling)
                assert at < 0, f"{word!r} in {file.name} after {written[max(0, at - 80) : at]!r}"
    assert b"Traceback" not in gateway.log.read_bytes()


# -- gateways ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def running(
    folder: Path,
    lab: Lab | None,
    *,
    policy: str = OPEN_POLICY,
    extra: Sequence[str] = (),
    to: Mapping[str, int] | None = None,
    env: dict[str, str] | None = None,
    reverse: str = "",
) -> Iterator[GatewayProcess]:
    """Start `sallyport run` from a warm interpreter, and stop it again, whatever happens.

    to: port of this machine that takes a host's place, besides the lab's. reverse: host to listen for as well.
    """
    folder.mkdir(parents=True, exist_ok=True)
    policy_file, ready, log = folder / "policy.yaml", folder / "ready.json", folder / "gateway.log"
    policy_file.write_text(policy)
    ready.unlink(missing_ok=True)
    words = [
        "run",
        "--policy",
        str(policy_file),
        "--confdir",
        str(folder / "conf"),
        "--ready-file",
        str(ready),
    ]
    words += ["--listen", f"explicit@127.0.0.1:{free_port()}"]
    if reverse:
        words += ["--listen", f"reverse:https://{reverse}@127.0.0.1:{free_port()}"]
    targets = connect_to(lab.port) if lab is not None else []
    targets += [f"{host}:443:127.0.0.1:{port}" for host, port in (to or {}).items()]
    words += [word for target in targets for word in ("--connect-to", target)]
    if lab is not None:
        words += ["--upstream-ca", str(lab.ca.certificate)]
    process = Forked([*words, *extra], log, env)
    try:
        deadline = time.monotonic() + 60
        while not ready.exists() or not ready.read_text().endswith("}"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the gateway did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        ports = {
            name.partition("@")[0].partition(":")[0]: port
            for name, port in json.loads(ready.read_text()).items()
        }
        yield GatewayProcess(cast(Any, process), ports, folder / "conf", log)
    finally:
        process.stop()


# -- clients -------------------------------------------------------------------------------------------


def chat(model: str, text: str = "", **more: object) -> bytes:
    content = f"{CANARY} {text}".strip()
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}], **more}).encode()


def ask(gateway: GatewayProcess, model: str, text: str = "", *, timeout: float = 10, **more: object) -> Talk:
    """Ask OpenAI's stand-in once on a connection of its own; never raises for what the gateway does."""
    request = post(CHAT, chat(model, text, **more), OPENAI)
    return rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request, timeout=timeout)


@dataclass
class Wire:
    """A raw client connection inside TLS, where a test says when to send, read and go."""

    sock: ssl.SSLSocket
    data: bytearray = field(default_factory=bytearray)
    ended: bool = False

    @classmethod
    def open(cls, gateway: GatewayProcess, host: str = OPENAI, *, timeout: float = 10) -> "Wire":
        raw = rawclient.tunnel(gateway.port, host, timeout=timeout)
        return cls(rawclient.tls(raw, host, gateway.confdir / "ca-cert.pem"))

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def read_until(self, mark: bytes) -> None:
        """Read until a mark has come; fail at the end of the connection or after its time-out."""
        while mark not in self.data:
            piece = self.sock.recv(65536)
            assert piece, f"closed before {mark!r}"
            self.data += piece

    def read_all(self) -> None:
        """Read until the peer closes, or a chunked or counted answer is whole."""
        while not self.whole:
            try:
                piece = self.sock.recv(65536)
            except OSError:
                break
            if not piece:
                break
            self.data += piece
        self.ended = True

    def reset(self) -> None:
        """Go away at once, as a program that is killed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    @property
    def status(self) -> int:
        parts = bytes(self.data).split(b" ", 2)
        return int(parts[1]) if len(parts) > 2 else 0

    @property
    def whole(self) -> bool:
        return rawclient.whole(self.data)

    @property
    def said(self) -> str:
        """The text of an OpenAI stream, all pieces joined."""
        return "".join(m.decode() for m in re.findall(rb'"delta":{"content":"([^"]*)"', bytes(self.data)))


class Load:
    """Clients that ask on and on, each request under a model name of its own, until told to stop."""

    def __init__(self, gateway: GatewayProcess, prefix: str, clients: int = 3, **more: object) -> None:
        self.talks: dict[str, Talk] = {}
        self._gateway, self._prefix, self._more = gateway, prefix, more
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, client: int) -> None:
        number = 0
        while not self._stop.is_set():
            # No digits: a name with too many would be taken for text, and scanned.
            model = f"{self._prefix}-{_letters(client)}-{_letters(number)}"
            self.talks[model] = ask(self._gateway, model, **self._more)
            number += 1
            if self.talks[model].status == 0:
                self._stop.wait(0.02)

    @property
    def answered(self) -> int:
        return sum(1 for talk in list(self.talks.values()) if talk.status == 200)


def _letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


# -- upstreams that misbehave --------------------------------------------------------------------------

type Deed = Callable[[socket.socket], None]


class Villain:
    """A TLS server that reads one request and then does what the model's name asks of it.

    deeds: by model name. ca: of the lab that the gateway trusts.
    """

    def __init__(self, ca: LabCa, deeds: dict[str, Deed]) -> None:
        self.deeds = deeds
        self._ca = ca
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.gone: dict[str, float] = {}
        """When the peer closed, by model name; monotonic seconds."""
        serve_each(self._listener, self._serve)

    def close(self) -> None:
        self._listener.close()

    def _serve(self, raw: socket.socket) -> None:
        with contextlib.suppress(OSError):
            context = self._ca.server_context(OPENAI)
            context.sni_callback = lambda tls, name, _: setattr(tls, "context", self._ca.server_context(name))
            with context.wrap_socket(raw, server_side=True) as sock:
                model = _model_of(sock)
                if model in self.deeds:
                    try:
                        self.deeds[model](sock)
                    finally:
                        self.gone[model] = time.monotonic()


def _model_of(sock: socket.socket) -> str:
    data = b""
    while not _request_whole(data):
        piece = sock.recv(65536)
        if not piece:
            return ""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        return str(json.loads(body)["model"])
    except (ValueError, KeyError):
        path = head.split(b" ")[1].decode("latin-1")  # Gemini names its model there
        return path.rpartition("/")[2].partition(":")[0]


def _request_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(found) and len(body) >= int(line.partition(b":")[2])
    return bool(found)


def say(*pieces: bytes, delay_s: float = 0.0) -> Deed:
    """Send the pieces and close."""

    def deed(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(delay_s)

    return deed


def cut(*pieces: bytes) -> Deed:
    """Send the pieces and reset the connection, without TLS goodbye."""

    def deed(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()

    return deed


def hang(*pieces: bytes) -> Deed:
    """Send the pieces, then nothing, until the peer goes."""

    def deed(sock: socket.socket) -> None:
        for piece in pieces:
            sock.sendall(piece)
        while sock.recv(65536):
            pass

    return deed


@contextlib.contextmanager
def villain(ca: LabCa, deeds: dict[str, Deed]) -> Iterator[Villain]:
    server = Villain(ca, deeds)
    try:
        yield server
    finally:
        server.close()


def the_end(gateway: GatewayProcess, model: str, kind: EventKind = EventKind.BROKEN) -> Event:
    """Return how the only exchange about a model ended, which was admitted."""
    eventually(lambda: len(by_model(recorded(gateway.confdir), model)) == 2, 5, f"{model} has ended")
    events = [e for e in recorded(gateway.confdir) if e.model == model]
    assert [e.kind for e in events] == [EventKind.ADMITTED, kind]
    return events[1]
