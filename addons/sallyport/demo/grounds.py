"""Where the demo takes place: on loopback, or in network namespaces behind an nftables redirect.

Both start processes by role and end every one of them by its pid.
"""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from sallyport.choke import namespaces, redirect
from sallyport.choke.point import DEFAULT_PORT, parse_choke_point
from sallyport.demo.scenario import AI_HOSTS, OTHER_HOST, SIDE_PORT
from sallyport.errors import OperatorError

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which the demo is told to stop."""

_END_S = 10.0


class Role(StrEnum):
    """Whose machine a process runs on."""

    CLIENT = "client"
    GATEWAY = "gateway"
    UPSTREAM = "upstream"


class Ground(Protocol):
    """A place for the three roles.

    lab: options of the lab that say where it listens; listen: of `sallyport run`. connect_to: what the
    gateway is told of names, given the lab's port. proxied: clients are told of the gateway by variable.
    prefix: what runs a command as a client by hand.
    """

    transparent: bool
    lab: tuple[str, ...]
    listen: str

    def start(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], **popen: Any
    ) -> subprocess.Popen[str]:
        """Start a process; it is ended with the ground at the latest."""
        ...

    def connect_to(self, lab_port: int) -> tuple[str, ...]: ...

    def close_off(self) -> None:
        """Leave clients no way but through the gateway, which is running now."""
        ...

    def refusals(self) -> dict[str, int]:
        """Return how many packets each rule of the choke point refused."""
        ...

    def got_past(self) -> bool:
        """Say whether anything reached the upstream network around the gateway since `close_off`."""
        ...

    @property
    def prefix(self) -> str: ...


@dataclass
class Loopback:
    """Everything on this machine; clients find the gateway by HTTPS_PROXY."""

    transparent: bool = False
    lab: tuple[str, ...] = ("--host", "127.0.0.1", "--port", "0")
    listen: str = field(default_factory=lambda: f"explicit@127.0.0.1:{_free_port()}")
    prefix: str = ""
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], **popen: Any
    ) -> subprocess.Popen[str]:
        popen.setdefault("stdin", subprocess.DEVNULL)
        with _uninterrupted():
            # A session of its own: Ctrl-C reaches this process alone, which then ends the others in order.
            process = subprocess.Popen(argv, env=dict(env), text=True, start_new_session=True, **popen)
            self._started.append(process)
        return process

    def connect_to(self, lab_port: int) -> tuple[str, ...]:
        return tuple(f"{host}:443:127.0.0.1:{lab_port}" for host in (*AI_HOSTS, OTHER_HOST))

    def close_off(self) -> None:
        return

    def refusals(self) -> dict[str, int]:
        return {}

    def got_past(self) -> bool:
        return False

    def end(self) -> None:
        """End what was started, the last first: TERM, a grace, KILL."""
        alive = [process for process in reversed(self._started) if process.poll() is None]
        for process in alive:
            _signal(process, signal.SIGTERM)
        for process in alive:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()


@dataclass
class Namespaces:
    """Three network namespaces; clients have no proxy variable and no other way out."""

    built: namespaces.Lab
    transparent: bool = True
    lab: tuple[str, ...] = (
        *("--host", namespaces.UPSTREAM_V4, "--host", namespaces.UPSTREAM_V6),
        *("--port", "443"),
    )
    listen: str = f"transparent@{DEFAULT_PORT}"
    _witnesses: list[socket.socket] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return f"ip netns exec {self.built.client} "

    def start(
        self, role: Role, argv: Sequence[str], env: Mapping[str, str], **popen: Any
    ) -> subprocess.Popen[str]:
        names = {
            Role.CLIENT: self.built.client,
            Role.GATEWAY: self.built.gateway,
            Role.UPSTREAM: self.built.upstream,
        }
        return self.built.exec(names[role], argv, env, text=True, **popen)

    def connect_to(self, lab_port: int) -> tuple[str, ...]:
        # Names resolve inside; only a host that is no provider may not resolve to a private address.
        return (f"{OTHER_HOST}:443:{namespaces.UPSTREAM_V4}:{lab_port}",)

    def close_off(self) -> None:
        """Put the redirect in force, having seen that without it both ways past the gateway are open."""
        self._witnesses = self.built.call(self.built.upstream, _witnesses)
        self.built.call(self.built.client, _knock)
        if not self.got_past():
            raise OperatorError(
                "network namespaces",
                "the client cannot reach the upstream network even without a redirect, so nothing can be shown",
                "Look for other firewall rules that apply to new network namespaces.",
                exit_code=3,
            )
        point = parse_choke_point((self.built.interface,), port=DEFAULT_PORT)
        self.built.call(self.built.gateway, lambda: redirect.apply(point))

    def refusals(self) -> dict[str, int]:
        status = self.built.call(self.built.gateway, redirect.status)
        counts = {rule.why: 0 for rule in status.counts}
        for rule in status.counts:
            counts[rule.why] += rule.packets
        return counts

    def got_past(self) -> bool:
        seen = [_noticed(witness) for witness in self._witnesses]
        return any(seen)

    def end(self) -> None:
        for witness in self._witnesses:
            witness.close()


@contextlib.contextmanager
def prepared(*, transparent: bool) -> Iterator[Ground]:
    """Make the ground ready and take it away again. Raises OperatorError without the right to."""
    with ExitStack() as stack:
        ground: Loopback | Namespaces
        if transparent:
            hosts = (*AI_HOSTS, OTHER_HOST)
            ground = Namespaces(stack.enter_context(namespaces.lab(hosts)))
        else:
            ground = Loopback()
        stack.callback(ground.end)
        yield ground


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold signals to stop back: between its start and being known of, a process would be left behind."""
    came: list[int] = []
    held = {each: signal.signal(each, lambda number, _: came.append(number)) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in held.items():
            signal.signal(each, handler)
    for number in came[:1]:
        signal.raise_signal(number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _witnesses() -> list[socket.socket]:
    """Listen in the upstream network where only somebody past the gateway would arrive."""
    tcp = socket.create_server((namespaces.UPSTREAM_V4, SIDE_PORT))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((namespaces.UPSTREAM_V4, 443))
    for witness in (tcp, udp):
        witness.settimeout(0)
    return [tcp, udp]


def _knock() -> None:
    """Reach both witnesses as a client does that nothing holds back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.sendto(b"hello", (namespaces.UPSTREAM_V4, 443))
    with contextlib.suppress(OSError):
        socket.create_connection((namespaces.UPSTREAM_V4, SIDE_PORT), timeout=2).close()


def _noticed(witness: socket.socket) -> bool:
    """Say whether somebody came, and forget it."""
    try:
        if witness.type == socket.SOCK_DGRAM:
            witness.recv(2048)
        else:
            witness.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
