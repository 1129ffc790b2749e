"""Exchanges and ports for tests of stages and the pipeline, in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import Client, Exchange, Operation, Request, Segment, Surface
from sallyport.stages.stage import Ports
from sallyport.state.vault import MemoryVault

KEY = b"k" * 32


def segment(text: str, at: str = "/messages/0/content", surface: Surface = Surface.USER) -> Segment:
    return Segment(at, surface, text)


def exchange(
    *segments: Segment,
    operation: Operation = Operation.CHAT,
    model: str = "gpt-5",
    client: Client | None = None,
    **request: object,
) -> Exchange:
    return Exchange(
        id="x1",
        conversation="c1",
        received_at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
        host="api.openai.com",
        client=client or Client("10.0.0.7", "explicit"),
        request=Request("openai", "openai_chat", operation, model, tuple(segments), **request),  # type: ignore[arg-type]
    )


def finding(
    text: str,
    value: str,
    kind: Kind = Kind.PII,
    entity: str = "EMAIL_ADDRESS",
    *,
    at: str = "/messages/0/content",
    severity: Severity = Severity.HIGH,
    score: float = 1.0,
    rule: str = "",
) -> Finding:
    start = text.index(value)
    return Finding(rule or f"{kind}.{entity}", kind, entity, severity, at, start, start + len(value), score)


@dataclass
class Findings:
    """A scanner port that has found these already."""

    found: Sequence[Finding] = ()
    asked: int = 0

    async def findings(self) -> Sequence[Finding]:
        self.asked += 1
        return self.found

    async def with_names(self) -> Sequence[Finding]:
        return await self.findings()


@dataclass
class Desk:
    """Ports of one exchange, with the vault they use."""

    scanner: Findings = field(default_factory=Findings)
    vault: MemoryVault = field(default_factory=lambda: MemoryVault(KEY))

    def ports(self, of: Exchange | None = None) -> Ports:
        who = of.principal if of is not None else None
        scope = self.vault.scope(who.tenant if who else "t", who.id if who else "p", "c1")
        return Ports(self.scanner, scope)
