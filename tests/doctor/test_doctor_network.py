"""The doctor in a real network: on the gateway, and on a client that has or has not a way around."""

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from doctor_servers import HOSTS, serving

from sallyport.choke import namespaces, redirect
from sallyport.choke.namespaces import Lab
from sallyport.choke.point import parse_choke_point
from sallyport.doctor import network, trust
from sallyport.doctor.findings import Check, Level, Situation
from sallyport.lab.authority import LabCa
from sallyport.pki import load_ca

pytestmark = pytest.mark.root

HOST = HOSTS[0]
NOWHERE = "no.such.example"
DOCTOR = "import typer; from sallyport.cli.doctor import doctor; typer.run(doctor)"
WAYS = (
    f"way around: tcp {HOST} {namespaces.UPSTREAM_V4}",
    f"way around: udp {HOST} {namespaces.UPSTREAM_V4}",
    f"way around: tcp {HOST} {namespaces.UPSTREAM_V6}",
    f"way around: udp {HOST} {namespaces.UPSTREAM_V6}",
)


@dataclass
class Scene:
    """A laboratory with the parts of a gateway and of providers, each played by a small TLS server."""

    lab: Lab
    confdir: Path
    upstream_ca: Path
    contexts: dict[str, ssl.SSLContext]
    environ: dict[str, str]
    stack: ExitStack

    @property
    def situation(self) -> Situation:
        return Situation(
            confdir=self.confdir,
            transparent=True,
            hosts=(HOST,),
            upstream_ca=self.upstream_ca,
            timeout_s=2,
        )

    def play(self, part: str, namespace: str, port: int) -> None:
        def listen() -> socket.socket:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

        self.stack.enter_context(serving(self.lab.call(namespace, listen), self.contexts[part]))

    def answer_quic(self, *addresses: str) -> None:
        """Answer datagrams to port 443 of each address of the upstream from that address."""
        script = (
            "import socket, sys\n"
            "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
            "s = socket.socket(family, socket.SOCK_DGRAM)\n"
            "s.bind((sys.argv[1], 443))\n"
            "print('up', flush=True)\n"
            "while True:\n"
            "    data, peer = s.recvfrom(2048)\n"
            "    s.sendto(b'version negotiation', peer)\n"
        )
        for address in addresses:
            self.start(self.lab.upstream, (sys.executable, "-I", "-S", "-c", script, address))

    def start(self, namespace: str, argv: tuple[str, ...]) -> subprocess.Popen[Any]:
        process = self.lab.exec(namespace, argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    def redirect(self) -> None:
        point = parse_choke_point([namespaces.CLIENT_INTERFACE])
        self.lab.call(self.lab.gateway, lambda: redirect.apply(point))

    def ask(self, namespace: str, check: Callable[[], Iterable[Check]]) -> dict[str, Check]:
        """Make one check in a namespace."""
        return {found.name: found for found in self.lab.call(namespace, lambda: [*check()])}

    def ways(self, *, given: bool = True) -> dict[str, Level]:
        """Look from the client for ways around; given: it knows the gateway's certificate and the roots."""
        client = replace(self.situation, from_client=True, upstream_ca=self.upstream_ca if given else None)
        ours = load_ca(self.confdir).certificate if given else None
        found = self.ask(self.lab.client, lambda: network.check_way_around(client, ours))
        return {name: check.level for name, check in found.items()}

    def doctor(
        self, namespace: str, *arguments: str, **environ: str
    ) -> tuple[int, dict[str, dict[str, str]]]:
        """Run the whole examination as an operator would."""
        result = self.lab.run(
            namespace,
            (sys.executable, "-c", DOCTOR, "--json", "--timeout", "5", "--host", HOST, *arguments),
            {**self.environ, **environ},
        )
        assert result.stdout, result.stderr
        checks = json.loads(result.stdout)["checks"]
        return result.returncode, {check["name"]: check for check in checks}


@pytest.fixture
def scene(
    confdir: Path, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    look_up = socket.getaddrinfo

    def look_up_in_lab(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        """Do in a thread of this process what /etc/hosts does for the laboratory's programs."""
        if host == NOWHERE:
            raise socket.gaierror
        if host not in HOSTS:
            return look_up(host, port, *rest, **more)
        found = (look_up(address, port, *rest, **more) for address in UPSTREAM)
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(socket, "getaddrinfo", look_up_in_lab)
    genuine = LabCa(tmp_path / "genuine")
    contexts = {
        "provider": genuine.server_context(HOST),
        "gateway": trust._server_context(load_ca(confdir), HOST),
    }
    with namespaces.lab(HOSTS) as built, ExitStack() as stack:
        yield Scene(built, confdir, genuine.certificate, contexts, environ, stack)


UPSTREAM = (namespaces.UPSTREAM_V4, namespaces.UPSTREAM_V6)


def trusting(scene: Scene) -> dict[str, str]:
    bundle = str(scene.confdir / "ca-bundle.pem")
    return {
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": str(scene.confdir / "ca-cert.pem"),
    }


def failures(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["what"] for name, check in found.items() if check["level"] == "fail"}


def test_a_direct_way_to_the_provider_is_found(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.answer_quic(*UPSTREAM)
    assert scene.ways() == dict.fromkeys(WAYS, Level.FAIL)
    scene.redirect()
    assert scene.ways() == dict.fromkeys(WAYS, Level.OK)


def test_a_gateway_is_known_by_its_name_where_its_certificate_is_not_given(scene: Scene) -> None:
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    assert scene.ways(given=False) == dict.fromkeys(WAYS, Level.OK)


def test_another_interceptor_is_warned_of(scene: Scene) -> None:
    scene.play("provider", scene.lab.gateway, 8080)
    scene.redirect()
    assert scene.ways(given=False)[WAYS[0]] is Level.WARN


def test_a_name_that_does_not_resolve_is_no_way(scene: Scene) -> None:
    client = replace(scene.situation, from_client=True, hosts=(NOWHERE,))
    found = scene.ask(scene.lab.client, lambda: network.check_way_around(client, None))
    assert [check.level for check in found.values()] == [Level.OK]


def test_the_redirect_is_looked_at(scene: Scene) -> None:
    def level() -> Level:
        check = scene.lab.call(scene.lab.gateway, lambda: network.check_redirect(scene.situation))
        return check.level

    assert level() is Level.FAIL
    scene.redirect()
    assert level() is Level.OK
    scene.lab.run(scene.lab.gateway, ("nft", "flush", "chain", "inet", "sallyport", "passage"))
    assert level() is Level.FAIL


def test_the_transparent_listener_is_found_without_connecting_to_it(scene: Scene) -> None:
    def levels() -> list[Level]:
        found = scene.ask(scene.lab.gateway, lambda: network.check_listener(scene.situation))
        return [check.level for check in found.values()]

    assert levels() == [Level.FAIL]
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    assert levels() == [Level.OK]


def upstream(scene: Scene, situation: Situation) -> Check:
    (found,) = scene.ask(scene.lab.gateway, lambda: network.check_upstream(situation)).values()
    return found


def test_the_upstream_must_answer_with_a_certificate_that_verifies(scene: Scene) -> None:
    refused = upstream(scene, scene.situation)
    assert refused.level is Level.FAIL
    assert "refused" in refused.what
    scene.play("provider", scene.lab.upstream, 443)
    assert upstream(scene, scene.situation).level is Level.OK
    untrusted = upstream(scene, replace(scene.situation, upstream_ca=None))
    assert untrusted.level is Level.FAIL
    assert "not trusted" in untrusted.what
    unresolved = upstream(scene, replace(scene.situation, hosts=(NOWHERE,)))
    assert "does not resolve" in unresolved.what
    missing = upstream(scene, replace(scene.situation, upstream_ca=scene.confdir / "none.pem"))
    assert missing.level is Level.FAIL


def test_the_upstream_is_reached_where_connect_to_says(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 8443)
    for address in (namespaces.ELSEWHERE_V4, namespaces.ELSEWHERE_V6):
        there = replace(scene.situation, connect_to={(HOST, 443): (address, 8443)})
        assert upstream(scene, there).level is Level.OK


def test_a_client_behind_the_choke_point_is_well_and_not_without_trust(scene: Scene) -> None:
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    client = ("--from-client", "--transparent", "--ca", str(scene.confdir / "ca-cert.pem"))
    status, found = scene.doctor(scene.lab.client, *client, **trusting(scene))
    assert (status, failures(found)) == (0, {})
    assert {name: found[name]["level"] for name in WAYS} == dict.fromkeys(WAYS, "ok")
    assert "in the provider's place" in found[WAYS[0]]["what"]
    assert "refused" in found[WAYS[1]]["what"]
    assert {check["level"] for name, check in found.items() if name.startswith("trust")} <= {"ok", "skipped"}

    status, found = scene.doctor(scene.lab.client, *client)
    assert status == 1
    assert "does not trust" in found["trust: python"]["what"]


def test_a_gateway_in_order_is_well(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    arguments = ("--transparent", "--confdir", str(scene.confdir), "--upstream-ca", str(scene.upstream_ca))
    target = ("--connect-to", f"{HOST}:443:[{namespaces.UPSTREAM_V6}]:443")
    status, found = scene.doctor(scene.lab.gateway, *arguments, *target)
    assert (status, failures(found)) == (0, {})
    assert found["redirect"]["level"] == found["listener"]["level"] == "ok"
    assert found[f"upstream: {HOST}"]["level"] == "ok"
    assert found["trust: python"]["level"] == "warn"
    assert found["way around"]["level"] == "skipped"


PROXY = """
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
listener = socket.create_server(('::', 3128), family=socket.AF_INET6, dualstack_ipv6=True)
print('up', flush=True)
def serve(connection):
    with connection:
        head = b''
        while b'\\r\\n\\r\\n' not in head:
            head += connection.recv(1)
        connection.sendall(b'HTTP/1.1 200 Connection established\\r\\n\\r\\n')
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                if secured.recv(4096):
                    secured.sendall(b'HTTP/1.0 403 No\\r\\ncontent-length: 0\\r\\n\\r\\n')
        except OSError:
            pass
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def test_a_client_of_an_explicit_proxy_is_well_where_the_direct_way_is_closed(
    scene: Scene, tmp_path: Path
) -> None:
    pem = tmp_path / "leaf.pem"
    pem.write_bytes(_leaf_pem(scene.confdir))
    process = scene.start(scene.lab.gateway, (sys.executable, "-I", "-c", PROXY, str(pem)))
    scene.redirect()
    proxy = f"http://someone:secret@{namespaces.GATEWAY_V4}:3128"
    client = ("--from-client", "--ca", str(scene.confdir / "ca-cert.pem"))
    status, found = scene.doctor(scene.lab.client, *client, HTTPS_PROXY=proxy, **trusting(scene))
    assert (status, failures(found)) == (0, {})
    assert found["listener"]["level"] == "ok"
    assert found["trust: curl"]["level"] in {"ok", "skipped"}
    assert found["trust: node"]["level"] in {"ok", "skipped"}
    assert "secret" not in json.dumps(found)

    scene.lab.stop(process)
    explicit = replace(scene.situation, transparent=False, proxy=(namespaces.GATEWAY_V4, 3128))
    (listener,) = scene.ask(scene.lab.client, lambda: network.check_listener(explicit)).values()
    assert listener.level is Level.FAIL
    assert "refused" in listener.what


def _leaf_pem(confdir: Path) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    leaf = trust._leaf(load_ca(confdir), HOST, key.public_key())
    return private + leaf.public_bytes(serialization.Encoding.PEM)
