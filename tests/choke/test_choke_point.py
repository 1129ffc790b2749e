"""Nothing an operator writes becomes a second nft statement."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.choke.nftables import render
from sallyport.choke.point import ChokePoint, ForwardPolicy, parse_choke_point
from sallyport.errors import OperatorError

BAD_INTERFACES = [
    "",
    "lo",
    "eth0 ",
    "eth*",
    'eth0" accept #',
    "eth0\naccept",
    "eth0\n",
    "eth0;drop",
    "a/b",
    "..",
    "x" * 16,
    "eth\x00",
    "éth0",
    "$eth",
    "@set",
    "-i",
]
BAD_NETWORKS = [
    "",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0.0/8 accept",
    "10.0.0.0/8\n}",
    "{ 10.0.0.0/8 }",
    "10.0.0.0-10.1.0.0",
    "fe80::1%eth0",
    "example.com",
    "@clients",
    "2001:db8::/129",
    "010.0.0.0/8",
]


@pytest.mark.parametrize("name", BAD_INTERFACES)
def test_a_name_that_is_no_interface_is_refused(name: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_choke_point([name])
    assert caught.value.exit_code == 2
    assert "--interface" in caught.value.where


@pytest.mark.parametrize("text", BAD_NETWORKS)
@pytest.mark.parametrize("option", ["sources", "excludes"])
def test_a_text_that_is_no_network_is_refused(option: str, text: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_choke_point(["eth0"], **{option: [text]})  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("port", [0, -1, 80, 443, 65536])
def test_a_port_that_cannot_be_the_listener_is_refused(port: int) -> None:
    with pytest.raises(OperatorError, match="--port"):
        parse_choke_point(["eth0"], port=port)


@pytest.mark.parametrize("user", ["root", "0", "no such user", "nosuchuser", "-1", "4294967295", "٣", ""])
def test_a_user_that_cannot_be_exempted_is_refused(user: str) -> None:
    with pytest.raises(OperatorError, match="--uid-exempt"):
        parse_choke_point([], local=True, exempt_user=user)


@pytest.mark.parametrize(
    ("interfaces", "local", "user"),
    [([], False, None), ([], True, None), (["eth0"], True, None), (["eth0"], False, "4321")],
    ids=["nothing to intercept", "local alone", "local without user", "user without local"],
)
def test_options_that_make_no_sense_together_are_refused(
    interfaces: list[str], local: bool, user: str | None
) -> None:
    with pytest.raises(OperatorError):
        parse_choke_point(interfaces, local=local, exempt_user=user)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0"])
def test_everything_can_be_a_source_but_not_an_exclusion(network: str) -> None:
    with pytest.raises(OperatorError, match="unseen"):
        parse_choke_point(["eth0"], excludes=[network])
    assert parse_choke_point(["eth0"], sources=[network, "10.0.0.0/8", "fd00::/8"]).sources != ()
    assert parse_choke_point(["eth0"], sources=[network]).sources == ()


def test_order_and_repetition_do_not_matter() -> None:
    one = parse_choke_point(["b0", "a0", "b0"], sources=["10.1.0.0/16", "10.0.0.0/16"])
    assert one == parse_choke_point(["a0", "b0"], sources=["10.0.0.0/15"])


@given(
    interface=st.text(max_size=20),
    source=st.text(max_size=30) | st.ip_addresses().map(str),
    exclude=st.text(max_size=30) | st.ip_addresses(v=6).map(lambda address: f"{address}/128"),
    port=st.integers(),
)
def test_whatever_is_written_the_text_keeps_its_shape(
    interface: str, source: str, exclude: str, port: int
) -> None:
    try:
        point = parse_choke_point(["eth0", interface], sources=[source], excludes=[exclude], port=port)
    except OperatorError:
        return
    assert LINES.fullmatch(render(point))


LINES = re.compile(
    r"""add table inet sallyport
delete table inet sallyport
table inet sallyport \{
(\tchain [a-z_]+ \{
(\t\t[A-Za-z0-9_ .@:"{},;=/-]+
)+\t\}
\n?)+\}
"""
)


def test_the_full_text_has_that_shape_too() -> None:
    point = parse_choke_point(
        ["eth0", "eth1.100"],
        forward_policy=ForwardPolicy.ACCEPT,
        sources=["10.0.0.0/8"],
        excludes=["192.0.2.0/24"],
        refuse_dot=True,
        local=True,
        exempt_user="4321",
    )
    assert isinstance(point, ChokePoint)
    assert LINES.fullmatch(render(point))
