"""The ruleset of a choke point: one table `inet sallyport`, as text and as a form to compare.

Text and comparable form come from the same rules, so what `print` shows, what `apply` loads and what
`status` expects cannot drift apart. The digest of the comparable form stands in the table itself
(the comment in chain `about`), so `status` needs neither options nor a file to see a manual change.

The comparable form is read from `nft -j` (libnftables-json(5)) and leaves out what says nothing:
handles, counters, set braces around one value, and spellings that differ between nft versions.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address, ip_network

from sallyport.choke.point import INTERCEPTED_PORTS, ChokePoint, Network

FAMILY = "inet"
TABLE = "sallyport"
_MARKER = re.compile(r"sallyport 1 sha256=([0-9a-f]{32})")

type Json = bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None


class Verdict(StrEnum):
    """What a rule does, as nft spells it; REDIRECT is completed by the port."""

    ACCEPT = "accept"
    DROP = "drop"
    RESET = "reject with tcp reset"
    REFUSE = "reject with icmpx type port-unreachable"
    REDIRECT = "redirect to"


@dataclass(frozen=True, slots=True)
class Match:
    """One condition: the nft selector and the values it may have."""

    selector: str
    values: tuple[str, ...]

    def text(self) -> str:
        shown = [f'"{value}"' if self.selector.endswith("ifname") else value for value in self.values]
        if len(shown) == 1:
            return f"{self.selector} {shown[0]}"
        if self.selector.startswith("ct "):
            return f"{self.selector} {','.join(shown)}"
        return f"{self.selector} {{ {', '.join(shown)} }}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that must all hold, the verdict, and why (the comment that `status` shows)."""

    matches: tuple[Match, ...]
    verdict: str
    why: str

    def text(self) -> str:
        conditions = "".join(f"{match.text()} " for match in self.matches)
        return f'{conditions}counter {self.verdict} comment "{self.why}"'


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain: where it hooks in, its default, its rules in order."""

    name: str
    kind: str
    hook: str
    priority: int
    policy: str
    rules: tuple[Rule, ...]

    def text(self) -> str:
        head = f"type {self.kind} hook {self.hook} priority {self.priority}; policy {self.policy};"
        return "\n".join((f"\tchain {self.name} {{", f"\t\t{head}", *self._lines(), "\t}"))

    def _lines(self) -> Iterator[str]:
        for rule in self.rules:
            yield f"\t\t{rule.text()}"


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule has met since it was loaded."""

    chain: str
    why: str
    packets: int
    bytes: int


def chains(point: ChokePoint) -> tuple[Chain, ...]:
    """Return the base chains of the choke point, in the order they are written."""
    written = [Chain("listener", "filter", "input", 0, "accept", tuple(_listener(point)))]
    if point.interfaces:
        arriving = tuple(_arriving(point))
        written += [
            Chain("intercept", "nat", "prerouting", -100, "accept", tuple(_intercept(point, arriving))),
            Chain("passage", "filter", "forward", 0, point.forward_policy, tuple(_passage(point, arriving))),
        ]
    if point.exempt_uid is not None:
        exempt = tuple(_exempt(point.exempt_uid))
        written += [
            Chain("own_intercept", "nat", "output", -100, "accept", (*exempt, *_intercept(point, ((),)))),
            Chain("own_passage", "filter", "output", 0, "accept", (*exempt, *_refusals(point, ((),)))),
        ]
    return tuple(written)


def render(point: ChokePoint) -> str:
    """Return the ruleset as one nft transaction: create, delete, define.

    Loaded with `nft -f -` it replaces whatever table of this name there was; the kernel takes all
    of it or nothing, so no packet ever meets half a ruleset.
    """
    parts = chains(point)
    about = f'\tchain about {{\n\t\treturn comment "sallyport 1 sha256={digest(_form(parts))}"\n\t}}'
    body = "\n\n".join((about, *(chain.text() for chain in parts)))
    name = f"{FAMILY} {TABLE}"
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n{body}\n}}\n"


