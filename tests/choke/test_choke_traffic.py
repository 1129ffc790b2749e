"""What packets meet at the choke point: redirected, refused, or let through on purpose."""

import socket
import sys
import threading

import pytest
from choke_net import Family, Net

from sallyport.choke import kernel, redirect
from sallyport.choke.nftables import render
from sallyport.choke.point import ForwardPolicy, parse_choke_point
from sallyport.errors import OperatorError

LISTENER = 8080

pytestmark = pytest.mark.root


@pytest.mark.parametrize("port", [80, 443])
def test_a_web_connection_arrives_at_the_gateway_with_its_original_destination(
    net: Net, family: Family, port: int
) -> None:
    listener = net.listen(net.lab.gateway, LISTENER)
    net.apply()
    net.connect(net.lab.client, family, family.upstream, port)
    accepted, peer = listener.accept()
    with accepted:
        original, original_port = family.original_destination(accepted)
        assert (original, original_port) == (family.upstream, port)
        assert peer[0].removeprefix("::ffff:") == family.client


def test_without_the_gateway_process_web_connections_are_refused(net: Net, family: Family) -> None:
    upstream = net.listen(net.lab.upstream, 443)
    net.apply()
    assert net.dial(net.lab.client, family, family.upstream, 443) == "refused"
    _assert_nobody_came(upstream)


def test_a_direct_connection_to_the_listener_is_reset(net: Net, family: Family) -> None:
    listener = net.listen(net.lab.gateway, LISTENER)
    net.apply()
    assert net.dial(net.lab.client, family, family.gateway, LISTENER) == "refused"
    _assert_nobody_came(listener)


def test_the_gateway_cannot_connect_to_its_own_listener(net: Net, family: Family) -> None:
    listener = net.listen(net.lab.gateway, LISTENER)
    net.apply()
    for address in (family.loopback, family.gateway):
        assert net.dial(net.lab.gateway, family, address, LISTENER) == "refused"
    _assert_nobody_came(listener)


@pytest.mark.parametrize("policy", ForwardPolicy)
def test_quic_is_refused_at_once(net: Net, family: Family, policy: ForwardPolicy) -> None:
    upstream = net.listen(net.lab.upstream, 443, socket.SOCK_DGRAM)
    net.apply(forward_policy=policy)
    assert net.datagram(net.lab.client, family, family.upstream, 443) == "refused"
    _assert_silence(upstream)


def test_dns_over_tls_and_quic_are_refused_if_asked(net: Net, family: Family) -> None:
    net.listen(net.lab.upstream, 853)
    net.apply(forward_policy=ForwardPolicy.ACCEPT)
    assert net.dial(net.lab.client, family, family.upstream, 853) == "connected"
    net.apply(forward_policy=ForwardPolicy.ACCEPT, refuse_dot=True)
    assert net.dial(net.lab.client, family, family.upstream, 853) == "refused"
    assert net.datagram(net.lab.client, family, family.upstream, 853) == "refused"


def test_other_ports_are_closed_unless_the_forward_policy_accepts(net: Net, family: Family) -> None:
    net.listen(net.lab.upstream, 2222)
    net.apply()
    assert net.dial(net.lab.client, family, family.upstream, 2222, wait_s=0.4) == "silent"
    net.apply(forward_policy=ForwardPolicy.ACCEPT)
    assert net.dial(net.lab.client, family, family.upstream, 2222) == "connected"


@pytest.mark.parametrize("policy", ForwardPolicy)
def test_a_connection_from_before_the_redirect_does_not_live_on(
    net: Net, family: Family, policy: ForwardPolicy
) -> None:
    upstream = net.listen(net.lab.upstream, 443)
    connection = net.connect(net.lab.client, family, family.upstream, 443)
    accepted, _ = upstream.accept()
    with accepted:
        net.apply(forward_policy=policy)
        connection.send(b"sent around the gateway")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        accepted.settimeout(0.2)
        with pytest.raises(TimeoutError):
            accepted.recv(1)


def test_removing_restores_the_direct_way(net: Net, family: Family) -> None:
    net.listen(net.lab.upstream, 443)
    net.apply()
    assert net.dial(net.lab.client, family, family.upstream, 443) == "refused"
    assert net.gateway(redirect.remove) is True
    assert net.dial(net.lab.client, family, family.upstream, 443) == "connected"
    assert net.gateway(redirect.remove) is False


