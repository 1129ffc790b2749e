"""Clients that come through a tun device or through WireGuard: who they are, and that nothing else leaves."""

import base64
import json
import os
import shutil
import socket
import ssl
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509

from e2e.identity.badges import Authority, Badge
from e2e.identity.test_connections_transparent import HEAD, ends, site, status  # noqa: F401
from e2e.traffic import CHAT, OPENAI, chat, eventually
from proxy.crossing import Site, sallyport, until
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.choke import namespaces
from sallyport.errors import OperatorError
from sallyport.proxy.tunnels import ensure_keys

DEVICE = "gate0"
PORT = 51820
INSIDE = "10.0.0.1"

pytestmark = pytest.mark.root


def missing(reason: str) -> None:
    """Skip aloud; fail where everything has to be tested."""
    if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
        pytest.fail(reason)
    warnings.warn(reason, stacklevel=1)
    pytest.skip(reason)


def within(site: Site, *argv: str, namespace: str = "gateway") -> str:  # noqa: F811
    done = site.net.lab.run(getattr(site.net.lab, namespace), argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def behind_tun(site: Site, policy: str) -> Iterator[None]:  # noqa: F811
    """Run the gateway on a tun device, and route into it whatever clients send, whichever protocol."""
    if not Path("/dev/net/tun").exists():
        missing("there is no /dev/net/tun: the mode tun is NOT tested")
    with sallyport(site, policy, listen=f"tun:{DEVICE}"):
        for where in ("all", DEVICE, "clients"):
            within(site, "sysctl", "-qw", f"net.ipv4.conf.{where}.rp_filter=0")
        within(site, "ip", "rule", "add", "iif", "clients", "lookup", "77")
        within(site, "ip", "route", "add", "default", "dev", DEVICE, "table", "77")
        try:
            yield
        finally:
            within(site, "ip", "rule", "del", "iif", "clients", "lookup", "77")


@contextmanager
def behind_wireguard(site: Site, policy: str) -> Iterator[None]:  # noqa: F811
    """Run the gateway as a WireGuard server, and route the client's way to the upstream through wireguard-go."""
    program = shutil.which("wireguard-go")
    if program is None or not Path("/dev/net/tun").exists():
        missing("there is no wireguard-go: the mode wireguard is NOT tested")
    name = f"spw{os.getpid()}"
    control = Path(f"/var/run/wireguard/{name}.sock")
    with sallyport(site, policy, listen=f"wireguard@{PORT}"):
        with (site.folder / "wireguard-go.log").open("wb") as log:
            lab = site.net.lab
            env = os.environ | {"LOG_LEVEL": "error"}
            client = lab.exec(lab.client, [str(program), "-f", name], env=env, stdout=log, stderr=log)
        try:
            until(control.exists, site, "wireguard-go.log")
            configure(site.folder / "conf" / "wireguard-client.conf", control)
            for words in (
                ("addr", "add", f"{INSIDE}/32", "dev", name),
                ("link", "set", name, "up", "mtu", "1400"),
                ("route", "add", namespaces.UPSTREAM_V4, "dev", name, "src", INSIDE),
            ):
                within(site, "ip", *words, namespace="client")
            yield
        finally:
            lab.stop(client)
            control.unlink(missing_ok=True)


def configure(file: Path, control: Path) -> None:
    """Tell wireguard-go what the gateway wrote for wg-quick, over its own protocol; the endpoint is ours."""
    lines = [line.partition(" = ") for line in file.read_text().splitlines() if " = " in line]
    said = {name: value for name, _, value in lines}

    def hexadecimal(name: str) -> str:
        return base64.b64decode(said[name]).hex()

    request = (
        f"set=1\nprivate_key={hexadecimal('PrivateKey')}\nreplace_peers=true\n"
        f"public_key={hexadecimal('PublicKey')}\nendpoint={namespaces.GATEWAY_V4}:{PORT}\n"
        f"allowed_ip={said['AllowedIPs']}\n\n"
    )
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(control))
        sock.sendall(request.encode())
        assert sock.recv(100).startswith(b"errno=0")


WAYS = {"tun": behind_tun, "wireguard": behind_wireguard}

type Way = Callable[[Site, str], object]


def owners(mode: str) -> str:
    """Whoever comes by one mode is of the bench; the other modes would make them somebody else."""
    other = "tun" if mode == "wireguard" else "wireguard"
    return (
        "  networks:\n"
        f"    - {{cidr: 0.0.0.0/0, modes: [{mode}], principal: lab-bench}}\n"
        f"    - {{cidr: 0.0.0.0/0, modes: [{other}, transparent, explicit], principal: office}}\n"
    )


def datagram(site: Site, port: int) -> bytes:  # noqa: F811
    """Send a few datagrams from the client to the upstream; what arrives there."""
    lab = site.net.lab
    with closing(site.net.listen(lab.upstream, port, socket.SOCK_DGRAM)) as upstream:
        upstream.settimeout(1)

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for _ in range(3):
                    with suppress(OSError):
                        sock.sendto(b"\xc3\x00\x00\x00\x01initial", (namespaces.UPSTREAM_V4, port))
                    time.sleep(0.05)

        lab.call(lab.client, send)
        with suppress(TimeoutError):
            return upstream.recv(100)
        return b""


