"""Words without which a pattern cannot match, read from the pattern: what a rule is looked for by, before it is tried.

Nobody has to keep a list of words beside a pattern, and no list can lack a word that the pattern knows. Where the
pattern cannot be read, or asks for no word, there is none, and the pattern itself is looked for.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sallyport.detect.classes import READ_OTHERWISE, Items, holds_letters

type Spellings = frozenset[str]

_MOST = 96
"""Spellings of one part of a pattern that are told apart; a part with more is read in pieces."""

_FEW = 6
"""Spellings of what stands beside a part that is read in pieces, which are read with it."""

_SETS = 3
"""Sets of words by which one pattern is looked for."""

_LONGEST = 64
"""Characters of a word; of longer ones the beginning is enough."""

_TELLING = 3
"""Letters of the shortest word of a set that is worth a look beside another: shorter ones stand in every text."""

_MOST_STEPS = 1_000_000
"""Comparisons that reading one pattern may take, well under a second; larger ones are looked for themselves."""

_CHARS_A_STEP = 100

_SMALL_CLASS = 6

EDGE = "\b"
"""Stands in a word where the pattern asks for the beginning or the end of one, as \\b does in the pattern."""

_IN_MOST_PARAGRAPHS = (
    "a", "all", "an", "and", "any", "are", "as", "at", "be", "by", "can", "do", "for", "from", "has", "have",
    "he", "how", "i", "if", "in", "is", "it", "its", "me", "my", "no", "not", "of", "on", "one", "or", "our",
    "so", "than", "that", "the", "their", "them", "then", "there", "they", "this", "to", "up", "us", "was",
    "we", "were", "what", "when", "which", "who", "will", "with", "you", "your",
)  # fmt: skip
_IN_MANY_PARAGRAPHS = (
    "about", "above", "access", "add", "after", "also", "answer", "back", "because", "before", "but", "call",
    "change", "check", "code", "copy", "data", "done", "email", "end", "file", "find", "first", "get", "give",
    "go", "good", "help", "here", "his", "her", "into", "just", "keep", "key", "know", "last", "like", "line",
    "list", "log", "look", "made", "make", "may", "more", "must", "name", "need", "new", "next", "note", "now",
    "number", "only", "open", "other", "out", "over", "own", "part", "read", "right", "role", "rule", "rules",
    "run", "said", "same", "say", "see", "send", "set", "she", "show", "some", "stop", "system", "take", "tell",
    "test", "text", "these", "those", "time", "type", "use", "user", "value", "want", "way", "where", "why",
    "without", "word", "work", "would", "write",
)  # fmt: skip
_COMMON = {**dict.fromkeys(_IN_MOST_PARAGRAPHS, 0.5), **dict.fromkeys(_IN_MANY_PARAGRAPHS, 0.1), "@": 0.05}
"""In how many paragraphs a word stands, as far as it matters; a mark as often as a letter, but for this one."""


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
    chosen = sets[:1]
    for words in sets[1:]:
        if len(words) <= _MOST and _tell(words) and not any(_holds(other, words) for other in chosen):
            chosen.append(words)
    return tuple(chosen[:_SETS])


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
        words = {self._shortest(frozenset(map(_plain, words))) for words in sets if all(map(_letters, words))}
        return sorted(words, key=lambda words: (_frequency(words), sorted(words)))

    def _asked(self, items: Iterable[tuple[Any, Any]]) -> list[Spellings]:
        """Return sets of words, of each of which one must stand in what a sequence matches."""
        found: list[Spellings] = []
        listed = [*items]
        run, beside = _NOTHING, 0
        for place, item in enumerate(listed):
            spelled = self._spelled(item)
            if spelled is not None and len(run) * len(spelled) <= _MOST:
                run = self._joined(run, spelled)
                continue
            once = self._once(item) if spelled is None else None
            if once is not None and len(run) * len(once) <= _MOST:
                run = self._joined(run, once)
            elif self._ends_word(listed[place:], 1):
                run = self._joined(run, _SOFT)
            found.append(run)
            if spelled is None:
                before = listed[beside:place] if len(run) <= _FEW else []
                found += self._inside(item, before, self._few(listed[place + 1 :]))
                run, beside = once or _NOTHING, place + 1
            else:
                run, beside = spelled, place
            if once is None and self._ends_word(listed[:beside], -1):
                run = self._joined(_SOFT, run)
        return [*found, run]

    def _once(self, item: tuple[Any, Any]) -> Spellings | None:
        """Return what stands at both ends of something repeated; None where that is much, or may be nothing."""
        kind, value = item
        return self._sequence(value[2]) if kind in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] > 0 else None

    def _ends_word(self, items: Items, way: int) -> bool:
        """Say whether no letter, digit or _ can be what a sequence matches first (way 1) or last (-1)."""
        return self._parts(items, way) is True

    def _parts(self, items: Items, way: int) -> bool | None:
        """The same; None where the sequence may match nothing, so that what stands beyond it decides."""
        for item in items[::way]:
            self._step(1)
            parts = self._parts_one(item, way)
            if parts is not None:
                return parts
        return None

    def _parts_one(self, item: tuple[Any, Any], way: int) -> bool | None:
        kind, value = item
        if kind is op.LITERAL:
            return not holds_letters([item])
        if kind is op.IN:
            self._step(len(value))
            return not holds_letters(value)
        if kind is op.AT:
            return True if value in _EDGES[way] else None
        if kind is op.SUBPATTERN:
            return self._parts(value[3], way)
        if kind is op.BRANCH:
            each = {self._parts(branch, way) for branch in value[1]}
            return False if False in each else None if None in each else True
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            parts = self._parts(value[2], way)
            return None if parts and value[0] == 0 else parts
        return False

    def _few(self, items: Items) -> Items:
        """Return the items at the beginning that have few spellings together."""
        run: Spellings = frozenset(("",))
        for place, item in enumerate(items):
            spelled = self._spelled(item)
            if spelled is None or len(run) * len(spelled) > _FEW:
                return items[:place]
            run = self._joined(run, spelled)
        return items

    def _inside(self, item: tuple[Any, Any], before: Items, behind: Items) -> list[Spellings]:
        """Return the same of one item whose spellings are too many to tell apart, with what stands beside it."""
        kind, value = item
        if kind is op.SUBPATTERN:
            return self._asked([*before, *value[3], *behind])
        if kind is op.BRANCH:
            branches = [self.sets_of([*before, *branch, *behind]) for branch in value[1]]
            return [frozenset().union(*(sets[0] for sets in branches))] if all(branches) else []
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] >= 1:
            return self._asked(value[2])
        return []

    def _spelled(self, item: tuple[Any, Any]) -> Spellings | None:
        """Return everything that an item matches, in small letters; None where that is much, or nobody knows."""
        self._step(5)
        kind, value = item
        if kind is op.LITERAL:
            return frozenset((_small(value),)) if value not in _MARKS else None
        if kind is op.AT and value is op.AT_BOUNDARY:
            return frozenset((EDGE,))
        if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return frozenset(("",))
        if kind is op.SUBPATTERN:
            return self._sequence(value[3])
        if kind is op.IN:
            small = len(value) <= _SMALL_CLASS and all(
                one is op.LITERAL and code not in _MARKS for one, code in value
            )
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

    def _sequence(self, items: Items) -> Spellings | None:
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


_EDGES = {
    1: {op.AT_BOUNDARY, op.AT_END, op.AT_END_STRING},
    -1: {op.AT_BOUNDARY, op.AT_BEGINNING, op.AT_BEGINNING_STRING},
}


def _small(code: int) -> str:
    """Return a letter in small; the one that would become two, which RE2 takes for no case of them, as it is."""
    small = chr(code).lower()
    return small if len(small) == 1 else chr(code)


def expression(word: str) -> str:
    """Return a pattern of a word of a set, whatever its case, for bytes in which the letters of ASCII are small."""
    return r"\b".join("".join(map(_cased, part)) for part in word.split(EDGE))


def _cased(char: str) -> str:
    """Return a pattern of the bytes of one character in every case. Folded text has no other of an ASCII letter."""
    if char.isascii():
        return re.escape(char.lower())
    spelled = sorted("".join(rf"\x{byte:02x}" for byte in case.encode()) for case in _in_every_case(char))
    return spelled[0] if len(spelled) == 1 else f"(?:{'|'.join(spelled)})"


def _in_every_case(char: str) -> set[str]:
    folded = char.casefold()
    return {case for case in (char, folded, *_cases().get(folded, ())) if len(case) == 1}


@cache
def _cases() -> Mapping[str, Sequence[str]]:
    """Return the letters that have a small one of their own, by that one."""
    cases: dict[str, list[str]] = {}
    for char in map(chr, range(0x80, _LAST_CASED + 1)):
        small = char.casefold()
        if small != char:
            cases.setdefault(small, []).append(char)
    return cases


_LAST_CASED = 0x1E921
"""The last letter of Unicode that has a small one (Adlam)."""


def phrases(keyword: str) -> Iterator[str]:
    """Yield the words of a keyword; where they are apart in prose, keys join them: social_security."""
    words = keyword.split(" ")
    if len(words) == 1 or not all(words):
        yield keyword
        return
    for gaps in product(("", " ", "_", "-"), repeat=len(words) - 1):
        yield words[0] + "".join(gap + word for gap, word in zip(gaps, words[1:], strict=True))


def small(text: str) -> bytes:
    """Return a text in small letters, as far as these have as many bytes: each stands where it stood."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    table = _table()
    within = codes < table.size
    changed = np.where(within, table.take(np.where(within, codes, 0)), codes)
    return changed.astype("<u4").tobytes().decode("utf-32-le").encode()


