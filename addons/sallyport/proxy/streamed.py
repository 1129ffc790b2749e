"""An answer that comes as a stream: whether it is one, the tap it goes through, and what is known of it in the end."""

import time
from collections.abc import Callable

from mitmproxy import http

from sallyport.decision import Refusal
from sallyport.exchange import Response
from sallyport.policy.sections import standing
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import looking
from sallyport.proxy.passage import Passage
from sallyport.proxy.tap import AnswerTap

_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")


def is_streamed(passage: Passage, response: http.Response) -> bool:
    """Say whether a provider's answer is a stream of events; JSON and errors are read whole."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    asked = passage.exchange.request.stream and passage.dialect.name == "gemini_generate"
    streamed = kind in _STREAM_TYPES or (asked and kind == "application/json")
    return streamed and response.status_code == 200


def make_tap(
    gateway: Gateway, passage: Passage, content_type: str, clock: Callable[[], float] = time.monotonic
) -> AnswerTap:
    """Return what a streamed answer goes through under the policy of its passage. clock: seconds, never going back."""
    scope = gateway.scope(passage.exchange)
    lookup = scope.original if passage.noted is None else passage.noted.noting(scope.original)
    said = Refusal(
        "upstream.unreadable",
        "The gateway ended this answer because it could not read it whole.",
        passage.id,
        status=502,
    )
    return AnswerTap(
        passage.dialect,
        passage.dialect.open_stream(content_type),
        said,
        lookup=None if scope.empty or not passage.live.restores else lookup,
        remember=scope.remember_answer,
        drops_usage=passage.asked_usage,
        heard=None if passage.meter is None else passage.meter.hear,
        reported=None if passage.meter is None else passage.meter.report,
        lenient=not standing(passage.live.policy, None, passage.exchange).acts,
        looking=looking(passage, content_type),
        max_event_bytes=passage.live.policy.transport.max_event_bytes,
        clock=clock,
    )


def answer_of(tap: AnswerTap, status: int) -> Response:
    """Return what a tap has read of a stream."""
    return Response(
        status,
        finish_reason=tap.finish_reason,
        usage=tap.usage,
        model=tap.model,
        id=tap.id,
        error=tap.error,
        attachments=tap.attachments,
    )
