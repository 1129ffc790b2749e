"""The laws of watchers, to be asked of any of them."""

from collections.abc import Callable, Iterable
from itertools import pairwise

from sallyport.detect.watching.watcher import Match, Watcher


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    """Return the text in pieces that end at these places."""
    places = sorted({0, len(text), *(cut for cut in cuts if 0 < cut < len(text))})
    return [text[low:high] for low, high in pairwise(places)]


def followed(watcher: Watcher, parts: Iterable[str], max_held: int) -> list[Match]:
    """Feed the parts, assert every law on the way, and return the matches in order."""
    found: list[Match] = []
    shown = total = 0
    for part in parts:
        fresh = watcher.feed(part)
        total += len(part)
        assert all(match.start >= shown for match in fresh), "a match began in what had passed"
        assert all(match.start < match.end <= total for match in fresh)
        assert shown <= watcher.held_from <= total, "what had passed was held again"
        assert total - watcher.held_from <= max_held, "more is held than may be"
        shown = watcher.held_from
        found += fresh
    last = watcher.end()
    assert all(match.start >= shown and match.end <= total for match in last)
    assert watcher.held_from == total, "something is held after the end"
    found += last
    return sorted(found, key=_place)


def _place(match: Match) -> tuple[int, int, str]:
    return match.start, match.end, match.rule


def lawful(make: Callable[[], Watcher], text: str, cuts: Iterable[int], max_held: int) -> list[Match]:
    """Assert that this cutting gives what the whole gives, and its last piece at once; return that."""
    whole = followed(make(), [text], max_held=max(max_held, 0))
    assert followed(make(), pieces(text, cuts), max_held) == whole, "the result depends on the cutting"
    assert sorted(make().end(text), key=_place) == whole, "the result depends on when the end is told"
    return whole
