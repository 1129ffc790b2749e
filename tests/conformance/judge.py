"""What must be true of a case: what the client showed, what the provider received, what the audit says."""

import json
import re
from collections.abc import Iterator

from conformance import judge_sockets
from conformance.cases import RAW_1, RAW_2, SOCKETS, Case, Form, Outcome
from conformance.filed import Filed
from conformance.stand import DELETES, MAIL, PLAIN, SAYING, Seen
from sallyport.audit.classes import Coverage
from sallyport.audit.events import EventKind
from sallyport.exchange import Operation

ADMITTED, COMPLETED, BROKEN, REFUSED = (
    EventKind.ADMITTED,
    EventKind.COMPLETED,
    EventKind.BROKEN,
    EventKind.REFUSED,
)
_PLACEHOLDER = re.compile(r"<[A-Z_]+_[0-9a-zA-Z]{6,}>")
_UNFIT, _FORBIDDEN, _LIMITED, _FAILED, _STREAM = range(5)

_NEVER_5XX = frozenset({"bedrock_converse", "bedrock_invoke", "cohere_v2"})
"""Their SDKs try again on any 5xx: what must not be tried again is answered 403."""

RAISES: dict[str, tuple[str, str, str, str, str]] = {
    "openai-python": (
        "BadRequestError",
        "PermissionDeniedError",
        "RateLimitError",
        "InternalServerError",
        "APIError",
    ),
    "openai-node": (
        "BadRequestError",
        "PermissionDeniedError",
        "RateLimitError",
        "InternalServerError",
        "APIError",
    ),
    SOCKETS: ("", "", "", "ConnectionClosedError", "ConnectionClosedError"),
    "anthropic-python": (
        "BadRequestError",
        "PermissionDeniedError",
        "RateLimitError",
        "InternalServerError",
        "APIStatusError",
    ),
    "anthropic-node": (
        "BadRequestError",
        "PermissionDeniedError",
        "RateLimitError",
        "InternalServerError",
        "APIError",
    ),
    "google-genai": ("ClientError", "ClientError", "ClientError", "ServerError", "ServerError"),
    "boto3": (
        "ValidationException",
        "AccessDeniedException",
        "ThrottlingException",
        "ServiceUnavailableException",
        "EventStreamError",
    ),
    "cohere": (
        "BadRequestError",
        "ForbiddenError",
        "TooManyRequestsError",
        "ApiError",
        "CohereFinishedInError",
    ),
    "mistralai": ("SDKError", "SDKError", "SDKError", "SDKError", "ResponseValidationError"),
    "ollama": ("ResponseError", "ResponseError", "ResponseError", "ResponseError", "ResponseError"),
}
"""What each SDK raises for a refused text, a refused answer, a limit of the provider, a failed answer, a failure in a
stream."""


def problems(case: Case, seen: Seen) -> list[str]:
    """Return what is wrong, in words; none for a case that holds."""
    if case.form is Form.SOCKET:
        return judge_sockets.problems(case, seen)
    return [*_always(case, seen), *_audited(case, seen), *_shown(case, seen), *_received(case, seen)]


def _always(case: Case, seen: Seen) -> Iterator[str]:
    if any(MAIL.encode() in request.decoded for request in (*seen.before, *seen.requests)):
        yield "the provider received the original of a masked value"
    if _PLACEHOLDER.search(seen.answer.text):
        yield "a placeholder is left at the client"
    spoken = "HTTP/2" if case.client == RAW_2 else "HTTP/1.1"
    if any(request.http != spoken for request in seen.requests):
        yield f"the provider was not spoken to in {spoken}"
    exchanges = {event.exchange for event in seen.events}
    ends = [event for event in seen.events if event.is_end]
    if len(exchanges) != _steps(case) or len(ends) != _steps(case):
        yield f"{len(exchanges)} exchanges with {len(ends)} ends"
    for event in seen.events:
        if (event.provider, event.dialect) != (case.route.provider, case.route.dialect):
            yield f"the audit has provider {event.provider!r} and dialect {event.dialect!r}"
        if event.exchange == seen.events[-1].exchange and case.route.listed not in event.endpoint:
            yield f"the audit has endpoint {event.endpoint!r}"


def _audited(case: Case, seen: Seen) -> Iterator[str]:
    end = seen.events[-1]
    kinds, coverage, details = _expected(case)
    if _left_early(case, seen):
        kinds, coverage, details = (REFUSED,), (Coverage.DENIED,), "cancelled"
    if tuple(event.kind for event in seen.events) != (ADMITTED, COMPLETED) * (_steps(case) - 1) + kinds:
        yield f"the audit has {[event.kind.value for event in seen.events]}"
    if end.coverage not in coverage:
        yield f"the class is {end.coverage}"
    if not re.fullmatch(details, end.detail):
        yield f"the end's detail is {end.detail!r}"
    reason = {Outcome.REFUSE: "injection.found", Outcome.MASK: "masking.masked"}.get(case.outcome)
    if reason and case.route.method == "POST" and end.reason != reason:
        yield f"the reason is {end.reason!r}"


