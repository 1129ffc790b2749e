"""Our own host on mitmproxy: the minimal addon set, options asserted, signals that drain and reload."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import exceptions, master, options
from mitmproxy.addons import core as core_addon
from mitmproxy.addons import disable_h2c, errorcheck, next_layer, proxyserver, tlsconfig

from sallyport.audit.events import Event, EventKind
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.pipeline import STAGES, Step
from sallyport.policy.promotion import NotPromoted
from sallyport.policy.sections import mode_of
from sallyport.proxy import core, dial, logs, stream, tls, tunnels, websocket
from sallyport.proxy.addon import GatewayAddon
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.listeners import listener_name
from sallyport.proxy.manager import CachedManager

logger = logging.getLogger("sallyport.host")

REQUIRED_OPTIONS: dict[str, Any] = {
    "rawtcp": False,
    "connection_strategy": "lazy",
    "stream_large_bodies": None,
    "body_size_limit": None,
    "ssl_insecure": False,
    "validate_inbound_headers": True,
    "ignore_hosts": [],
    "allow_hosts": [],
    "tcp_hosts": [],
    "udp_hosts": [],
    "show_ignored_hosts": False,
    "http2": True,
    "http3": False,
    "websocket": True,
    "upstream_cert": False,
    "add_upstream_certs_to_client_chain": False,
    "request_client_cert": False,
    "store_streamed_bodies": False,
    "keep_host_header": False,
    "ciphers_client": tls.CIPHERS,
    "ciphers_server": tls.CIPHERS,
    "tls_version_client_min": "TLS1_2",
    "tls_version_server_min": "TLS1_2",
}
"""Options that decide whether traffic can pass unseen. body_size_limit: our own limits stand in its place."""

_FORBIDDEN_OPTIONS = ("emudhra", "emudhra_old")


CUT_S = 1.0
"""Time for errors to reach clients and ends to reach the audit after the drain time is over."""

TUNNEL_LINGER_S = 0.5
"""Time for the last bytes in a tunnel: how many of them wait there is not told."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Where to listen and whom to trust.

    modes: mitmproxy's mode specifications. upstream_ca: PEM that replaces the public roots, for labs.
    """

    modes: tuple[str, ...]
    confdir: Path
    upstream_ca: Path | None = None


def apply_settings(gateway: Gateway, live: Live, own: Callable[[], set[tuple[str, int]]]) -> None:
    """Hand the transport section to the core and limits to the counters; at start and after each reload."""
    tls.asking.trust = live.client_trust
    tls.asking.enforced = mode_of(live.policy, live.policy.identity) is Mode.ENFORCE
    gateway.metering.configure(live.policy.limits)
    websocket.apply_settings(live)
    transport = live.policy.transport
    stream.settings.max_request_bytes = transport.max_request_bytes
    if live.policy.only_observes:
        # What enforce throws away and refuses passes here, unread; for that it has to be held.
        most = stream.settings.max_held_bytes // 2
        wanted = min(transport.max_request_bytes * stream.DISCARD_FACTOR, most)
        stream.settings.max_request_bytes = max(transport.max_request_bytes, wanted)
    stream.settings.max_response_bytes = transport.max_response_bytes
    stream.settings.max_header_bytes = transport.max_header_bytes
    stream.settings.max_headers = transport.max_headers
    dial.configure(
        dial.Dialing(
            connect_timeout_s=transport.connect_timeout_s,
            connect_to=gateway.connect_to,
            guard=lambda host, ip: live.catalogue.provider(host) is not None or dial.is_public(ip),
            own=own,
        )
    )


def set_options(opts: options.Options, settings: HostSettings, live: Live) -> None:
    """Set every option that matters. Raises OperatorError for a mode mitmproxy does not know."""
    wanted = dict(REQUIRED_OPTIONS)
    wanted["confdir"] = str(settings.confdir)
    wanted["ssl_verify_upstream_trusted_ca"] = str(settings.upstream_ca) if settings.upstream_ca else None
    wanted["tcp_timeout"] = int(live.policy.transport.idle_timeout_s)
    known = {k: v for k, v in wanted.items() if k in opts}
    missing = wanted.keys() - known.keys()
    if missing:
        raise OperatorError(
            "mitmproxy options",
            f"this mitmproxy lacks {', '.join(sorted(missing))}",
            f"Install mitmproxy=={core.MITMPROXY_VERSION}",
            exit_code=3,
        )
    opts.update(**known)
    if settings.modes:
        try:
            opts.update(mode=list(settings.modes))
        except exceptions.OptionsError as error:
            raise OperatorError(
                "--listen",
                str(error),
                "Write explicit@3128, transparent@8080, reverse:https://HOST@8443, tun:NAME or wireguard@51820",
            ) from None


def assert_options(opts: options.Options) -> None:
    """Refuse to run with an option that lets traffic pass unseen, whoever set it."""
    for name, value in REQUIRED_OPTIONS.items():
        if getattr(opts, name) != value:
            raise OperatorError(
                f"option {name}", "it is not what the gateway needs", f"Leave it at {value!r}", exit_code=3
            )
    for name in _FORBIDDEN_OPTIONS:
        if name in opts and getattr(opts, name):
            raise OperatorError(
                f"option {name}", "it signs with a key nobody here made", "Install the pinned mitmproxy"
            )


def settle_heap() -> None:
    """Leave what will live long (rules, recognisers, modules) out of all later garbage collections.

    A collection over all of it stops the traffic for a tenth of a second, every few hundred requests.
    """
    gc.collect()
    gc.freeze()


def _why(error: BaseException | None) -> str:
    """Return the system's own words for why a listener cannot be; what stands around them says it three times."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number is not None and number > 0 else str(error)


