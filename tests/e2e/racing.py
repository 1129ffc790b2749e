"""Several gateways that share a ledger, and more requests at once than a budget has room for."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.counters import HEADER, levels
from e2e.traffic import CHAT, OPENAI, Wire, chat, eventually, running
from gateways import GatewayProcess
from rawclient import post
from sallyport.lab.server import Lab

AT_ONCE = 200
BUDGET = 50

POLICY = f"""version: 1
detection: {{deadline_s: 60, cpu_s: 60}}
transport: {{max_connections_per_client: 1000}}
identity:
  header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}
prices:
  contract:
    - {{model: 'lab-*', input_usd: 0, output_usd: 0, request_usd: 0.02}}
limits:
  rules:
    - {{id: calls, limit: {BUDGET}, per: month, when: 'principal.id.startsWith("calls")'}}
    - {{id: money, measure: cost_usd, limit: {BUDGET * 0.02:.2f}, per: month, when: 'principal.id.startsWith("money")'}}
    - {{id: wide, measure: total_tokens, limit: 1000000000, per: day, by: []}}
    - {{id: at-once, measure: concurrent, limit: 10000, by: [provider]}}
"""
"""A budget of calls or of money, each for exactly BUDGET requests of one person, beside limits that have room."""


@dataclass(frozen=True)
class Raced:
    """status: of every answer. upstream: requests that reached the provider. used: as the ledger counts them."""

    statuses: Sequence[int]
    upstream: int
    used: int
    reserved: int

    @property
    def exact(self) -> bool:
        """Whether exactly the budget passed, and everybody else was told so."""
        passed, refused = self.statuses.count(200), self.statuses.count(429)
        return (passed, passed + refused, self.upstream, self.used, self.reserved) == (
            *(BUDGET, len(self.statuses), BUDGET, BUDGET, 0),
        )


@dataclass
class Fleet:
    """Gateways that share a ledger, with kept connections spread over them."""

    gateways: Sequence[GatewayProcess]
    lab: Lab
    ledger: str
    wires: list[Wire] = field(default_factory=list)

    def open(self, count: int = AT_ONCE) -> None:
        """Open connections, evenly spread."""
        for number in range(count):
            self.wires.append(Wire.open(self.gateways[number % len(self.gateways)], timeout=60))

    def race(self, user: str) -> Raced:
        """Send a request on every connection at once; the user's name says which budget it falls under."""
        request = post(CHAT, chat("lab-race", user), OPENAI, f"{HEADER}: {user}")
        for wire in self.wires:
            wire.data.clear()
        for wire in self.wires:
            wire.send(request)
        for wire in self.wires:
            wire.read_all()
        upstream = sum(user.encode() in r.decoded for r in self.lab.requests)
        self.lab.forget()
        rule = user.partition("-")[0]
        key = f"{rule}/principal=default:{user}"

        def is_settled() -> bool:
            return levels(self.gateways[0].confdir, key, self.ledger)[key].reserved == 0

        eventually(is_settled, 20, "nothing is reserved any more")
        level = levels(self.gateways[0].confdir, key, self.ledger)[key]
        unit = 20_000 if rule == "money" else 1
        return Raced([wire.status for wire in self.wires], upstream, level.used // unit, level.reserved)


@contextlib.contextmanager
def fleet(folder: Path, lab: Lab, count: int, ledger: str, policy: str = POLICY) -> Iterator[Fleet]:
    """Run gateways that share a ledger, an authority and the key of their fingerprints; each has its own folder."""
    with contextlib.ExitStack() as stack:
        gateways: list[GatewayProcess] = []
        for number in range(count):
            own = folder / f"gateway{number}"
            if gateways:
                share_identity(gateways[0].confdir, own / "conf")
            gateways.append(stack.enter_context(running(own, lab, policy=policy, extra=["--ledger", ledger])))
        yield Fleet(gateways, lab, ledger)


def share_identity(first: Path, other: Path) -> None:
    """Give another gateway the authority and the key of the first, as an operator does; not its name."""
    other.mkdir(parents=True, exist_ok=True)
    for file in first.iterdir():
        if file.name.startswith(("mitmproxy-", "ca-")) or file.name == "gateway.key":
            shutil.copy2(file, other / file.name)
