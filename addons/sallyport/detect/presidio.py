"""Presidio as registry and vocabulary: its pattern recognisers, run only on candidates the gate found.

Presidio's own loop logs and skips a pattern that times out, so the patterns and checks are taken from its
recognisers and run here: a time-out is ScanIncomplete. The types on which it is slow, reaches for the
network or logs what it met (e-mail, telephone, IBAN, IP, cards) have recognisers of our own under its entity
names: see identifiers.py. Importing Presidio takes seconds of CPU: nothing is imported before warm().
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sallyport.detect import identifiers, recogniser_files, telephone
from sallyport.detect.credentials import Judge
from sallyport.detect.errors import ScanIncomplete
from sallyport.detect.rows import Rows
from sallyport.detect.toldwords import in_column
from sallyport.errors import OperatorError

if TYPE_CHECKING:
    from presidio_analyzer import Pattern, PatternRecognizer

_MARGIN = 3
"""Characters either side of a candidate that a recogniser may look at (its boundaries)."""

CREDENTIAL = "credential"
"""Looks far around a candidate, so that it must know what it has looked at."""

COLUMN = "password_column"
"""Reads the cells below a candidate, which is the head of a column."""

_OWN: dict[str, Callable[[str, int, int], identifiers.Candidates]] = {
    "address": identifiers.address,
    "card": identifiers.card,
    "email": identifiers.email,
    "iban": identifiers.iban,
    "ssn": identifiers.ssn,
    "ip": identifiers.ip,
    "url": identifiers.url,
}


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A Presidio recogniser with its patterns compiled. check: True valid, False not, None cannot say."""

    patterns: tuple[tuple[Any, float], ...]
    check: Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class Custom:
    """An operator's recogniser from a file in Presidio's YAML format; runs on whole texts."""

    entity: str
    name: str
    context: tuple[str, ...]
    loaded: _Loaded


type Reader = Callable[[int, int, float], Iterable[tuple[int, int, float]]]

type Own = Callable[[str, int, int], identifiers.Candidates]


class Recognisers:
    """The recognisers that rules name. Thread-safe; names are Presidio classes or
    address, card, credential, email, iban, ip, password_column, phone, ssn, url.

    regions: CLDR regions whose national telephone formats count. files: Presidio recogniser YAML.
    """

    def __init__(self, names: Sequence[str], regions: Sequence[str], files: Sequence[Path] = ()) -> None:
        self._names = frozenset(names)
        self._own: dict[str, Own] = {**_OWN, "phone": partial(telephone.phone, regions=tuple(regions))}
        self._files = tuple(files)
        self._loaded: dict[str, _Loaded] = {}
        self._custom: tuple[Custom, ...] = ()
        self._lock = threading.Lock()
        self._ready = False

    def warm(self) -> None:
        """Import Presidio and compile what is needed; seconds. Raises OperatorError for unknown names."""
        with self._lock:
            if self._ready:
                return
            wanted = self._names - self._own.keys() - {CREDENTIAL, COLUMN}
            if wanted:
                self._loaded = {name: _load(name) for name in sorted(wanted)}
            self._custom = tuple(c for path in self._files for c in _read(path))
            self._ready = True

    @property
    def custom(self) -> tuple[Custom, ...]:
        if not self._ready:
            self.warm()
        return self._custom

    def of_text(self, name: str, text: str) -> Reader:
        """Return what confirms the candidates of one rule in one text, which are handed to it in order."""
        if name == CREDENTIAL:
            judge = Judge(text)
            return lambda start, end, _: judge.near(start, end)
        if name == COLUMN:
            rows = Rows(text)
            return lambda start, _, __: in_column(rows, start)
        return partial(self.confirm, name, text)

    def confirm(
        self, name: str, text: str, start: int, end: int, timeout_s: float
    ) -> list[tuple[int, int, float]]:
        """Return (start, end, weight) of what the recogniser sees in or around a candidate."""
        own = self._own.get(name)
        if own is not None:
            return list(own(text, start, end))
        if not self._ready:
            self.warm()
        low = max(0, start - _MARGIN)
        window = text[low : end + _MARGIN]
        found = search(self._loaded[name], window, timeout_s)
        spans = {(low + a, low + b) for a, b, _ in found if low + a < end and low + b > start}
        return [(a, b, 1.0) for a, b in sorted(spans)]


def search(loaded: _Loaded, text: str, timeout_s: float) -> Iterator[tuple[int, int, float]]:
    """Run a recogniser's patterns over a text. Raises ScanIncomplete when one exceeds the time."""
    for pattern, score in loaded.patterns:
        try:
            for match in pattern.finditer(text, timeout=timeout_s):
                start, end = match.span()
                verdict = loaded.check(match.group()) if end > start else False
                if verdict is not False:
                    yield start, end, 1.0 if verdict else score
        except TimeoutError:
            raise ScanIncomplete("a recogniser's pattern exceeded its time") from None


def _load(name: str) -> _Loaded:
    from presidio_analyzer import predefined_recognizers

    cls = getattr(predefined_recognizers, name, None)
    if cls is None:
        todo = "Check the name against presidio_analyzer.predefined_recognizers, or upgrade presidio-analyzer"
        raise OperatorError(f"recogniser {name}", "is not in the installed Presidio", todo)
    return _compiled(cls())


def _compiled(recogniser: PatternRecognizer) -> _Loaded:
    import regex  # type: ignore[import-untyped]

    def check(value: str) -> bool | None:
        try:
            valid = recogniser.validate_result(value)
            invalid = recogniser.invalidate_result(value)
        except (ValueError, IndexError, KeyError):
            return False
        return False if valid is False or invalid else valid

    flags = recogniser.global_regex_flags
    patterns = cast("list[Pattern]", recogniser.patterns)  # type: ignore[has-type]
    return _Loaded(tuple((regex.compile(p.regex, flags), p.score) for p in patterns), check)


def _read(path: Path) -> Iterator[Custom]:
    for name, recogniser in recogniser_files.read(path):
        entity = recogniser.supported_entities[0]
        yield Custom(entity, name, tuple(recogniser.context or ()), _compiled(recogniser))
