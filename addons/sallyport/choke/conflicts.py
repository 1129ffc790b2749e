"""Find other tables that would take the same connections away from the gateway.

A connection is redirected once: the first nat chain that decides wins. A rule elsewhere for ports 80
or 443, or for every port, at the same priority or before ours, may decide first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.choke.nftables import FAMILY, TABLE, Json, objects, selector, statements, values
from sallyport.choke.point import INTERCEPTED_PORTS, ChokePoint

_OUR_PRIORITY = -100
_DECIDES = frozenset({"redirect", "dnat", "xt"})


@dataclass(frozen=True, slots=True)
class Conflict:
    """A foreign rule for our ports; first is true when it can decide before ours."""

    place: str
    first: bool


def find_conflicts(ruleset: Json, point: ChokePoint) -> tuple[Conflict, ...]:
    """Return foreign nat rules of `nft -j list ruleset` that match the intercepted ports."""
    hooks = {"prerouting"} if point.interfaces else set()
    if point.exempt_uid is not None:
        hooks.add("output")
    hooked: dict[tuple[str, str], int] = {}
    for kind, item in objects(ruleset):
        if kind == "chain" and item.get("type") == "nat" and item.get("hook") in hooks:
            table, priority = _table(item), item.get("prio")
            earliest = priority if isinstance(priority, int) else _OUR_PRIORITY
            hooked[table] = min(earliest, hooked.get(table, earliest))
    return tuple(
        Conflict(f"table {' '.join(table)} chain {item.get('chain')}", hooked[table] <= _OUR_PRIORITY)
        for kind, item in objects(ruleset)
        if kind == "rule" and (table := _table(item)) in hooked and _takes_our_ports(item)
        if table != (FAMILY, TABLE)
    )


def _table(item: Mapping[str, Json]) -> tuple[str, str]:
    return str(item.get("family")), str(item.get("table"))


def _takes_our_ports(rule: Mapping[str, Json]) -> bool:
    decides = False
    for name, argument in statements(rule):
        if name == "match" and isinstance(argument, Mapping):
            chosen = selector(argument.get("left"))
            if chosen == "udp dport":
                return False
            plain = argument.get("op") in {"==", "in"}
            if chosen in {"tcp dport", "th dport"} and plain and not _holds_our_port(argument.get("right")):
                return False
        elif name == "xt":
            decides = decides or _is_nat_target(argument)
        else:
            decides = decides or name in _DECIDES
    return decides


def _is_nat_target(argument: Json) -> bool:
    """Tell whether an iptables-nft statement is a nat target; one of unknown content counts as such."""
    return not (
        isinstance(argument, Mapping)
        and (argument.get("type") == "match" or argument.get("name") not in {"REDIRECT", "DNAT", None})
    )


def _holds_our_port(right: Json) -> bool:
    for value in values(right):
        low, _, high = value.partition("-")
        if not low.isdigit():  # a named set or map: what it holds is not written here
            return True
        if any(int(low) <= port <= int(high or low) for port in INTERCEPTED_PORTS):
            return True
    return False