def test_excluded_destinations_are_reached_directly_and_others_not(net: Net, family: Family) -> None:
    net.listen(net.lab.upstream, 443)
    net.apply(excludes=["10.77.2.3", "fd77:2::3"])
    assert net.dial(net.lab.client, family, family.elsewhere, 443) == "connected"
    assert net.dial(net.lab.client, family, family.upstream, 443) == "refused"


def test_only_the_named_sources_are_redirected(net: Net, family: Family) -> None:
    net.listen(net.lab.upstream, 443)
    accept = ForwardPolicy.ACCEPT
    net.apply(sources=["10.99.0.0/16", "fd99::/64"], forward_policy=accept)
    assert net.dial(net.lab.client, family, family.upstream, 443) == "connected"
    net.apply(sources=["10.77.1.0/24", "fd77:1::/64"], forward_policy=accept)
    assert net.dial(net.lab.client, family, family.upstream, 443) == "refused"


@pytest.mark.parametrize("source", ["10.99.0.0/16", "fd99::/64"])
def test_a_family_without_a_source_is_taken_whole(net: Net, family: Family, source: str) -> None:
    net.listen(net.lab.upstream, 443)
    net.apply(sources=[source], forward_policy=ForwardPolicy.ACCEPT)
    named = (":" in source) == (family.number == socket.AF_INET6)
    assert net.dial(net.lab.client, family, family.upstream, 443) == ("connected" if named else "refused")


def test_on_its_own_host_everybody_but_the_gateway_user_is_redirected(net: Net, family: Family) -> None:
    listener = net.listen(net.lab.gateway, LISTENER)
    upstream = net.listen(net.lab.upstream, 443)
    udp = net.listen(net.lab.upstream, 443, socket.SOCK_DGRAM)
    net.apply(interfaces=(), local=True, exempt_user="4321")

    assert net.dial(net.lab.gateway, family, family.upstream, 443) == "connected"
    accepted, _ = listener.accept()
    with accepted:
        assert family.original_destination(accepted) == (family.upstream, 443)
    _assert_nobody_came(upstream)
    assert net.datagram(net.lab.gateway, family, family.upstream, 443) == "refused"
    _assert_silence(udp)

    script = (
        "import os, socket, sys; 'x'.encode('idna'); os.setuid(4321);"
        "socket.create_connection((sys.argv[1], 443), 2).sendall(b'own')"
    )
    result = net.lab.run(net.lab.gateway, (sys.executable, "-I", "-S", "-c", script, family.upstream))
    assert result.returncode == 0, result.stderr
    accepted, _ = upstream.accept()
    with accepted:
        assert accepted.recv(10) == b"own"


def test_a_refused_transaction_leaves_the_old_rules_in_force(net: Net, family: Family) -> None:
    net.apply()
    before = net.nft("-s", "list", "ruleset")
    point = parse_choke_point(["clients"], port=9090)
    broken = render(point) + "add rule inet sallyport passage jump nowhere\n"
    with pytest.raises(OperatorError, match="nothing was changed"):
        net.gateway(lambda: kernel.load(broken))
    assert net.nft("-s", "list", "ruleset") == before
    assert net.status().in_place
    assert net.dial(net.lab.client, family, family.upstream, 443) == "refused"


def test_no_connection_slips_through_while_the_rules_are_replaced(net: Net, family: Family) -> None:
    upstream = net.listen(net.lab.upstream, 443)
    net.apply()
    done = threading.Event()
    ends: set[str] = set()

    def knock() -> None:
        while not done.is_set():
            ends.add(net.dial(net.lab.client, family, family.upstream, 443, wait_s=1))

    knocking = threading.Thread(target=knock)
    knocking.start()
    try:
        for port in (8081, 8082, 8083, 8084) * 3:
            assert net.apply(port=port).changed
    finally:
        done.set()
        knocking.join()
    assert ends == {"refused"}
    _assert_nobody_came(upstream)


def _assert_nobody_came(listener: socket.socket) -> None:
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.settimeout(2)


def _assert_silence(endpoint: socket.socket) -> None:
    endpoint.setblocking(False)
    with pytest.raises(BlockingIOError):
        endpoint.recv(100)
