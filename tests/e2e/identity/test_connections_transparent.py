"""Client certificates behind a real redirect: what the connection proves there."""

import os
import ssl
import warnings
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

import rawclient
from e2e.identity.badges import Authority, Badge
from e2e.traffic import CHAT, OPENAI, chat, eventually
from proxy.crossing import Site, network, sallyport
from rawclient import post
from sallyport.audit.events import Event
from sallyport.choke import namespaces

HEAD = "version: 1\nidentity:\n  unknown: anonymous\n  certificate_owners: {unlisted: allow}\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if not namespaces.permitted():
        reason = "needs root and network namespaces: certificates in transparent mode are NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    with network(tmp_path) as built:
        yield built


def status(site: Site, model: str, badge: Badge | None = None) -> int:
    """Ask over a connection of the client's network; 0 where the handshake fails."""
    context = ssl.create_default_context(cafile=str(site.ca))
    if badge is not None:
        context.load_cert_chain(badge.file)
    try:
        with closing(site.dial()) as raw, context.wrap_socket(raw, server_hostname=OPENAI) as sock:
            sock.sendall(post(CHAT, chat(model), OPENAI))
            return rawclient.read_answer(sock).status
    except OSError:
        return 0


def ends(site: Site, model: str) -> list[Event]:
    return [e for e in site.events() if e.model == model and e.is_end]


@pytest.mark.root
def test_transparent_clients_are_asked_for_certificates(site: Site, tmp_path: Path) -> None:
    root = Authority(tmp_path / "ca", "root")
    good = root.badge("anna", x509.RFC822Name("anna@corp.example"))
    foreign = Authority(tmp_path / "other", "other").badge("eve", x509.RFC822Name("anna@corp.example"))
    policy = f"{HEAD}  certificates: {{ca: '{root.file}', required: true}}\n"
    with sallyport(site, policy):
        site.net.apply()
        assert status(site, "crt-transparent", good) == 200
        eventually(lambda: ends(site, "crt-transparent"), 5, "it has ended")
        (event,) = ends(site, "crt-transparent")
        assert (event.principal, event.client_mode) == ("anna@corp.example", "transparent")
        assert status(site, "crt-transparent-none") == 0
        assert status(site, "crt-transparent-foreign", foreign) == 0
        assert site.told(0, "certificate_missing")
        assert site.told(0, "certificate_foreign")
