"""Where a place of a text lies once originals stand in it: a provider counts characters of what it wrote."""

from bisect import bisect_left
from collections.abc import Callable

from sallyport.stages.placeholder import PLACEHOLDER


class Shifts:
    """The values that came back into one text. said: as the provider wrote it; sent: as it went out, or the beginning
    of that. lookup: placeholder -> original. in_bytes: places are bytes of UTF-8, not characters.

    Behind a place where the two differ in anything else, such as a mask, nothing is known.
    """

    def __init__(
        self, said: str, sent: str, lookup: Callable[[str], str | None], *, in_bytes: bool = False
    ) -> None:
        written = _bytes if in_bytes else str
        said, sent = written(said), written(sent)
        self._ends: list[int] = [0]  # of values, in what was said
        self._news: list[int] = [0]  # where these ends lie in what was sent
        self._starts: list[int] = [0]
        at = done = 0
        for match in PLACEHOLDER.finditer(said):
            between, whole = said[done : match.start()], match.group()
            original = lookup(whole)
            original = original and written(original)
            if not sent.startswith(between, at):
                break
            at += len(between)
            if sent.startswith(whole, at):
                at += len(whole)
            elif original is not None and sent.startswith(original, at):
                at += len(original)
                self._starts.append(match.start())
                self._ends.append(match.end())
                self._news.append(at)
            else:
                at -= len(between)
                break
            done = match.end()
        self._known = done + _alike(said[done:], sent[at:])

    def moved(self, place: int) -> int | None:
        """Return where a place of what was said lies in what was sent; None where it has not moved, or nobody knows.

        One inside a value lies at its end.
        """
        if place > self._known:
            return None
        value = bisect_left(self._starts, place, 1) - 1  # the last that begins before it
        new = self._news[value] + max(0, place - self._ends[value])
        return None if new == place else new


def _alike(one: str, other: str) -> int:
    """Return how many characters two texts begin with that are the same."""
    if one.startswith(other) or other.startswith(one):
        return min(len(one), len(other))
    return next(n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)


def _bytes(text: str) -> str:
    """Return a text of one character for each byte."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")
