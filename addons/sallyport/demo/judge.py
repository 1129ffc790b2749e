"""What came of a step, from three witnesses (the audit, the provider, the client), and whether it should."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sallyport.audit.events import DecisionRecord, Event, EventKind
from sallyport.demo.scenario import FORWARD_POLICY, Step
from sallyport.demo.stand import Got, Stand
from sallyport.lab import SeenRequest
from sallyport.lab.mind import deltas
from sallyport.lab.values import strings
from sallyport.stages.placeholder import PLACEHOLDER

_EVENT_S = 5.0
_EVIL = "evil.example"
_FIRST_KINDS = frozenset(
    {EventKind.ADMITTED, EventKind.REFUSED, EventKind.TUNNELLED, EventKind.CONNECTION_REFUSED}
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step.

    decision: allow, modify, deny or tunnel; empty if nobody decided. stage and reason: of the decision that
    counted, None where every stage allowed. attempts: requests (or connections) the gateway saw.
    upstream: body of the first request that reached the provider, or its request line if it has none; None
    if nothing came. said: the user's words in it. problems: where this is not what was expected.
    """

    step: Step
    got: Got
    decision: str = ""
    stage: str | None = None
    reason: str | None = None
    stages: tuple[DecisionRecord, ...] = ()
    principal: str = ""
    decision_id: str = ""
    attempts: int = 0
    upstream: str | None = None
    said: str = ""
    problems: tuple[str, ...] = ()

    @property
    def as_expected(self) -> bool:
        return not self.problems


def judge(step: Step, got: Got, stand: Stand) -> Outcome:
    """Ask the witnesses about a step whose client has ended."""
    if step.kernel is not None:
        outcome = _by_kernel(step, got, stand)
    else:
        outcome = _by_audit(step, got, _events(step, stand), stand)
    return replace(outcome, problems=tuple(_problems(outcome)))


def _by_kernel(step: Step, got: Got, stand: Stand) -> Outcome:
    """Judge a packet that never reached the gateway's program: the rules of the choke point counted it."""
    past = stand.ground.got_past()
    # For the policy of a chain, that nothing came through is what says that it held.
    refused = step.kernel == FORWARD_POLICY or stand.ground.refusals().get(step.kernel or "", 0) > 0
    return Outcome(
        step,
        got,
        decision="deny" if refused and not past else "allow",
        stage="choke point",
        reason=step.kernel,
        upstream="a packet" if past else None,
        attempts=1,
    )


def _by_audit(step: Step, got: Got, events: list[Event], stand: Stand) -> Outcome:
    seen = [request for request in stand.requests() if _is_of(step, request)]
    outcome = Outcome(
        step,
        got,
        # A connection that is cut may be recorded again when its handshake fails for it.
        attempts=sum(event.detail == events[0].detail for event in events),
        upstream=(seen[0].text or f"{seen[0].method} {seen[0].path}") if seen else None,
        said=_said(seen[0]) if seen else "",
    )
    if not events:
        return outcome
    first = events[0]
    before_http = first.kind in (EventKind.TUNNELLED, EventKind.CONNECTION_REFUSED)
    return replace(
        outcome,
        decision=_decision(first),
        stage="connection" if before_http else first.stage or None,
        reason=(first.detail or first.kind.value) if before_http else first.reason or None,
        stages=first.decisions,
        principal=first.principal,
        decision_id=first.exchange or first.id,
    )


def _events(step: Step, stand: Stand) -> list[Event]:
    """Return the first event of each exchange or connection of a step; wait a little for one."""
    deadline = time.monotonic() + _EVENT_S
    while True:
        found = [event for event in stand.events() if _is_about(step, event)]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _is_about(step: Step, event: Event) -> bool:
    return (
        event.kind in _FIRST_KINDS
        and bool(event.exchange) == (step.person is not None)
        and event.host == step.host
        and event.model == step.event_model
    )


def _is_of(step: Step, request: SeenRequest) -> bool:
    if request.host != step.host:
        return False
    if step.person is None:
        return True
    return f'"model":"{step.model}"' in request.text.replace(": ", ":") or (
        f"/models/{step.model}:" in request.path
    )


def _decision(event: Event) -> str:
    if event.kind is EventKind.TUNNELLED:
        return "tunnel"
    if event.kind is EventKind.ADMITTED and event.action is not None:
        return event.action.name.lower()
    return "deny"


