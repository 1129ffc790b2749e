"""In force, changed, absent: what the kernel holds is compared with what was meant."""

import dataclasses
import json

import pytest
from choke_net import Family, Net

from sallyport.choke import kernel, nftables, redirect
from sallyport.choke.namespaces import CLIENT_INTERFACE
from sallyport.choke.point import ForwardPolicy, parse_choke_point
from sallyport.choke.redirect import State
from sallyport.errors import OperatorError

pytestmark = pytest.mark.root

EVERYTHING = {
    "forward_policy": ForwardPolicy.ACCEPT,
    "refuse_dot": True,
    "local": True,
    "exempt_user": "4321",
}

MANUAL_CHANGES = {
    "a rule that lets web traffic through": "insert rule inet sallyport passage tcp dport 443 accept",
    "a rule at the end": "add rule inet sallyport passage udp dport 53 accept",
    "another default": "chain inet sallyport passage { policy accept; }",
    "no rules left in a chain": "flush chain inet sallyport intercept",
    "another chain": "add chain inet sallyport extra",
    "a dormant table": "table inet sallyport { flags dormant; }",
    "a set": "add set inet sallyport extra { type ipv4_addr; }",
    "another marker": 'flush chain inet sallyport about; add rule inet sallyport about return comment "x"',
    "a table of the same name without anything": "delete table inet sallyport; add table inet sallyport",
}


@pytest.mark.parametrize("change", MANUAL_CHANGES.values(), ids=MANUAL_CHANGES)
def test_a_manual_change_is_detected_and_mended_by_applying_again(net: Net, change: str) -> None:
    net.apply()
    assert net.status().state is State.PRESENT
    net.nft("-f", "-", stdin=change.replace("; ", "\n") if "{" not in change else change)
    assert net.status().state is State.CHANGED
    assert net.apply().changed
    assert net.status().state is State.PRESENT


def test_each_deleted_rule_is_detected(net: Net) -> None:
    point = parse_choke_point([CLIENT_INTERFACE])
    net.apply()
    listing = json.loads(net.nft("-j", "list", "table", "inet", "sallyport"))
    rules = [item for kind, item in nftables.objects(listing) if kind == "rule"]
    assert len(rules) > 5
    for rule in rules:
        net.nft("delete", "rule", "inet", "sallyport", str(rule["chain"]), "handle", str(rule["handle"]))
        assert net.status().state is State.CHANGED, rule["comment"]
        net.nft("-f", "-", stdin=nftables.render(point))
        listing = json.loads(net.nft("-j", "list", "table", "inet", "sallyport"))
        handles = [item for kind, item in nftables.objects(listing) if kind == "rule"]
        rules[:] = [dict(old, handle=new["handle"]) for old, new in zip(rules, handles, strict=True)]


def test_applying_twice_changes_nothing_and_keeps_the_counters(net: Net, family: Family) -> None:
    assert net.apply().changed
    net.dial(net.lab.client, family, family.upstream, 443)
    before = net.status()
    assert next(rule for rule in before.counts if rule.why == "intercepted").packets == 1
    assert not net.apply().changed
    assert net.status() == before


def test_other_options_replace_the_table(net: Net) -> None:
    net.apply()
    assert net.apply(port=9090).changed
    assert net.status().in_place
    assert "redirect to :8080" not in net.nft("list", "ruleset")


def test_absent_before_and_after(net: Net) -> None:
    assert net.status() == redirect.Status(State.ABSENT)
    net.apply()
    net.gateway(redirect.remove)
    assert net.status().state is State.ABSENT
    assert net.nft("list", "ruleset") == ""


def test_a_check_changes_nothing(net: Net) -> None:
    point = parse_choke_point([CLIENT_INTERFACE])
    assert not net.gateway(lambda: redirect.apply(point, check=True)).changed
    assert net.nft("list", "ruleset") == ""


def test_other_tables_are_left_alone(net: Net) -> None:
    net.nft("add", "table", "inet", "other")
    net.apply()
    net.gateway(redirect.remove)
    assert net.nft("list", "ruleset").split() == ["table", "inet", "other", "{", "}"]


