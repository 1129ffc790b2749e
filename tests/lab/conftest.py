"""One lab for a test, and unmodified SDKs that find it where they look for the real providers."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sallyport.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(hosts=("127.0.0.1",)).in_thread() as running:
        yield running


@pytest.fixture
def reachable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """Point every name's port 443 at the lab and trust its authority, as name service and a bundle would."""
    look_up = socket.getaddrinfo

    def look_up_lab(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if port in (443, "443"):
            return look_up("127.0.0.1", lab.port, *rest, **more)
        return look_up(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_lab)
    monkeypatch.setenv("SSL_CERT_FILE", str(lab.ca.certificate))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return lab
