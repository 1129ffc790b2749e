"""What a policy said of one recorded exchange, and what it said against what another did. No text of any."""

from dataclasses import dataclass
from enum import StrEnum

from sallyport.decision import Action
from sallyport.policy.output import OutputAction
from sallyport.proxy.recorded import Ruling
from sallyport.stages.ledger import Claim
from sallyport.stages.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Asked:
    """What was ruled as long as there is room in all limits, and what there must be room for.

    claims: of limits, with the milliseconds that each may wait for room; none where it was refused before limits
    were asked. booked: what the exchange has used of them in the end, by key.
    """

    ruling: Ruling
    claims: tuple[tuple[Claim, int], ...] = ()
    booked: tuple[tuple[str, int], ...] = ()


class Sort(StrEnum):
    """What a recorded flow is to the gateway."""

    EXCHANGE = "exchange"
    TUNNELLED = "tunnelled"
    """To a host that is no AI provider's."""
    UNREADABLE = "unreadable"
    """No flow, although it stands where one should."""
    SESSION = "websocket"
    """A whole WebSocket session with an AI provider, which no policy judges as one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one flow is. at: byte offset, or number of a HAR entry."""

    file: str
    at: int


@dataclass(frozen=True, slots=True)
class Judged:
    """One recorded flow before two policies. began, ended: seconds since 1970.

    id: of the exchange where the gateway recorded it, else of the flow. Who and what are as the base says.
    cpu_us: what base and candidate cost, in microseconds of a processor. rules: revision of those that decided when it
    was recorded, "" if not known.
    """

    id: str
    place: Place
    began: float
    ended: float
    sort: Sort
    host: str
    provider: str
    endpoint: str
    model: str
    principal: str
    tenant: str
    base: Asked
    candidate: Asked
    cpu_us: tuple[int, int] = (0, 0)
    rules: str = ""


def unread(place: Place, sort: Sort) -> Judged:
    """Return what is said of a place where nothing can be judged."""
    left = Asked(Ruling(Action.ALLOW, Action.ALLOW))
    return Judged("", place, 0.0, 0.0, sort, "", "", "", "", "", "", left, left)


class Change(StrEnum):
    """How the second word differs from the first."""

    SAME = "same"
    NEWLY_REFUSED = "newly_refused"
    NEWLY_ALLOWED = "newly_allowed"
    REFUSED_OTHERWISE = "refused_otherwise"
    """Refused by both, for another reason."""
    ANSWER_NEWLY_ENDED = "answer_newly_ended"
    """Leaves under both; its answer came whole, and would be truncated or refused."""
    ANSWER_NEWLY_WHOLE = "answer_newly_whole"
    """Leaves under both; its answer was truncated or refused, and would come whole."""
    MASKS_CHANGED = "masks_changed"
    """Allowed by both, with other values taken out."""
    ANSWER_CHANGED = "answer_changed"
    """Leaves under both as it is; its answer is edited elsewhere, or ended for another reason."""
    WOULD_CHANGE = "would_change"
    """Treated alike by both; a rule that only observes would do otherwise."""


ABOUT_ANSWERS = frozenset((Change.ANSWER_NEWLY_ENDED, Change.ANSWER_NEWLY_WHOLE, Change.ANSWER_CHANGED))


def change_of(base: Ruling, candidate: Ruling) -> Change:
    """Say what changes: the gravest thing, in the order of Change."""
    refused, refuses = base.action is Action.DENY, candidate.action is Action.DENY
    if refuses != refused:
        return Change.NEWLY_REFUSED if refuses else Change.NEWLY_ALLOWED
    if refused and (base.stage, base.reason) != (candidate.stage, candidate.reason):
        return Change.REFUSED_OTHERWISE
    answers = _change_of_answers(base.answer, candidate.answer)
    if answers in (Change.ANSWER_NEWLY_ENDED, Change.ANSWER_NEWLY_WHOLE):
        return answers
    if base.masked != candidate.masked:
        return Change.MASKS_CHANGED
    if answers is Change.SAME and base.would_be is not candidate.would_be:
        return Change.WOULD_CHANGE
    return answers


def _change_of_answers(before: Outcome | None, after: Outcome | None) -> Change:
    """Say what changes of an answer, nothing where one of the two is not known."""
    if before is None or after is None:
        return Change.SAME
    if before.ends != after.ends:
        return Change.ANSWER_NEWLY_ENDED if after.ends else Change.ANSWER_NEWLY_WHOLE
    if _done(before) != _done(after):
        return Change.ANSWER_CHANGED
    return Change.SAME if before.would_be is after.would_be else Change.WOULD_CHANGE


def _done(answer: Outcome) -> tuple[OutputAction, str, tuple[tuple[str, int], ...]]:
    """Return what the client sees of what was done with an answer."""
    return answer.action, answer.rule if answer.ends else "", answer.edited
