"""An answer that comes as a stream: whether it is one, the tap it goes through, and what is known of it in the end."""

import time
from collections.abc import Callable

from mitmproxy import http

from sallyport.decision import Refusal
from sallyport.exchange import Response
from sallyport.policy.sections import standing
from sallyport.proxy.covering import OPAQUE
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import looking
from sallyport.proxy.passage import Passage
from sallyport.proxy.tap import AnswerTap
from sallyport.wire.coding import is_coded
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.leaves import OCTETS
from sallyport.wire.opaque import Bytes

_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream")

_SENSED = ("audio/", "image/", "video/")
"""Beginnings of the media types that are heard or seen."""


def is_streamed(passage: Passage, response: http.Response) -> bool:
    """Say whether a provider's answer is a stream of events; JSON and errors are read whole."""
    kind = _kind(response)
    asked = passage.exchange.request.stream and passage.dialect.name == "gemini_generate"
    streamed = kind in _STREAM_TYPES or (asked and kind == "application/json")
    return streamed and response.status_code == 200


def is_unread(passage: Passage, response: http.Response) -> bool:
    """Say whether nobody here reads an answer, so that it goes to the client as it comes, however long it is.

    That is one to a call that no dialect reads, and where nothing is enforced also sound and pictures, in which
    nothing is looked for, and what says that it is longer than the gateway reads.
    """
    if response.status_code not in (200, 206):
        return False
    if passage.cleaner is not None and is_coded(response.headers.get("content-encoding")):
        return False  # the real credential can only be searched for in the whole of it
    if passage.dialect.name == OPAQUE:
        return True
    too_large = _declared(response) > passage.live.policy.transport.max_response_bytes
    return passage.live.policy.only_observes and (too_large or _kind(response).startswith(_SENSED))


def _kind(response: http.Response) -> str:
    content_type: str = response.headers.get("content-type", "")
    return content_type.partition(";")[0].strip().lower()


def _declared(response: http.Response) -> int:
    length: str = response.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0


def unread_tap(passage: Passage, response: http.Response) -> AnswerTap:
    """Return what counts the bytes of an answer that nobody reads."""
    kind = _kind(response)
    sensed = passage.dialect.name != OPAQUE and kind.startswith(_SENSED)
    passage.unread = passage.dialect.name != OPAQUE and not sensed
    return AnswerTap(
        DIALECTS[OPAQUE],
        Bytes(OCTETS if sensed else ""),
        Refusal("upstream.unreadable", "", passage.id, status=502),
        lookup=None,
        remember=lambda _: None,
        lenient=True,
    )


def make_tap(
    gateway: Gateway, passage: Passage, content_type: str, clock: Callable[[], float] = time.monotonic
) -> AnswerTap:
    """Return what a streamed answer goes through under the policy of its passage. clock: seconds, never going back."""
    scope = gateway.scope(passage.exchange)
    lookup = scope.original if passage.noted is None else passage.noted.noting(scope.original)
    restores = passage.live.restores and not scope.empty
    passage.originals.lookup = scope.original if restores else None
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
        lookup=lookup if restores else None,
        remember=scope.remember_answer,
        drops_usage=passage.asked_usage,
        heard=None if passage.meter is None else passage.meter.hear,
        reported=None if passage.meter is None else passage.meter.report,
        lenient=not standing(passage.live.policy, None, passage.exchange).acts,
        looking=looking(passage, content_type),
        structured=passage.exchange.request.asks_json,
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
        made=tap.made,
    )
