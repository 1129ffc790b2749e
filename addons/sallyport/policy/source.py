"""A YAML file as plain values and places, read without tags, anchors, duplicate keys or surprises.

The file is read event by event, so that a bomb is refused where it starts and nothing recurses.
Scalars follow the YAML 1.2 core schema: `no`, `on` and 2026-01-01 are strings, `true` and 12 are not.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from sallyport.files import read_file
from sallyport.policy.problems import PolicyError, Problem

MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 16
MAX_NODES = 50_000

type Plain = bool | int | float | str | list[Plain] | dict[str, Plain] | None
type At = tuple[str | int, ...]

_DESCRIPTOR = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/\d+")
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: its values and where each of them stands.

    places: path of keys and indexes -> 1-based line and column of the key (or list item).
    """

    name: str
    data: Plain
    places: Mapping[At, tuple[int, int]]

    def place(self, at: At) -> tuple[int, int]:
        """Return line and column of a path, or of the nearest place above that the file has."""
        while at and at not in self.places:
            at = at[:-1]
        return self.places.get(at, (1, 1))

    def where(self, at: At) -> str:
        """Return file:line:column of a path."""
        line, column = self.place(at)
        return f"{self.name}:{line}:{column}"


def read_source(path: Path, name: str | None = None) -> Source:
    """Read a YAML file. name: how messages call it, the path as given if None.

    Raises PolicyError for a file that is absent, too large, not UTF-8 or not plain YAML.
    """
    shown = name or str(path)
    return parse_source(read_content(path, shown), shown)


def read_content(path: Path, name: str) -> bytes:
    """Return the bytes of a file, one more than MAX_FILE_BYTES at most. Raises PolicyError.

    Of what is no file only an open descriptor is read, as a shell gives one to a command: `<(git show HEAD:p.yaml)`.
    """
    try:
        if _DESCRIPTOR.fullmatch(str(path)):
            with path.open("rb") as file:
                return file.read(MAX_FILE_BYTES + 1)
        return read_file(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        todo = "Name a file that exists and that this user may read."
        raise PolicyError([Problem(name, "", f"cannot be read ({reason})", todo)]) from None


def parse_source(
    content: bytes, name: str, *, max_bytes: int = MAX_FILE_BYTES, max_nodes: int = MAX_NODES
) -> Source:
    """Read YAML bytes. Raises PolicyError and nothing else."""
    if len(content) > max_bytes:
        todo = "Split it or remove what is not needed."
        raise PolicyError([Problem(f"{name}:1:1", "", f"is larger than {max_bytes} bytes", todo)])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(
            [Problem(f"{name}:{line}:1", "", "is not UTF-8 text", "Save the file as UTF-8.")]
        ) from None
    reader = _Reader(name, max_nodes)
    try:
        data = reader.read(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"
        raise PolicyError([Problem(where, "", "is not valid YAML here", _hint(error))]) from None
    except (YAMLError, ValueError, IndexError, AttributeError, AssertionError, OverflowError):
        # ruamel lets a few plain exceptions through on malformed input (escapes above U+10FFFF, bad
        # directives); to the operator they all mean the same.
        todo = "Check quoting, escapes and directives."
        raise PolicyError([Problem(f"{name}:1:1", "", "is not valid YAML", todo)]) from None
    if reader.problems:
        raise PolicyError(reader.problems)
    return Source(name, data, reader.places)


def dotted(at: At) -> str:
    """Return a path as an operator writes it: access.rules[2].when. A key too long to be one is not shown."""
    shown = (p if isinstance(p, int) or len(p) <= 40 else f"<{len(p)} characters>" for p in at)
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in shown).removeprefix(".")


def _hint(error: MarkedYAMLError) -> str:
    """Return ruamel's own words where they hold none of the file's text."""
    problem = error.problem or ""
    if not problem or any(quote in problem for quote in "'\"`"):
        return "Check indentation, colons, brackets and quotes on this line and the one above."
    return f"The YAML reader says: {problem}."


@dataclass(slots=True)
class _Open:
    """A mapping or list that has not ended yet. key: read, its value still to come."""

    value: dict[str, Plain] | list[Plain]
    at: At
    key: str | None = None


class _Stop(Exception):
    """Reading cannot go on; the problem is noted."""


@dataclass(slots=True)
class _Reader:
    name: str
    max_nodes: int
    places: dict[At, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    root: Plain = None
    stack: list[_Open] = field(default_factory=list)
    here: tuple[int, int] = (1, 1)

    def read(self, text: str) -> Plain:
        documents = 0
        try:
            for count, event in enumerate(YAML(typ="safe", pure=True).parse(text)):
                self.here = (event.start_mark.line + 1, event.start_mark.column + 1)
                documents += isinstance(event, DocumentStartEvent)
                if documents > 1:
                    self._stop("holds a second YAML document", "Keep one document per file")
                if count > self.max_nodes or len(self.stack) > MAX_DEPTH:
                    self._stop("is too large or too deeply nested", "Keep the file flat and short")
                self._take(event)
        except _Stop:
            return None
        return self.root

    def _take(self, event: Event) -> None:
        if isinstance(event, AliasEvent):
            self._stop("uses an alias", "Write the value out; anchors and aliases are not read")
        if isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent) and (
            event.anchor is not None or event.ctag is not None
        ):
            self._stop("uses an anchor or a tag", "Write the plain value; neither is read")
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            value: dict[str, Plain] | list[Plain] = {} if isinstance(event, MappingStartEvent) else []
            self.stack.append(_Open(value, self._put(value)))
        elif isinstance(event, CollectionEndEvent):
            self.stack.pop()
        elif isinstance(event, ScalarEvent):
            plain = event.style is None
            top = self.stack[-1] if self.stack else None
            if top is not None and isinstance(top.value, dict) and top.key is None:
                self._key(top, self._text(event.value))
            else:
                self._put(self._resolve(event.value) if plain else self._text(event.value))

    def _key(self, parent: _Open, key: str) -> None:
        if key in parent.value:
            self._note((*parent.at, key), "the key is given twice", "Keep one of the two; one would be lost")
        parent.key = key
        self.places.setdefault((*parent.at, key), self.here)

    def _put(self, value: Plain) -> At:
        """Put a value where the open mapping or list wants it, and return its path."""
        if not self.stack:
            self.root = value
            return ()
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            at = (*parent.at, len(parent.value))
            parent.value.append(value)
            self.places[at] = self.here
            return at
        if parent.key is None:
            self._stop("uses a list or mapping as a key", "Keys are plain words")
        at = (*parent.at, parent.key)
        parent.value[parent.key] = value
        parent.key = None
        return at

    def _resolve(self, word: str) -> Plain:
        if word in _WORDS:
            return _WORDS[word]
        if _INT.fullmatch(word):
            return int(word)
        if _FLOAT.fullmatch(word) and math.isfinite(number := float(word)):
            return number
        if _NOT_FINITE.fullmatch(word):
            self._note(self._at(), "is not a finite number", "Give a number or leave the key out")
        return self._text(word)

    def _text(self, text: str) -> str:
        if any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
            self._note(self._at(), "holds a NUL or half a surrogate pair", "Remove the escape")
            return ""
        return text

    def _at(self) -> At:
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.at, len(top.value))
        return top.at if top.key is None else (*top.at, top.key)

    def _note(self, at: At, what: str, todo: str) -> None:
        line, column = self.here
        self.problems.append(Problem(f"{self.name}:{line}:{column}", dotted(at), what, f"{todo}."))

    def _stop(self, what: str, todo: str) -> NoReturn:
        self._note(self._at(), what, todo)
        raise _Stop
