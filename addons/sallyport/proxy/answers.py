"""Answers the gateway gives itself, and the last touch on those a provider gave whole."""

from dataclasses import replace

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision, Refusal
from sallyport.exchange import Response, Surface
from sallyport.metering.free import is_free
from sallyport.policy.output import OutputAction
from sallyport.proxy.cleaning import clean_body, clean_head
from sallyport.proxy.covering import OPAQUE
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.outflow import decision_of, ended_early, output_filter
from sallyport.proxy.passage import Passage
from sallyport.proxy.redirects import leads_away
from sallyport.state.vault import VaultScope
from sallyport.wire.coding import decode_answer
from sallyport.wire.dialect import Answer, Stamp
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

STOPPING = "gateway.stopping"
"""Reason id of an exchange that outlived the drain time."""

AUDIT_DOWN = Decision(
    "audit",
    Action.DENY,
    "audit.unavailable",
    message="The gateway cannot record this request, so it was not sent. Try again in a few seconds; if it "
    "stays, tell your security team.",
    status=503,
)

_UNREADABLE_ANSWER = Decision(
    "wire", Action.DENY, "upstream.unreadable", message="The provider's answer cannot be read.", status=502
)

_REDIRECTED = Decision(
    "wire",
    Action.DENY,
    "upstream.redirected",
    message="The provider redirects this request to another place, where it would arrive without its masks. Use an "
    "address of the provider that answers itself.",
    status=502,
)

UNREACHABLE = "upstream.unreachable"
"""What the caller reads as the code; the cause behind it is in the message and in the log."""

CORE_MESSAGES = {
    "upstream.unreachable": "The provider cannot be reached, or its certificate is not valid.",
    "upstream.unreachable.descriptors": "The provider cannot be reached: the gateway can open no more connections. "
    "Try again; if it stays, tell whoever runs the gateway.",
    "upstream.unreachable.dns": "The provider cannot be reached: the gateway finds no address of its name.",
    "upstream.unreachable.timeout": "The provider cannot be reached: it did not answer in time.",
    "upstream.unreachable.refused": "The provider cannot be reached: no address of its name takes a connection.",
    "upstream.unreachable.tls": "The provider cannot be reached: its certificate is not valid, or TLS failed.",
    "upstream.protocol": "The provider closed the connection or did not speak HTTP.",
    "upstream.framing": "The provider's answer has unsound headers.",
    "upstream.too_large": "The provider's answer is larger than the gateway reads.",
    "upstream.encoded": "The provider's stream is compressed, although it was asked not to.",
    "upstream.upgraded": "The provider changed the protocol, which nobody asked for.",
    "transport.body_too_large": "The request body is larger than the gateway reads.",
    "gateway.stopping": "The gateway was stopped before the provider had answered. Send the request again.",
    "gateway.no_verdict": "The gateway reached no decision on this request, so it was not sent.",
}


FINAL = frozenset({"upstream.too_large", "upstream.encoded", "upstream.upgraded"})
"""Failures that a second try would meet again."""


