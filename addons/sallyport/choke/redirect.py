"""Put a choke point in force, say whether it is, and take it away.

The kernel takes each change as one transaction. After loading, the table is read back and compared
with what was meant; if it differs, the table that was there before comes back.
"""

import socket
from dataclasses import dataclass
from enum import StrEnum

from sallyport.choke import kernel
from sallyport.choke.conflicts import find_conflicts
from sallyport.choke.nftables import (
    FAMILY,
    TABLE,
    Json,
    RuleCount,
    digest,
    expected,
    read_counts,
    read_form,
    read_marker,
    render,
)
from sallyport.choke.point import ChokePoint
from sallyport.errors import OperatorError

_WILDCARD4 = "00000000"
_WILDCARD6 = "0" * 32


class State(StrEnum):
    """Whether the table in the kernel is the one that Sallyport wrote."""

    PRESENT = "present"
    ABSENT = "absent"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Status:
    """What is in the kernel now, and what each rule has met since it was loaded."""

    state: State
    counts: tuple[RuleCount, ...] = ()

    @property
    def in_place(self) -> bool:
        return self.state is State.PRESENT


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did: changed is false when the same rules were in force already."""

    changed: bool
    warnings: tuple[str, ...]


def status() -> Status:
    """Compare the table in the kernel with the digest it carries.

    Raises OperatorError (exit code 3) without nft or without the right to ask it.
    """
    kernel.require_nft()
    return _status(kernel.list_table())


def apply(point: ChokePoint, *, check: bool = False, force: bool = False) -> Applied:
    """Put the choke point in force, or with check only ask whether it could be.

    force goes on although another nat rule may decide first. Raises OperatorError (exit code 3);
    whatever was in force before still is, then.
    """
    kernel.require_nft()
    _require_interfaces(point)
    warnings = (*_conflicts(point, force=force), *_listener_warnings(point), *_routing_warnings(point))
    before = kernel.list_table()
    if _holds(before, point):
        return Applied(changed=False, warnings=warnings)
    previous = kernel.list_table_text()
    kernel.load(render(point), check=check)
    if not check and not _holds(kernel.list_table(), point):
        _go_back(previous)
    return Applied(changed=not check, warnings=warnings)


def remove() -> bool:
    """Take the table away; return whether there was one."""
    kernel.require_nft()
    there = kernel.list_table() is not None
    if there:
        kernel.load(_removal())
    return there


def _status(listing: Json) -> Status:
    if listing is None:
        return Status(State.ABSENT)
    form = read_form(listing)
    same = bool(form) and read_marker(listing) == digest(form)
    return Status(State.PRESENT if same else State.CHANGED, read_counts(listing))


def _holds(listing: Json, point: ChokePoint) -> bool:
    """Tell whether the table in the kernel is exactly the one meant for this choke point."""
    return _status(listing).in_place and read_marker(listing) == expected(point)


def _go_back(previous: str | None) -> None:
    kernel.load(_removal() + (previous or ""))
    raise OperatorError(
        f"table {FAMILY} {TABLE}",
        "the kernel holds other rules than those that were loaded; "
        + ("the rules from before are back in force" if previous else "they were removed again"),
        "Look for another program that edits the ruleset, and report the output of `nft --version`.",
        exit_code=3,
    )


def _removal() -> str:
    # "add" first, so that the transaction also holds when somebody else was faster.
    return f"add table {FAMILY} {TABLE}\ndelete table {FAMILY} {TABLE}\n"


def _require_interfaces(point: ChokePoint) -> None:
    missing = sorted(set(point.interfaces) - kernel.interface_names())
    if missing:
        raise OperatorError(
            f"--interface {missing[0]}",
            "there is no such interface in this network namespace",
            "Take the name from `ip link`.",
            exit_code=3,
        )


def _conflicts(point: ChokePoint, *, force: bool) -> tuple[str, ...]:
    found = find_conflicts(kernel.list_ruleset(), point)
    decisive = [conflict for conflict in found if conflict.first]
    if decisive and not force:
        raise OperatorError(
            decisive[0].place,
            "a nat rule there takes connections to port 80 or 443 and may decide before the redirect",
            "Remove that rule, or use --force if it cannot match the clients' traffic.",
            exit_code=3,
        )
    warnings = tuple(
        f"{conflict.place}: also has a nat rule for port 80 or 443" for conflict in dict.fromkeys(found)
    )
    if kernel.has_legacy_nat():
        warnings += (
            "iptables-legacy has a nat table here that nft cannot show: check `iptables-legacy-save`",
        )
    return warnings


def _listener_warnings(point: ChokePoint) -> tuple[str, ...]:
    v4 = kernel.listening(point.port, socket.AF_INET)
    v6 = kernel.listening(point.port, socket.AF_INET6)
    if not v4 | v6:
        return (f"nothing listens on port {point.port} yet: clients are refused until the gateway runs",)
    if _WILDCARD6 in v6:
        return ()
    if _WILDCARD4 in v4:
        return (f"port {point.port} listens on IPv4 only: IPv6 clients are refused",)
    return (f"port {point.port} listens on single addresses only: redirected clients may be refused",)


def _routing_warnings(point: ChokePoint) -> tuple[str, ...]:
    """Name what lets clients on the same segment learn a way around the gateway."""
    if kernel.setting("net/ipv4/ip_forward") != "1":
        return ()
    names = [name for name in point.interfaces if _sends_redirects(name)]
    return tuple(
        f"{name}: the kernel may tell clients of a shorter way around the gateway (ICMP redirect); "
        f"set net.ipv4.conf.all.send_redirects=0 and net.ipv4.conf.{name}.send_redirects=0"
        for name in names
    )


def _sends_redirects(interface: str) -> bool:
    # The kernel sends them if either setting says so.
    return "1" in {kernel.setting(f"net/ipv4/conf/{where}/send_redirects") for where in ("all", interface)}
