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
"""What was read, by the name of a pattern, with a digest: {"words": {name: [[word, ...], ...]}, "digest": hex}."""

type Spellings = frozenset[str]
type _Items = Sequence[tuple[Any, Any]]

_MOST = 96
"""Spellings of one part of a pattern that are told apart; a part with more is read in pieces."""

_SETS = 3
"""Sets of words by which one pattern is looked for."""

_SMALL_CLASS = 6
_FOREIGN = re.compile(r"\[:\^?[a-z]+:\]|\\[pPQECzUX]|\(\?[a-zA-Z]*U|\{(?:,\d*|0\d+(?:,\d*)?|\d+,0\d+)\}")
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

    source: as RE2 takes it. The words of the first set are the rarest. Empty where no such words are known.
    """
    if _FOREIGN.search(source):
        return ()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sets = _usable(_asked(parser.parse(source, re.IGNORECASE | re.ASCII)))
    except (re.error, OverflowError, RecursionError):
        return ()
    return tuple(words for number, words in enumerate(sets) if number < 1 or len(words) <= _MOST)[:_SETS]


def _asked(items: Iterable[tuple[Any, Any]]) -> list[Spellings]:
    """Return sets of words, of each of which one must stand in what a sequence matches."""
    found: list[Spellings] = []
    run: Spellings = frozenset(("",))

    def end_run() -> None:
        if "" not in run:
            found.append(run)

    for item in items:
        spelled = _spelled(item)
        if spelled is not None and len(run) * len(spelled) <= _MOST:
            run = frozenset(before + behind for before in run for behind in spelled)
            continue
        end_run()
        run = frozenset(("",)) if spelled is None else spelled
        if spelled is None:
            found += _inside(item)
    end_run()
    return found


def _inside(item: tuple[Any, Any]) -> list[Spellings]:
    """Return the same of one item whose spellings are too many to tell apart."""
    kind, value = item
    if kind is op.SUBPATTERN:
        return _asked(value[3])
    if kind is op.BRANCH:
        branches = [_usable(_asked(branch)) for branch in value[1]]
        return [frozenset().union(*(sets[0] for sets in branches))] if all(branches) else []
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT) and value[0] >= 1:
        return _asked(value[2])
    return []


def _spelled(item: tuple[Any, Any]) -> Spellings | None:
    """Return everything that an item matches, in small letters; None where that is much, or nobody knows."""
    kind, value = item
    if kind is op.LITERAL:
        return frozenset((_small(value),))
    if kind in (op.AT, op.ASSERT, op.ASSERT_NOT):
        return frozenset(("",))
    if kind is op.SUBPATTERN:
        return _sequence(value[3])
    if kind is op.IN:
        small = len(value) <= _SMALL_CLASS and all(one is op.LITERAL for one, _ in value)
        return frozenset(_small(code) for _, code in value) if small else None
    if kind is op.BRANCH:
        branches = [_sequence(branch) for branch in value[1]]
        known = [branch for branch in branches if branch is not None]
        together: Spellings = frozenset().union(*known)
        return together if len(known) == len(branches) and len(together) <= _MOST else None
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
        low, high, repeated = value
        once = _sequence(repeated) if high in (1, 2) else None
        if once is None:
            return None
        out: set[str] = {""} if low == 0 else set()
        times: Spellings = frozenset(("",))
        for number in range(1, high + 1):
            times = frozenset(before + behind for before in times for behind in once)
            if number >= low:
                out |= times
        return frozenset(out) if len(out) <= _MOST else None
    return None


def _small(code: int) -> str:
    """Return a letter in small; the one that would become two, which RE2 takes for no case of them, as it is."""
    small = chr(code).lower()
    return small if len(small) == 1 else chr(code)


def _sequence(items: _Items) -> Spellings | None:
    run: Spellings = frozenset(("",))
    for item in items:
        spelled = _spelled(item)
        if spelled is None or len(run) * len(spelled) > _MOST:
            return None
        run = frozenset(before + behind for before in run for behind in spelled)
    return run


def _usable(sets: Iterable[Spellings]) -> list[Spellings]:
    """Return the sets whose words say anything, without words that hold others; first whose words are met least often,
    as far as their lengths tell.
    """
    words = {_shortest(words) for words in sets if all(word.strip() for word in words)}
    return sorted(words, key=lambda words: (_frequency(words), sorted(words)))


def _frequency(words: Spellings) -> float:
    return sum(3.0 ** -len(word.strip()) for word in words)


def _shortest(words: Spellings) -> Spellings:
    kept: list[str] = []
    for word in sorted(words, key=lambda word: (len(word), word)):
        if not any(short in word for short in kept):
            kept.append(word)
    return frozenset(kept)
