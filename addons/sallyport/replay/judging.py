"""One recorded flow before a policy: the gateway's own reading and stages, at the flow's own time.

What a gateway would have done with the bytes is done here: same intake, same dialects, same stages. Not done is
what needs the network. Limits are asked in the order of time by who sees all flows; here it is only noted what
they are asked for.
"""

from collections.abc import Awaitable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from mitmproxy import http

from sallyport.audit.events import Event
from sallyport.decision import Action, Decision, Finding, Mode, Refusal, Verdict
from sallyport.exchange import Circumstances, Exchange, Principal, Response, Segment
from sallyport.metering.tokens import TokenCounter
from sallyport.pipeline import STAGES, decide
from sallyport.policy.hosts import HostError
from sallyport.policy.limits import Measure
from sallyport.policy.sections import mode_of
from sallyport.proxy import intake
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.passage import Passage, arrive
from sallyport.proxy.reading import read_body, unsound_body
from sallyport.proxy.recorded import Record, Ruling, cause_reason, masked_by
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.tls import normalise_name
from sallyport.rehearsal.searching import Detection, Scan, Searching
from sallyport.replay.ruling import Asked
from sallyport.stages.directory import Directory
from sallyport.stages.identity import IdentityStage
from sallyport.stages.ledger import Claim, Denied, Level, Reserved
from sallyport.stages.stage import Ports
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.meter import ExchangeMeter, Metering
from sallyport.state.vault import MemoryVault
from sallyport.wire.coding import decode_body
from sallyport.wire.dialect import WireError

_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")
_UNREAD = Response(200)


@dataclass(frozen=True, slots=True)
class Bench:
    """One policy, ready to judge. key: of the gateway whose fingerprints and conversations are meant.

    clock: moved to the time of each flow; the tokens of live look at it.
    """

    live: Live
    detection: Detection
    tokens: TokenCounter
    directory: Directory
    key: bytes
    clock: "Moment"

    async def judge(self, flow: http.HTTPFlow, record: Record | None, scans: "Scans") -> "Word":
        """Judge one flow. Raises nothing for what a flow holds."""
        self.clock.seconds = flow.request.timestamp_start or 0.0
        hosted = self._hosted(flow)
        if hosted is not None:
            return hosted
        noted = _Noted()
        gateway = self._gateway(noted)
        passage = arrive(gateway, flow)
        verdict = self._refused_unread(gateway, flow, passage)
        if verdict is None:
            verdict = await self._decided(gateway, passage, record, scans, noted)
        return self._word(flow, passage, verdict, noted, record)

    def _hosted(self, flow: http.HTTPFlow) -> "Word | None":
        """Return the word on a host that is no AI provider's, None where it is one's."""
        policy, host = self.live.policy, normalise_name(flow.client_conn.sni) or ""
        try:
            if self.live.catalogue.provider(host) is not None:
                return None
            refused = host in policy.hosts.refused_hosts
            unlisted = policy.hosts.unlisted == "refuse" and host not in policy.hosts.tunnelled_hosts
        except HostError:
            refused, unlisted = True, False
        reason = "host_refused" if refused else "host_unlisted" if unlisted else ""
        action = Action.DENY if reason else Action.ALLOW
        ruling = Ruling(action, action, "transport" if reason else "", reason and f"transport.{reason}")
        return Word(Asked(ruling), host=host)

    def _gateway(self, noted: "_Noted") -> Gateway:
        return Gateway(
            live=self.live,
            audit=_Nowhere(),
            key=self.key,
            id="replay",
            reload=lambda: self.live,
            vault=MemoryVault(self.key),
            metering=_NotingMetering(noted, self.tokens),
            now=lambda: datetime.fromtimestamp(self.clock.seconds, UTC),
            directory=lambda: self.directory,
        )

    def _refused_unread(self, gateway: Gateway, flow: http.HTTPFlow, passage: Passage) -> Verdict | None:
        """Return the verdict on what no stage sees, None where the stages are to be asked."""
        limits = self.live.policy.transport
        refused = passage.refused or intake.check_request(
            flow, passage.host, limits.max_header_bytes, limits.max_headers
        )
        refused = refused or unsound_body(flow)
        if refused is None and len(flow.request.raw_content or b"") > limits.max_request_bytes:
            refused = intake.refuse(
                "body_too_large", "The request body is larger than the gateway reads.", 413
            )
        if refused is not None:
            return Verdict((replace(refused, mode=Mode.ENFORCE),))
        read_body(gateway, flow, passage)
        if passage.refused is None:
            return None
        mode = Mode.OBSERVE if self.live.policy.only_observes else Mode.ENFORCE
        return Verdict((replace(passage.refused, mode=mode),))

    async def _decided(
        self, gateway: Gateway, passage: Passage, record: Record | None, scans: "Scans", noted: "_Noted"
    ) -> Verdict:
        policy, request = self.live.policy, passage.exchange.request
        scan = Scan(policy, request.segments, lambda policy: scans.of(self.detection(policy)))
        meter = noted.meter = _NotingMeter(
            gateway.metering,
            self.live.tariff,
            passage.exchange,
            request_bytes=passage.request_bytes,
            enforced=mode_of(policy, policy.limits) is Mode.ENFORCE,
        )
        meter.noted = noted
        around = Circumstances()

        def ports(exchange: Exchange) -> Ports:
            return Ports(
                scan,
                gateway.scope(exchange),
                meter,
                lambda: around,
                self.directory,
                self.live.tokens,
                gateway.approval_digest,
                policy.approvals,
            )

        stages = STAGES
        if record is not None and record.principal is not None:
            known = _RecordedIdentity(record.principal)
            stages = tuple(
                replace(s, stage=known) if isinstance(s.stage, IdentityStage) else s for s in STAGES
            )
        passage.exchange, verdict = await decide(
            passage.exchange, policy, ports, stages=stages, deadline_s=DEADLINE_S
        )
        return verdict

    def _word(
        self,
        flow: http.HTTPFlow,
        passage: Passage,
        verdict: Verdict,
        noted: "_Noted",
        record: Record | None,
    ) -> "Word":
        request, who = passage.exchange.request, passage.exchange.principal
        price = 0 if noted.meter is None else _settled(flow, passage, noted.meter, record)
        cost = 0 if verdict.action is Action.DENY else price
        stage, reason = cause_reason(verdict)
        ruling = Ruling(verdict.action, verdict.would_be, stage, reason, masked_by(verdict), cost)
        return Word(
            Asked(ruling, noted.waiting, tuple(sorted(noted.booked.items()))),
            host=passage.host,
            provider=request.provider,
            endpoint=passage.target.endpoint.template if passage.target else "",
            model=self.live.shown_model(request.model),
            principal=who.id if who else "",
            tenant=who.tenant if who else "",
            price=price,
        )


