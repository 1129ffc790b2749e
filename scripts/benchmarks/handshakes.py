"""What a client certificate costs: handshakes with stock mitmproxy and the gateway, asked for one and not.

The four stand side by side and are measured in turns, in rounds of alternating order. Wall time is what the client
waits for TLS 1.2, where the server's last word comes after it has verified; CPU is the server's, for TLS 1.3.
"""

import argparse
import os
import socket
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "proxy"))

from cryptography import x509
from mitmproxy.tls import ClientHello
from stock import stock_mitmdump

from e2e.identity.badges import Authority, Badge
from gateways import OPEN_POLICY, gateway_process, lab_in_thread
from sallyport.policy.connections import ClientCertificates
from sallyport.proxy.clientcerts import ClientTrust, Proof
from sallyport.proxy.hello import digest_of

HOST = "api.openai.com"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Target:
    """A server to shake hands with. badge: what the client shows, None for nothing."""

    name: str
    pid: int
    port: int
    ca: Path
    badge: Badge | None

    def context(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.ca))
        made.minimum_version = made.maximum_version = version
        if self.badge is not None:
            made.load_cert_chain(self.badge.file)
        return made

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def shake(target: Target, version: ssl.TLSVersion, times: int) -> tuple[float, float]:
    """Return the median wall time and the server's CPU time of a handshake, both in milliseconds."""
    context, before, taken = target.context(version), target.cpu_s(), []
    for _ in range(times):
        began = time.perf_counter()
        with (
            socket.create_connection(("127.0.0.1", target.port), timeout=10) as raw,
            context.wrap_socket(raw, server_hostname=HOST) as sock,
        ):
            taken.append(time.perf_counter() - began)
            sock.close()
    time.sleep(0.1)
    return statistics.median(taken) * 1000, (target.cpu_s() - before) * 1000 / times


def measure(rounds: int, times: int) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        root = Authority(folder / "ca", "root")
        badge = root.badge("anna", x509.UniformResourceIdentifier("spiffe://corp.example/anna"))
        crl = root.crl(folder / "root.crl", *(root.badge(f"gone-{n}") for n in range(50)))
        lab = stack.enter_context(lab_in_thread())
        targets = []
        for called, options in (("stock", ()), ("stock asking", ("request_client_cert=true",))):
            options = (*options, "connection_strategy=lazy", "upstream_cert=false")  # as the gateway has them
            found = stack.enter_context(stock_mitmdump(folder / called, lab, scripts={}, options=options))
            shown = badge if len(options) > 2 else None
            targets.append(Target(called, found.process.pid, found.door.reverse, found.door.ca, shown))
        required = f"{OPEN_POLICY}  certificates: {{ca: '{root.file}', required: true, crl: ['{crl}']}}\n"
        for called, policy in (("gateway", OPEN_POLICY), ("gateway asking", required)):
            listen = (f"reverse:https://{HOST}@127.0.0.1:0",)
            found = stack.enter_context(gateway_process(folder / called, lab, policy=policy, listen=listen))
            ca = found.confdir / "ca-cert.pem"
            shown = badge if policy is required else None
            targets.append(Target(called, found.process.pid, found.ports["reverse"], ca, shown))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            figures: dict[str, list[tuple[float, float]]] = {t.name: [] for t in targets}
            for number in range(rounds + 1):
                for target in targets if number % 2 else reversed(targets):
                    figure = shake(target, version, times)
                    if number:  # the first round warms up
                        figures[target.name].append(figure)
            for called, found in figures.items():
                wall, cpu = (statistics.median(f[i] for f in found) for i in (0, 1))
                print(f"{version.name:8} {called:15} {wall:6.2f} ms wall  {cpu:6.2f} ms CPU of the server")
        _parts(root, badge, crl)


def _parts(root: Authority, badge: Badge, crl: Path) -> None:
    trust = ClientTrust(ClientCertificates(ca="x"), root.file, [crl])
    path = (badge.certificate, root.certificate)
    proof = trust.proof(path)
    assert isinstance(proof, Proof)
    out = ssl.MemoryBIO()
    try:
        context = ssl.create_default_context()
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=HOST).do_handshake()
    except ssl.SSLWantReadError:
        raw = out.read()[9:]
    hello = ClientHello(raw)
    works = {
        "digest of a client hello": lambda: digest_of(hello),
        "judge a path in the handshake": lambda: trust.proof(path),
        "judge a proof at a request": lambda: trust.standing(proof),
    }
    print(f"at {datetime.now(UTC):%Y-%m-%d}, on the event loop:")
    for called, work in works.items():
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(100):
                work()
            taken.append((time.perf_counter() - began) * 10_000)
        print(f"  {called:32} {statistics.median(taken):7.1f} us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=150, help="handshakes in a round")
    given = parser.parse_args()
    measure(given.rounds, given.times)


if __name__ == "__main__":
    main()