@pytest.mark.parametrize("mode", WAYS)
def test_a_tunnel_is_a_mode_of_its_own_and_lets_nothing_but_judged_calls_out(
    site: Site,  # noqa: F811
    tmp_path: Path,
    mode: str,
) -> None:
    root = Authority(tmp_path / "ca", "root")
    good = root.badge("anna", x509.RFC822Name("anna@corp.example"))
    foreign = Authority(tmp_path / "other", "other").badge("eve", x509.RFC822Name("anna@corp.example"))
    policy = f"{HEAD}  certificates: {{ca: '{root.file}'}}\n{owners(mode)}"
    assert datagram(site, 443), "control: without the tunnel, datagrams arrive"
    with WAYS[mode](site, policy):
        shown: tuple[tuple[str, Badge | None, str], ...] = (
            (f"tnl-{mode}-none", None, "lab-bench"),
            (f"tnl-{mode}-anna", good, "anna@corp.example"),
        )
        for model, badge, who in shown:
            assert status(site, model, badge) == 200
            eventually(lambda model=model: ends(site, model), 5, "it has ended")  # type: ignore[misc]
            (event,) = ends(site, model)
            assert (event.principal, event.client_mode) == (who, mode)
        assert status(site, f"tnl-{mode}-eve", foreign) == 0
        assert site.told(0, "certificate_foreign")
        calls = len(site.arrivals())
        for port in (443, 53):
            since = len(site.events())
            assert datagram(site, port) == b"", "neither QUIC nor DNS leaves"
            assert site.told(since, "not_tcp")
            assert {e.client_mode for e in site.events()[since:]} == {mode}
        with closing(site.dial()) as sock:
            sock.sendall(b"\x01\x02\x03 no protocol of ours")
            assert sock.recv(100) == b""
        assert site.told(0, "not_http")
        assert len(site.arrivals()) == calls, "nothing of all that has even connected"


@pytest.mark.parametrize("mode", WAYS)
def test_a_caller_whom_the_policy_does_not_know_gets_nothing_out_of_a_tunnel(
    site: Site,  # noqa: F811
    mode: str,
) -> None:
    policy = "version: 1\nidentity:\n  networks:\n    - {cidr: 0.0.0.0/0, modes: [transparent], principal: office}\n"
    with WAYS[mode](site, policy):
        assert status(site, f"tnl-{mode}-stranger") == 403
        assert site.told(0, "identity.unknown")
        assert site.arrivals() == []


@pytest.mark.parametrize("mode", WAYS)
def test_an_answer_in_flight_through_a_tunnel_comes_whole_before_the_gateway_ends(
    site: Site,  # noqa: F811
    mode: str,
) -> None:
    with WAYS[mode](site, HEAD):
        context = ssl.create_default_context(cafile=str(site.ca))
        with closing(site.dial()) as raw, context.wrap_socket(raw, server_hostname=OPENAI) as sock:
            sock.settimeout(20)
            sock.sendall(post(CHAT, chat(f"tnl-{mode}-slow-300", stream=True), OPENAI))
            data = sock.recv(65536)
            assert b"[DONE]" not in data
            assert site.gateway is not None
            site.gateway.terminate()
            while piece := sock.recv(65536):
                data += piece
        assert b"[DONE]" in data
        assert site.gateway.wait(15) == 0
        assert (site.folder / "gateway.log").read_bytes().count(b"Traceback") == 0


CHATTER = """
import socket, sys, time
calls, datagrams = [], socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for port in range(5000, 5020):
        calls.append(socket.socket())
        calls[-1].setblocking(False)
        calls[-1].connect_ex((sys.argv[1], 443))
        datagrams.sendto(b"anything", (sys.argv[1], port))
    del calls[:-100]
    time.sleep(0.1)
"""


@pytest.mark.parametrize("mode", WAYS)
def test_a_gateway_ends_well_while_clients_keep_knocking_at_its_tunnel(site: Site, mode: str) -> None:  # noqa: F811
    with WAYS[mode](site, HEAD + "transport: {drain_s: 1}\n"):
        lab = site.net.lab
        knocking = lab.exec(lab.client, [sys.executable, "-c", CHATTER, namespaces.UPSTREAM_V4])
        try:
            eventually(lambda: len(site.events()) > 20, 10, "the gateway hears them")
            assert site.gateway is not None
            site.gateway.terminate()
            assert site.gateway.wait(60) == 0
        finally:
            lab.stop(knocking)
    assert site.events()[-1].kind is EventKind.STOPPED


def test_the_keys_of_wireguard_are_for_the_gateways_user_alone(site: Site) -> None:  # noqa: F811
    with sallyport(site, HEAD, listen=f"wireguard@{PORT}"):
        keys = site.folder / "conf" / "wireguard.conf"
        files = (keys, keys.with_name("wireguard-client.conf"))
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
        log = (site.folder / "gateway.log").read_text()
        assert not [key for key in json.loads(keys.read_text()).values() if key in log]
    keys.chmod(0o644)
    with pytest.raises(OperatorError, match="other users may read"):
        ensure_keys(keys.parent, f"wireguard@{PORT}")
    keys.chmod(0o600)
    keys.write_text('{"server_key": "c2hvcnQ="}')
    with pytest.raises(OperatorError, match="32 bytes") as error:
        ensure_keys(keys.parent, f"wireguard@{PORT}")
    assert "c2hvcnQ" not in str(error.value)
