"""A tunnel whose host cannot be reached is not left in the log as one that passed."""

import socket
from pathlib import Path

import pytest

from e2e.traffic import assert_clean, eventually, of_kind, recorded, running
from rawclient import tls, tunnel
from sallyport.audit.events import EventKind

NOWHERE = {
    "a name without an address": ("nowhere.invalid", "unreachable_dns"),
    "an address of this machine": ("localhost", "unreachable_private"),
}


@pytest.mark.parametrize("name", NOWHERE)
def test_a_tunnel_that_reaches_nobody_says_so_and_why(tmp_path: Path, name: str) -> None:
    host, detail = NOWHERE[name]
    with running(tmp_path, None) as gateway:
        with pytest.raises((OSError, EOFError)):
            tls(tunnel(gateway.port, host, timeout=20), host, gateway.confdir / "ca-cert.pem", None)
        eventually(lambda: of_kind(recorded(gateway.confdir), EventKind.CONNECTION_REFUSED), 20, "it is told")
        events = [event for event in recorded(gateway.confdir) if event.host == host]
        assert [(event.kind, event.detail) for event in events] == [
            (EventKind.TUNNELLED, ""),
            (EventKind.CONNECTION_REFUSED, detail),
        ]
        assert events[-1].client == "127.0.0.1"
        assert_clean(gateway)


def test_a_tunnel_that_is_open_is_told_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with running(tmp_path, None, to={"open.example.com": server.getsockname()[1]}) as gateway:
            client = tunnel(gateway.port, "open.example.com", timeout=20)
            client.sendall(HELLO)
            accepted, _ = server.accept()
            with accepted, client:
                assert accepted.recv(5) == HELLO[:5]
            eventually(lambda: of_kind(recorded(gateway.confdir), EventKind.TUNNELLED), 20, "it is told")
        events = recorded(gateway.confdir)
        assert not of_kind(events, EventKind.CONNECTION_REFUSED)


def _hello() -> bytes:
    import ssl

    read, written = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = ssl.create_default_context().wrap_bio(read, written, server_hostname="open.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        half.do_handshake()
    return written.read()


HELLO = _hello()
