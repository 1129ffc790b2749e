"""How a client reaches the gateway, as policies and events name it."""

import pytest
from mitmproxy.connection import Client
from mitmproxy.proxy import mode_specs

from sallyport.proxy.connections import mode_name


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
