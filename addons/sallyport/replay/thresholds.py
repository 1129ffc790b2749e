"""How much of a change is too much, and what comes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sallyport.errors import OperatorError
from sallyport.replay.difference import Difference
from sallyport.replay.ruling import Change


@dataclass(frozen=True, slots=True)
class Threshold:
    """How much of a change is too much: a count, or a share of all flows."""

    change: Change
    most: float
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> "Threshold":
        """Read newly_refused=0 or newly_refused=0.5%. Raises OperatorError."""
        name, _, amount = text.replace("-", "_").partition("=")
        try:
            share = amount.endswith("%")
            most = float(amount.removesuffix("%")) / (100 if share else 1)
            if not 0 <= most < float("inf"):
                raise ValueError
            return cls(Change(name.strip()), most, share)
        except ValueError:
            names = ", ".join(change for change in Change if change is not Change.SAME)
            raise OperatorError(
                "--fail-on", "it is not CHANGE=AMOUNT", f"Write newly_refused=0 or 0.5%; changes are {names}"
            ) from None

    def is_passed(self, found: Difference) -> bool:
        """Say whether there is more of the change than is wanted."""
        count = found.changes[self.change]
        return count > self.most * found.flows if self.is_share else count > self.most

    def __str__(self) -> str:
        amount = f"{self.most * 100:g} %" if self.is_share else f"{self.most:g}"
        return f"{self.change} above {amount}"


class Result(StrEnum):
    """What a replay comes to."""

    NONE = "none"
    """No threshold was given."""
    KEPT = "kept"
    EXCEEDED = "exceeded"
    NO_FLOWS = "no_flows"
    """There are thresholds and there was no flow: a check that has seen nothing has not been passed."""
    INCOMPLETE = "incomplete"
    """More could not be read than is allowed, with or without thresholds: nobody knows what stands there."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What of the recording could not be read. sessions: whole ones of WebSockets, in plain captures.

    allowed: so many of all of these together are no reason to fail.
    """

    cut_files: int = 0
    flows: int = 0
    allowed: int = 0
    sessions: int = 0

    @property
    def too_much(self) -> bool:
        return self.cut_files + self.flows + self.sessions > self.allowed

    def __str__(self) -> str:
        sessions = f"{self.sessions} WebSocket sessions unread, " if self.sessions else ""
        return (
            f"{self.cut_files} files cut off or damaged, {self.flows} flows unreadable, {sessions}"
            f"{self.allowed} allowed"
        )


def result_of(found: Difference, thresholds: Sequence[Threshold], unread: Unread) -> Result:
    """Say what comes of all thresholds."""
    if found.flows and any(t.is_passed(found) for t in thresholds):
        return Result.EXCEEDED
    if unread.too_much:
        return Result.INCOMPLETE
    if not thresholds:
        return Result.NONE
    return Result.KEPT if found.flows else Result.NO_FLOWS
