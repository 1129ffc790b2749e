"""Client certificates behind a real redirect, and behind a tun device: what the connection proves there."""

import os
import ssl
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

import rawclient
from e2e.identity.badges import Authority, Badge
from e2e.traffic import CHAT, OPENAI, chat, eventually
from proxy.crossing import Site, network, sallyport, until
from proxy.stock import MITMDUMP
from rawclient import post
from sallyport.audit.events import Event
from sallyport.choke import namespaces

GATEWAY = Path(__file__).parents[3] / "addons" / "gateway.py"
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


@contextmanager
def behind_tun(site: Site, policy: str) -> Iterator[None]:
    """Run the gateway in mitmdump on a tun device, and route what clients send to port 443 into it."""
    (site.folder / "policy.yaml").write_text(policy)
    confdir = site.folder / "conf"
    command = [str(MITMDUMP), "-q", "-s", str(GATEWAY), "--mode", "tun:gate0"]
    env = {
        "SALLYPORT_POLICY": str(site.folder / "policy.yaml"),
        "SALLYPORT_CONFDIR": str(confdir),
        "SALLYPORT_UPSTREAM_CA": str(site.lab_ca),
        "HOME": str(site.folder),
    }
    process = site.run(command, "tun.log", **env)
    lab = site.net.lab

    def within(*argv: str) -> str:
        return lab.run(lab.gateway, argv).stdout

    def is_up() -> bool:
        with suppress(Exception):
            return "gate0:" in within("ip", "-o", "link", "show", "gate0") and (confdir / "audit.db").exists()
        return False

    site.ca = confdir / "ca-cert.pem"
    try:
        until(is_up, site, "tun.log")
        for where in ("all", "gate0", "clients"):
            within("sysctl", "-qw", f"net.ipv4.conf.{where}.rp_filter=0")
        within("ip", "rule", "add", "iif", "clients", "ipproto", "tcp", "dport", "443", "lookup", "77")
        within("ip", "route", "add", "default", "dev", "gate0", "table", "77")
        yield
    finally:
        lab.stop(process)


@pytest.mark.root
@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="there is no tun device here")
def test_a_tun_device_is_a_mode_of_its_own_and_asks_for_certificates_too(site: Site, tmp_path: Path) -> None:
    root = Authority(tmp_path / "ca", "root")
    good = root.badge("anna", x509.RFC822Name("anna@corp.example"))
    policy = f"{HEAD}  certificates: {{ca: '{root.file}'}}\n  networks:\n"
    policy += "    - {cidr: 0.0.0.0/0, modes: [tun], principal: lab-bench}\n"
    policy += "    - {cidr: 0.0.0.0/0, modes: [transparent], principal: office}\n"
    with behind_tun(site, policy):
        for model, badge, who in (
            ("crt-tun-none", None, "lab-bench"),
            ("crt-tun-anna", good, "anna@corp.example"),
        ):
            assert status(site, model, badge) == 200
            eventually(lambda model=model: ends(site, model), 5, "it has ended")  # type: ignore[misc]
            (event,) = ends(site, model)
            assert (event.principal, event.client_mode) == (who, "tun")
