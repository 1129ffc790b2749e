"""The ways in and out: the redirect, the listeners, the providers, and what should be closed."""

import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import StrEnum

from cryptography import x509

from sallyport.choke import kernel, redirect
from sallyport.doctor.findings import Address, Check, Situation, fail, failed, ok, skipped, warn
from sallyport.doctor.tls import (
    Reached,
    connect,
    handshake,
    is_from_sallyport,
    only,
    public_roots,
    tunnel,
)
from sallyport.errors import OperatorError

_HTTPS = 443
_QUIC_TRIES = 2


class Udp(StrEnum):
    """What a datagram to port 443 met."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "no answer"
    NO_WAY = "no route"


def check_redirect(situation: Situation) -> Check:
    if situation.from_client:
        return skipped("redirect", "is on the gateway, not on a client")
    if not situation.transparent:
        return skipped("redirect", "not asked for", "On a transparent gateway say --transparent.")
    try:
        found = redirect.status()
    except OperatorError as error:
        return failed("redirect", error)
    if found.state is redirect.State.ABSENT:
        return fail(
            "redirect",
            "the nftables rules are not there: nothing is intercepted",
            "Apply them: sallyport redirect apply --interface ...",
        )
    if found.state is redirect.State.CHANGED:
        return fail(
            "redirect",
            "the nftables rules are not those that were applied",
            "Look at `sallyport redirect status`, then apply them again.",
        )
    taken = sum(rule.packets for rule in found.counts if rule.why == "intercepted")
    return ok("redirect", f"in force, {taken} connections intercepted since")


def check_listener(situation: Situation) -> Iterator[Check]:
    """See whether the gateway listens: by the kernel's own list for the transparent port (a direct

    connection to it must be reset), by a CONNECT for an explicit proxy.
    """
    name = "listener"
    if situation.transparent and not situation.from_client:
        families = (socket.AF_INET, socket.AF_INET6)
        if any(kernel.listening(situation.port, family) for family in families):
            yield ok(name, f"something listens on port {situation.port}")
        else:
            yield fail(
                name, f"nothing listens on port {situation.port}", "Start the gateway: sallyport run ..."
            )
    if situation.proxy:
        host = situation.hosts[0]
        opened = tunnel(situation.proxy, (host, _HTTPS), situation.timeout_s)
        shown = f"{situation.proxy[0]}:{situation.proxy[1]}"
        if isinstance(opened, socket.socket):
            opened.close()
            yield ok(name, f"the proxy at {shown} opens a tunnel to {host}")
        else:
            yield fail(
                name,
                f"the proxy at {shown} does not open a tunnel to {host}: {opened}",
                "Start the gateway, and check address, firewall and policy.",
            )
    elif not situation.transparent:
        yield skipped(name, "not named", "Name it with --proxy, or say --transparent.")


def check_upstream(situation: Situation) -> Iterator[Check]:
    """Make a TLS connection to each provider as the gateway does, and send nothing in it."""
    if situation.from_client:
        yield skipped("upstream", "is reached by the gateway, not from a client")
        return
    try:
        public_roots(situation.upstream_ca)
    except OSError:  # ssl.SSLError too
        yield fail(
            "upstream", f"{situation.upstream_ca} holds no roots that can be read", "Give a PEM bundle."
        )
        return
    with ThreadPoolExecutor(max(1, len(situation.hosts))) as threads:
        yield from threads.map(lambda host: _upstream(situation, host), situation.hosts)


def _upstream(situation: Situation, host: str) -> Check:
    address = situation.connect_to.get((host, _HTTPS), (host, _HTTPS))
    name = f"upstream: {host}"
    reach = handshake(connect(address, situation.timeout_s), host, public_roots(situation.upstream_ca))
    where = "" if address[0] == host else f" at {address[0]}:{address[1]}"
    if reach.reached is Reached.TRUSTED:
        return ok(name, f"answers{where} with a certificate that verifies")
    todo = {
        Reached.UNRESOLVED: "Give this machine a resolver that knows the provider, or use --connect-to.",
        Reached.UNTRUSTED: "If a company proxy stands in between, give its roots with --upstream-ca.",
    }.get(reach.reached, "Open TCP 443 from this machine to the provider.")
    return fail(name, f"{reach}{where}", todo)


def check_way_around(situation: Situation, ours: x509.Certificate | None) -> Iterator[Check]:
    """On a client: look for a way to a provider that does not lead through the gateway.

    A direct connection may be refused, or be answered by the gateway; the provider itself must not
    answer. Over UDP 443 nobody may.
    """
    if not situation.from_client:
        yield skipped(
            "way around", "can be looked for only on a client", "Run `sallyport doctor --from-client` there."
        )
        return
    with ThreadPoolExecutor(max(1, len(situation.hosts))) as threads:
        for checks in threads.map(lambda host: [*_ways_to(situation, host, ours)], situation.hosts):
            yield from checks


def _ways_to(situation: Situation, host: str, ours: x509.Certificate | None) -> Iterator[Check]:
    addresses = _resolve(host)
    if not addresses:
        yield ok(f"way around: {host}", "the name does not resolve here, so there is no direct way")
    for address in addresses:
        yield _tcp_way(situation, host, address, ours)
        yield _udp_way(host, address, situation.timeout_s)


def _resolve(host: str) -> Sequence[str]:
    """Return one address of each IP version: what is closed for one is closed for its neighbours."""
    try:
        found = socket.getaddrinfo(host, _HTTPS, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    first: dict[int, str] = {}
    for family, *_, place in found:
        first.setdefault(family, str(place[0]))
    return tuple(first.values())


def _tcp_way(situation: Situation, host: str, address: str, ours: x509.Certificate | None) -> Check:
    name = f"way around: tcp {host} {address}"
    place: Address = (address, _HTTPS)
    timeout_s = situation.timeout_s
    # Ours first: somebody may have added the gateway's CA to the public roots.
    if ours and handshake(connect(place, timeout_s), host, only(ours)).reached is Reached.TRUSTED:
        return ok(name, "the gateway answers in the provider's place")
    reach = handshake(connect(place, timeout_s), host, public_roots(situation.upstream_ca))
    if reach.reached is Reached.TRUSTED:
        return fail(
            name,
            "the provider itself answers: this client can go around the gateway",
            "Close TCP 443 for clients, or redirect it: sallyport redirect apply on the choke point.",
        )
    if reach.reached is not Reached.UNTRUSTED:
        return ok(name, f"closed: {reach}")
    if is_from_sallyport(connect(place, timeout_s), host):
        return ok(name, "a gateway answers in the provider's place")
    return warn(
        name,
        "somebody answers with a certificate of an unknown authority",
        "Give the gateway's certificate with --ca; if it still says so, another proxy is in the way.",
    )


def _udp_way(host: str, address: str, timeout_s: float) -> Check:
    name = f"way around: udp {host} {address}"
    met = probe_quic((address, _HTTPS), min(timeout_s, 1.0))
    if met is Udp.ANSWERED:
        return fail(
            name,
            "the provider answers over QUIC: HTTP/3 goes around the gateway",
            "Refuse UDP 443: sallyport redirect apply does.",
        )
    return ok(name, f"closed: {met}")


def probe_quic(address: Address, wait_s: float) -> Udp:
    """Send what every QUIC server must answer: a long header with a version that nobody speaks.

    RFC 9000, 6.1: a server answers with Version Negotiation if the datagram has at least 1200 bytes.
    """
    connection_id = os.urandom(8)
    head = b"\xc0" + b"\x1a\x2a\x3a\x4a" + b"\x08" + connection_id + b"\x08" + os.urandom(8)
    datagram = head.ljust(1200, b"\x00")
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as endpoint:
        endpoint.settimeout(wait_s)
        for _ in range(_QUIC_TRIES):
            try:
                endpoint.connect(address)
                endpoint.send(datagram)
                endpoint.recv(2048)
            except (ConnectionRefusedError, PermissionError):
                return Udp.REFUSED
            except TimeoutError:
                continue
            except OSError:
                return Udp.NO_WAY
            return Udp.ANSWERED
    return Udp.SILENT
