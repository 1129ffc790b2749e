"""Opening a connection: only to a destination the gate has opened, only to an address that may be reached.

mitmproxy calls asyncio.open_connection with a name; here the name is resolved first, every address is
checked, and the connection goes to a checked address, so that a second look-up cannot give another one.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy.proxy import commands, events, server

from sallyport.proxy import lingering
from sallyport.proxy.deadlines import within
from sallyport.proxy.gate import gate
from sallyport.proxy.logs import has_no_descriptors

type Address = tuple[str, int]

_STOCK_OPEN = server.ConnectionHandler.open_connection


@dataclass(slots=True)
class Dialing:
    """How connections are opened. One per process, replaced as a whole at start and reload.

    connect_to: (host, port) -> (host, port), curl's --connect-to; such destinations were named by the
    operator and are not checked. guard: says whether a resolved address may be reached for a name.
    own: addresses this gateway listens on.
    """

    connect_timeout_s: float = 10.0
    connect_to: dict[Address, Address] = field(default_factory=dict)
    guard: Callable[[str, ipaddress.IPv4Address | ipaddress.IPv6Address], bool] = lambda host, ip: True
    own: Callable[[], set[tuple[str, int]]] = set


dialing = Dialing()


def configure(new: Dialing) -> None:
    """Swap the settings in place, so that every importer sees the new ones at once."""
    dialing.connect_timeout_s = new.connect_timeout_s
    dialing.connect_to = new.connect_to
    dialing.guard = new.guard
    dialing.own = new.own


def never_reachable(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Loopback, link-local, cloud metadata, multicast, unspecified: no provider lives there."""
    ip = _meant(ip)
    own_machine = ip.is_loopback or ip.is_link_local or ip.is_unspecified
    return own_machine or ip.is_multicast or ip.is_reserved or ip in _METADATA


def is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Say whether an address is of the Internet: not of this network, nor of the carrier before it."""
    ip = _meant(ip)
    return ip.is_global and not (isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local)


_METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _meant(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does (mapped, 6to4, NAT64)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def is_own(address: str, port: int) -> bool:
    """Say whether this gateway listens there; a listener on all addresses listens on each of this host's."""
    own = dialing.own()
    return (address, port) in own or (bool({("0.0.0.0", port), ("::", port)} & own) and _is_local(address))


def _is_local(address: str) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


async def guarded_open(self: server.ConnectionHandler, command: commands.OpenConnection) -> None:
    """Replace ConnectionHandler.open_connection: refuse what the gate has not opened."""
    address = command.connection.address
    if not gate.is_open(self.client, (address[0], address[1]) if address else None):
        command.connection.error = "destination not admitted"
    try:
        await _STOCK_OPEN(self, command)
    except asyncio.CancelledError:
        connection = command.connection
        if connection.error is None and connection.timestamp_tcp_setup is None:
            # Cancelled while it waited for its turn: stock tells nobody, and the exchange has no end.
            connection.error = "connection cancelled"
            await self.server_event(events.OpenConnectionCompleted(command, connection.error))
        raise
    finally:
        lingering.ended()


async def open_connection(
    host: str, port: int, *, local_addr: Address | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Replace asyncio.open_connection inside mitmproxy.proxy.server.

    Raises OSError with a fixed text; the caller turns it into "cannot connect".
    """
    named = dialing.connect_to.get((host.lower().rstrip("."), port))
    target_host, target_port = named or (host, port)
    try:
        async with within(dialing.connect_timeout_s):
            addresses = await _resolve(target_host, target_port)
            allowed = [a for a in addresses if named or _allowed(host, a)]
            if not allowed:
                raise OSError("the name resolves to no address that may be reached")
            reader, writer = await _first(allowed, target_port, local_addr)
            lingering.opened(writer)
            return reader, writer
    except TimeoutError:
        raise OSError("connect timed out") from None
    except OSError as error:
        if has_no_descriptors(error):
            raise OSError("the gateway has no file descriptor left") from None
        raise


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise OSError("the name does not resolve") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def _allowed(host: str, address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not never_reachable(ip) and dialing.guard(host, ip)


async def _first(
    addresses: list[str], port: int, local_addr: Address | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for address in addresses:
        if is_own(address, port):
            raise OSError("the destination is this gateway")
        try:
            return await asyncio.open_connection(address, port, local_addr=local_addr)
        except OSError as error:
            if has_no_descriptors(error):
                raise
    raise OSError("no address of the name accepts a connection")


class AsyncioForServer:
    """The asyncio module as mitmproxy.proxy.server sees it: everything stock but open_connection."""

    open_connection = staticmethod(open_connection)

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)


__all__ = [
    "AsyncioForServer",
    "Dialing",
    "configure",
    "dialing",
    "guarded_open",
    "is_own",
    "is_public",
    "never_reachable",
]
