"""What an answer is looked at with: made from the policy in force for whoever asked."""

import time
from contextlib import suppress
from dataclasses import replace

from sallyport.audit.events import DecisionRecord, decisions_of
from sallyport.decision import Action, Decision, Refusal, Verdict
from sallyport.exchange import Response, Segment
from sallyport.policy.output import OutputAction
from sallyport.policy.sections import Policy, standing
from sallyport.proxy.passage import Passage
from sallyport.proxy.tap import Looking
from sallyport.stages.calling import Calls
from sallyport.stages.channel import Stop
from sallyport.stages.judge import Judge
from sallyport.stages.outcome import Outcome, outcome_of
from sallyport.stages.output import OutputFilter
from sallyport.wire.dialect import Stamp

REFUSED, TRUNCATED = "output.refused", "output.truncated"

UNREADABLE = Outcome(OutputAction.REFUSE, OutputAction.REFUSE, "upstream.unreadable")
"""Of an answer that the policy wants searched and nobody here can read."""


def policy_of(passage: Passage) -> Policy:
    """Return the policy of the principal's tenant."""
    who = passage.exchange.principal
    return passage.live.policy.for_tenant(who.tenant) if who is not None else passage.live.policy


def output_filter(passage: Passage) -> OutputFilter | None:
    """Return what looks at the answer of a passage, made once and kept there; None where answers are not looked at."""
    rules = passage.live.answers
    if rules is None or passage.output is not None:
        return passage.output
    policy = policy_of(passage)
    section = policy.output
    mode = standing(policy, section, passage.exchange)
    request = passage.exchange.request
    followers = rules.of(
        section, policy.transport.hold_chars, request.segments, request.schema, passage.originals.shown
    )
    check = rules.check(section)
    passage.output = OutputFilter(
        section,
        Judge(section, passage.exchange, mode=mode),
        followers,
        Calls(check) if check is not None else None,
    )
    return passage.output


def prepare(passage: Passage) -> None:
    """Make ahead of time what looks at the answer. What fails here fails where it is needed."""
    with suppress(Exception):
        output = output_filter(passage)
        if output is not None:
            output.prepare()


def looking(passage: Passage, content_type: str) -> Looking | None:
    """Return what a streamed answer is looked at with, None where answers are not looked at."""
    output = output_filter(passage)
    if output is None:
        return None
    ending = None
    if output.acts:
        stamp = Stamp(passage.id, int(time.time()))
        ending = passage.dialect.ending(passage.exchange.request, stamp, content_type)
    return Looking(
        output, ending, lambda stop: refusal_of(passage, stop), policy_of(passage).transport.hold_s
    )


def decision_of(stop: Stop) -> Decision:
    """Return the decision that ends an answer with an error."""
    message = (
        f"The answer was withheld: it holds what the policy does not let through ({stop.rule}). Ask differently; "
        "if you need it, tell your security team the decision id."
    )
    return Decision("output", Action.DENY, REFUSED, message=message, status=403)


def refusal_of(passage: Passage, stop: Stop) -> Refusal:
    """Return what the client of a stream is told."""
    decision = decision_of(stop)
    return Refusal(decision.reason, decision.message, passage.id, status=decision.status)


def ended_early(passage: Passage) -> str:
    """Return the detail of an answer that was not given whole, "" of one that was."""
    stop = passage.tap.ended_early if passage.tap is not None else passage.output_stop
    if stop is None:
        return ""
    return TRUNCATED if stop.action is OutputAction.TRUNCATE else REFUSED


def outcome(passage: Passage, answer: Response | None) -> Outcome:
    """Return what has become of the answer of a passage. answer: as it was read."""
    tap = passage.tap
    if tap is not None and tap.failed is not None and tap.unread:
        return UNREADABLE
    if passage.withheld is not None:
        return UNREADABLE
    stop = tap.ended_early if tap is not None else passage.output_stop
    return (
        Outcome() if passage.output is None else outcome_of(passage.output.found, passage.output.judge, stop)
    )


def recorded(passage: Passage) -> tuple[DecisionRecord, ...]:
    """Return what the audit keeps of what was found in an answer: rules, places and surfaces, never text."""
    decision = passage.output.decision() if passage.output is not None else None
    if decision is None or passage.output is None:
        return ()
    texts = tuple(Segment(at, surface, "") for at, surface in passage.output.surfaces.items())
    request = replace(passage.exchange.request, segments=())
    exchange = replace(passage.exchange, request=request, response=Response(200, segments=texts))
    return decisions_of(Verdict((decision,)), exchange)
