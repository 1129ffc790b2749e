"""The Scanner port of a call that is only asked about: nothing is loaded until there is a text to search."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sallyport.decision import Finding
from sallyport.exchange import Segment
from sallyport.policy.sections import Policy


class Searching(Protocol):
    """The detection of one policy. Both raise where not all of a text could be looked at."""

    def rules(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        """Return what rules find."""
        ...

    def named(self, segments: Sequence[Segment], found: Sequence[Finding]) -> tuple[Finding, ...]:
        """Return the same with the names and places that the policy looks for."""
        ...


type Detection = Callable[[Policy], Searching]
"""Loads the detection of a policy; asked only where there is a text."""


class Scan:
    """Searches the texts of one call, once."""

    def __init__(self, policy: Policy, segments: Sequence[Segment], detection: Detection) -> None:
        self._policy = policy
        self._segments = segments
        self._detection = detection
        self._found: tuple[Finding, ...] | None = None
        self._named: tuple[Finding, ...] | None = None

    async def findings(self) -> Sequence[Finding]:
        if self._found is None:
            self._found = self._detection(self._policy).rules(self._segments) if self._segments else ()
        return self._found

    async def with_names(self) -> Sequence[Finding]:
        found = tuple(await self.findings())
        if self._named is None:
            searched = bool(self._segments) and self._policy.uses_names
            self._named = self._detection(self._policy).named(self._segments, found) if searched else found
        return self._named