DEADLINE_S = 120.0
"""For each stage of a flow: many share the cores, and a policy's deadline is for a gateway that is alone."""


@dataclass(slots=True)
class Moment:
    """The time of the flow under judgement, in seconds since 1970."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Word:
    """What one policy says of one flow, and what it read of it. price: of the recorded exchange, left or not."""

    asked: Asked
    host: str = ""
    provider: str = ""
    endpoint: str = ""
    model: str = ""
    principal: str = ""
    tenant: str = ""
    price: int | None = 0


class Scans:
    """What was found in the texts of one flow, shared by policies that search alike.

    recorded: what was found when it was recorded, where it stands masked; None for a flow as it came.
    """

    def __init__(self, recorded: Sequence[Finding] | None = None) -> None:
        self._recorded = recorded or ()
        self._by: dict[object, _Shared] = {}

    def of(self, searching: Searching) -> Searching:
        found = self._by.get(searching)
        if found is None:
            found = self._by[searching] = _Shared(searching, self._recorded)
        return found


@dataclass(slots=True)
class _Shared:
    """Searches once for all who ask about the same number of texts: those of one flow, read by one dialect."""

    by: Searching
    recorded: Sequence[Finding]
    _rules: dict[tuple[str, ...], tuple[Finding, ...]] = field(default_factory=dict)
    _named: dict[tuple[str, ...], tuple[Finding, ...]] = field(default_factory=dict)

    def rules(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        key = tuple(s.at for s in segments)
        if key not in self._rules:
            self._rules[key] = self._with_recorded(segments, self.by.rules(segments), names=False)
        return self._rules[key]

    def named(self, segments: Sequence[Segment], found: Sequence[Finding]) -> tuple[Finding, ...]:
        key = tuple(s.at for s in segments)
        if key not in self._named:
            self._named[key] = self._with_recorded(segments, self.by.named(segments, found), names=True)
        return self._named[key]

    def _with_recorded(
        self, segments: Sequence[Segment], found: Sequence[Finding], *, names: bool
    ) -> tuple[Finding, ...]:
        """Return what was recorded, and what is found beside it now. names: those that no rule found, too."""
        if not self.recorded:
            return tuple(found)
        places = {segment.at for segment in segments}
        then = [f for f in self.recorded if f.at in places and (names or not f.rule.startswith(NER))]
        taken = [(f.at, f.start, f.end) for f in then]
        now = [
            f
            for f in found
            if not any(f.at == at and f.start < end and start < f.end for at, start, end in taken)
        ]
        return (*then, *now)


class _RecordedIdentity:
    """The identity stage where the recording says who spoke: what proved it is not in a recording."""

    name = "identity"

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def decide(self, exchange: Exchange, section: object, ports: Ports) -> Decision:
        return Decision(self.name, Action.ALLOW, "identity.recorded", principal=self._principal)


class _Nowhere:
    """No audit: a replay decides nothing that happens."""

    async def append(self, event: Event, *, required: bool = True) -> None:
        """Forget it."""

    def append_nowait(self, event: Event) -> None:
        """Forget it."""


@dataclass(slots=True)
class _Noted:
    """What the limits of a policy were asked for, and what is booked on them in the end."""

    meter: ExchangeMeter | None = None
    claims: tuple[Claim, ...] = ()
    waits_s: Mapping[str, float] = field(default_factory=dict)
    booked: dict[str, int] = field(default_factory=dict)

    @property
    def waiting(self) -> tuple[tuple[Claim, int], ...]:
        """The claims, with the milliseconds that each may wait."""
        return tuple((claim, int(self.waits_s.get(claim.key, 0.0) * 1000)) for claim in self.claims)


class _NotingMeter(ExchangeMeter):
    """Counts one exchange; how long it may wait for room is noted beside what it asks for."""

    noted: _Noted

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        self.noted.waits_s = waits_s
        return await super().reserve(claims, waits_s)


class _Granting(MemoryLedger):
    """Says yes to everything, and notes what it was asked for."""

    def __init__(self, noted: _Noted) -> None:
        super().__init__()
        self._noted = noted

    async def reserve(self, reservation_id: str, claims: Sequence[Claim], lease_ms: int) -> Reserved | Denied:
        self._noted.claims = tuple(claims)
        levels = tuple(Level(c.key, c.limit, 0, 0, 0, None) for c in claims)
        return Reserved(levels, 0, lease_ms)


class _NotingMetering(Metering):
    """Metering without anything to look after: what would be booked is noted."""

    def __init__(self, noted: _Noted, tokens: TokenCounter) -> None:
        super().__init__(_Granting(noted), tokens)
        self._noted = noted

    def opened(self, meter: ExchangeMeter) -> None:
        """Leave out what keeps leases alive."""

    def later(
        self,
        meter: ExchangeMeter,
        amounts: dict[str, int] | None,
        recorded: Awaitable[None] | None = None,
    ) -> None:
        self._noted.booked = dict(amounts or {})


def _settled(
    flow: http.HTTPFlow, passage: Passage, meter: ExchangeMeter, record: Record | None
) -> int | None:
    """Book what the recorded answer used, and return what it cost. Without an answer the estimate stands."""
    response = flow.response
    if response is not None and record is not None and record.usage is not None:
        answer: Response | None = Response(response.status_code, usage=record.usage)
    else:
        answer = None if response is None else _answer(response, passage, meter)
    size = 0 if response is None else len(response.raw_content or b"")
    failed = response is not None and response.status_code >= 500
    metered = meter.settle(answer, size, failed=failed)
    meter.book(_Recorded())
    return metered.cost_micro_usd


def _answer(response: http.Response, passage: Passage, meter: ExchangeMeter) -> Response | None:
    """Read a recorded answer as the gateway does: a stream through the tap. None where it cannot be read."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    raw = response.raw_content or b""
    try:
        body = decode_body(raw, response.headers.get("content-encoding"), limit_bytes=MAX_ANSWER_BYTES)
        if response.status_code != 200 or kind not in _STREAM_TYPES:
            answer = passage.dialect.read_response(body, response.status_code)
            for segment in answer.segments if not (answer.usage and answer.usage.output) else ():
                meter.hear(segment.text)
            return answer
        tap = AnswerTap(
            passage.dialect,
            passage.dialect.open_stream(response.headers.get("content-type", kind)),
            Refusal("replay", "", ""),
            lookup=None,
            remember=lambda text: None,
            lenient=True,
            heard=meter.hear,
            reported=meter.report,
        )
        tap.feed(body)
        tap.end()
    except WireError:
        return _UNREAD if response.status_code < 300 else Response(response.status_code)
    return Response(
        response.status_code, finish_reason=tap.finish_reason, usage=tap.usage, model=tap.model, id=tap.id
    )


NER = "pii.ner."
"""How the ids of rules begin under which names and places are found."""

MAX_ANSWER_BYTES = 256 * 1024 * 1024


class _Recorded:
    """Stands for an end event that is recorded."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()