def expected(point: ChokePoint) -> str:
    """Return the digest that `render(point)` carries."""
    return digest(_form(chains(point)))


def digest(form: Sequence[Json]) -> str:
    return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()[:32]


def read_form(listing: Json) -> list[Json]:
    """Return the comparable form of `nft -j list table inet sallyport`, without the marker."""
    form: list[Json] = []
    for kind, item in objects(listing):
        if kind == "chain" and item.get("name") != "about":
            form.append(
                ["chain", *(str(item.get(key)) for key in ("name", "type", "hook", "prio", "policy"))]
            )
        elif kind == "rule" and item.get("chain") != "about":
            form.append(["rule", str(item.get("chain")), *_read_rule(item)])
        elif kind == "table" and "flags" in item:
            form.append(["flags", json.dumps(item["flags"])])  # a dormant table filters nothing
        elif kind not in {"metainfo", "table", "chain", "rule"}:
            form.append([kind, json.dumps(item, sort_keys=True)])
    return sorted(form, key=_order)


def read_marker(listing: Json) -> str | None:
    """Return the digest that stands in the table, or None if it holds none."""
    for kind, item in objects(listing):
        if kind == "rule" and item.get("chain") == "about":
            found = _MARKER.fullmatch(str(item.get("comment", "")))
            if found:
                return found[1]
    return None


def read_counts(listing: Json) -> tuple[RuleCount, ...]:
    """Return what each rule has counted, in the order of the table."""
    return tuple(
        RuleCount(str(item.get("chain")), str(item.get("comment", "")), *_count(item))
        for kind, item in objects(listing)
        if kind == "rule" and item.get("chain") != "about"
    )


def objects(listing: Json) -> Iterator[tuple[str, Mapping[str, Json]]]:
    """Yield (kind, object) of a libnftables JSON document."""
    if not isinstance(listing, Mapping):
        return
    entries = listing.get("nftables")
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return
    for entry in entries:
        if isinstance(entry, Mapping):
            for kind, item in entry.items():
                if isinstance(item, Mapping):
                    yield kind, item


