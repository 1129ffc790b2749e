"""Our host with one stage that allows everything, no detector, and an audit that keeps nothing.

Run by gateway.py to see what the host alone costs: barehost.py CONFDIR UPSTREAM_CA UPSTREAM_PORT READY_FILE
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sallyport.audit.events import Event
from sallyport.decision import Action, Decision, Finding
from sallyport.exchange import Exchange, Segment
from sallyport.metering.tokens import TokenCounter
from sallyport.pipeline import Step
from sallyport.pki.create import ensure_ca
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.load import load_preset
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.host import GatewayMaster, HostSettings
from sallyport.stages.stage import Ports
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.vault import MemoryVault


class Everything:
    """The one stage; without any, the host refuses."""

    name = "access"

    async def decide(self, exchange: Exchange, section: Any, ports: Ports) -> Decision:
        return Decision(self.name, Action.ALLOW, "access.permitted")


class NoDetector:
    """Finds nothing, looks at nothing."""

    revision = "none"

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        return ()


class NoAudit:
    """Forgets everything at once."""

    async def append(self, event: Event, *, required: bool = True) -> None:
        return

    def append_nowait(self, event: Event) -> None:
        return


async def main(confdir: Path, upstream_ca: Path, upstream_port: int, ready_file: Path) -> None:
    """Serve until SIGTERM."""
    catalogue = shipped_catalogue()
    ensure_ca(confdir, catalogue.host_patterns)
    live = Live(policy=load_preset("balanced", mode=None), catalogue=catalogue, detector=NoDetector())
    key = bytes(32)
    gateway = Gateway(
        live=live,
        audit=NoAudit(),
        key=key,
        id="bench",
        reload=lambda: live,
        vault=MemoryVault(key),
        metering=Metering(MemoryLedger(), TokenCounter()),
        connect_to={("api.openai.com", 443): ("127.0.0.1", upstream_port)},
    )
    settings = HostSettings(modes=("regular@127.0.0.1:0",), confdir=confdir, upstream_ca=upstream_ca)
    master = GatewayMaster(gateway, settings, stages=(Step(Everything(), lambda policy: policy.access),))
    await master.serve(lambda: ready_file.write_text(json.dumps(master.ports), encoding="utf-8") and None)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