def _http_response(answer: Answer, *, retry: bool = False) -> http.Response:
    headers = [(k.encode(), v.encode("utf-8")) for k, v in answer.headers]
    if retry:
        # The provider failed, not the policy: the SDK may try again as it would have.
        headers = [(k, v) for k, v in headers if k != b"x-should-retry"]
    if answer.status == 426:
        headers += [(b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade")]  # RFC 9110, 15.5.22
    return http.Response.make(answer.status, answer.body, http.Headers(headers))


def refusal(passage: Passage, cause: Decision, *, retry: bool = False, sse: bool = True) -> http.Response:
    """Say no in the words of the request's own dialect, as an error or as an assistant's answer.

    retry: the client may try again as it would have. sse: as in Dialect.say.
    """
    if cause.spoken:
        answer = _spoken(passage, cause, sse=sse)
        if answer is not None:
            return _http_response(answer)
    provider = passage.provider
    said = Refusal(
        cause.reason,
        cause.message,
        passage.id,
        status=cause.status,
        retry_after_s=cause.retry_after_s,
        failed=retry and cause.status >= 500,
        flat=provider is not None and provider.flat_errors,
    )
    dialect = passage.dialect
    if provider is not None and dialect.name == OPAQUE:
        # A call that no dialect reads comes from the provider's own SDK all the same.
        dialect = DIALECTS[provider.voice]
    answer = dialect.refuse(said, passage.exchange.request.stream)
    return _http_response(answer, retry=retry)


def spoken_text(cause: Decision, decision_id: str) -> str:
    """Return what an assistant says of a refusal."""
    advice = " The conversation can go on: do not send the stopped text again." if cause.findings else ""
    return (
        f"This request was stopped by the AI gateway and did not reach the model. {cause.message}{advice} "
        f"(reason {cause.reason}, decision {decision_id})"
    )


def _spoken(passage: Passage, cause: Decision, *, sse: bool) -> Answer | None:
    """Return a refusal as an answer that an agent can read and go on after; None where nobody speaks."""
    text = spoken_text(cause, passage.id)
    exchange = passage.exchange
    stamp = Stamp(passage.id, int(exchange.received_at.timestamp()))
    return passage.dialect.say(text, exchange.request, stamp, sse=sse)


def clean_answer(flow: http.HTTPFlow, passage: Passage) -> None:
    """Take the real credential out of a whole answer; what cannot be searched does not go to the client."""
    response, cleaner = flow.response, passage.cleaner
    if response is None or cleaner is None:
        return
    clean_head(response, cleaner)
    if passage.tap is not None:
        return
    try:
        clean_body(response, cleaner, passage.live.policy.transport.max_response_bytes)
    except WireError as error:
        _withhold(flow, passage, error)


def _withhold(
    flow: http.HTTPFlow, passage: Passage, error: WireError, told: Decision = _UNREADABLE_ANSWER
) -> Response:
    """Put an error in the place of an answer that cannot be read, or not be passed; return what is recorded of it."""
    assert flow.response is not None
    status = flow.response.status_code
    passage.withheld = Response(status, error=error.reason)
    # Of what is not free nobody knows how much was made for it, also where nothing of it came.
    passage.unread = not is_free(status)
    flow.response = refusal(passage, told)
    return passage.withheld


def ended_as(passage: Passage) -> tuple[EventKind, str]:
    """Return how an exchange with a whole answer ended, and the detail of it: as a stream would have.

    One that could not be read and was withheld is broken.
    """
    if passage.withheld is not None:
        return EventKind.BROKEN, f"wire.{passage.withheld.error or 'unreadable'}"
    return EventKind.COMPLETED, ended_early(passage)


def finish_buffered(flow: http.HTTPFlow, passage: Passage, scope: VaultScope) -> Response:
    """Read a whole answer, put originals back, and leave every other byte as it came.

    Returns what is recorded of it. What cannot be read, and has to be, is withheld.
    """
    if passage.withheld is not None:
        return passage.withheld  # what is there now is the gateway's own
    response = flow.response
    assert response is not None
    if leads_away(flow, passage):
        return _withhold(flow, passage, WireError("redirect"), _REDIRECTED)
    restores = passage.live.restores and not scope.empty
    passage.originals.lookup = scope.original if restores else None
    output = output_filter(passage) if response.status_code < 300 else None
    acts = restores or (output is not None and output.acts)
    raw = response.raw_content or b""
    try:
        limit = passage.live.policy.transport.max_response_bytes
        body, alike = decode_answer(raw, response.headers.get("content-encoding"), limit_bytes=limit)
        if passage.kept is not None:
            passage.kept.keep(body)
        answer = passage.dialect.read_response(body, response.status_code)
    except WireError as error:
        if not acts or is_free(response.status_code):
            # Nothing to put back or to look for; what the provider said goes to the client as it said it.
            passage.unread = bool(raw) and response.status_code < 300
            return Response(response.status_code, error=error.reason)
        return _withhold(flow, passage, error)
    for segment in answer.segments:
        if segment.surface is Surface.REASONING:
            scope.remember_answer(segment.text)
    lookup = scope.original if passage.noted is None else passage.noted.noting(scope.original)
    structured = passage.exchange.request.asks_json
    edited = edited_answer(
        passage.dialect, answer, body, lookup if restores else None, output, structured=structured
    )
    body, stop = edited.body, edited.stop
    if stop is not None and stop.action is OutputAction.TRUNCATE:
        try:
            body = passage.dialect.shortened(body, *edited.cut)
        except WireError:
            stop = replace(stop, action=OutputAction.REFUSE)
    passage.output_stop = stop
    if stop is not None and stop.action is OutputAction.REFUSE:
        flow.response = refusal(passage, decision_of(stop))
    elif stop is not None or edited.changed or (acts and not alike):
        response.headers.pop("content-encoding", None)
        response.raw_content = body
        response.headers["content-length"] = str(len(body))
    return answer
