"""The scanner of one exchange: texts are searched once for all stages, long ones off the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from sallyport.decision import Finding
from sallyport.detect.errors import ScanIncomplete, ScanLate
from sallyport.detect.ner.merge import merge
from sallyport.exchange import Segment
from sallyport.proxy.lanes import Lane
from sallyport.stages.places import in_body

INLINE_SCAN_CHARS = 2_048
"""Texts up to this length together are scanned on the event loop; longer ones in a thread.

The worst text costs some 5 microseconds a character, so that the loop is held for 10 ms at most.
"""

LONG_SCAN_CHARS = 65_536
"""Texts beyond this are scanned in a lane of their own, so that no other call waits behind them."""

_QUICK, _LONG = Lane("scan", alone_s=0.05), Lane("scan-long", alone_s=0.25)

INLINE_NAMES_CHARS = 16_384
"""The same for names: to cut, look up and merge costs more per character than to scan."""


class Detector(Protocol):
    """Finds everything in texts; thread-safe, synchronous, raises when it could not look at all of it."""

    @property
    def revision(self) -> str: ...

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]: ...


class Names(Protocol):
    """Finds names and places, elsewhere: submit returns at once, its future fails if anything was missed.

    deadline_s: who waits longer gives up, and cancels the future.
    """

    @property
    def revision(self) -> str: ...

    @property
    def deadline_s(self) -> float: ...

    def submit(self, segments: Sequence[Segment]) -> "Future[tuple[Finding, ...]]": ...


class ScanOnce:
    """The scanner port of one exchange: the first stage that asks pays, the others share.

    limit_chars: more text than this is refused by raising, never cut. names: None finds no names.
    min_score: what rules are less sure of than this makes way for a name.
    """

    def __init__(
        self,
        detector: Detector,
        segments: Sequence[Segment],
        limit_chars: int,
        names: Names | None = None,
        min_score: float = 0.0,
    ) -> None:
        self._detector = detector
        self._segments = segments
        self._limit = limit_chars
        self._names = names
        self._min_score = min_score
        self._chars = sum(len(s.text) for s in segments)
        self._found: tuple[Finding, ...] | None = None
        self._with_names: tuple[Finding, ...] | None = None
        self._missed: ScanIncomplete | None = None

    def everything(self) -> Sequence[Finding]:
        """Return all findings, and search for what no stage has asked for. For a thread: it waits.

        Raises what is raised where a text is not searched whole.
        """
        found = self._found
        if found is None:
            self._check_size()
            found = self._found = self._detector.scan(self._segments)
        if self._names is None:
            return found
        if self._with_names is None:
            future = self._names.submit([s for s in self._segments if in_body(s.at)])
            try:
                named = future.result(self._names.deadline_s)
            finally:
                future.cancel()
            self._with_names = merge(self._segments, found, named, self._min_score)
        return self._with_names

    def _check_size(self) -> None:
        if self._chars > self._limit:
            raise ValueError("more text than detection.max_text_bytes allows")

    async def findings(self) -> Sequence[Finding]:
        if self._found is None:
            self._check_size()
            self._found = await self._off_loop_beyond(INLINE_SCAN_CHARS, self._detector.scan, self._segments)
        return self._found

    async def with_names(self) -> Sequence[Finding]:
        """Return all findings. Raises ScanIncomplete where names were missed, also to who asks again."""
        found = await self.findings()
        if self._names is None:
            return found
        if self._missed is not None:
            raise self._missed
        if self._with_names is None:
            try:
                named = await self._named(self._names)
            except ScanIncomplete as missed:
                self._missed = missed
                raise
            self._with_names = await self._off_loop_beyond(
                INLINE_NAMES_CHARS, merge, self._segments, found, named, self._min_score
            )
        return self._with_names

    async def _named(self, names: Names) -> tuple[Finding, ...]:
        """Return the names in the body; a header holds no prose, and a name seen there would only refuse."""
        segments = [s for s in self._segments if in_body(s.at)]
        try:
            async with asyncio.timeout(names.deadline_s):
                future = await self._off_loop_beyond(INLINE_NAMES_CHARS, names.submit, segments)
                return future.result() if future.done() else await asyncio.wrap_future(future)
        except TimeoutError:
            raise ScanLate("names were not found in time") from None

    async def _off_loop_beyond[**P, T](
        self, chars: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        if self._chars <= chars:
            return work(*args, **kwargs)
        lane = _QUICK if self._chars <= LONG_SCAN_CHARS else _LONG
        return await lane.run(partial(work, *args, **kwargs))
