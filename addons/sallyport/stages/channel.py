"""One text of an answer on its way to the client: what stands in it goes out up to where a match may still begin.

It is looked at as the provider wrote it, placeholders and all. What goes out depends on the text alone, never on how
it was cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.finished import FinishedWatcher
from sallyport.detect.watching.watcher import Match, Watcher
from sallyport.exchange import Surface
from sallyport.policy.output import OutputAction
from sallyport.stages.calling import Arguments
from sallyport.stages.judge import Judge, marker, notice
from sallyport.stages.spelling import JsonSource, Plain, Spelling

_AT_ONCE = 2048
"""Characters that wait until those look at them who only record."""

_BEFORE = 512
"""Characters before what is held that are kept, to judge it by when it has waited too long."""


@dataclass(frozen=True, slots=True)
class Follower:
    """A watcher, and whether anything it finds may change the answer: only then does text wait for it."""

    watcher: Watcher
    acts: bool


type Followers = Callable[[Surface, str], Sequence[Follower]]
"""Makes the watchers of one text by its surface and its channel or pointer; "" asks for those of any."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The answer ends: where, for what rule, and whether with an error (REFUSE) or as if finished (TRUNCATE).

    at: position in the channel's decoded text.
    """

    action: OutputAction
    rule: str
    at: int


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    action: OutputAction
    match: Match


class Channel:
    """One text of an answer on its way to the client.

    feed and end return what may go out now, edited; stop says that the answer ends here. Nothing comes out after.
    under_way: all channels of the answer that have had text and are not over. arguments: judges the text as the
    arguments of a call, None where it is none. arguments_act: whether that may end the answer; then the last
    character waits for it, however long it takes.
    """

    def __init__(
        self,
        surface: Surface,
        made: Callable[[], Sequence[Follower]],
        judge: Judge,
        found: Callable[[Match, OutputAction], None],
        *,
        json: bool,
        under_way: "dict[Channel, None] | None" = None,
        arguments: Arguments | None = None,
        arguments_act: bool = False,
    ) -> None:
        self._surface = surface
        self._made = made
        followers = made()
        self._acting = [follower.watcher for follower in followers if follower.acts]
        self._recording = [follower.watcher for follower in followers if not follower.acts]
        self._under_way = {} if under_way is None else under_way
        self._unseen: list[str] = []  # by those that record
        self._unseen_chars = 0
        self._arguments = arguments
        self._arguments_act = arguments is not None and arguments_act
        self._judge = judge
        self._recent = ""  # decoded: what is held, and a little of what stands before it
        self._found = found
        self._spelling: Spelling = JsonSource() if json else Plain()
        self._edits: list[_Edit] = []
        self._out = 0
        self._fed = 0
        self.stop: Stop | None = None

    @property
    def held(self) -> bool:
        """Whether some of what was fed has not come out."""
        return bool(self._spelling.rest())

    @property
    def waits_for_end(self) -> bool:
        """Whether the last character waits for the end of the text."""
        return self._arguments_act

    @property
    def held_chars(self) -> int:
        """Characters, as they are written, that have not come out."""
        return len(self._spelling.rest())

    def feed(self, source: str) -> str:
        """Take the next piece as the provider wrote it."""
        if self.stop is not None:
            return ""
        if self._arguments is not None:
            self._arguments.feed(source)
        said = self._spelling.feed(source)
        if said:
            self._look(said)
        return self._release(self._limit())

    def end(self) -> str:
        """The channel is over: return what was still held."""
        if self.stop is not None:
            self.break_off()
            return ""
        if said := self._spelling.end():
            self._look(said)
        for watcher in self._acting:
            self._take(watcher.end())
        self._end_recording(self._recording)
        if self._arguments is not None:
            self._take([_wrong_call(rule, self._fed - 1) for rule in self._arguments.end()])
        released = self._release(self._fed)
        return released if self.stop is not None else released + self._spelling.rest()

    def break_off(self) -> None:
        """The answer ends here, though this text may not: what went out of it has been looked at to its end."""
        self._end_recording([w for w in self._recording if not isinstance(w, FinishedWatcher)])

    def _end_recording(self, watchers: Sequence[Watcher]) -> None:
        self._under_way.pop(self, None)
        unseen = self._unseen_text()
        for watcher in watchers:
            self._take(watcher.end(unseen))

    def let_go(self) -> str:
        """Return what has waited too long for the end of a match, if it is none where it stands.

        A match that goes on behind it begins where the rest begins.
        """
        if self.stop is not None or self._edits or self._matches_as_it_stands():
            return ""
        return self._release(self._most)

    def _matches_as_it_stands(self) -> bool:
        """Say whether something held would be changed if the channel ended here."""
        recent = self._in_view()
        base = self._fed - len(recent)
        for follower in self._made():
            if follower.acts:
                matches = [*follower.watcher.feed(recent), *follower.watcher.end()]
                for match in matches:
                    if base + match.end > self._out and self._judge.action(match, self._surface).alters:
                        return True
        return False

    def _in_view(self) -> str:
        """Return what is held, with a little of what stands before it."""
        return self._recent[-(self._fed - self._out + _BEFORE) :]

    def _look(self, said: str) -> None:
        self._fed += len(said)
        self._recent += said
        if len(self._recent) > 4 * _BEFORE:
            self._recent = self._in_view()
        for watcher in self._acting:
            if matches := watcher.feed(said):
                self._take(matches)
        if self._recording:
            self._under_way[self] = None
            self._unseen.append(said)
            self._unseen_chars += len(said)
            if self._unseen_chars >= _AT_ONCE:
                self._catch_up()

    def _catch_up(self) -> None:
        """Have what is only recorded looked for in all that came: nothing waits for it, and much at once costs less."""
        unseen = self._unseen_text()
        for watcher in self._recording:
            self._take(watcher.feed(unseen))

    def _unseen_text(self) -> str:
        text = "".join(self._unseen)
        self._unseen, self._unseen_chars = [], 0
        return text

    def _take(self, matches: Sequence[Match]) -> None:
        for match in sorted(matches, key=_place):
            action = self._judge.action(match, self._surface)
            if action is OutputAction.ALLOW or match.end <= match.start:
                continue
            self._found(match, action)
            if action.alters and self._judge.enforced and match.end > self._out:
                self._edits.append(_Edit(max(match.start, self._out), match.end, action, match))

    def _limit(self) -> int:
        limit = self._most
        for watcher in self._acting:
            limit = min(limit, watcher.held_from)
        return limit

    @property
    def _most(self) -> int:
        """Return up to where text may go out before the channel is over."""
        return max(0, self._fed - 1) if self._arguments_act else self._fed

    def _release(self, limit: int) -> str:
        if not self._edits:
            return self._taken(limit)
        out: list[str] = []
        self._edits.sort(key=lambda edit: (edit.start, -edit.end, -edit.action.rank, edit.match.rule))
        while self._edits:
            count, end = _cluster(self._edits)
            first = self._edits[0]
            if first.start >= limit:
                break
            if end > limit:
                limit = first.start
                break
            worst = max(self._edits[:count], key=lambda edit: edit.action.rank)
            del self._edits[:count]
            out.append(self._taken(first.start))
            match worst.action:
                case OutputAction.TRUNCATE | OutputAction.REFUSE:
                    self.stop = Stop(worst.action, worst.match.rule, first.start)
                    return "".join(out)
                case OutputAction.MASK:
                    out.append(self._spelling.replaced(end, marker(worst.match)))
                    self._out = end
                case _:
                    out += (self._taken(end), notice(worst.match))
        out.append(self._taken(limit))
        return "".join(out)

    def _taken(self, end: int) -> str:
        if end <= self._out:
            return ""
        self._out = end
        return self._spelling.take(end)


def _wrong_call(rule: str, at: int) -> Match:
    """Return the match of a call's last character: whoever ends the answer there leaves it unfinished."""
    return Match(rule, Kind.OUTPUT, "TOOL_CALL", Severity.HIGH, at, at + 1)


def _place(match: Match) -> tuple[int, int, str]:
    return match.start, match.end, match.rule


def _cluster(edits: Sequence[_Edit]) -> tuple[int, int]:
    """Return how many edits from the first on overlap, one with the next, and where the last of them ends."""
    count, end = 1, edits[0].end
    for edit in edits[1:]:
        if edit.start >= end:
            break
        count, end = count + 1, max(end, edit.end)
    return count, end