def statements(rule: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Yield (name, argument) of each statement of a rule."""
    for statement in _sequence(rule.get("expr")):
        if isinstance(statement, Mapping):
            yield from statement.items()


def values(right: Json) -> tuple[str, ...]:
    """Return the values on the right side of a match: addresses, ports, names, ranges as `a-b`."""
    if isinstance(right, Mapping):
        if "set" in right:
            return tuple(sorted(value for one in _sequence(right["set"]) for value in values(one)))
        prefix = right.get("prefix")
        if isinstance(prefix, Mapping):
            return (f"{prefix.get('addr')}/{prefix.get('len')}",)
        if "range" in right:
            return ("-".join(str(end) for end in _sequence(right["range"])),)
        return (json.dumps(right, sort_keys=True),)
    if isinstance(right, Sequence) and not isinstance(right, str):
        return tuple(sorted(value for one in right for value in values(one)))
    return (str(right),)


def selector(left: Json) -> str:
    """Return the nft spelling of the left side of a match, such as `tcp dport`."""
    if isinstance(left, Mapping):
        for kind, field in left.items():
            if isinstance(field, Mapping) and kind == "payload" and set(field) == {"protocol", "field"}:
                return f"{field['protocol']} {field['field']}"
            if isinstance(field, Mapping) and kind == "meta" and set(field) == {"key"}:
                key = str(field["key"])
                return key if key.endswith("ifname") else f"meta {key}"
            if isinstance(field, Mapping) and kind == "ct" and set(field) == {"key"}:
                return f"ct {field['key']}"
    return json.dumps(left, sort_keys=True)


def _arriving(point: ChokePoint) -> Iterator[tuple[Match, ...]]:
    """Yield the conditions that together mean: from a client of this choke point."""
    interfaces = Match("iifname", point.interfaces)
    if not point.sources:
        yield (interfaces,)
        return
    for version, sources in _by_family(point.sources):
        if sources:
            yield (interfaces, Match(f"{_PROTOCOL[version]} saddr", sources))
        else:
            # Sources of one family say nothing about the other. To leave that one out would open
            # the classic hole: intercepted over IPv4, unseen over IPv6.
            yield (interfaces, Match("meta nfproto", (_NFPROTO[version],)))


def _listener(point: ChokePoint) -> Iterator[Rule]:
    # On every interface and on loopback: a connection that was not redirected has the listener
    # itself as its original destination, and a transparent proxy would connect to itself until it
    # has no file descriptor left. Only own-host redirects arrive on loopback, and they are dnat.
    port = Match("tcp dport", (str(point.port),))
    yield Rule((port, Match("ct status", ("dnat",))), Verdict.ACCEPT, "redirected to the gateway")
    yield Rule((port,), Verdict.RESET, "direct connection to the listener")


def _intercept(point: ChokePoint, scopes: Sequence[tuple[Match, ...]]) -> Iterator[Rule]:
    web = Match("tcp dport", tuple(str(port) for port in INTERCEPTED_PORTS))
    verdict = f"{Verdict.REDIRECT} :{point.port}"
    for scope in scopes:
        for excluded in _excluded(point, scope):
            yield Rule((*excluded, web), Verdict.ACCEPT, "excluded by the operator")
    for scope in scopes:
        yield Rule((*scope, web), verdict, "intercepted")


def _passage(point: ChokePoint, scopes: Sequence[tuple[Match, ...]]) -> Iterator[Rule]:
    # The refusals stand before "established": a connection opened before the redirect was applied
    # would otherwise stay unseen for as long as it lives.
    yield from _refusals(point, scopes)
    yield Rule((Match("ct state", ("established", "related")),), Verdict.ACCEPT, "answers")


def _refusals(point: ChokePoint, scopes: Sequence[tuple[Match, ...]]) -> Iterator[Rule]:
    web = Match("tcp dport", tuple(str(port) for port in INTERCEPTED_PORTS))
    quic = Match("udp dport", ("443",))
    for scope in scopes:
        for excluded in _excluded(point, scope):
            yield Rule((*excluded, web), Verdict.ACCEPT, "excluded by the operator")
            yield Rule((*excluded, quic), Verdict.ACCEPT, "excluded by the operator")
    for scope in scopes:
        yield Rule((*scope, quic), Verdict.REFUSE, "QUIC around the gateway")
        yield Rule((*scope, web), Verdict.RESET, "web around the gateway")
        if point.refuse_dot:
            yield Rule((*scope, Match("tcp dport", ("853",))), Verdict.RESET, "DNS over TLS")
            yield Rule((*scope, Match("udp dport", ("853",))), Verdict.REFUSE, "DNS over QUIC")


def _exempt(uid: int) -> Iterator[Rule]:
    yield Rule((Match("oifname", ("lo",)),), Verdict.ACCEPT, "stays on this host")
    yield Rule((Match("meta skuid", (str(uid),)),), Verdict.ACCEPT, "the gateway itself")


def _excluded(point: ChokePoint, scope: Sequence[Match]) -> Iterator[tuple[Match, ...]]:
    for version, networks in _by_family(point.excludes):
        if networks and _may_be(version, scope):
            # The address says which family it is; nft drops a condition that says it again.
            narrowed = (match for match in scope if match.selector != "meta nfproto")
            yield (*narrowed, Match(f"{_PROTOCOL[version]} daddr", networks))


def _may_be(version: int, scope: Sequence[Match]) -> bool:
    """Tell whether packets of this IP version can satisfy the conditions of a scope."""
    other = 10 - version
    return all(
        match.selector != f"{_PROTOCOL[other]} saddr" and match.values != (_NFPROTO[other],)
        for match in scope
    )


_PROTOCOL = {4: "ip", 6: "ip6"}
_NFPROTO = {4: "ipv4", 6: "ipv6"}


def _by_family(networks: Sequence[Network]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for version in (4, 6):
        yield version, tuple(_address(network) for network in networks if network.version == version)


def _address(network: Network) -> str:
    """Spell a network as nft lists it: a single address without its prefix length."""
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def _form(parts: Sequence[Chain]) -> list[Json]:
    """Return the comparable form of rules that are not loaded yet."""
    form: list[Json] = []
    for chain in parts:
        form.append(["chain", chain.name, chain.kind, chain.hook, str(chain.priority), str(chain.policy)])
        for rule in chain.rules:
            conditions = [[match.selector, *_merged(sorted(match.values))] for match in rule.matches]
            form.append(["rule", chain.name, conditions, [str(rule.verdict)], rule.why])
    return sorted(form, key=_order)


def _merged(written: Sequence[str]) -> tuple[str, ...]:
    """Return addresses as the fewest ranges `first-last`; nft lists neighbours as one range or as two.

    Anything else comes back as it is.
    """
    try:
        ranges = sorted(_ends(value) for value in written)
    except ValueError:
        return tuple(written)
    merged: list[tuple[int, int, int]] = []
    for version, first, last in ranges:
        if merged and merged[-1][0] == version and first <= merged[-1][2] + 1:
            merged[-1] = (version, merged[-1][1], max(last, merged[-1][2]))
        else:
            merged.append((version, first, last))
    return tuple(f"v{version} {first:x}-{last:x}" for version, first, last in merged)


def _ends(written: str) -> tuple[int, int, int]:
    if not any(sign in written for sign in ".:"):
        raise ValueError(written)  # a port or a name, which ip_address would take for an address
    first, _, last = written.partition("-")
    if last:
        low, high = ip_address(first), ip_address(last)
        return low.version, int(low), int(high)
    network = ip_network(written)
    return network.version, int(network.network_address), int(network.broadcast_address)


def _order(entry: Json) -> tuple[str, str]:
    """Sort chains first and rules by chain; the sort is stable, so rules keep their order."""
    assert isinstance(entry, list)
    return (str(entry[0]), str(entry[1]))


def _read_rule(rule: Mapping[str, Json]) -> tuple[Json, Json, Json]:
    conditions: list[Json] = []
    verdicts: list[Json] = []
    for name, argument in statements(rule):
        if name == "match" and isinstance(argument, Mapping):
            negated = "" if argument.get("op") in {"==", "in"} else f"{argument.get('op')} "
            conditions.append(
                [f"{negated}{selector(argument.get('left'))}", *_merged(values(argument.get("right")))]
            )
        elif name != "counter":
            verdicts.append(_read_verdict(name, argument))
    return conditions, verdicts, str(rule.get("comment", ""))


def _read_verdict(name: str, argument: Json) -> str:
    if name == "redirect" and isinstance(argument, Mapping) and set(argument) == {"port"}:
        return f"{Verdict.REDIRECT} :{argument['port']}"
    if name == "reject":
        if argument == {"type": "tcp reset"}:
            return Verdict.RESET
        if argument in (None, {"type": "icmpx", "expr": "port-unreachable"}):
            return Verdict.REFUSE
    if argument is None:
        return name
    return json.dumps({name: argument}, sort_keys=True)


def _count(rule: Mapping[str, Json]) -> tuple[int, int]:
    for name, argument in statements(rule):
        if name == "counter" and isinstance(argument, Mapping):
            return _whole(argument.get("packets")), _whole(argument.get("bytes"))
    return 0, 0


def _whole(number: Json) -> int:
    return number if isinstance(number, int) else 0


def _sequence(value: Json) -> Sequence[Json]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
