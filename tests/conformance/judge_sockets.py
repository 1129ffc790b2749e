"""What must be true of a case over WebSocket: a session is an exchange of its own, and so is each event that says anything."""

import re
from collections.abc import Iterator

from conformance.cases import RAW_1, Case, Outcome
from conformance.stand import MAIL, PLAIN, SAYING, Seen
from sallyport.audit.events import Event, EventKind

_PLACEHOLDER = re.compile(r"<[A-Z_]+_[0-9a-zA-Z]{6,}>")
_ENDS: dict[Outcome, tuple[EventKind, str]] = {
    Outcome.STOP: (EventKind.COMPLETED, r"output\.refused"),
    Outcome.GARBLED: (EventKind.BROKEN, r"(wire\..+|close\..+|upstream\..+)"),
    Outcome.BROKEN: (EventKind.BROKEN, r"upstream\.broken"),
    Outcome.ABORT: (EventKind.BROKEN, r"client\.gone"),
}
"""How the exchange of the answer ends; else it is completed, without a detail."""

_CODES = {
    Outcome.REFUSE: r"injection\..+",
    Outcome.STOP: r"output\.refused",
    Outcome.GARBLED: r"upstream\.unreadable",
    Outcome.ERROR: r"rate_limit_exceeded",
    Outcome.BROKEN: r"upstream\.broken|upstream\.unreadable",
}
"""What the error event of the dialect is called."""

_CLOSED = (Outcome.STOP, Outcome.GARBLED, Outcome.BROKEN)


def problems(case: Case, seen: Seen) -> list[str]:
    """Return what is wrong, in words; none for a case that holds."""
    return [*_always(case, seen), *_audited(case, seen), *_shown(case, seen), *_received(case, seen)]


def _messages(seen: Seen) -> list[str]:
    return [request.text for request in seen.requests if request.method == "MESSAGE"]


def _always(case: Case, seen: Seen) -> Iterator[str]:
    if any(MAIL in message for message in _messages(seen)):
        yield "the provider received the original of a masked value"
    if _PLACEHOLDER.search(seen.answer.text):
        yield "a placeholder is left at the client"
    for exchange in {event.exchange for event in seen.events}:
        own = [event for event in seen.events if event.exchange == exchange]
        if sum(event.is_end for event in own) != 1 or not own[-1].is_end:
            yield f"an exchange has {[event.kind.value for event in own]}"
    for event in seen.events:
        if (event.provider, event.dialect) != (case.route.provider, case.route.dialect):
            yield f"the audit has provider {event.provider!r} and dialect {event.dialect!r}"
        if case.route.listed not in event.endpoint:
            yield f"the audit has endpoint {event.endpoint!r}"


def _audited(case: Case, seen: Seen) -> Iterator[str]:
    session = seen.events[0]
    (end,) = (e for e in seen.events if e.exchange == session.exchange and e.is_end)
    if session.kind is not EventKind.ADMITTED or not end.detail.startswith("close."):
        yield f"the session has {session.kind.value} and ends with {end.detail!r}"
    turns = _ends_of(seen, "response.create")
    if case.outcome is Outcome.REFUSE:
        refused = [event for event in seen.events if event.kind is EventKind.REFUSED]
        if not any(event.reason == "injection.found" for event in refused):
            yield f"refused was {[event.reason for event in refused]}"
    elif len(turns) != 1:
        yield f"{len(turns)} answers were asked for"
    else:
        kind, detail = _ENDS.get(case.outcome, (EventKind.COMPLETED, ""))
        if turns[0].kind is not kind or not re.fullmatch(detail, turns[0].detail):
            yield f"the answer ends {turns[0].kind.value} {turns[0].detail!r}"
    if case.outcome is Outcome.MASK and not any(e.reason == "masking.masked" for e in seen.events):
        yield "nothing was masked"


def _ends_of(seen: Seen, asked: str) -> list[Event]:
    """Return the ends of the exchanges of one type of event."""
    of_type = {e.exchange for e in seen.events if e.kind is EventKind.ADMITTED and e.detail.startswith(asked)}
    return [event for event in seen.events if event.exchange in of_type and event.is_end]


def _shown(case: Case, seen: Seen) -> Iterator[str]:
    answer = seen.answer
    said = f"You wrote: {SAYING.get(case.outcome, PLAIN)}"
    if answer.status != 101:
        yield f"the upgrade was answered {answer.status}"
    if not re.fullmatch(_CODES.get(case.outcome, ""), answer.code):
        yield f"the error is called {answer.code!r}"
    if case.outcome in (Outcome.PASS, Outcome.MASK):
        if answer.text != said:
            yield f"the client read {answer.text!r}"
    elif not said.startswith(answer.text) or answer.text == said:
        yield f"before the end the client read {answer.text!r}"
    if bool(answer.raised) is not (case.outcome in _CLOSED):
        yield f"the session ended with {answer.raised!r}"
    if case.client != RAW_1 and answer.raised and "ConnectionClosed" not in answer.raised:
        yield f"the SDK raised {answer.raised}"


def _received(case: Case, seen: Seen) -> Iterator[str]:
    told = " ".join(_messages(seen))
    if case.outcome in (Outcome.MASK, Outcome.GARBLED, Outcome.BROKEN):
        if "EMAIL_ADDRESS_" not in told:
            yield "the provider received no placeholder"
    elif case.outcome is Outcome.REFUSE:
        if "previous instructions" in told or "response.create" in told:
            yield "the provider received what was refused"
    elif "harbour" not in told:
        yield "the provider did not receive the text"