def _steps(case: Case) -> int:
    """Return how many exchanges a call is: some SDKs ask where to upload, or where the results of a batch are."""
    if case.route.filed is Filed.UNREAD and case.client == "google-genai":
        return 2 if case.outcome is Outcome.PASS else 1
    return 2 if case.route.filed is Filed.RESULTS and case.client == "anthropic-python" else 1


def _left_early(case: Case, seen: Seen) -> bool:
    """Say whether a client that gives up after a time was gone before its request had left: a slow machine."""
    gives_up = case.outcome is Outcome.ABORT and not case.form.flows
    return gives_up and not seen.requests and seen.events[-1].kind is REFUSED


def _expected(case: Case) -> tuple[tuple[EventKind, ...], tuple[Coverage, ...], str]:
    """Return the events' kinds, the end's coverage, and a pattern of its detail."""
    read = (Coverage.OPAQUE, Coverage.PARSED) if case.route.method == "GET" else (Coverage.PARSED,)
    if case.route.filed is Filed.UNREAD:
        read = (Coverage.OPAQUE,)
    elif case.route.filed is Filed.BATCH and case.route.dialect == "openai_other":
        read = (Coverage.PARSED_IN_PART,)  # its file is a reference, which is judged by type
    match case.outcome:
        case Outcome.REFUSE:
            return (REFUSED,), (Coverage.DENIED,), ""
        case Outcome.STOP:
            return (ADMITTED, COMPLETED), read, r"output\.refused"
        case Outcome.TRUNCATE:
            return (ADMITTED, COMPLETED), read, r"output\.truncated"
        case Outcome.GARBLED:
            return (ADMITTED, BROKEN), (Coverage.PARSED_IN_PART,), r"wire\..+"
        case Outcome.BROKEN:
            return (ADMITTED, BROKEN), read, r"upstream\.protocol"
        case Outcome.ABORT:
            return (ADMITTED, BROKEN), read, "client_disconnected"
        case _:
            return (ADMITTED, COMPLETED), read, ""


def _shown(case: Case, seen: Seen) -> Iterator[str]:
    answer = seen.answer
    by_hand = case.client in (RAW_1, RAW_2)
    status, error = _fault(case)
    if case.outcome is Outcome.ABORT:
        if PLAIN in answer.text:
            yield "the client has the whole answer"
    elif error is None:
        if answer.status != 200 or answer.raised or answer.code:
            yield f"the client got {answer}"
        talks = case.route.operation in (Operation.CHAT, Operation.COMPLETION)
        says_back = talks or case.route.filed is Filed.RESULTS
        if says_back and answer.text != _said(case):
            yield f"the client read {answer.text!r}"
    elif by_hand:
        if answer.status != status or not answer.code or answer.code == "?":
            yield f"the client got {answer}"
        if status == 200 and (not answer.text or not _said(case).startswith(answer.text)):
            yield f"before the error the client read {answer.text!r}"
    elif answer.raised not in _raised(case, error):
        yield f"the SDK raised {answer.raised!r}, {answer.status} {answer.code!r}"
    elif status != 200 and answer.status != status:
        yield f"the SDK saw status {answer.status}"


def _raised(case: Case, error: int) -> tuple[str, ...]:
    if case.client == "google-genai" and case.outcome is Outcome.STOP:
        return ("ClientError",)  # it goes by the code in the error event, which is a refusal's
    return (RAISES[case.client][error],)


def _said(case: Case) -> str:
    """Return what the stand-in says, as far as the client is to see it."""
    said = f"You wrote: {SAYING.get(case.outcome, PLAIN)}"
    return said.partition(DELETES[case.outcome])[0] if case.outcome in DELETES else said


def _fault(case: Case) -> tuple[int, int | None]:
    """Return the status on the wire, and which of an SDK's errors there must be."""
    streamed = case.form.flows
    match case.outcome:
        case Outcome.REFUSE:
            return 400, _UNFIT
        case Outcome.ERROR:
            return 429, _LIMITED
        case Outcome.STOP if not streamed:
            return 403, _FORBIDDEN
        case Outcome.GARBLED if not streamed and case.route.dialect in _NEVER_5XX:
            return 403, _FORBIDDEN
        case Outcome.STOP | Outcome.GARBLED | Outcome.BROKEN:
            return (200, _STREAM) if streamed else (502, _FAILED)
        case _:
            return 200, None


def _in_json(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode()


def _received(case: Case, seen: Seen) -> Iterator[str]:
    wanted = 0 if case.outcome is Outcome.REFUSE or _left_early(case, seen) else _steps(case)
    if len(seen.requests) != wanted:
        yield f"the provider received {len(seen.requests)} requests"
    if case.route.filed in (Filed.UNREAD, Filed.STATUS):
        return
    for request in seen.requests if case.route.method == "POST" else seen.before:
        if case.outcome in (Outcome.MASK, Outcome.GARBLED, Outcome.BROKEN):
            if b"EMAIL_ADDRESS_" not in request.decoded:
                yield "the provider received no placeholder"
        elif case.route.method == "POST" and _in_json(SAYING.get(case.outcome, PLAIN)) not in request.decoded:
            yield "the provider did not receive the text"
