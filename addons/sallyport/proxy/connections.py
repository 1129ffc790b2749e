"""Who may connect, where a tunnel may go, and how long a client may take to say what it wants."""

import asyncio
import ipaddress
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy import ctx, tls
from mitmproxy.connection import Client, Server
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.proxy import mode_specs

from sallyport.audit.classes import Coverage
from sallyport.audit.events import Event, EventKind
from sallyport.policy.hosts import HostError
from sallyport.proxy import intake
from sallyport.proxy.deadlines import Deadline
from sallyport.proxy.dial import is_own
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.relay import is_relayed
from sallyport.proxy.tls import normalise_name
from sallyport.stages.directory import StopKind

UPSTREAM_CONNECTIONS = 50
"""Server connections per client connection and address; mitmproxy's five made HTTP/2 streams queue."""


_MODES: dict[type[mode_specs.ProxyMode], str] = {
    mode_specs.RegularMode: "explicit",
    mode_specs.ReverseMode: "reverse",
    mode_specs.TunMode: "tun",
    mode_specs.WireGuardMode: "wireguard",
}


def mode_name(client: Client) -> str:
    """Return how a client reaches the gateway: explicit, reverse, tun, wireguard or transparent."""
    return _MODES.get(type(client.proxy_mode), "transparent")


def address_of(client: Client) -> str:
    return str(client.peername[0]) if client.peername else ""


