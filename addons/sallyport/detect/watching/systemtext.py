"""What a conversation's system prompt says, as words that an answer can be compared with.

Words are compared without case, punctuation, accents and invisible characters; letters of scripts that are
written without spaces count as half a word each. Beside the text as it stands, the index holds it in ROT13
and written backwards, so that an answer in these is found by the same comparison.
"""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache

from sallyport.fold import fold

GRAM = 3
"""Words after which a run is followed; fewer are common to all texts."""

MAX_PLACES = 32
"""Places of the prompt that are followed at once: one that repeats itself does not cost more."""

MAX_WORD = 64
"""Longest word, and longest gap between words, in characters."""

_VARIANT_CHARS = 20_000
"""Of a system prompt that are indexed in ROT13 and backwards as well."""

_ALONE = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_INVISIBLE = r"\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
WORD = re.compile(rf"[{_ALONE}]|(?:[^\W_{_ALONE}]|[{_INVISIBLE}])+")
_ASCII_WORD = re.compile("[a-z0-9]+")
_DROPPED = re.compile(rf"[{_INVISIBLE}]+")
_END = "\0"
"""Stands between texts; no word of an answer equals it."""


def spelled(word: str) -> str:
    """Return a word in the form in which words are compared; empty if nothing of it can be seen."""
    return word.lower() if word.isascii() else fold(_DROPPED.sub("", word)).casefold()


def weight(word: str) -> float:
    """Return how much of a word it is: a letter of a script without spaces is half a word."""
    return 0.5 if len(word) == 1 and ord(word) > 0x0E00 else 1.0


def words(text: str) -> Iterator[str]:
    """Yield the words of a text as they are compared."""
    if text.isascii():
        yield from _ASCII_WORD.findall(text.lower())
        return
    for match in WORD.finditer(text):
        word = spelled(match.group())
        if word:
            yield word


class SystemText:
    """The system prompts of one conversation.

    least: words in a row (12 unless told) that make a leak. Fewer altogether cannot leak: then `empty`.
    """

    def __init__(self, system: Sequence[str], least: int) -> None:
        self.least = least
        self._system = tuple(system)
        self.empty = not any(self._is_long([*words(text)]) for text in system)

    @cached_property
    def _variants(self) -> Sequence[list[str]]:
        """The words of each text as it stands, in ROT13 and backwards, as far as they are enough to leak."""
        texts = list(self._system)
        for text in self._system:
            texts += (codecs.encode(text[:_VARIANT_CHARS], "rot13"), text[:_VARIANT_CHARS][::-1])
        return [said for said in ([*words(text)] for text in texts) if self._is_long(said)]

    @cached_property
    def _lines(self) -> Sequence[str]:
        return [f" {' '.join(said)} " for said in self._variants]

    @cached_property
    def words(self) -> Sequence[str]:
        """All words, with a mark between texts."""
        return [_END, *(word for said in self._variants for word in (*said, _END))]

    @cached_property
    def _places(self) -> Mapping[tuple[str, str, str], Sequence[int]]:
        found: dict[tuple[str, str, str], list[int]] = {}
        start = 1
        for said in self._variants:
            for at, gram in enumerate(zip(said, said[1:], said[2:], strict=False), start + GRAM - 1):
                places = found.setdefault(gram, [])
                if len(places) < MAX_PLACES:
                    places.append(at)
            start += len(said) + 1
        return found

    def _is_long(self, said: Sequence[str]) -> bool:
        return len(said) >= 2 * self.least or sum(map(weight, said)) >= self.least

    def may_be_in(self, text: str) -> bool:
        """Say whether a whole text may hold a leak, at a small part of what following its words costs.

        Of as many words in a row as make a leak, three that are looked at are among them wherever it begins.
        """
        said = [*words(text)]
        steps = range(0, len(said) - GRAM + 1, max(1, self.least - GRAM + 1))
        return any(f" {' '.join(said[at : at + GRAM])} " in line for line in self._lines for at in steps)

    def places(self, gram: tuple[str, str, str]) -> Sequence[int]:
        """Return the places in `words` where these GRAM words end."""
        return self._places.get(gram, ())

    def longest_run(self, said: Sequence[str]) -> int:
        """Return how many words of the longest run that stands here."""
        longest = 0
        active: dict[int, int] = {}
        for index, word in enumerate(said):
            grown = {at + 1: length + 1 for at, length in active.items() if self.words[at + 1] == word}
            if index + 1 >= GRAM:
                for at in self.places((said[index - 2], said[index - 1], word)):
                    if len(grown) < MAX_PLACES:
                        grown.setdefault(at, GRAM)
            active = grown
            longest = max(longest, *active.values()) if active else longest
        return longest


@lru_cache(maxsize=16)
def system_text(system: tuple[str, ...], least: int = 12) -> SystemText:
    """Return the index of these prompts; the last ones are kept, since every turn sends the same again."""
    return SystemText(system, least)
