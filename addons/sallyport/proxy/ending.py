"""How an exchange ends: refused before it left, or with the one end event of what was admitted, metered."""

import time

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.decision import Verdict
from sallyport.exchange import Response
from sallyport.metering.credible import is_credible
from sallyport.metering.free import is_free
from sallyport.proxy.answers import FINAL, refusal
from sallyport.proxy.covering import answer_unread
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import recorded
from sallyport.proxy.passage import Passage, event_of
from sallyport.proxy.recorded import Over
from sallyport.state.meter import Metered


async def refuse_exchange(
    gateway: Gateway, flow: http.HTTPFlow, passage: Passage, verdict: Verdict, detail: str = ""
) -> None:
    """Answer an exchange that is not admitted with its refusal, and write the event of that."""
    passage.verdict = verdict
    cause = verdict.cause
    assert cause is not None
    if passage.ended:
        return
    passage.ended = True
    passage.over = Over(None, 0)
    passage.give_back()
    sse = flow.request.query.get("alt") == "sse"
    flow.response = refusal(passage, cause, retry=cause.retry_after_s is not None, sse=sse)
    event = event_of(gateway, EventKind.REFUSED, passage, detail)
    await gateway.recorded(event, required=False)


def end_exchange(
    gateway: Gateway, passage: Passage, kind: EventKind, answer: Response | None, size: int, detail: str = ""
) -> None:
    """Write the one end event of an admitted exchange."""
    passage.ended = True
    assert passage.admitted is not None
    metered, tap = metered_of(passage, kind, answer, size, detail), passage.tap
    unread = passage.unread or passage.withheld is not None or (tap is not None and tap.unread)
    passage.over = Over(answer, metered.cost_micro_usd, metered.usage, detail)
    if answer is not None:
        gateway.link(passage.exchange, answer, metered.usage)
    event = passage.admitted.followed_by(
        kind,
        detail=detail,
        status=answer.status if answer else None,
        finish_reason=(answer.finish_reason or "") if answer else "",
        usage=metered.usage,
        usage_source=metered.source,
        cost_micro_usd=metered.cost_micro_usd,
        response_bytes=size,
        duration_us=(time.perf_counter_ns() - passage.started_ns) // 1000,
        unread=answer_unread(answer, unread=unread),
        model=passage.live.shown_model(metered.model),
        decisions=recorded(passage),
    )
    if passage.meter is not None and passage.meter.owes:
        passage.meter.book(gateway.audit.append(event, required=False))
        policy = gateway.live.policy
        gateway.watch.hear(event, policy.limits, policy.identity.key_rules)
    else:
        gateway.record(event)


def metered_of(passage: Passage, kind: EventKind, answer: Response | None, size: int, detail: str) -> Metered:
    """Settle what the exchange had reserved, and say what it used."""
    meter = passage.meter
    if meter is None:
        return Metered(answer.usage if answer else None)
    if kind is EventKind.REFUSED:
        meter.release()
        return Metered(None)
    said = answer.usage if answer is not None else None
    unsaid = said is None or not said.output or not is_credible(said)
    if answer is not None and passage.tap is None and unsaid:
        for segment in answer.segments:
            meter.hear(segment.text)
    # A stream that broke off was answered as far as it went; an answer never seen whole was not read.
    failed = detail.startswith("upstream.") and detail not in FINAL and passage.tap is None
    broken = kind is EventKind.BROKEN and passage.tap is None
    if passage.unread or (broken and answer is not None and not is_free(answer.status)):
        answer = None
    return meter.settle(answer, size, failed=failed, cut=kind is EventKind.BROKEN)


def code_of(detail: str) -> str:
    """Return a stable id for a detail; mitmproxy's own texts may quote what a peer sent."""
    return detail if detail.replace(".", "").replace("_", "").isalnum() and len(detail) < 64 else "broken"
