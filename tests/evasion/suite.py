"""Runs the cases through a gateway one after the other over one kept connection, and judges what arrived."""

import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rawclient
from evasion.cases import BENIGN, Case
from evasion.payloads import compact
from evasion.reveal import leaves
from gateways import GatewayProcess
from sallyport.lab.server import Lab

HEAD = """# Evasion

What a client can write to get a value past the rules, and what only looks like it. Each case is a request that goes
through a running gateway with the policy `balanced` to a stand-in provider; what arrives there is decoded in every
way that `tests/evasion/reveal.py` knows, and searched for the value. Refused and masked count the same: nothing left.

*Tier 1*: one deterministic decode gives the value back; none may leave. *Tier 2*: a second layer, or joining what was
cut or written apart, is needed; at least 95 % must not leave. *Tier 0*: honest text that looks like a trick; every
byte must arrive as it was sent.

Written by `SALLYPORT_WRITE_DOCS=1 pytest tests/evasion`; the test fails when this table is not what it measured.

| row | tier | cases | left | share kept in |
| --- | ---: | ---: | ---: | ---: |
"""

TAIL = """
`left` counts, in tier 0, the cases that were refused or changed. Cases: values (card, e-mail, IBAN, provider key,
social security number, an override sentence) times tricks, places and cuts; the generator is in `tests/evasion/`.

Not attempted, and not stopped: what a person rewrites by hand, text drawn in a picture, a value spread over turns of
which each leaves alone, and secret codes that client and model have agreed on.
"""


@dataclass(frozen=True)
class Outcome:
    """left: whether the value arrived; for a benign case whether it was disturbed."""

    case: Case
    status: int
    left: bool


class Runner:
    """One client of a gateway. The stand-in provider sees one request at a time, so what arrived is the case's."""

    def __init__(self, gateway: GatewayProcess, lab: Lab) -> None:
        self._gateway = gateway
        self._lab = lab
        self._socks: dict[str, ssl.SSLSocket] = {}

    def run(self, case: Case) -> Outcome:
        self._lab.forget()
        status = self._send(case)
        arrived = list(self._lab.requests)
        if case.tier == 0:
            same = len(arrived) == 1 and arrived[0].body == case.call.body
            return Outcome(case, status, not same)
        return Outcome(case, status, any(_gives_away(r, case) for r in arrived))

    def _send(self, case: Case) -> int:
        host = case.call.host
        for fresh in (False, True):
            sock = self._socks.get(host)
            if sock is None:
                raw = rawclient.tunnel(self._gateway.port, host, timeout=10)
                sock = self._socks[host] = rawclient.tls(raw, host, self._gateway.confdir / "ca-cert.pem")
                fresh = True
            try:
                sock.sendall(case.call.wire())
                talk = rawclient.read_answer(sock, timeout=10)
            except OSError:
                talk = rawclient.Talk(0, b"", b"", "closed")
            if talk.status == 0 or b"connection: close" in talk.head.lower():
                self.close(host)
            if talk.status or fresh:
                return talk.status
        return 0

    def close(self, *hosts: str) -> None:
        for host in hosts or tuple(self._socks):
            with contextlib.suppress(OSError):
                self._socks.pop(host).close()


def _gives_away(request: object, case: Case) -> bool:
    body = getattr(request, "body", b"")
    path = getattr(request, "path", "").encode("utf-8", "surrogateescape")
    if leaves(body, case.core, case.depth) or leaves(path, case.core, 1):
        return True
    headers = " ".join(f"{n} {v}" for n, v in getattr(request, "headers", ()) if n.lower() != "authorization")
    window = case.core[: max(4, int(len(case.core) * 0.75))]
    return window in compact(headers)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the report, the same for the same outcomes."""
    rows: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault((outcome.case.row, outcome.case.tier), []).append(outcome)
    lines = []
    for (row, tier), found in sorted(rows.items(), key=lambda item: (item[0][1] or 3, item[0][0])):
        left = sum(o.left for o in found)
        lines.append(f"| {row} | {tier} | {len(found):,} | {left} | {1 - left / len(found):.1%} |")
    for name, tiers in (("**all attacks**", (1, 2)), (f"**all {BENIGN}**", (0,))):
        found = [o for o in outcomes if o.case.tier in tiers]
        left = sum(o.left for o in found)
        lines.append(f"| {name} | | {len(found):,} | {left} | {1 - left / len(found):.1%} |")
    return HEAD + "\n".join(lines) + "\n" + TAIL


def report() -> Path:
    return Path(__file__).parents[2] / "docs" / "evasion.md"
