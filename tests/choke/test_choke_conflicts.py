"""Other tables that take the same connections are found in what nft lists."""

import pytest

from sallyport.choke.conflicts import find_conflicts
from sallyport.choke.nftables import Json
from sallyport.choke.point import parse_choke_point

CLIENTS = parse_choke_point(["eth0"])
OWN_HOST = parse_choke_point([], local=True, exempt_user="4321")


def dport(value: Json, *, protocol: str = "tcp", op: str = "==") -> Json:
    left: Json = {"payload": {"protocol": protocol, "field": "dport"}}
    return {"match": {"op": op, "left": left, "right": value}}


REDIRECT: Json = {"redirect": {"port": 9999}}
DNAT: Json = {"dnat": {"addr": "10.0.0.1"}}
XT_REDIRECT: Json = {"xt": {"type": "target", "name": "REDIRECT"}}
XT_MASQUERADE: Json = {"xt": {"type": "target", "name": "MASQUERADE"}}


def ruleset(*expr: Json, hook: str = "prerouting", prio: int = -100, table: str = "other") -> Json:
    return {
        "nftables": [
            {"metainfo": {"version": "1.0.6"}},
            {"table": {"family": "ip", "name": table}},
            {
                "chain": {
                    "family": "ip",
                    "table": table,
                    "name": "pre",
                    "type": "nat",
                    "hook": hook,
                    "prio": prio,
                }
            },
            {"chain": {"family": "ip", "table": table, "name": "jumped"}},
            {"rule": {"family": "ip", "table": table, "chain": "jumped", "expr": list(expr)}},
        ]
    }


TAKEN = {
    "443": (dport(443), REDIRECT),
    "a set with 80": (dport({"set": [80, 8000]}), DNAT),
    "a range over 443": (dport({"range": [400, 500]}), DNAT),
    "a range in a set": (dport({"set": [{"range": [1, 1000]}]}), DNAT),
    "every port": (REDIRECT,),
    "all but 22": (dport(22, op="!="), REDIRECT),
    "a named set": (dport("@ports"), REDIRECT),
    "iptables-nft": (XT_REDIRECT,),
    "iptables-nft in unknown words": ({"xt": None},),
}
NOT_TAKEN = {
    "another port": (dport(8443), REDIRECT),
    "a range elsewhere": (dport({"range": [444, 500]}), DNAT),
    "UDP": (dport(443, protocol="udp"), REDIRECT),
    "no decision": (dport(443), {"counter": None}),
    "masquerading": (XT_MASQUERADE,),
}


@pytest.mark.parametrize("expr", TAKEN.values(), ids=TAKEN)
def test_a_rule_for_our_ports_is_found(expr: tuple[Json, ...]) -> None:
    (conflict,) = find_conflicts(ruleset(*expr), CLIENTS)
    assert conflict.place == "table ip other chain jumped"
    assert conflict.first


@pytest.mark.parametrize("expr", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_a_rule_for_something_else_is_no_conflict(expr: tuple[Json, ...]) -> None:
    assert find_conflicts(ruleset(*expr), CLIENTS) == ()


@pytest.mark.parametrize(("prio", "first"), [(-200, True), (-100, True), (-99, False), (0, False)])
def test_only_a_chain_that_is_asked_no_later_can_decide_first(prio: int, first: bool) -> None:
    (conflict,) = find_conflicts(ruleset(dport(443), REDIRECT, prio=prio), CLIENTS)
    assert conflict.first is first


def test_only_the_hooks_that_this_choke_point_uses_count() -> None:
    output = ruleset(dport(443), REDIRECT, hook="output")
    assert find_conflicts(output, CLIENTS) == ()
    assert len(find_conflicts(output, OWN_HOST)) == 1
    assert find_conflicts(ruleset(dport(443), REDIRECT), OWN_HOST) == ()


def test_a_table_of_ours_in_another_family_is_a_stranger() -> None:
    assert len(find_conflicts(ruleset(REDIRECT, table="sallyport"), CLIENTS)) == 1
