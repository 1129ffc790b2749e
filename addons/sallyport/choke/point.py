"""What the operator wants of a choke point, parsed once and then trusted.

Every value that reaches the text of the ruleset passes here first: an interface name, a port, a
network and a uid have one narrow spelling each, so nothing an operator (or a template) writes can
become a second nft statement.
"""

import pwd
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from sallyport.errors import OperatorError

type Network = IPv4Network | IPv6Network

INTERCEPTED_PORTS = (80, 443)
DEFAULT_PORT = 8080

# IFNAMSIZ is 16 with the final NUL. The kernel allows nearly any byte; these are the ones that
# mean nothing to nft (a trailing "*" would be a wildcard there).
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,14}", re.ASCII)


class ForwardPolicy(StrEnum):
    """What happens to forwarded packets that no rule of the choke point names."""

    DROP = "drop"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class ChokePoint:
    """One choke point, already checked: build it with `parse_choke_point`.

    interfaces: those that face the clients; sources: only these clients, empty for all (a family
    without any source is taken whole); excludes: destinations left alone; exempt_uid: not None
    means own-host mode, where all local users but this one are redirected too.
    """

    interfaces: tuple[str, ...] = ()
    port: int = DEFAULT_PORT
    forward_policy: ForwardPolicy = ForwardPolicy.DROP
    sources: tuple[Network, ...] = ()
    excludes: tuple[Network, ...] = ()
    refuse_dot: bool = False
    exempt_uid: int | None = None


def parse_choke_point(
    interfaces: Sequence[str],
    *,
    port: int = DEFAULT_PORT,
    forward_policy: ForwardPolicy = ForwardPolicy.DROP,
    sources: Iterable[str] = (),
    excludes: Iterable[str] = (),
    refuse_dot: bool = False,
    local: bool = False,
    exempt_user: str | None = None,
) -> ChokePoint:
    """Check what the operator wrote and return the choke point it means.

    exempt_user is a user name or a number, and goes with local only. Raises OperatorError (exit
    code 2) that names the option.
    """
    if not interfaces and not local:
        raise OperatorError(
            "--interface",
            "no interface given, so nothing would be intercepted",
            "Name the interface that faces the clients, or use --local for this host's own traffic.",
        )
    if exempt_user is not None and not local:
        raise OperatorError(
            "--uid-exempt", "means something only for --local", "Add --local, or leave the option out."
        )
    return ChokePoint(
        interfaces=tuple(sorted({_interface(name) for name in interfaces})),
        port=_port(port),
        forward_policy=forward_policy,
        sources=_sources(sources),
        excludes=_excludes(excludes),
        refuse_dot=refuse_dot,
        exempt_uid=_exempt_uid(exempt_user) if local else None,
    )


def _interface(name: str) -> str:
    if name == "lo":
        raise OperatorError(
            "--interface lo",
            "no client arrives on the loopback interface",
            "Use --local to redirect this host's own traffic.",
        )
    if not _INTERFACE.fullmatch(name):
        raise OperatorError(
            f"--interface {name!r}",
            "is no interface name (at most 15 letters, digits, and . _ - : @)",
            "Take the name from `ip link`.",
        )
    return name


def _port(port: int) -> int:
    if not 1 <= port <= 65535 or port in INTERCEPTED_PORTS:
        raise OperatorError(
            f"--port {port}",
            "the listener's port is 1 to 65535 and not one of the intercepted ports 80 and 443",
            "Give the port on which `sallyport run` listens in transparent mode, usually 8080.",
        )
    return port


def _sources(texts: Iterable[str]) -> tuple[Network, ...]:
    networks = [_network("--source", text) for text in texts]
    whole = {network.version for network in networks if network.prefixlen == 0}
    return _collapsed(network for network in networks if network.version not in whole)


def _excludes(texts: Iterable[str]) -> tuple[Network, ...]:
    networks = [_network("--exclude", text) for text in texts]
    for network in networks:
        if network.prefixlen == 0:
            raise OperatorError(
                f"--exclude {network}",
                "would leave every destination of this family unseen",
                "Exclude the networks that you mean, or remove the redirect.",
            )
    return _collapsed(networks)


def _network(option: str, text: str) -> Network:
    try:
        if "%" in text:
            raise ValueError("an address with a zone belongs to one link")
        return ip_network(text.strip())
    except ValueError as error:
        raise OperatorError(
            f"{option} {text!r}",
            f"is no network ({error})",
            "Write it like 10.1.0.0/16, 192.0.2.7 or 2001:db8::/32.",
        ) from None


def _collapsed(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Merge overlaps (nft refuses them in a set), IPv4 first."""
    every = tuple(networks)
    v4 = collapse_addresses(network for network in every if isinstance(network, IPv4Network))
    v6 = collapse_addresses(network for network in every if isinstance(network, IPv6Network))
    return (*v4, *v6)


def _exempt_uid(user: str | None) -> int:
    if user is None:
        raise OperatorError(
            "--local",
            "without --uid-exempt the gateway's own connections would come back to it for ever",
            "Name the user the gateway runs as: --uid-exempt sallyport.",
        )
    uid = _uid(user)
    if uid == 0:
        raise OperatorError(
            "--uid-exempt root",
            "exempting root leaves every system service of this host unseen",
            "Run the gateway as a user of its own and exempt that one.",
        )
    return uid


def _uid(user: str) -> int:
    if user.isascii() and user.isdigit() and int(user) < 2**32 - 1:
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        raise OperatorError(
            f"--uid-exempt {user!r}", "no such user here", "Give an existing user name or a numeric uid."
        ) from None
