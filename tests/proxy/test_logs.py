"""What mitmproxy logs is told in words of ours, and what it quotes is not."""

import inspect
import logging
from types import ModuleType

import pytest
from mitmproxy.proxy import mode_servers
from mitmproxy.proxy.layers import tls

from sallyport.proxy.logs import WireDataFilter

DATA = "quoted.example.com"


def filtered(message: str) -> str:
    record = logging.LogRecord("mitmproxy.proxy", logging.WARNING, "server.py", 1, message, (), None)
    assert WireDataFilter().filter(record)
    return record.getMessage()


@pytest.mark.parametrize(
    ("opening", "said_in", "advice"),
    [
        ("Client TLS handshake failed.", tls, "sallyport ca install-help"),
        ("Server TLS handshake failed.", tls, "sallyport doctor"),
        ("Transparent mode failure:", mode_servers, "no redirect had brought"),
    ],
)
def test_what_is_said_often_is_explained_without_what_it_quotes(
    opening: str, said_in: ModuleType, advice: str
) -> None:
    assert f'"{opening} {{' in inspect.getsource(said_in)
    told = filtered(f"{opening} The client does not trust the proxy's certificate for {DATA}")
    assert advice in told
    assert DATA not in told


@pytest.mark.parametrize("message", [f"Odd: {DATA}", f"{DATA} Client TLS handshake failed."])
def test_anything_else_is_withheld(message: str) -> None:
    told = filtered(message)
    assert "message withheld" in told
    assert DATA not in told
