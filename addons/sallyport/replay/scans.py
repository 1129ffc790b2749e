"""What is found in the texts of one flow: searched for once, whatever the number of policies that ask.

Who asks later is charged the time that the search took, so that the costs of policies can be compared.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sallyport.decision import Finding
from sallyport.detect.watching.typed import Scanner
from sallyport.exchange import Segment, Surface
from sallyport.rehearsal.searching import Searching

NER = "pii.ner."
"""How the ids of rules begin under which names and places are found."""


@dataclass(slots=True)
class Stopwatch:
    """Processor time of one thread, with the time that somebody else has spent in its place."""

    _began_ns: int = 0
    _charged_ns: int = 0

    def start(self) -> None:
        self._charged_ns = 0
        self._began_ns = time.thread_time_ns()

    def used_us(self) -> int:
        """Return the microseconds since the start."""
        return (time.thread_time_ns() - self._began_ns + self._charged_ns) // 1000

    def once[K, V](self, known: dict[K, tuple[V, int]], key: K, work: Callable[[], V]) -> V:
        """Return what is known under a key, and charge what it cost; do the work where nothing is."""
        if key in known:
            value, took_ns = known[key]
            self._charged_ns += took_ns
            return value
        began_ns = time.thread_time_ns()
        value = work()
        known[key] = value, time.thread_time_ns() - began_ns
        return value


class Scans:
    """What was found in the request of one flow, shared by policies that search alike.

    recorded: what was found when it was recorded, where it stands masked; None for a flow as it came.
    """

    def __init__(self, watch: Stopwatch, recorded: Sequence[Finding] | None = None) -> None:
        self._watch = watch
        self._recorded = recorded or ()
        self._by: dict[object, _Shared] = {}

    def of(self, searching: Searching) -> Searching:
        found = self._by.get(searching)
        if found is None:
            found = self._by[searching] = _Shared(searching, self._recorded, self._watch)
        return found


@dataclass(slots=True)
class _Shared:
    """Searches once for all who ask about the same number of texts: those of one flow, read by one dialect."""

    by: Searching
    recorded: Sequence[Finding]
    watch: Stopwatch
    _rules: dict[tuple[str, ...], tuple[tuple[Finding, ...], int]] = field(default_factory=dict)
    _named: dict[tuple[str, ...], tuple[tuple[Finding, ...], int]] = field(default_factory=dict)

    def rules(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        def work() -> tuple[Finding, ...]:
            return self._with_recorded(segments, self.by.rules(segments), names=False)

        return self.watch.once(self._rules, tuple(s.at for s in segments), work)

    def named(self, segments: Sequence[Segment], found: Sequence[Finding]) -> tuple[Finding, ...]:
        def work() -> tuple[Finding, ...]:
            return self._with_recorded(segments, self.by.named(segments, found), names=True)

        return self.watch.once(self._named, tuple(s.at for s in segments), work)

    def _with_recorded(
        self, segments: Sequence[Segment], found: Sequence[Finding], *, names: bool
    ) -> tuple[Finding, ...]:
        """Return what was recorded, and what is found beside it now. names: those that no rule found, too."""
        if not self.recorded:
            return tuple(found)
        places = {segment.at for segment in segments}
        then = [f for f in self.recorded if f.at in places and (names or not f.rule.startswith(NER))]
        taken = [(f.at, f.start, f.end) for f in then]
        now = [
            f
            for f in found
            if not any(f.at == at and f.start < end and start < f.end for at, start, end in taken)
        ]
        return (*then, *now)


type _Spans = Sequence[tuple[int, int]]


class AnswerScans:
    """The engine that answers are searched with. One text is searched once until the next flow comes."""

    def __init__(self, scanner: Scanner, watch: Stopwatch) -> None:
        self._scanner = scanner
        self._watch = watch
        self._known: dict[str, tuple[tuple[Finding, ...], int]] = {}
        self._suspected: dict[tuple[str, Surface], tuple[_Spans | None, int]] = {}

    def forget(self) -> None:
        """Begin another flow."""
        self._known.clear()
        self._suspected.clear()

    def suspects(self, text: str, surface: Surface) -> _Spans | None:
        """Return where a search of the text is worth it, None where that is not known."""
        key = (text, surface)
        return self._watch.once(self._suspected, key, lambda: self._scanner.suspects(text, surface))

    def scan(self, segments: Sequence[Segment]) -> tuple[Finding, ...]:
        """Search one text of an answer. Raises ScanIncomplete, anew for everybody who asks."""
        (segment,) = segments
        return self._watch.once(self._known, segment.text, lambda: self._scanner.scan(segments))
