"""A gateway's authority, an environment without surprises, and small TLS servers that play the parts."""

import os
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sallyport.choke import namespaces
from sallyport.doctor.findings import Situation
from sallyport.pki import create_ca, write_bundle

HOSTS = ("api.openai.com", "api.anthropic.com")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and not namespaces.permitted():
        reason = "needs root and network namespaces: the doctor's network checks are NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.fixture
def confdir(tmp_path: Path) -> Path:
    folder = tmp_path / "confdir"
    create_ca(folder, HOSTS)
    write_bundle(folder)
    return folder


@pytest.fixture
def situation(confdir: Path) -> Situation:
    return Situation(confdir=confdir, hosts=HOSTS, timeout_s=5)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Hold nothing but what programs need to start."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def serving(listener: socket.socket, context: ssl.SSLContext) -> Iterator[None]:
    """Answer every TLS connection to a listener with an empty 403, in a thread, until the block ends."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(3)
                with context.wrap_socket(connection, server_side=True) as secured:
                    if secured.recv(4096):
                        secured.sendall(
                            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        )

    listener.settimeout(None)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
