"""The verbs of these tests, in a laboratory network with both IP versions."""

import socket
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from sallyport.choke import namespaces, redirect
from sallyport.choke.namespaces import Lab
from sallyport.choke.point import parse_choke_point

SO_ORIGINAL_DST = 80


@dataclass(frozen=True)
class Family:
    """One IP version of the laboratory."""

    number: socket.AddressFamily
    client: str
    gateway: str
    upstream: str
    elsewhere: str
    loopback: str

    def original_destination(self, connection: socket.socket) -> tuple[str, int]:
        if self.number == socket.AF_INET:
            raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            port, address = struct.unpack_from("!2xH4s", raw)
        else:
            raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
            port, address = struct.unpack_from("!2xH4x16s", raw)
        return socket.inet_ntop(self.number, address), port


FAMILIES = {
    "v4": Family(
        socket.AF_INET,
        namespaces.CLIENT_V4,
        namespaces.GATEWAY_V4,
        namespaces.UPSTREAM_V4,
        namespaces.ELSEWHERE_V4,
        "127.0.0.1",
    ),
    "v6": Family(
        socket.AF_INET6,
        namespaces.CLIENT_V6,
        namespaces.GATEWAY_V6,
        namespaces.UPSTREAM_V6,
        namespaces.ELSEWHERE_V6,
        "::1",
    ),
}


class Net:
    """A laboratory with the verbs of these tests; sockets live in the namespace that made them."""

    def __init__(self, built: Lab) -> None:
        self.lab = built
        self._open: list[socket.socket] = []

    def close(self) -> None:
        for opened in self._open:
            opened.close()

    def listen(self, namespace: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Listen on every address of both IP versions."""

        def make() -> socket.socket:
            listener = socket.socket(socket.AF_INET6, kind)
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("::", port))
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listener.settimeout(2)
            return listener

        return self._keep(self.lab.call(namespace, make))

    def connect(self, namespace: str, family: Family, address: str, port: int) -> socket.socket:
        def make() -> socket.socket:
            connection = socket.socket(family.number, socket.SOCK_STREAM)
            connection.settimeout(2)
            connection.connect((address, port))
            return connection

        return self._keep(self.lab.call(namespace, make))

    def dial(self, namespace: str, family: Family, address: str, port: int, wait_s: float = 2) -> str:
        """Connect and say how it ended: connected, refused or silent."""

        def attempt() -> str:
            with closing(socket.socket(family.number, socket.SOCK_STREAM)) as connection:
                connection.settimeout(wait_s)
                try:
                    connection.connect((address, port))
                except ConnectionRefusedError:
                    return "refused"
                except TimeoutError:
                    return "silent"
            return "connected"

        return self.lab.call(namespace, attempt)

    def datagram(self, namespace: str, family: Family, address: str, port: int) -> str:
        """Send a datagram and say what came back: an answer, refused or silent."""

        def attempt() -> str:
            with closing(socket.socket(family.number, socket.SOCK_DGRAM)) as endpoint:
                endpoint.settimeout(0.5)
                endpoint.connect((address, port))
                try:
                    endpoint.send(b"initial")
                    endpoint.recv(100)
                except (ConnectionRefusedError, PermissionError):  # the latter for this host's own
                    return "refused"
                except TimeoutError:
                    return "silent"
            return "answered"

        return self.lab.call(namespace, attempt)

    def gateway[T](self, function: Callable[[], T]) -> T:
        return self.lab.call(self.lab.gateway, function)

    def apply(self, **options: object) -> redirect.Applied:
        interfaces = options.pop("interfaces", (namespaces.CLIENT_INTERFACE,))
        force = bool(options.pop("force", False))
        point = parse_choke_point(interfaces, **options)  # type: ignore[arg-type]
        return self.gateway(lambda: redirect.apply(point, force=force))

    def status(self) -> redirect.Status:
        return self.gateway(redirect.status)

    def nft(self, *arguments: str, stdin: str = "") -> str:
        result = self.lab.run(self.lab.gateway, ("nft", *arguments), stdin=stdin)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def _keep(self, opened: socket.socket) -> socket.socket:
        self._open.append(opened)
        return opened