NETWORKS = {
    "neighbours that make one range": ["192.0.3.0/24", "192.0.4.0/22"],
    "overlaps": ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3"],
    "halves": ["128.0.0.0/1", "8000::/1"],
    "single addresses": ["192.0.2.1", "192.0.2.2/32", "192.0.2.255", "2001:db8::1"],
    "ends of the address space": ["0.0.0.0/8", "255.255.255.255", "::", "ffff::/16"],
    "mapped": ["::ffff:0:0/96", "64:ff9b::/96"],
}


@pytest.mark.parametrize("networks", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("option", ["sources", "excludes"])
def test_every_network_reads_back_as_it_was_meant(net: Net, option: str, networks: list[str]) -> None:
    net.apply(**{option: networks}, **EVERYTHING)
    assert net.status().in_place


def test_both_kinds_of_networks_read_back_together(net: Net) -> None:
    net.apply(
        interfaces=("clients", "outside"),
        sources=["10.77.0.0/16"],
        excludes=["192.0.2.0/24", "2001:db8::/32"],
        **EVERYTHING,
    )
    assert net.status().in_place


def test_if_the_kernel_ends_up_with_other_rules_the_old_ones_come_back(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.apply()
    before = net.nft("-s", "list", "ruleset")
    meddle = "add rule inet sallyport passage tcp dport 443 accept\n"
    load = kernel.load
    monkeypatch.setattr(
        kernel, "load", lambda text, *, check=False: load(_meddled(text, meddle), check=check)
    )
    with pytest.raises(OperatorError, match="rules from before are back"):
        net.apply(port=9090)
    assert net.nft("-s", "list", "ruleset") == before
    assert net.status().in_place


def _meddled(text: str, rule: str) -> str:
    return text + rule if "9090" in text else text


def test_a_redirect_elsewhere_for_the_same_port_is_refused_unless_forced(net: Net) -> None:
    net.nft(
        "-f",
        "-",
        stdin="""table ip other {
        chain pre { type nat hook prerouting priority dstnat; policy accept;
            tcp dport 443 redirect to :9999
        }
        }""",
    )
    with pytest.raises(OperatorError, match="table ip other chain pre") as caught:
        net.apply()
    assert caught.value.exit_code == 3
    assert net.status().state is State.ABSENT
    assert any("table ip other" in warning for warning in net.apply(force=True).warnings)
    assert net.status().in_place


def test_a_missing_interface_is_refused(net: Net) -> None:
    with pytest.raises(OperatorError, match="no such interface") as caught:
        net.apply(interfaces=("clients", "nosuch0"))
    assert caught.value.exit_code == 3


def test_what_does_not_listen_is_warned_of(net: Net) -> None:
    assert any("nothing listens on port 8080" in warning for warning in net.apply().warnings)
    net.listen(net.lab.gateway, 8080)
    assert not any("listen" in warning for warning in net.apply().warnings)


def test_icmp_redirects_are_warned_of_until_they_are_off(net: Net) -> None:
    assert any("send_redirects" in warning for warning in net.apply().warnings)
    off = "echo 0 | tee /proc/sys/net/ipv4/conf/*/send_redirects"
    net.lab.run(net.lab.gateway, ("sh", "-c", off))
    assert not any("send_redirects" in warning for warning in net.apply().warnings)


def test_the_printed_text_loaded_by_hand_counts_as_in_force(net: Net) -> None:
    net.nft("-f", "-", stdin=nftables.render(parse_choke_point([CLIENT_INTERFACE])))
    assert net.status().state is State.PRESENT


def test_every_option_changes_the_digest() -> None:
    plain = parse_choke_point(["a0"])
    variants = [
        plain,
        dataclasses.replace(plain, interfaces=("a1",)),
        dataclasses.replace(plain, port=8081),
        dataclasses.replace(plain, forward_policy=ForwardPolicy.ACCEPT),
        dataclasses.replace(plain, refuse_dot=True),
        dataclasses.replace(plain, exempt_uid=1),
        parse_choke_point(["a0"], sources=["10.0.0.0/8"]),
        parse_choke_point(["a0"], excludes=["10.0.0.0/8"]),
    ]
    assert len({nftables.expected(point) for point in variants}) == len(variants)
