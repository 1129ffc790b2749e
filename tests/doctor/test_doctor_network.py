"""The doctor in a real network: on the gateway, and on a client that has or has not a way around."""

import json
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import HOSTS, serving

from sallyport.choke import namespaces, redirect
from sallyport.choke.namespaces import Lab
from sallyport.choke.point import parse_choke_point
from sallyport.doctor import trust
from sallyport.lab.authority import LabCa
from sallyport.pki import load_ca

pytestmark = pytest.mark.root

HOST = HOSTS[0]
DOCTOR = "import typer; from sallyport.cli.doctor import doctor; typer.run(doctor)"


@dataclass
class Scene:
    """A laboratory with the parts of a gateway and of providers, each played by a small TLS server."""

    lab: Lab
    confdir: Path
    upstream_ca: Path
    contexts: dict[str, ssl.SSLContext]
    environ: dict[str, str]
    stack: ExitStack = field(default_factory=ExitStack)

    def play(self, part: str, namespace: str, port: int) -> None:
        def listen() -> socket.socket:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

        self.stack.enter_context(serving(self.lab.call(namespace, listen), self.contexts[part]))

    def echo_udp(self, namespace: str) -> None:
        script = (
            "import socket\n"
            "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
            "s.bind(('::', 443))\n"
            "print('up', flush=True)\n"
            "while True:\n"
            "    data, peer = s.recvfrom(2048)\n"
            "    s.sendto(b'version negotiation', peer)\n"
        )
        argv = (sys.executable, "-I", "-S", "-c", script)
        process = self.lab.exec(namespace, argv, stdout=-1, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"

    def redirect(self) -> None:
        point = parse_choke_point([namespaces.CLIENT_INTERFACE])
        self.lab.call(self.lab.gateway, lambda: redirect.apply(point))

    def doctor(
        self, namespace: str, *arguments: str, **environ: str
    ) -> tuple[int, dict[str, dict[str, str]]]:
        result = self.lab.run(
            namespace,
            (sys.executable, "-c", DOCTOR, "--json", "--timeout", "2", "--host", HOST, *arguments),
            {**self.environ, **environ},
        )
        assert result.stdout, result.stderr
        checks = json.loads(result.stdout)["checks"]
        return result.returncode, {check["name"]: check for check in checks}


@pytest.fixture
def scene(confdir: Path, environ: dict[str, str], tmp_path: Path) -> Iterator[Scene]:
    genuine = LabCa(tmp_path / "genuine")
    contexts = {
        "provider": genuine.server_context(HOST),
        "gateway": trust._server_context(load_ca(confdir), HOST),
    }
    environ["SALLYPORT_CONFDIR"] = str(tmp_path / "nothing here")
    with (
        namespaces.lab(HOSTS) as built,
        closing(Scene(built, confdir, genuine.certificate, contexts, environ).stack) as stack,
    ):
        yield Scene(built, confdir, genuine.certificate, contexts, environ, stack)


def client(scene: Scene, *arguments: str, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
    ca = str(scene.confdir / "ca-cert.pem")
    asked = ("--from-client", "--ca", ca, "--upstream-ca", str(scene.upstream_ca), *arguments)
    return scene.doctor(scene.lab.client, *asked, **environ)


def trusting(scene: Scene) -> dict[str, str]:
    bundle = str(scene.confdir / "ca-bundle.pem")
    return {
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": str(scene.confdir / "ca-cert.pem"),
    }


WAYS = (
    f"way around: tcp {HOST} {namespaces.UPSTREAM_V4}",
    f"way around: tcp {HOST} {namespaces.UPSTREAM_V6}",
    f"way around: udp {HOST} {namespaces.UPSTREAM_V4}",
    f"way around: udp {HOST} {namespaces.UPSTREAM_V6}",
)


def test_a_client_with_a_direct_way_fails(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.echo_udp(scene.lab.upstream)
    status, found = client(scene, "--transparent")
    assert status == 1
    assert {name: found[name]["level"] for name in WAYS} == dict.fromkeys(WAYS, "fail")


def test_a_client_behind_the_choke_point_is_well(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.echo_udp(scene.lab.upstream)
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    status, found = client(scene, "--transparent", **trusting(scene))
    failures = {name: check for name, check in found.items() if check["level"] == "fail"}
    assert (status, failures) == (0, {})
    assert {name: found[name]["level"] for name in WAYS} == dict.fromkeys(WAYS, "ok")
    assert "in the provider's place" in found[WAYS[0]]["what"]
    assert "refused" in found[WAYS[2]]["what"]
    assert {check["level"] for name, check in found.items() if name.startswith("trust")} <= {"ok", "skipped"}


def test_a_client_that_does_not_trust_the_gateway_fails(scene: Scene) -> None:
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    status, found = client(scene, "--transparent")
    assert status == 1
    assert found["trust: python"]["level"] == "fail"
    assert "does not trust" in found["trust: python"]["what"]


def test_a_gateway_is_known_by_its_name_where_its_certificate_is_not_given(scene: Scene) -> None:
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    _, found = scene.doctor(scene.lab.client, "--from-client", "--transparent")
    assert found[WAYS[0]]["level"] == "ok"
    _, found = scene.doctor(scene.lab.client, "--from-client", "--transparent", "--ca", "/nonexistent")
    assert found["way around"]["level"] == "fail"


def test_another_interceptor_is_warned_of(scene: Scene) -> None:
    scene.play("provider", scene.lab.gateway, 8080)
    scene.redirect()
    _, found = scene.doctor(scene.lab.client, "--from-client", "--transparent")
    assert found[WAYS[0]]["level"] == "warn"


def test_without_the_gateway_process_the_way_is_closed_but_nothing_works(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.redirect()
    status, found = client(scene, "--transparent", **trusting(scene))
    assert {name: found[name]["level"] for name in WAYS} == dict.fromkeys(WAYS, "ok")
    assert status == 1
    assert found["trust: python"]["level"] == "fail"


def gateway(scene: Scene, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    ca = str(scene.upstream_ca)
    asked = ("--confdir", str(scene.confdir), "--upstream-ca", ca, *arguments)
    return scene.doctor(scene.lab.gateway, *asked)


def test_a_gateway_in_order_is_well(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 443)
    scene.play("gateway", scene.lab.gateway, 8080)
    scene.redirect()
    status, found = gateway(scene, "--transparent")
    failures = {name: check for name, check in found.items() if check["level"] == "fail"}
    assert (status, failures) == (0, {})
    assert found["redirect"]["level"] == found["listener"]["level"] == "ok"
    assert found[f"upstream: {HOST}"]["level"] == "ok"
    assert found["trust: python"]["level"] == "warn"
    assert found["way around"]["level"] == "skipped"


def test_a_gateway_without_redirect_listener_and_upstream_fails_three_times(scene: Scene) -> None:
    status, found = gateway(scene, "--transparent")
    assert status == 1
    failures = {name for name, check in found.items() if check["level"] == "fail"}
    assert failures == {"redirect", "listener", f"upstream: {HOST}"}


def test_a_changed_redirect_fails(scene: Scene) -> None:
    scene.redirect()
    scene.lab.run(scene.lab.gateway, ("nft", "flush", "chain", "inet", "sallyport", "passage"))
    _, found = gateway(scene, "--transparent")
    assert found["redirect"]["level"] == "fail"


def test_an_upstream_with_another_authority_fails(scene: Scene) -> None:
    scene.play("gateway", scene.lab.upstream, 443)
    _, found = gateway(scene)
    assert found[f"upstream: {HOST}"]["level"] == "fail"
    assert "not trusted" in found[f"upstream: {HOST}"]["what"]


def test_the_upstream_is_reached_where_connect_to_says(scene: Scene) -> None:
    scene.play("provider", scene.lab.upstream, 8443)
    for address in (namespaces.ELSEWHERE_V4, f"[{namespaces.ELSEWHERE_V6}]"):
        _, found = gateway(scene, "--connect-to", f"{HOST}:443:{address}:8443")
        assert found[f"upstream: {HOST}"]["level"] == "ok"


PROXY_SCRIPT = """
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
                    secured.sendall(b'HTTP/1.1 403 No\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n')
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
    argv = (sys.executable, "-I", "-c", PROXY_SCRIPT, str(pem))
    process = scene.lab.exec(scene.lab.gateway, argv, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    scene.redirect()
    proxy = f"http://someone:secret@{namespaces.GATEWAY_V4}:3128"
    status, found = client(scene, HTTPS_PROXY=proxy, **trusting(scene))
    failures = {name: check for name, check in found.items() if check["level"] == "fail"}
    assert (status, failures) == (0, {})
    assert found["listener"]["level"] == "ok"
    assert found["trust: curl"]["level"] in {"ok", "skipped"}
    assert found["trust: node"]["level"] in {"ok", "skipped"}
    assert "secret" not in json.dumps(found)

    scene.lab.stop(process)
    status, found = client(scene, HTTPS_PROXY=proxy, **trusting(scene))
    assert status == 1
    assert found["listener"]["level"] == "fail"


def _leaf_pem(confdir: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    leaf = trust._leaf(load_ca(confdir), HOST, key.public_key())
    return private + leaf.public_bytes(serialization.Encoding.PEM)


def test_bad_options_are_refused_before_anything_is_tried(environ: dict[str, str]) -> None:
    from typer.testing import CliRunner

    from sallyport.cli.doctor import doctor
    from sallyport.errors import OperatorError

    import typer

    app = typer.Typer()
    app.command()(doctor)
    for arguments in (
        ["--connect-to", "api.openai.com:443"],
        ["--connect-to", "api.openai.com:443:10.0.0.1:0"],
        ["--connect-to", "a:b:c:d"],
        ["--proxy", "gopher://x"],
        ["--timeout", "0"],
    ):
        result = CliRunner().invoke(app, arguments, env=dict(os.environ))
        assert isinstance(result.exception, OperatorError), arguments
        assert result.exception.exit_code == 2