def spellings(word: str) -> Iterator[bytes]:
    """Yield the bytes of a word as they may stand in what `small` returns."""
    for chars in product(*map(_left, word)):
        yield "".join(chars).encode()


def _left(char: str) -> Sequence[str]:
    """Return a character in every case, as far as `small` does not make them one."""
    if char.isascii():
        return (char.lower(),)
    return sorted({small(one).decode() for one in _in_every_case(char)})


@cache
def _table() -> NDArray[np.uint32]:
    """Return the small letter of every character that has one of as many bytes, and the others as they are."""
    table = np.arange(_LAST_CASED + 1, dtype=np.uint32)
    for code in range(_LAST_CASED + 1):
        if not 0xD800 <= code < 0xE000:
            char = chr(code)
            folded = char.lower() if char.isascii() else char.casefold()
            if len(folded) == 1 and len(folded.encode()) == len(char.encode()):
                table[code] = ord(folded)
    return table


_SOFT_EDGE = "\a"
"""Stands in a run where a word ends if a letter stands there, since none can stand beyond."""

_MARKS = frozenset(map(ord, (EDGE, _SOFT_EDGE)))
_NOTHING: Spellings = frozenset(("",))
_SOFT: Spellings = frozenset((_SOFT_EDGE,))
_NEEDLESS = re.compile(r"(?<=\w)[\b\a]+(?=[^\w\b\a])|(?<=[^\w\b\a])[\b\a]+(?=\w)", re.ASCII)
_MEANT = re.compile(r"(?<=\w)\a|\a(?=\w)", re.ASCII)


def _plain(word: str) -> str:
    """Return a word with one EDGE where the letters do not tell it."""
    word = _MEANT.sub(EDGE, _NEEDLESS.sub("", word)).replace(_SOFT_EDGE, "")
    return re.sub(f"{EDGE}+", EDGE, word)[:_LONGEST]


def _letters(word: str) -> str:
    return word.replace(EDGE, "").replace(_SOFT_EDGE, "").strip()


def _tell(words: Spellings) -> bool:
    return min(len(_letters(word)) + word.count(EDGE) for word in words) >= _TELLING


def _holds(words: Spellings, others: Spellings) -> bool:
    """Say whether one of the others stands in each of the words."""
    return all(any(other in word for other in others) for word in words)


def _frequency(words: Spellings) -> float:
    """Return how often words stand in texts, as far as their length in UTF-8 tells: two Chinese letters are a word."""
    return sum(_seen(word) for word in words)


def _seen(word: str) -> float:
    letters = _letters(word)
    return _COMMON.get(letters) or 3.0 ** -(len(letters.encode()) + word.count(EDGE))
