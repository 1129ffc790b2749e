"""What a preset says of one request, without sockets: dialect, detector, all stages, and the body that leaves."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gateways import Recorded
from sallyport.cli.detection import make_detector
from sallyport.decision import Action, Decision, Verdict
from sallyport.exchange import Client, Exchange, Operation
from sallyport.metering.tokens import TokenCounter
from sallyport.pipeline import decide, merge_edits
from sallyport.policy.catalogue import Endpoint, shipped_catalogue
from sallyport.policy.load import load_preset
from sallyport.proxy import intake
from sallyport.proxy.gateway import Gateway, Live, ports_for
from sallyport.proxy.scanning import ScanOnce
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS

KEY = b"k" * 32
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)

PROVIDERS = {
    "openai_chat": ("openai", "api.openai.com"),
    "openai_responses": ("openai", "api.openai.com"),
    "anthropic_messages": ("anthropic", "api.anthropic.com"),
    "gemini_generate": ("gemini", "generativelanguage.googleapis.com"),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with the exchange it is about and the body that would leave."""

    exchange: Exchange
    verdict: Verdict
    body: bytes

    @property
    def refused(self) -> Decision | None:
        """The first decision that refuses."""
        return next((d for d in self.verdict.decisions if d.action is Action.DENY), None)

    @property
    def masked(self) -> tuple[tuple[str, str], ...]:
        """Entity and text of everything that was replaced, for a person who reads a failed test."""
        texts = {s.at: s.text for s in self.exchange.request.segments}
        return tuple(
            (f.entity, texts[f.at][f.start : f.end])
            for d in self.verdict.decisions
            if d.action is Action.MODIFY
            for f in d.findings
        )

    @property
    def why(self) -> str:
        """Stage, rules and places of a refusal; empty where nothing was refused."""
        refused = self.refused
        if refused is None:
            return ""
        texts = {s.at: s.text for s in self.exchange.request.segments}
        shown = [
            f"{f.rule} {f.score} {f.at}: ...{texts[f.at][max(0, f.start - 40) : f.end + 20]!r}..."
            for f in refused.findings
        ]
        return f"{refused.reason} ({refused.message})\n" + "\n".join(shown)


class Judge:
    """One preset with its detector, callers anonymous, everything else as shipped."""

    def __init__(self, preset: str) -> None:
        policy = load_preset(preset)
        anonymous = policy.identity.model_copy(update={"unknown": "anonymous"})
        policy = policy.model_copy(update={"identity": anonymous})
        self.live = Live(policy, shipped_catalogue(), make_detector(policy))
        metering = Metering(MemoryLedger(), TokenCounter())
        self.gateway = Gateway(
            self.live, Recorded(), KEY, "gw-test", lambda: self.live, MemoryVault(KEY), metering
        )

    def judge(
        self,
        dialect: str,
        body: bytes,
        *,
        model: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Judged:
        """Take a body through everything that decides. headers: those that are scanned, lower case."""
        reader = DIALECTS[dialect]
        provider, host = PROVIDERS[dialect]
        call = Call(provider=provider, operation=Operation.CHAT, model=model)
        request = reader.read_request(body, call)
        conversation = self.gateway.conversation(request)
        nowhere = Endpoint("opaque", Operation.OPAQUE, None, None, "(test)")
        extra = intake.extra_segments(headers, nowhere, frozenset())
        request = replace(request, segments=request.segments + extra)
        exchange = Exchange(
            id="exchange",
            conversation=conversation,
            received_at=NOON,
            host=host,
            client=Client("10.0.0.1", "explicit", headers=headers),
            request=request,
        )
        scanner = ScanOnce(
            self.live.detector, exchange.request.segments, self.live.policy.detection.max_text_bytes
        )
        meter = self.gateway.meter(self.live, exchange, len(body))
        ports_of = ports_for(self.gateway, self.live, scanner, meter)
        exchange, verdict = asyncio.run(decide(exchange, self.live.policy, ports_of, deadline_s=60))
        return Judged(
            exchange, verdict, reader.edit(body, merge_edits(verdict.edits, lambda a, b: "[MASKED]"))
        )
