"""One recorded flow before a policy: the gateway's own reading and stages, at the flow's own time.

What a gateway would have done with the bytes is done here: same intake, same dialects, same stages. Not done is
what needs the network. Limits are asked in the order of time by who sees all flows; here it is only noted what
they are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mitmproxy import http

from sallyport.decision import Action, Decision, Finding, Mode, Verdict
from sallyport.exchange import Exchange, Operation, Principal, Request, Segment, Surface
from sallyport.pipeline import decide, stages_of
from sallyport.policy.hosts import HostError
from sallyport.policy.identity import Identity
from sallyport.proxy import intake
from sallyport.proxy.gateway import Gateway, Live, ports_for
from sallyport.proxy.judging import LIMITS
from sallyport.proxy.passage import Passage, arrive
from sallyport.proxy.reading import read_body, unsound_body
from sallyport.proxy.recorded import Record, Ruling, cause_reason, masked_by
from sallyport.proxy.tls import normalise_name
from sallyport.rehearsal.searching import Detection, Scan
from sallyport.replay.answers import Answered, answered
from sallyport.replay.noting import Noted, NotingMeter, NotingMetering
from sallyport.replay.ruling import Asked
from sallyport.replay.scans import Scans, Stopwatch
from sallyport.replay.sockets import Event, event_of, read_event
from sallyport.stages.identity import recognised
from sallyport.stages.stage import Ports
from sallyport.state.meter import ExchangeMeter
from sallyport.state.vault import MemoryVault


@dataclass(frozen=True, slots=True)
class Bench:
    """One policy, ready to judge.

    detection: gives what requests are searched with. clock: moved to the time of each flow. unlooking: the same policy
    without a look at answers.
    """

    live: Live
    detection: Detection
    gateway: Gateway
    metering: NotingMetering
    clock: "Moment"
    watch: Stopwatch
    unlooking: Live

    async def judge(self, flow: http.HTTPFlow, record: Record | None, scans: Scans) -> "Word":
        """Judge one flow. Raises nothing for what a flow holds."""
        self.clock.seconds = flow.request.timestamp_start or 0.0
        self.watch.start()
        hosted = self.tunnelled(flow)
        if hosted is not None:
            return replace(hosted, cpu_us=self.watch.used_us())
        self.gateway.vault = MemoryVault(self.gateway.key)
        noted = self.metering.noted = Noted()
        passage = arrive(self.gateway, flow)
        passage.request_bytes = len(flow.request.raw_content or event_of(flow))
        event = None
        verdict = self._refused_head(flow, passage)
        if verdict is None and flow.websocket is not None:
            event = read_event(flow, passage, record)
            verdict = Verdict((event,)) if isinstance(event, Decision) else None
        elif verdict is None:
            verdict = self._refused_unread(flow, passage)
        if verdict is None:
            counted = True
            if isinstance(event, Event):
                passage.exchange, counted = replace(passage.exchange, request=event.request), event.counted
            verdict = await self._decided(passage, record, scans, noted, counted=counted)
        return self._word(flow, passage, verdict, noted, record)

    def tunnelled(self, flow: http.HTTPFlow) -> "Word | None":
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

    def _refused_head(self, flow: http.HTTPFlow, passage: Passage) -> Verdict | None:
        """Return the verdict on a head that no stage sees, None where nothing speaks against it."""
        limits = self.live.policy.transport
        refused = passage.refused or intake.check_request(
            flow, passage.host, limits.max_header_bytes, limits.max_headers
        )
        return None if refused is None else Verdict((replace(refused, mode=Mode.ENFORCE),))

    def _refused_unread(self, flow: http.HTTPFlow, passage: Passage) -> Verdict | None:
        """Return the verdict on a body that no stage sees, None where the stages are to be asked."""
        refused = unsound_body(flow)
        if refused is None and passage.exchange.request.operation is Operation.PREFLIGHT:
            if passage.request_bytes:
                refused = intake.PREFLIGHT_BODY
            elif not self.live.policy.only_observes:
                flow = flow.copy()  # the other policy judges it too, and may leave it as it came
                intake.bound_preflight(flow.request)
        if refused is not None:
            return Verdict((replace(refused, mode=Mode.ENFORCE),))
        read_body(self.gateway, flow, passage)
        if passage.refused is None:
            return None
        mode = Mode.OBSERVE if self.live.policy.only_observes else Mode.ENFORCE
        return Verdict((replace(passage.refused, mode=mode),))

    async def _decided(
        self, passage: Passage, record: Record | None, scans: Scans, noted: Noted, *, counted: bool
    ) -> Verdict:
        policy, request = self.live.policy, passage.exchange.request
        if record is not None and record.conversation:
            # Its first text may stand masked here, and would tell of another one: canaries go by it.
            passage.exchange = replace(passage.exchange, conversation=record.conversation)
        if record is not None and record.left_out:
            request = _with_left_out(request, record.left_out)
        if record is not None and record.kept is not None:
            request = record.kept.known_of(request, record.principal)
        passage.exchange = replace(passage.exchange, request=request)
        scan = Scan(policy, request.segments, lambda policy: scans.of(self.detection(policy)))
        passage.meter = self._meter(passage, noted) if counted else None
        ports = ports_for(self.gateway, self.live, scan, passage.meter)
        who = record.principal if record is not None else None
        stages = stages_of(request, _RecordedIdentity(who) if who is not None else None)
        if not counted:
            stages = tuple(step for step in stages if step.stage.name != LIMITS)
        passage.exchange, verdict = await decide(
            passage.exchange, policy, ports, stages=stages, deadline_s=DEADLINE_S
        )
        if request.operation is Operation.PREFLIGHT and passage.meter is not None and not noted.waiting:
            passage.meter = None  # no limit counts it, and it costs nothing
        return verdict

    def _meter(self, passage: Passage, noted: Noted) -> NotingMeter:
        meter = NotingMeter(
            self.metering, self.live.tariff, passage.exchange, request_bytes=passage.request_bytes
        )
        meter.noted = noted
        return meter

    def _word(
        self, flow: http.HTTPFlow, passage: Passage, verdict: Verdict, noted: Noted, record: Record | None
    ) -> "Word":
        request, who = passage.exchange.request, passage.exchange.principal
        leaves = verdict.action is not Action.DENY
        read = answered(self.gateway, flow, passage, record) if leaves else Answered(None, 0)
        cpu_us = self.watch.used_us()
        if not leaves:
            price = self._unlooked(flow, passage, passage.meter, record)
        elif read.outcome is not None and read.outcome.ends and passage.meter is not None:
            price = self._unlooked(flow, passage, self._meter(passage, Noted()), record)
        else:
            price = read.cost
        stage, reason = cause_reason(verdict)
        ruling = Ruling(
            verdict.action,
            verdict.would_be,
            stage,
            reason,
            masked_by(verdict),
            read.cost,
            read.outcome,
        )
        return Word(
            Asked(ruling, noted.waiting, tuple(sorted(noted.booked.items()))),
            host=passage.host,
            provider=request.provider,
            endpoint=passage.target.endpoint.template if passage.target else "",
            model=self.live.shown_model(request.model),
            principal=who.id if who else "",
            tenant=who.tenant if who else "",
            price=price,
            cpu_us=cpu_us,
        )

    def _unlooked(
        self, flow: http.HTTPFlow, passage: Passage, meter: ExchangeMeter | None, record: Record | None
    ) -> int | None:
        """Return what an exchange cost as it was recorded: its answer is read, and nobody looks at it."""
        self.metering.noted = Noted()
        apart = replace(
            passage,
            live=self.unlooking,
            meter=meter,
            tap=None,
            output=None,
            output_stop=None,
            unread=False,
            withheld=None,
        )
        return answered(self.gateway, flow, apart, record).cost


def _with_left_out(request: Request, findings: Sequence[Finding]) -> Request:
    """Return a request with texts in the place of those outside its body that a capture does not hold."""
    places = dict.fromkeys(finding.at for finding in findings)
    blanks = (" " * max(f.end for f in findings if f.at == at) for at in places)
    texts = (Segment(at, Surface.DOCUMENT, blank) for at, blank in zip(places, blanks, strict=True))
    return replace(request, segments=(*request.segments, *texts))


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
    """What one policy says of one flow, and what it read of it. price: of the recorded exchange, left or not.

    cpu_us: processor time that all of it took, in microseconds.
    """

    asked: Asked
    host: str = ""
    provider: str = ""
    endpoint: str = ""
    model: str = ""
    principal: str = ""
    tenant: str = ""
    price: int | None = 0
    cpu_us: int = 0


class _RecordedIdentity:
    """The identity stage where the recording says who spoke: the proofs themselves are not in a recording."""

    name = "identity"

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def decide(self, exchange: Exchange, section: Identity, ports: Ports) -> Decision:
        return recognised(self._principal, section)
