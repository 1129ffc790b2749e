"""Words without which a pattern cannot match, read from the pattern: what a rule is looked for by, before it is tried.

Nobody has to keep a list of words beside a pattern, and no list can lack a word that the pattern knows. Where the
pattern cannot be read, or asks for no word, there is none, and the pattern itself is looked for. Reading takes some
milliseconds for each, so what was read of the rules that ship is kept in a file beside them; scripts/derive_words
writes it. A pattern that it does not know is read.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import orjson

from sallyport.errors import OperatorError

FILE = "words.json"
"""What was read, by the name of a pattern, with a digest: {"words": {name: [[word, ...], ...]}, "digest": hex}.

Under packs.beside_name without words: a pattern that was found to hold what stands beside it.
"""

type Spellings = frozenset[str]
type _Items = Sequence[tuple[Any, Any]]

_MOST = 96
"""Spellings of one part of a pattern that are told apart; a part with more is read in pieces."""

_SETS = 3
"""Sets of words by which one pattern is looked for."""

_TELLING = 3
"""Letters of the shortest word of a set that is worth a look beside another: shorter ones stand in every text."""

_MOST_STEPS = 1_000_000
"""Comparisons that reading one pattern may take, well under a second; larger ones are looked for themselves."""

_CHARS_A_STEP = 100

_SMALL_CLASS = 6
READ_OTHERWISE = re.compile(
    r"\[:\^?[a-z]+:\]|\\[pPQECzUX]|\(\?[a-zA-Z]*U|\{(?:,\d*|0\d+(?:,\d*)?|\d+,0\d+)\}"
)
"""What RE2 reads in another way than Python does: {,2} and {02} are no repetitions there, but letters."""


def known_words(folder: Path) -> Mapping[str, tuple[Spellings, ...]]:
    """Return what was read of the patterns in a folder of packs, by their names; nothing where there is no file.

    Raises OperatorError for a file that is not as it was written: with other words, rules would silently find less.
    """
    path = folder / FILE
    where = f"{folder.parent.name}/{folder.name}/{FILE}"
    todo = "Take it from where the rules come from, or delete it: the patterns are read then, at every start"
    try:
        held = orjson.loads(path.read_bytes())
        words = held["words"]
        sound = held["digest"] == _digest(words)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OperatorError(where, f"cannot be read: {type(error).__name__}", todo, exit_code=3) from None
    except (ValueError, TypeError, KeyError):
        sound = False
    if not sound:
        raise OperatorError(where, "is not as it was written, and rules may not be looked for", todo)
    return {name: tuple(map(frozenset, sets)) for name, sets in words.items()}


def file_of_words(words: Mapping[str, Iterable[Spellings]]) -> str:
    """Return what to write into the file. words: by the names of patterns."""
    listed = {name: [sorted(spellings) for spellings in sets] for name, sets in words.items()}
    held = {"digest": _digest(listed), "words": listed}
    return json.dumps(held, sort_keys=True, indent=0, ensure_ascii=False) + "\n"


def _digest(words: object) -> str:
    return hashlib.blake2b(orjson.dumps(words, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def name_of(source: str) -> str:
    """Return what a pattern is called in the file; another pattern has another name."""
    return hashlib.blake2b(source.encode(), digest_size=12).hexdigest()


def required(source: str) -> tuple[Spellings, ...]:
    """Return sets of words, in small letters: of each, one stands in every text that a pattern matches in any case.

    source: as RE2 takes it. The words of the first set are the rarest. Empty where no such words are known, and where
    the pattern is too large to be read.
    """
    if READ_OTHERWISE.search(source):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sets = _Reading().sets_of(parser.parse(source, re.IGNORECASE | re.ASCII))
    except (_TooLarge, re.error, OverflowError, RecursionError):
        return ()
    rarest, others = sets[:1], [words for words in sets[1:] if len(words) <= _MOST and _tell(words)]
    return (*rarest, *others[: _SETS - 1])


class _TooLarge(Exception):
    """A pattern would take too long to read."""


class _Reading:
    """Reads one pattern. Methods raise _TooLarge where it has taken too many steps."""

    def __init__(self) -> None:
        self._steps = 0

    def _step(self, number: int) -> None:
        self._steps += number
        if self._steps > _MOST_STEPS:
            raise _TooLarge

    def sets_of(self, items: Iterable[tuple[Any, Any]]) -> list[Spellings]:
        """Return sets of words, of each of which one must stand in what a sequence matches; the rarest words first."""
        return self._usable(self._asked(items))

    def _usable(self, sets: Iterable[Spellings]) -> list[Spellings]:
        """Return the sets whose words say anything, without words that hold others; the first has the rarest words, as
        far as their lengths tell.
        """
        words = {self._shortest(words) for words in sets if all(word.strip() for word in words)}
        return sorted(words, key=lambda words: (_frequency(words), sorted(words)))

    def _asked(self, items: Iterable[tuple[Any, Any]]) -> list[Spellings]:
        """Return sets of words, of each of which one must stand in what a sequence matches."""
        found: list[Spellings] = []
        run: Spellings = frozenset(("",))

        def end_run() -> None:
            if "" not in run:
                found.append(run)

        for item in items:
            spelled = self._spelled(item)
            if spelled is not None and len(run) * len(spelled) <= _MOST:
                run = self._joined(run, spelled)
                continue
            end_run()
            run = frozenset(("",)) if spelled is None else spelled
            if spelled is None:
                found += self._inside(item)
        end_run()
        return found

    def _inside(self, item: tuple[Any, Any]) -> list[Spellings]:
        """Return the same of one item whose spellings are too many to tell apart."""
        kind, value = item
        if kind is op.SUBPATTERN:
            return self._asked(value[3])
        if kind is op.BRANCH:
            branches = [self.sets_of(branch) for branch in value[1]]
            return [frozenset().union(*(sets[0] for sets in branches))] if all(branches) else []
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] >= 1:
            return self._asked(value[2])
        return []

    def _spelled(self, item: tuple[Any, Any]) -> Spellings | None:
        """Return everything that an item matches, in small letters; None where that is much, or nobody knows."""
        self._step(5)
        kind, value = item
        if kind is op.LITERAL:
            return frozenset((_small(value),))
        if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return frozenset(("",))
        if kind is op.SUBPATTERN:
            return self._sequence(value[3])
        if kind is op.IN:
            small = len(value) <= _SMALL_CLASS and all(one is op.LITERAL for one, _ in value)
            return frozenset(_small(code) for _, code in value) if small else None
        if kind is op.BRANCH:
            branches = [self._sequence(branch) for branch in value[1]]
            known = [branch for branch in branches if branch is not None]
            together: Spellings = frozenset().union(*known)
            return together if len(known) == len(branches) and len(together) <= _MOST else None
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            low, high, repeated = value
            once = self._sequence(repeated) if high in (1, 2) else None
            if once is None:
                return None
            out: set[str] = {""} if low == 0 else set()
            times: Spellings = frozenset(("",))
            for number in range(1, high + 1):
                times = self._joined(times, once)
                if number >= low:
                    out |= times
            return frozenset(out) if len(out) <= _MOST else None
        return None

    def _sequence(self, items: _Items) -> Spellings | None:
        run: Spellings = frozenset(("",))
        for item in items:
            spelled = self._spelled(item)
            if spelled is None or len(run) * len(spelled) > _MOST:
                return None
            run = self._joined(run, spelled)
        return run

    def _joined(self, before: Spellings, behind: Spellings) -> Spellings:
        out = frozenset(first + second for first in before for second in behind)
        self._step(len(out) + sum(map(len, out)) // _CHARS_A_STEP)
        return out

    def _shortest(self, words: Spellings) -> Spellings:
        kept: list[str] = []
        for word in sorted(words, key=lambda word: (len(word), word)):
            self._step(len(kept))
            if not any(short in word for short in kept):
                kept.append(word)
        return frozenset(kept)


def _small(code: int) -> str:
    """Return a letter in small; the one that would become two, which RE2 takes for no case of them, as it is."""
    small = chr(code).lower()
    return small if len(small) == 1 else chr(code)


def _tell(words: Spellings) -> bool:
    return min(len(word.strip()) for word in words) >= _TELLING


def _frequency(words: Spellings) -> float:
    """Return how often words stand in texts, as far as their length in UTF-8 tells: two Chinese letters are a word."""
    return sum(3.0 ** -len(word.strip().encode()) for word in words)
