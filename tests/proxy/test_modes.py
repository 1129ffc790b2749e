"""How a client reaches the gateway, as policies and events name it."""

import pytest
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from sallyport.errors import OperatorError
from sallyport.proxy.connections import mode_name
from sallyport.proxy.listeners import listener_modes, listener_name


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("regular@3128", "explicit"),
        ("transparent@8080", "transparent"),
        ("reverse:https://api.openai.com@8443", "reverse"),
        ("wireguard@51820", "wireguard"),
        ("tun", "tun"),
        ("tun:gate0", "tun"),
    ],
)
def test_each_mode_has_a_name_of_its_own(spec: str, name: str) -> None:
    client = Client(peername=("10.0.0.1", 1), sockname=("10.0.0.2", 2))
    client.proxy_mode = mode_specs.ProxyMode.parse(spec)
    assert mode_name(client) == name


@pytest.mark.parametrize(
    ("listen", "mode"),
    [
        ("explicit@3128", "regular@3128"),
        ("explicit@127.0.0.1:0", "regular@127.0.0.1:0"),
        ("explicit@[::1]:3128", "regular@::1:3128"),
        ("explicit", "regular"),
        ("transparent@[2001:db8::1]:8080", "transparent@2001:db8::1:8080"),
        ("reverse:https://[2001:db8::1]:443@[::1]:8443", "reverse:https://[2001:db8::1]:443@::1:8443"),
        ("wireguard@51820", "wireguard@51820"),
        ("tun:gate0", "tun:gate0"),
    ],
)
def test_what_listen_says_becomes_a_mode(listen: str, mode: str) -> None:
    assert listener_modes([listen]) == (mode,)
    if "[" not in listen:
        assert listener_name(mode) == listen


@pytest.mark.parametrize(
    "listen",
    [
        "regular@3128",
        "upstream:https://a.example@1",
        "socks5@1080",
        "dns@53",
        "local:curl",
        "wireguard:/etc/other@1",
        "reverse:http://a.example@1",
        "tun:0bad",
        "explicit@99999",
        "explicit@-1",
        "explicit@127.0.0.1:999999",
        "transparent@x",
        "wireguard@x",
        "reverse:https://@8443",
        "explicit:arguments@1",
    ],
)
def test_what_inspects_nothing_or_cannot_listen_is_refused_with_its_name(listen: str) -> None:
    with pytest.raises(OperatorError) as refused:
        listener_modes(["explicit@3129", listen])
    assert refused.value.exit_code == 2
    assert str(refused.value).startswith(f"--listen: '{listen}'")
    assert "reverse:https://HOST@PORT" in str(refused.value)


@pytest.mark.parametrize(
    "listen",
    [
        ("explicit@3128", "explicit@3128"),
        ("explicit@8080", "transparent@8080"),
        ("wireguard@8443", "reverse:https://a.example@8443"),
    ],
    ids=" ".join,
)
def test_two_listeners_cannot_have_one_address(listen: tuple[str, ...]) -> None:
    with pytest.raises(OperatorError, match="wants the same address as"):
        listener_modes(listen)
    assert listener_modes([listen[0], "explicit@127.0.0.1:8081", "transparent@8081", "tun:a", "tun:b"])
