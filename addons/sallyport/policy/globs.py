"""Lists of names and globs, and in which of many such lists a name stands: one bit for each list.

`*` stands for any characters, `?` for one. A name costs one look-up once it has been seen.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate

_MAX_SEEN = 4096
_MAX_SEEN_CHARS = 200


class Globs:
    """One list of names and globs."""

    __slots__ = ("_lists",)

    def __init__(self, patterns: Iterable[str], *, fold: bool = True) -> None:
        """Take patterns. fold: upper and lower case are the same."""
        self._lists = GlobLists([tuple(patterns)], fold=fold)

    def __contains__(self, name: str) -> bool:
        return self._lists.holding(name) == 1


class GlobLists:
    """Many lists, each a bit by its place; lists that are None have no say.

    unsaid: the bits of the lists that are None.
    """

    __slots__ = ("_exact", "_fold", "_globs", "_seen", "unsaid")

    def __init__(self, lists: Sequence[Sequence[str] | None], *, fold: bool = True) -> None:
        self._fold = fold
        self._exact: dict[str, int] = {}
        globs: dict[str, int] = {}
        self.unsaid = 0
        for place, patterns in enumerate(lists):
            if patterns is None:
                self.unsaid |= 1 << place
                continue
            for written in patterns:
                pattern = written.casefold() if fold else written
                into = globs if any(c in pattern for c in "*?[") else self._exact
                into[pattern] = into.get(pattern, 0) | 1 << place
        self._globs = tuple((re.compile(_shape(pattern)), bits) for pattern, bits in globs.items())
        self._seen: dict[str, int] = {}

    def holding(self, name: str) -> int:
        """Return the bits of the lists that a name stands in."""
        bits = self._seen.get(name)
        if bits is None:
            folded = name.casefold() if self._fold else name
            bits = self._exact.get(folded, 0)
            for shape, own in self._globs:
                if shape.match(folded):
                    bits |= own
            if len(name) <= _MAX_SEEN_CHARS:
                if len(self._seen) >= _MAX_SEEN:
                    self._seen.clear()  # clients write such names: they must not fill the memory
                self._seen[name] = bits
        return bits


def _shape(pattern: str) -> str:
    """Return the regular expression of a glob in which brackets are plain characters."""
    return translate(pattern.replace("[", "[[]"))
