"""What a policy said of one recorded exchange, and what it said against what another did. No text of any."""

from dataclasses import dataclass
from enum import StrEnum

from sallyport.decision import Action
from sallyport.proxy.recorded import Ruling
from sallyport.stages.ledger import Claim


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


@dataclass(frozen=True, slots=True)
class Judged:
    """One recorded flow before two policies. began, ended: seconds since 1970.

    id: of the exchange where the gateway recorded it, else of the flow. Who and what are as the base says.
    """

    id: str
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


class Change(StrEnum):
    """How the second word differs from the first."""

    SAME = "same"
    NEWLY_REFUSED = "newly_refused"
    NEWLY_ALLOWED = "newly_allowed"
    REFUSED_OTHERWISE = "refused_otherwise"
    """Refused by both, for another reason."""
    MASKS_CHANGED = "masks_changed"
    """Allowed by both, with other values taken out."""
    WOULD_CHANGE = "would_change"
    """Treated alike by both; a rule that only observes would do otherwise."""


def change_of(base: Ruling, candidate: Ruling) -> Change:
    """Say what changes."""
    refused, refuses = base.action is Action.DENY, candidate.action is Action.DENY
    if refuses != refused:
        return Change.NEWLY_REFUSED if refuses else Change.NEWLY_ALLOWED
    if refused and (base.stage, base.reason) != (candidate.stage, candidate.reason):
        return Change.REFUSED_OTHERWISE
    if base.masked != candidate.masked:
        return Change.MASKS_CHANGED
    if base.would_be is not candidate.would_be:
        return Change.WOULD_CHANGE
    return Change.SAME
