"""Answers the gateway gives itself, and the last touch on those a provider gave whole."""

from collections.abc import Callable

from mitmproxy import http

from sallyport.decision import Action, Decision, Edit, Refusal
from sallyport.exchange import Response, Surface
from sallyport.proxy.cleaning import clean_body, clean_head
from sallyport.proxy.passage import Passage
from sallyport.proxy.tap import is_json_source
from sallyport.stages.restoring import restore
from sallyport.state.vault import VaultScope
from sallyport.wire.coding import decode_body
from sallyport.wire.dialect import Answer, WireError

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

CORE_MESSAGES = {
    "upstream.unreachable": "The provider cannot be reached, or its certificate is not valid.",
    "upstream.protocol": "The provider closed the connection or did not speak HTTP.",
    "upstream.framing": "The provider's answer has unsound headers.",
    "upstream.too_large": "The provider's answer is larger than the gateway reads.",
    "upstream.encoded": "The provider's stream is compressed, although it was asked not to.",
    "upstream.upgraded": "The provider changed the protocol, which nobody asked for.",
    "body.too_large": "The request body is larger than the gateway reads.",
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
    return http.Response.make(answer.status, answer.body, http.Headers(headers))


def _restoring_edits(answer: Response, lookup: Callable[[str], str | None]) -> tuple[Edit, ...]:
    edits = []
    for segment in answer.segments:
        if segment.surface is Surface.REASONING or ("<" not in segment.text and "\\u003" not in segment.text):
            continue
        text = restore(segment.text, lookup, json=is_json_source(segment.surface, segment.text))
        if text != segment.text:
            edits.append(Edit(segment.at, 0, len(segment.text), text))
    return tuple(edits)


def refusal(passage: Passage, cause: Decision, *, retry: bool = False) -> http.Response:
    """Say no in the words of the request's own dialect. retry: the client may try again as it would have."""
    said = Refusal(
        cause.reason, cause.message, passage.id, status=cause.status, retry_after_s=cause.retry_after_s
    )
    answer = passage.dialect.refuse(said, passage.exchange.request.stream)
    return _http_response(answer, retry=retry)


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
    except WireError:
        passage.unread = response.status_code < 300
        flow.response = refusal(passage, _UNREADABLE_ANSWER)


def finish_buffered(flow: http.HTTPFlow, passage: Passage, scope: VaultScope) -> Response:
    """Read a whole answer, put originals back, and leave every other byte as it came."""
    response = flow.response
    assert response is not None
    restores = passage.live.restores and not scope.empty
    raw = response.raw_content or b""
    try:
        limit = passage.live.policy.transport.max_response_bytes
        body = decode_body(raw, response.headers.get("content-encoding"), limit_bytes=limit)
        answer = passage.dialect.read_response(body, response.status_code)
    except WireError as error:
        passage.unread = bool(raw) and response.status_code < 300
        if not restores or response.status_code >= 400:
            # Nothing to put back; what the provider said goes to the client as it said it.
            return Response(response.status_code, error=error.reason)
        flow.response = refusal(passage, _UNREADABLE_ANSWER)
        return Response(502, error=error.reason)
    for segment in answer.segments:
        if segment.surface is Surface.REASONING:
            scope.remember_answer(segment.text)
    edits = _restoring_edits(answer, scope.original) if restores else ()
    if edits:
        body = passage.dialect.edit(body, edits)
        response.headers.pop("content-encoding", None)
        response.raw_content = body
        response.headers["content-length"] = str(len(body))
    return answer