class GatewayMaster(master.Master):
    """mitmproxy's master with six addons of its own and ours."""

    def __init__(self, gateway: Gateway, settings: HostSettings, stages: Sequence[Step] = STAGES) -> None:
        core.install()
        logs.speak()
        super().__init__(options.Options())
        self.addons = CachedManager(self)
        self.gateway = gateway
        self.settings = settings
        self._reloading: asyncio.Future[None] | None = None
        self._reload_asked = False
        self.proxyserver = proxyserver.Proxyserver()
        self.addon = GatewayAddon(gateway, stages=stages)
        self.addons.add(
            core_addon.Core(),
            self.proxyserver,
            disable_h2c.DisableH2C(),
            next_layer.NextLayer(),
            tlsconfig.TlsConfig(),
            self.addon,
            errorcheck.ErrorCheck(),
        )
        set_options(self.options, settings, gateway.live)
        assert_options(self.options)
        apply_settings(gateway, gateway.live, self.listening)

    def listening(self) -> set[tuple[str, int]]:
        """Addresses this gateway listens on, wildcards spelled out as loopback."""
        found = {(str(host), int(port)) for host, port, *_ in self.proxyserver.listen_addrs()}
        return found | {(h, p) for _, p in found for h in ("127.0.0.1", "::1")}

    @property
    def ports(self) -> dict[str, int]:
        """Port of each listener in place by mode specification, for callers that asked for port 0.

        0 for a tun device, which has none.
        """
        return {
            server.mode.full_spec: server.listen_addrs[0][1] if server.listen_addrs else 0
            for server in self.proxyserver.servers
            if server.is_running
        }

    async def serve(self, started: Callable[[], None] = lambda: None) -> None:
        """Run until SIGTERM or SIGINT, then drain. SIGHUP reloads. Raises OperatorError if it cannot listen."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        task = asyncio.create_task(self.run())
        try:
            await self._listening(task)
            unpromoted = self.gateway.unpromoted
            self._record(EventKind.STARTED, "not_promoted" if unpromoted else "")
            if unpromoted:
                logger.warning("started all the same: %s", unpromoted)
            self.gateway.metering.start()
            self.addon.stopping.start()
            settle_heap()
            started()
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                await self.drain()
        finally:
            self.shutdown()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0.05)
            await self.gateway.metering.close()
            self.addon.stopping.close()
            await asyncio.to_thread(self.gateway.petitions.close)
            await self.gateway.watch.close()
            self._record(EventKind.STOPPED)

    async def _listening(self, task: "asyncio.Task[None]") -> None:
        wanted = len(self.options.mode)
        while len(self.ports) < wanted:
            failed = [s for s in self.proxyserver.servers if s.last_exception is not None]
            if failed or task.done():
                reason = _why(failed[0].last_exception) if failed else "the host stopped while starting"
                spec = listener_name(failed[0].mode.full_spec) if failed else ""
                self.shutdown()
                raise OperatorError(
                    f"--listen {spec}".strip(),
                    reason,
                    "Choose a free port and an address of this machine, or stop what uses them; a tun device needs "
                    "CAP_NET_ADMIN and /dev/net/tun",
                    exit_code=3,
                )
            await asyncio.sleep(0.01)

    async def drain(self) -> None:
        """Take no new connections, let exchanges in flight finish within the policy's time, cut the rest."""
        self.addon.connections.draining = True
        stream.settings.draining = True
        # What is in flight through a tunnel would end with its listener.
        kept = [spec for spec in self.options.mode if tunnels.is_tunnel(spec)]
        if kept:
            self.options.update(mode=kept)
        else:
            self.options.update(server=False)
        self.addon.sockets.close_idle()
        await self._finished(self.gateway.live.policy.transport.drain_s)
        if self.addon.in_flight:
            self.addon.cut()
            await self._finished(CUT_S)
        if kept:
            await self._close_tunnels()

    async def _close_tunnels(self) -> None:
        """End what is connected, then the tunnels: what still came out of one would meet a loop that is closed."""
        self.addon.connections.close_all()
        await asyncio.sleep(TUNNEL_LINGER_S)
        try:
            await asyncio.wait_for(self.proxyserver.servers.update([]), CUT_S)
        except TimeoutError:
            logger.warning("a tunnel has not closed within %g s", CUT_S)

    async def _finished(self, within_s: float) -> None:
        """Wait until nothing is in flight and clients were sent all of it, but not longer than that."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self.addon.in_flight or self.addon.connections.unsent_bytes:
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(0.05)

    def _reload_soon(self) -> None:
        """Reload, one at a time: of two at once, the older file could win."""
        self._reload_asked = True
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.ensure_future(self._reload_while_asked())

    async def _reload_while_asked(self) -> None:
        while self._reload_asked:
            self._reload_asked = False
            await self.reload()

    async def reload(self) -> None:
        """Read policy, catalogue and rules anew and swap them; a broken file leaves the old ones in force.

        Reading takes a second and happens in a thread; traffic goes on under the old policy meanwhile.
        """
        try:
            live = await asyncio.to_thread(self.gateway.reload)
        except OperatorError as error:
            logger.error("reload refused, the old policy stays in force: %s", error)
            why = "not_promoted" if isinstance(error, NotPromoted) else "invalid"
            self._record(EventKind.POLICY_REJECTED, why)
            return
        except Exception as error:
            # The border to the files: an exception of a library may quote them.
            logger.error("reload failed (%s), the old policy stays in force", type(error).__name__)
            self._record(EventKind.POLICY_REJECTED, "unreadable")
            return
        apply_settings(self.gateway, live, self.listening)
        self.options.update(tcp_timeout=int(live.policy.transport.idle_timeout_s))
        self.gateway.live = live
        self.addon.sockets.close_forbidden()
        gc.unfreeze()  # the rules of the policy before are garbage now
        settle_heap()
        self._record(EventKind.POLICY_CHANGED)
        logger.warning("policy %s in force", live.policy.revision)

    def _record(self, kind: EventKind, detail: str = "") -> None:
        live = self.gateway.live
        event = Event(
            kind=kind,
            gateway=self.gateway.id,
            policy_revision=live.policy.revision,
            rules_revision=live.rules_revision,
            detail=detail,
        )
        self.gateway.record(event)
