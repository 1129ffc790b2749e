"""Time detection beside stock Presidio and a plain loop of `re` over the same patterns, all in one run.

Run from a checkout: scripts/bench detect. Processor milliseconds, medians, and how many times ours; the contenders
take turns, so that what else the machine does meets all of them. No assertions: read the table.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: threads of its own would not be counted

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.ner import engines
from sallyport.detect.packs import Rule
from sallyport.exchange import Segment, Surface

PROSE = (
    "The parser reads one line at a time and keeps the position of every token, so that an error can "
    "name the column. When the buffer is empty it asks the reader for more, and the reader returns "
    "what the socket has. Nothing else is copied: slices are views, and the tree holds offsets. "
    "def read(self, size):\n    while len(self.buffer) < size and not self.closed:\n"
    "        self.buffer += self.source.read(4096)\n    return self.buffer[:size]\n\n"
)
PERSONAL = (
    "Please call Ada on +44 20 7946 {0:04d} or write to ada.{0}@example.com. The card on file is "
    "4111 1111 1111 1111, her account DE89 3704 0044 0532 0130 00 and the last login came from "
    "84.17.52.{1}. "
)
FALSE_ALARMS = 0.01
"""Of the classifier, which presets leave out; the time does not depend on the share."""

type Call = Callable[[], object]


def main() -> None:
    """Print one row per case, then what of it the classifier takes, and what names cost."""
    off = Detector(DetectionSettings(cache_entries=0, deadline_s=60.0, cpu_s=60.0))
    on = _judging(cache_entries=0)
    cached = _judging()
    for detector in (off, on, cached):
        detector.warm()
    presidio, loop = _presidio(), _Loop(on.rules)
    print(f"{len(on.rules)} rules; {loop.size} of them also run as plain re")
    heads = ("case", "ours ms", "rules ms", "presidio", "re loop", "presidio x", "re x")
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for name, text in _texts():
        segments = [Segment("/text", Surface.USER, text)]
        calls: list[Call] = [
            lambda s=segments: on.scan(s),
            lambda s=segments: off.scan(s),
            lambda t=text: presidio(t),
            lambda t=text: loop(t),
        ]
        _row(name, *_in_turns(calls, 15 if len(text) < 50_000 else 3))
    _row("resent 200 KB, 2 KB new", *_resent(cached, presidio, loop))
    _names()


def _row(name: str, ours: float, rules: float, presidio: float, loop: float) -> None:
    ratios = f"{presidio / ours:.0f} | {loop / ours:.1f}"
    print(f"| {name} | {ours:.2f} | {rules:.2f} | {presidio:.1f} | {loop:.1f} | {ratios} |", flush=True)


def _judging(cache_entries: int = DetectionSettings().cache_entries) -> Detector:
    return Detector(
        DetectionSettings(
            cache_entries=cache_entries, deadline_s=60.0, cpu_s=60.0, injection_false_alarms=FALSE_ALARMS
        )
    )


def _in_turns(calls: Sequence[Call], rounds: int) -> list[float]:
    """Return the median of each call, in processor milliseconds of this thread."""
    took: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, took, strict=True):
            start = time.thread_time()
            call()
            times.append((time.thread_time() - start) * 1000)
    return [statistics.median(times) for times in took]


def _texts() -> Iterator[tuple[str, str]]:
    """Yield the cases. With personal data: five values in one of the places of ordinary prose, or nothing else."""
    yield "clean 2 KB", _prose(2_000)
    yield "2 KB, 5 values", (_personal(1) + _prose(2_000))[:2_000]
    yield "dense 20 KB, 500 values", "".join(map(_personal, range(200)))[:20_000]
    yield "clean 200 KB", _prose(200_000)
    yield "200 KB of our pages", _pages(200_000)
    yield "200 KB, 100 values", _ordinary(200_000)


def _pages(size: int) -> str:
    """Return what this project says of itself: prose, tables and code that do not repeat themselves."""
    pages = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
    return "".join(page.read_text("utf-8") for page in pages)[:size]


def _prose(size: int) -> str:
    return (PROSE * (size // len(PROSE) + 1))[:size]


def _personal(number: int) -> str:
    return PERSONAL.format(number, number % 200 + 1)


def _ordinary(size: int) -> str:
    """Return prose with five values in every 10 KB."""
    parts = (_prose(9_790) + "\n" + _personal(number) for number in range(size // 10_000 + 1))
    return "".join(parts)[:size]


def _resent(cached: Detector, presidio: "Call1", loop: "Call1") -> list[float]:
    """Return the times of a conversation of a hundred messages that was scanned before, and one message more."""
    text = _ordinary(200_000)
    step = len(text) // 100
    old = [
        Segment(
            f"/messages/{n}/content",
            Surface.ASSISTANT if n % 2 else Surface.USER,
            text[n * step : (n + 1) * step],
        )
        for n in range(100)
    ]
    rules = Detector(DetectionSettings(deadline_s=60.0, cpu_s=60.0))
    for detector in (cached, rules):
        detector.scan(old)
    turn = iter(range(1_000_000))

    def last() -> str:
        return f"Turn {next(turn)}. " + _prose(2_000)

    def scanned(detector: Detector) -> object:
        return detector.scan([*old, Segment("/messages/100/content", Surface.USER, last())])

    return _in_turns(
        [
            lambda: scanned(cached),
            lambda: scanned(rules),
            lambda: presidio(text + last()),
            lambda: loop(text + last()),
        ],
        3,
    )


def _names() -> None:
    """Print what the shipped recogniser of names takes per 1,000 characters it has not seen."""
    engine = engines.load("builtin")
    engine.spans([_prose(500)])
    took = []
    for number in range(9):
        text = f"In {1900 + number} " + "".join(map(_sentence, range(number * 40, number * 40 + 40)))
        start = time.thread_time()
        engine.spans([text])
        took.append((time.thread_time() - start) * 1_000_000 / len(text))
    print(f"names, builtin: {statistics.median(took):.2f} ms per KB of new prose")


def _sentence(number: int) -> str:
    places = ("Leeds", "Turin", "Lagos", "Quito", "Ghent")
    return f"Mr Arden{number} of {places[number % 5]} paid the clerk {number} crowns for a walnut desk. "


type Call1 = Callable[[str], object]


class _Loop:
    """Every rule's pattern, one after another over the whole text, as a hand-written filter does it."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._patterns = [p for rule in rules if (p := _compiled(rule)) is not None]
        self.size = len(self._patterns)

    def __call__(self, text: str) -> list[tuple[int, int]]:
        return [m.span() for pattern in self._patterns for m in pattern.finditer(text)]


def _compiled(rule: Rule) -> re.Pattern[str] | None:
    """Return a rule's pattern for `re`; None where RE2's spelling has no equal there."""
    source = re.sub(r"\\p\{?L[ul]?\}?", r"\\w", rule.source)
    try:
        return re.compile(source, 0 if rule.case_sensitive else re.IGNORECASE)
    except re.error:
        return None


def _presidio() -> Call1:
    """Return stock Presidio: default English recognisers, a blank spaCy pipeline, kept off the network."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers.generic import email_recognizer

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}

        def load(self) -> None:
            """Nothing to load."""

    offline = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    email_recognizer.tldextract = type("Offline", (), {"extract": staticmethod(offline)})
    analyzer = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: analyzer.analyze(text, language="en")


if __name__ == "__main__":
    main()