class Connections:
    """Decisions on connections before there is an HTTP request, and their deadlines."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._open: Counter[str] = Counter()
        self._counted: set[str] = set()
        self._timers: dict[str, dict[str, Deadline]] = {}
        self._plain: WeakSet[HTTPFlow] = WeakSet()
        self._unread: WeakKeyDictionary[Client, str] = WeakKeyDictionary()
        self._was_cut: WeakSet[Client] = WeakSet()
        self._handshakes: dict[str, Deadline] = {}
        self.draining = False

    # -- life of a client connection -----------------------------------------------------------------

    def connected(self, client: Client) -> None:
        """Count a client in, or refuse it by client.error."""
        transport = self._gateway.live.policy.transport
        address = address_of(client)
        if self.draining:
            client.error = "draining"
            return
        if self._open[address] >= transport.max_connections_per_client:
            client.error = "too many connections"
            self.refused(client, "too_many_connections")
            return
        if mode_name(client) == "transparent" and client.sockname and is_own(*client.sockname[:2]):
            client.error = "not redirected"
            self.refused(client, "not_redirected")
            return
        self._open[address] += 1
        self._counted.add(client.id)
        handler = self._handler(client)
        if handler is not None:
            handler.max_conns = defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS))
        self.expect_progress(client, transport.header_timeout_s)

    def disconnected(self, client: Client) -> None:
        self._forget_timers(client)
        self._unread.pop(client, None)
        if client.id in self._counted:
            self._counted.discard(client.id)
            address = address_of(client)
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]

    def expect_progress(self, client: Client, within_s: float, what: str = "") -> None:
        """Cut the client unless progressed() is called in time. Asked again, the first deadline stays.

        what: the id of the flow whose body is awaited; several may be under way over HTTP/2.
        """
        timers = self._timers.setdefault(client.id, {})
        if what not in timers:
            timers[what] = Deadline(within_s, lambda: self._too_slow(client))

    def progressed(self, client: Client, what: str = "") -> None:
        timers = self._timers.get(client.id)
        timer = timers.pop(what, None) if timers else None
        if timer is not None:
            timer.cancel()

    def _forget_timers(self, client: Client) -> None:
        for timer in self._timers.pop(client.id, {}).values():
            timer.cancel()

    def _too_slow(self, client: Client) -> None:
        self._forget_timers(client)
        self.refused(client, "too_slow", client.sni or "")
        abort_connection(client)

    # -- server connections --------------------------------------------------------------------------

    def expect_handshake(self, client: Client, server: Server) -> None:
        """Give a provider that took the connection the time to connect once more to finish TLS."""
        within_s = self._gateway.live.policy.transport.connect_timeout_s
        self._handshakes[server.id] = Deadline(within_s, lambda: abort_connection(client, server))

    def shook_hands(self, server: Server) -> None:
        """Forget the deadline of a handshake that ended, well or not."""
        timer = self._handshakes.pop(server.id, None)
        if timer is not None:
            timer.cancel()

    @property
    def unsent_bytes(self) -> int:
        """Bytes of answers that wait for clients to read them."""
        proxyserver = ctx.master.addons.get("proxyserver")
        handlers = proxyserver.connections.values() if proxyserver else ()
        writers = [h.transports[h.client].writer for h in handlers if h.client in h.transports]
        return sum(w.transport.get_write_buffer_size() for w in writers if w is not None)

    @staticmethod
    def close_all() -> None:
        """Close every connection of clients; what was written before still goes out."""
        proxyserver = ctx.master.addons.get("proxyserver")
        for handler in list(proxyserver.connections.values()) if proxyserver else ():
            held = handler.transports.get(handler.client)
            if held is not None and held.writer is not None:
                held.writer.close()

    @staticmethod
    def _handler(client: Client) -> Any:
        proxyserver = ctx.master.addons.get("proxyserver")
        return proxyserver.connections.get(client.id) if proxyserver else None

    # -- explicit mode -------------------------------------------------------------------------------

    def connect(self, flow: HTTPFlow) -> None:
        """Judge a CONNECT. A refusal is an HTTP answer; the name inside TLS is judged again later."""
        client = flow.client_conn
        name, port = normalise_name(flow.request.host), flow.request.port
        reason = self._unreachable(name, port)
        if reason is None and flow.request.headers.get("transfer-encoding"):
            reason = "connect_body"
        if reason is not None:
            flow.response = Response.make(
                403,
                b'{"error":{"message":"The egress gateway does not connect there (%s).","type":"gateway",'
                b'"code":"%s"}}' % (reason.encode(), reason.encode()),
                {"content-type": "application/json", "x-should-retry": "false"},
            )
            self.refused(client, reason, name or "")
            self.progressed(client)
            return
        self.progressed(client)
        self.expect_progress(client, self._gateway.live.policy.transport.header_timeout_s)

    def _unreachable(self, name: str | None, port: int) -> str | None:
        """Return why a destination may not be reached at all, None if it may be."""
        live = self._gateway.live
        if name is None:
            return "no_name"
        if _is_address(name):
            return "address_instead_of_name"
        if port not in live.policy.hosts.connect_ports:
            return "port"
        try:
            if live.catalogue.provider(name) is not None:
                return None
            if live.catalogue.hides_name(name):
                return "hidden_name"
            if name in live.policy.hosts.refused_hosts:
                return "host_refused"
            if live.policy.hosts.unlisted == "refuse" and name not in live.policy.hosts.tunnelled_hosts:
                return "host_unlisted"
        except HostError:
            return "bad_name"
        return None

    # -- TLS -----------------------------------------------------------------------------------------

    async def client_hello(self, data: tls.ClientHelloData) -> None:
        """Intercept an AI host, tunnel another, cut the rest. Returns with the connection decided."""
        context = data.context
        client = context.client
        mode = mode_name(client)
        if _is_unreadable(data.client_hello):
            self._cut(client, "bad_name")
            return
        name = normalise_name(data.client_hello.sni)
        port = context.server.address[1] if context.server.address else 443
        if mode == "explicit":
            asked = normalise_name(context.server.address[0]) if context.server.address else None
            name = name or asked
            if name != asked:
                self._cut(client, "name_mismatch", name or "")
                return
        elif mode == "reverse":
            target = normalise_name(context.server.address[0]) if context.server.address else None
            if name is not None and name != target:
                self._cut(client, "name_mismatch", name)
                return
            name = target
        reason = self._unreachable(name, port)
        if reason is not None or name is None:
            self._cut(client, reason or "no_name", name or "")
            return
        client.sni = name
        if self._gateway.live.catalogue.provider(name) is not None:
            return
        if self.is_stopped(client, name):
            self._cut(client, "stopped", name)
            return
        if mode == "reverse":
            self._cut(client, "not_a_provider", name)
            return
        relayed = is_relayed(self._gateway.live, name)
        if await self._record_tunnel(client, name, "restricted" if relayed else "") and not relayed:
            self._tunnel(data, name, port)

    def is_stopped(self, client: Client, name: str) -> bool:
        """Say whether a host where people sign in to AI providers is stopped: with everything, or where it belongs.

        Nobody is known yet, so kill switches of principals and tenants do not reach here.
        """
        catalogue = self._gateway.live.catalogue
        stops = self._gateway.directory().stops()
        if not any(stop.kind is StopKind.EVERYTHING for stop in stops):
            return False
        return catalogue.sign_in(name) or is_relayed(self._gateway.live, name)

    def cut_stopped(self) -> None:
        """Cut the open connections that nobody reads and that would not be opened now."""
        for client, name in tuple(self._unread.items()):
            if self.is_stopped(client, name):
                del self._unread[client]
                self._cut(client, "stopped", name)

    async def _record_tunnel(self, client: Client, name: str, detail: str) -> bool:
        """Record that what goes to a host is not read; cut the connection where that cannot be recorded."""
        gateway = self._gateway
        event = self._event(EventKind.TUNNELLED, client, name, detail)
        if await gateway.recorded(event, required=gateway.live.policy.audit_required):
            return True
        self._cut(client, "audit_unavailable", name)
        return False

    def _tunnel(self, data: tls.ClientHelloData, name: str, port: int) -> None:
        client = data.context.client
        # The destination is the name, resolved by us, not the address the client chose.
        data.context.server.address = (name, port)
        gate.open(client, (name, port))
        data.ignore_connection = True
        self._unread[client] = name
        self.progressed(client)

    def unreached(self, client: Client, error: str) -> None:
        """Record that nothing went through a tunnel, since its host could not be reached; of others the flow tells."""
        name = self._unread.get(client)
        if name is None:
            return
        why = next((code for text, code in _WHY if text in error), "")
        event = self._event(EventKind.CONNECTION_REFUSED, client, name, f"unreachable{why}")
        # What the host is to coverage was counted when the tunnel was opened.
        self._gateway.record(replace(event, coverage=None, unread=""))

    def handshake_failed(self, client: Client, reason: str) -> None:
        """Record a handshake that failed, unless it failed because we cut it."""
        if client not in self._was_cut:
            self.refused(client, reason, client.sni or "")

    def _cut(self, client: Client, reason: str, name: str = "") -> None:
        self._was_cut.add(client)
        self.refused(client, reason, name)
        self.progressed(client)
        abort_connection(client)

    # -- plain HTTP ----------------------------------------------------------------------------------

    async def plain_http(self, flow: HTTPFlow) -> bool:
        """Relay a plain HTTP request to a host that is no AI host, unread; False if it is to be refused.

        The destination is the name in the request, resolved by us, never an AI host: those speak TLS here.
        """
        client, request = flow.client_conn, flow.request
        hosts = request.headers.get_all("host")
        name = normalise_name(hosts[0].rpartition(":")[0] or hosts[0]) if len(hosts) == 1 else None
        if mode_name(client) == "explicit":
            port = request.port
            if normalise_name(request.host) != name:
                return False
        else:
            port = client.sockname[1] if client.sockname else 80
        if name is None or request.scheme != "http" or "upgrade" in request.headers:
            return False
        if (
            self._unreachable(name, port) is not None
            or self._gateway.live.catalogue.provider(name) is not None
            or self.is_stopped(client, name)
        ):
            return False
        gateway = self._gateway
        event = self._event(EventKind.TUNNELLED, client, name, "plain_http")
        if not await gateway.recorded(event, required=gateway.live.policy.audit_required):
            return False
        request.data.host, request.data.port, request.data.authority = name, port, b""
        live = gateway.live
        fields = intake.relayed_fields(request.headers.fields, live.identity_headers)
        request.headers.fields = ((b"Host", name.encode()), *live.restricted.apply(name, fields))
        request.stream = True
        self.passes_unread(flow)
        gate.admit(flow)
        return True

    def passes_unread(self, flow: HTTPFlow) -> None:
        """Leave all later hooks of a flow out: it is relayed as it is."""
        self._plain.add(flow)
        host = normalise_name(flow.client_conn.sni)
        if host is not None:
            self._unread[flow.client_conn] = host

    def is_plain(self, flow: HTTPFlow) -> bool:
        return flow in self._plain

    # -- the record ----------------------------------------------------------------------------------

    def refused(self, client: Client, reason: str, name: str = "") -> None:
        """Record a connection that was refused before HTTP."""
        self._gateway.record(self._event(EventKind.CONNECTION_REFUSED, client, name, reason))

    def _event(self, kind: EventKind, client: Client, name: str, detail: str = "") -> Event:
        gateway = self._gateway
        coverage, unread = self._coverage(kind, name, detail)
        return Event(
            kind=kind,
            coverage=coverage,
            unread=unread,
            gateway=gateway.id,
            client=address_of(client),
            client_mode=mode_name(client),
            host=name,
            connected_to=gateway.connected_to(name),
            policy_revision=gateway.live.policy.revision,
            rules_revision=gateway.live.rules_revision,
            detail=detail,
        )

    def _coverage(self, kind: EventKind, name: str, detail: str) -> tuple[Coverage | None, str]:
        """Return the class of a connection to an AI host, and to where people sign in to one; None of any other."""
        live = self._gateway.live
        try:
            signs_in = live.catalogue.sign_in(name)
            is_ai = signs_in or is_relayed(live, name) or live.catalogue.provider(name) is not None
        except HostError:
            return None, ""
        if not is_ai or detail.startswith("observed_"):
            return None, ""
        if kind is EventKind.TUNNELLED:
            return Coverage.TUNNELLED, "sign_in" if signs_in else detail
        return Coverage.DENIED, ""


_WHY = (
    ("no address that may be reached", "_private"),
    ("does not resolve", "_dns"),
    ("timed out", "_timeout"),
    ("no address of the name accepts", "_refused"),
    ("no file descriptor", "_descriptors"),
    ("is this gateway", "_own"),
)
"""What dial.open_connection says, and the code of it."""


def _is_unreadable(hello: tls.ClientHello) -> bool:
    """Say whether a server name is there that two parsers could read differently: it is not taken as absent."""
    extensions = sum(kind == 0 for kind, _ in hello.extensions)
    return extensions > 1 or (extensions == 1 and hello.sni is None)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        # 127.1, 0x7f000001 and the like: inet_aton spellings of an address.
        return all(part[:2].lower() == "0x" or part.isdigit() for part in name.split(".") if part)
    return True
