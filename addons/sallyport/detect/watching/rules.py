"""Rules for answers at work on one text channel: openers are looked for in all of it, regions decided by one.

Prose without an opener costs one search and passes at once.
"""

import re
from collections.abc import Collection, Sequence

from sallyport.decision import Kind
from sallyport.detect import linear
from sallyport.detect.watching.rulefile import BEHIND, OutputRule
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Surface

_PIECE = 2048
"""Characters that are taken at once: every search costs as much as what it has before it."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def chosen(
    rules: Sequence[OutputRule], surface: Surface, paranoia: int, left_out: Collection[str] = ()
) -> list[OutputRule]:
    """Return the rules that look at this surface at this level. left_out: ids that nobody asks for."""
    return [
        rule
        for rule in rules
        if surface in rule.surfaces and rule.paranoia <= paranoia and rule.id not in left_out
    ]


class RuleSet:
    """Rules, compiled once for all channels. Threads may share it."""

    def __init__(self, rules: Sequence[OutputRule]) -> None:
        self.rules = tuple(rules)
        self._set = linear.PatternSet([_sensitive(rule, rule.opening.begun) for rule in self.rules])
        self.begun = [linear.pattern(_sensitive(rule, rule.opening.begun)) for rule in self.rules]
        self.whole = [linear.pattern(_sensitive(rule, rule.opening.whole)) for rule in self.rules]
        self._all = range(len(self.rules))

    @property
    def max_chars(self) -> int:
        """The most characters that a channel may hold back for these rules."""
        return max((rule.max_chars for rule in self.rules), default=0)

    def opened(self, text: str) -> Sequence[int]:
        """Return the rules of which an opener, or at the end the beginning of one, stands in a text."""
        found = self._set.matches(text)
        return self._all if found is None else found


class RuleWatcher:
    """Follows one channel; see Watcher for what holds. A set without rules holds nothing."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._buffer = ""
        self._base = 0
        self._total = 0
        self._pending: dict[int, int] = {}
        """Rule -> where its next match may begin, for rules that wait for more text."""

    @property
    def held_from(self) -> int:
        return min(self._pending.values(), default=self._total)

    def feed(self, text: str) -> list[Match]:
        if not text.isascii():
            text = _SURROGATES.sub("\ufffd", text)
        if len(text) <= _PIECE:
            return self._take(text)
        return [match for at in range(0, len(text), _PIECE) for match in self._take(text[at : at + _PIECE])]

    def _take(self, text: str) -> list[Match]:
        fresh = self._total
        before = self._buffer[-1:]
        self._total += len(text)
        opened = self._rules.opened(before + text)
        if not opened and not self._pending:
            self._buffer = (self._buffer + text)[-BEHIND:]
            self._base = self._total - len(self._buffer)
            return []
        self._buffer += text
        for rule in opened:
            self._pending.setdefault(rule, fresh)
        return self._decide(final=False)

    def end(self, text: str = "") -> list[Match]:
        found = self.feed(text) if text else []
        found += self._decide(final=True)
        self._buffer, self._base = "", self._total
        return found

    def _decide(self, *, final: bool) -> list[Match]:
        found: list[Match] = []
        for index, since in [*self._pending.items()]:
            waits = self._follow(index, since - self._base, final, found)
            if waits is None:
                del self._pending[index]
            else:
                self._pending[index] = waits + self._base
        done = max(self.held_from - BEHIND - self._base, 0)
        self._buffer = self._buffer[done:]
        self._base += done
        found.sort(key=_place)
        return found

    def _follow(self, index: int, at: int, final: bool, found: list[Match]) -> int | None:
        """Take one rule as far as the text goes. Return where it waits, in the buffer; None if nowhere."""
        rule, text = self._rules.rules[index], self._buffer
        begun, whole = self._rules.begun[index], self._rules.whole[index]
        end_of_region = _Regions(rule, text)
        while (start := begun.find(text, at)) is not None and start < len(text):
            at = start + 1
            if rule.opening.bounded and start and _in_word(text[start - 1]):
                continue
            before = text[max(start - BEHIND, 0) : start]
            if not whole.starts(text, start):
                if final or not rule.follows(before):
                    continue
                return start
            end = end_of_region(start, final)
            if end is None:
                if rule.unfinished.search(text[start:]) is None or not rule.follows(before):
                    continue  # whatever follows, it is no match
                return start
            region = text[start:end]
            hit = rule.pattern.search(region)
            if hit is None:
                continue
            low, high = hit.span(rule.group)
            if low >= high or not rule.stands(before, region, low, high):
                continue
            at = start + hit.span()[1]
            if not rule.checks(region[low:high]):
                continue
            offset = self._base + start
            found.append(Match(rule.id, Kind.OUTPUT, rule.entity, rule.severity, offset + low, offset + high))
        return None


class _Regions:
    """Ends of regions in one text. Looked for in order, so that each character is searched once."""

    def __init__(self, rule: OutputRule, text: str) -> None:
        self._rule = rule
        self._text = text
        self._closed: re.Match[str] | None = None
        self._searched = False

    def __call__(self, start: int, final: bool) -> int | None:
        """Return where the region that starts here ends; None if more text is needed to know."""
        limit = start + self._rule.max_chars
        at = start + self._rule.opening.fewest
        if self._rule.closer is not None:
            if not self._searched or (self._closed is not None and self._closed.start() < at):
                self._closed, self._searched = self._rule.closer.search(self._text, at), True
            if self._closed is not None and self._closed.end() <= limit:
                return self._closed.end()
        if len(self._text) >= limit:
            return limit
        return len(self._text) if final else None


def _place(match: Match) -> tuple[int, int, str]:
    return match.start, match.end, match.rule


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _sensitive(rule: OutputRule, source: str) -> str:
    return source if rule.case_sensitive else f"(?i){source}"