def _said(request: SeenRequest) -> str:
    """Return the user's words in a body of any dialect; the request line where there is no such body."""
    try:
        body = json.loads(request.text)
    except ValueError:
        return f"{request.method} {request.path}"
    if not isinstance(body, Mapping):
        return request.text
    if "contents" in body:
        parts = body["contents"][-1].get("parts", [])
        return "\n".join(strings(parts))
    if body.get("messages"):
        content = body["messages"][-1].get("content")
        return content if isinstance(content, str) else "\n".join(strings(content))
    return request.text


def _problems(outcome: Outcome) -> Iterator[str]:
    """Yield every way in which a step came out differently."""
    step, got, expected = outcome.step, outcome.got, outcome.step.expected
    for name in ("decision", "stage", "reason"):
        wanted, found = getattr(expected, name), getattr(outcome, name)
        if wanted is not None and wanted != found:
            yield f"{name} is {found or 'missing'}, not {wanted}"
    if step.person is not None:
        known = step.person.name if step.person.known else ""
        if outcome.principal != known:
            yield f"the gateway took the caller for {outcome.principal or 'nobody'}"
    if expected.attempts is None:
        if outcome.attempts < 2:
            yield f"the SDK tried {outcome.attempts} times instead of retrying"
    elif outcome.attempts != expected.attempts:
        yield f"the gateway saw {outcome.attempts} requests, not {expected.attempts}"
    yield from _problems_of_the_client(outcome)
    if outcome.upstream is not None and not expected.provider:
        yield "something reached the provider"
    if outcome.upstream is None and expected.provider:
        yield "nothing reached the provider"
    if expected.decision == "allow" and step.text not in outcome.said:
        yield "the provider did not see the text as it was asked"
    if expected.decision == "modify":
        yield from _problems_of_masking(outcome)
    if step.name == "hostile-answer":
        yield from _problems_of_the_hostile_answer(outcome)
    if step.name.startswith("stream-"):
        yield from _problems_of_the_stream(outcome)
    if step.expected.decision == "tunnel" and "Sallyport lab" not in got.issuer:
        yield f"the certificate came from {got.issuer or 'nobody'}, not from the host's own CA"


def _problems_of_the_client(outcome: Outcome) -> Iterator[str]:
    got, expected = outcome.got, outcome.step.expected
    if expected.raised and got.raised not in expected.raised:
        yield f"the client raised {got.raised or 'nothing'}, not {expected.raised[0]}"
    if not expected.raised and got.raised:
        yield f"the client raised {got.raised}: {got.message}"
    if expected.status is not None and got.status != expected.status:
        yield f"the client saw status {got.status}, not {expected.status}"
    if expected.got is not None and got.text != expected.got:
        yield "the client did not get the expected answer"
    # Whoever asks for help with a refusal has its id in the SDK's own error.
    if expected.decision == "deny" and expected.status and outcome.decision_id not in got.message:
        yield "the error does not name the decision"


def _problems_of_masking(outcome: Outcome) -> Iterator[str]:
    upstream = outcome.upstream or ""
    for value in outcome.step.private:
        if value in upstream:
            yield "a private value reached the provider"
    marks = set(PLACEHOLDER.findall(outcome.said))
    if len(marks) != len(outcome.step.private):
        yield f"the provider saw {len(marks)} placeholders, not {len(outcome.step.private)}"


def _problems_of_the_stream(outcome: Outcome) -> Iterator[str]:
    """The provider must have cut every placeholder over several events, or nothing was shown."""
    pieces = provider_pieces(outcome)
    if any(PLACEHOLDER.search(piece) for piece in pieces):
        yield "the provider sent a placeholder whole"


def provider_pieces(outcome: Outcome) -> tuple[str, ...]:
    """Return the texts of the events in which the stand-in provider streamed its answer."""
    return tuple(deltas(f"You wrote: {outcome.said}"))


def _problems_of_the_hostile_answer(outcome: Outcome) -> Iterator[str]:
    value = outcome.step.private[0]
    lines = (outcome.got.text or "").splitlines()
    if not any(value in line and _EVIL not in line for line in lines):
        yield "the value did not come back in plain text"
    traps = [word for line in lines for word in line.split() if _EVIL in word or "=" in word]
    if not traps:
        yield "the provider tried nothing"
    if any(value in trap for trap in traps):
        yield "a value came back inside a URL, a link target or an attribute"
