"""A recorded answer before a policy: through the gateway's own reading, tap and output stage.

Of a stream that was recorded whole it is not known how it was cut; what goes out does not depend on it.
"""

from dataclasses import dataclass

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.exchange import Response
from sallyport.policy.output import OutputAction
from sallyport.proxy.answers import finish_buffered
from sallyport.proxy.ending import metered_of
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import REFUSED, TRUNCATED, UNREADABLE, outcome, output_filter
from sallyport.proxy.passage import Passage
from sallyport.proxy.recorded import Record
from sallyport.proxy.streamed import answer_of, is_streamed, is_unread, make_tap, unread_tap
from sallyport.proxy.tap import AnswerTap
from sallyport.replay.noting import Durable
from sallyport.replay.sockets import answer_of as events_of
from sallyport.stages.outcome import Outcome, outcome_of
from sallyport.wire.coding import decode_answer
from sallyport.wire.errors import WireError

MAX_STREAM_BYTES = 256 * 1024 * 1024
"""Of one stream, decoded: recordings may hold compressed ones, which a gateway asks nobody for."""

TOO_LARGE = Outcome(OutputAction.REFUSE, OutputAction.REFUSE, "upstream.too_large")
"""Of an answer that is larger than the policy reads."""

_PIECE_BYTES = 4096
"""What the tap is given at once, as from a network."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What becomes of a recorded answer. outcome: None where nobody knows; cost: as in Ruling."""

    outcome: Outcome | None
    cost: int | None


def answered(gateway: Gateway, flow: http.HTTPFlow, passage: Passage, record: Record | None) -> Answered:
    """Read what was answered, and book what it used. Without an answer the estimate stands."""
    response, became = flow.response, None
    broke = _broke_off(flow, record)
    answer: Response | None = None
    size = 0
    if response is not None and record is not None and record.findings is not None:
        answer = Response(response.status_code, usage=record.usage)
        became = _became(passage, record, response.status_code)
    elif response is not None and flow.websocket is not None:
        answer, size, became = _of_events(gateway, flow, passage, broke=broke)
    elif response is not None:
        if is_streamed(passage, response):
            answer, size, became = _streamed(gateway, flow, passage, broke=broke)
        else:
            answer, size, became = _whole(gateway, flow, passage)
    if flow.websocket is not None and passage.meter is None:
        return Answered(became, 0)  # paid for with the answer that builds on it
    failed = passage.withheld is not None or (passage.tap is not None and passage.tap.failed is not None)
    kind = EventKind.BROKEN if broke or failed else EventKind.COMPLETED
    # A provider that failed charges nothing, and the flow itself looks like one whose client did not wait. Where usage
    # was kept in place of the answer, something was booked.
    detail = record.detail if record is not None and record.usage is None else ""
    metered = metered_of(passage, kind, answer, size, detail)
    if passage.meter is not None and passage.meter.owes:
        passage.meter.book(Durable())
    return Answered(became, metered.cost_micro_usd)


def _broke_off(flow: http.HTTPFlow, record: Record | None) -> bool:
    """Say whether an answer ended before its end, whoever ended it. What could not be read, and what the output stage
    ended, shows anew when it is read.

    Usage that was kept in place of the answer is what was booked, the estimate of a broken answer with it.
    """
    if record is None:
        return flow.error is not None
    shows = record.detail in ("", TRUNCATED, REFUSED) or record.detail.startswith("wire.")
    return record.usage is None and not shows


def _became(passage: Passage, record: Record, status: int) -> Outcome | None:
    """Return what becomes of an answer of which the findings were kept, and not the text."""
    if record.found_in_answer is None:
        return None
    if record.ruling.answer == UNREADABLE and not passage.live.policy.only_observes:
        return UNREADABLE
    output = output_filter(passage) if status < 300 else None
    return Outcome() if output is None else outcome_of(record.found_in_answer, output.judge)


type _Read = tuple[Response | None, int, Outcome]
"""What was read, the bytes that go out, and what becomes of it."""


def _streamed(gateway: Gateway, flow: http.HTTPFlow, passage: Passage, *, broke: bool) -> _Read:
    response = flow.response
    assert response is not None
    kind = response.headers.get("content-type", "")
    try:
        coding = response.headers.get("content-encoding")
        body, _ = decode_answer(response.raw_content or b"", coding, limit_bytes=MAX_STREAM_BYTES)
    except WireError:
        passage.unread = True
        return None, 0, UNREADABLE
    tap = passage.tap = make_tap(gateway, passage, kind, clock=lambda: 0.0)
    for start in range(0, len(body), _PIECE_BYTES):
        if tap.feed(body[start : start + _PIECE_BYTES]).finish:
            break
    else:
        _over(tap, broke=broke)
    answer = answer_of(tap, response.status_code)
    return answer, tap.bytes_out, outcome(passage, answer)


def _of_events(gateway: Gateway, flow: http.HTTPFlow, passage: Passage, *, broke: bool) -> _Read:
    """Read the events of a WebSocket, which its captures hold whole."""
    assert flow.response is not None
    if flow.response.status_code >= 300:
        return Response(flow.response.status_code), 0, Outcome()
    tap = passage.tap = make_tap(gateway, passage, "application/json", clock=lambda: 0.0)
    for event in events_of(flow):
        if tap.feed(event).finish:
            break
    else:
        _over(tap, broke=broke)
    answer = answer_of(tap, 200)
    return answer, tap.bytes_out, outcome(passage, answer)


def _over(tap: AnswerTap, *, broke: bool) -> None:
    if broke:
        tap.broken()
    else:
        tap.end()


def _whole(gateway: Gateway, flow: http.HTTPFlow, passage: Passage) -> _Read:
    recorded = flow.response
    assert recorded is not None
    size = len(recorded.raw_content or b"")
    if size > passage.live.policy.transport.max_response_bytes:
        if is_unread(passage, recorded):
            passage.tap = unread_tap(passage, recorded)
            return answer_of(passage.tap, recorded.status_code), size, Outcome()
        passage.unread = True
        return None, 0, TOO_LARGE
    flow.response = recorded.copy()
    try:
        answer = finish_buffered(flow, passage, gateway.scope(passage.exchange))
        size = len(flow.response.raw_content or b"")
    finally:
        flow.response = recorded
    return answer, size, outcome(passage, answer)
