"""What is found in an answer becomes a notice, a marker, an early end or an error, as the policy says.

One OutputFilter serves one answer, one channel of it each of its texts. A text is looked at as the provider wrote
it, placeholders and all; it goes out up to the first place where a match may still begin. What goes out depends
on the text alone, never on how it was cut.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sallyport.decision import Action, Decision, Finding, Kind, Mode, Severity
from sallyport.detect.watching.finished import FinishedWatcher
from sallyport.detect.watching.watcher import Match, Watcher
from sallyport.exchange import Exchange, Request, Segment, Surface
from sallyport.policy.output import Output, OutputAction
from sallyport.stages.accepted import without_accepted
from sallyport.stages.calling import Arguments, Calls, are_arguments, is_name
from sallyport.stages.spelling import JsonSource, Plain, Spelling

NAME = "output"

MAX_FOUND = 1000
"""Findings kept of one answer; of an answer with more only the worst action still changes."""

_AT_ONCE = 2048
"""Characters that wait until those look at them who only record."""

_BEFORE = 512
"""Characters before what is held that are kept, to judge it by when it has waited too long."""

INVISIBLE = "output.smuggling."
"""Rules of characters nobody sees: masked, they are taken out, and no marker stands in their place."""

_WHOLE_TEXT = "output.schema."
"""Rules of a text as a whole: of each part by itself, not of the parts joined."""

_SEVERITIES = list(Severity)
_REASONS = {
    OutputAction.OBSERVE: (Action.ALLOW, "output.observed"),
    OutputAction.ANNOTATE: (Action.MODIFY, "output.annotated"),
    OutputAction.MASK: (Action.MODIFY, "output.masked"),
    OutputAction.TRUNCATE: (Action.MODIFY, "output.truncated"),
    OutputAction.REFUSE: (Action.DENY, "output.refused"),
}


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


class Judge:
    """Says what happens to a match in one exchange's answer."""

    def __init__(self, section: Output, exchange: Exchange, *, mode: Mode = Mode.ENFORCE) -> None:
        self._section = section
        self.mode = mode
        self._known: dict[tuple[str, str, float, Surface], OutputAction] = {}
        # A condition of an exclusion sees the answer's own surface, not that of a text of the request.
        self._exchange = replace(exchange, request=_without_texts(exchange.request))

    @property
    def enforced(self) -> bool:
        return self.mode.acts

    def action(self, match: Match, surface: Surface) -> OutputAction:
        """Return what the policy asks for, whether or not it is enforced."""
        key = (match.rule, match.entity, match.score, surface)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._asked(match, surface)
        return known

    def _asked(self, match: Match, surface: Surface) -> OutputAction:
        section = self._section
        action = section.action(match.rule, match.kind, match.entity)
        if action is OutputAction.ALLOW:
            return action
        unsure = match.kind is Kind.PII and match.score < section.min_score
        slight = match.kind is not Kind.PII and _SEVERITIES.index(match.severity) < _SEVERITIES.index(
            section.min_severity
        )
        if unsure or slight or self._is_accepted(match, surface):
            return OutputAction.OBSERVE
        return tamed(_finished(action, match.rule), surface)

    def _is_accepted(self, match: Match, surface: Surface) -> bool:
        if not self._section.exclusions:
            return False
        request = replace(self._exchange.request, segments=(Segment("answer", surface, ""),))
        exchange = replace(self._exchange, request=request)
        return not without_accepted(exchange, (finding_of(match, "answer"),), self._section.exclusions)


def tamed(action: OutputAction, surface: Surface) -> OutputAction:
    """Return what an action comes to on a surface.

    Reasoning is signed and comes back to the provider, so that it may end but not be altered; a notice in the
    arguments of a tool would be one more argument.
    """
    if surface is Surface.REASONING and action in (OutputAction.ANNOTATE, OutputAction.MASK):
        return OutputAction.OBSERVE
    if surface is Surface.TOOL_CALL and action is OutputAction.ANNOTATE:
        return OutputAction.OBSERVE
    return action


def _finished(action: OutputAction, rule: str) -> OutputAction:
    """Return what an action comes to for what can only be said of a finished text: half of it is no text."""
    if action in (OutputAction.ANNOTATE, OutputAction.MASK):
        if rule.startswith("output.tools."):
            return OutputAction.TRUNCATE
        if rule.startswith("output.schema."):
            return OutputAction.REFUSE
    return action


def finding_of(match: Match, at: str) -> Finding:
    """Return a match as a finding. at: the channel, or the pointer of a whole text."""
    return Finding(
        match.rule, match.kind, match.entity, match.severity, at, match.start, match.end, match.score
    )


def marker(match: Match) -> str:
    """Return what stands in the place of a masked match."""
    if match.rule.startswith(INVISIBLE):
        return ""
    return f"[{match.entity}]" if match.kind in (Kind.PII, Kind.SECRET) else f"[removed: {match.rule}]"


def notice(match: Match) -> str:
    """Return what stands behind an annotated match."""
    return f" [gateway: {match.rule}]"


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
        return self.held_chars > 0

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
        base = self._fed - len(self._recent)
        for follower in self._made():
            if follower.acts:
                matches = [*follower.watcher.feed(self._recent), *follower.watcher.end()]
                for match in matches:
                    if base + match.end > self._out and self._judge.action(match, self._surface).alters:
                        return True
        return False

    def _look(self, said: str) -> None:
        self._fed += len(said)
        self._recent = (self._recent + said)[-(self._fed - self._out + _BEFORE) :]
        for watcher in self._acting:
            self._take(watcher.feed(said))
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
        return min([self._most, *(watcher.held_from for watcher in self._acting)])

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


class OutputFilter:
    """What one answer is looked at for, and what was found in it.

    followers: makes the watchers of a channel. judge: says what happens to their matches. calls: looks at tool
    calls, None where the policy says nothing of them.
    """

    def __init__(
        self, section: Output, judge: Judge, followers: Followers, calls: Calls | None = None
    ) -> None:
        self._calls = calls
        self._section = section
        self._surfaces = frozenset(section.surfaces)
        self._judge = judge
        self._followers = followers
        self._findings: list[tuple[Finding, Surface]] = []
        self._seen: set[tuple[str, int, int]] = set()
        self._worst: OutputAction = OutputAction.ALLOW
        self._acts: dict[Surface, bool] = {}
        self._under_way: dict[Channel, None] = {}
        self.stop: Stop | None = None

    @property
    def enforced(self) -> bool:
        return self._judge.enforced

    @property
    def judge(self) -> Judge:
        """What says what happens to a match."""
        return self._judge

    @property
    def found(self) -> tuple[tuple[Finding, Surface], ...]:
        """What was found in the answer, which ends here, in that order, and where."""
        self._break_off()
        return tuple(self._findings)

    def acts_on(self, surface: Surface) -> bool:
        """Say whether a text of this surface may be changed or held back."""
        known = self._acts.get(surface)
        if known is None:
            calls = surface is Surface.TOOL_CALL and self._calls_act
            known = self._acts[surface] = calls or any(f.acts for f in self._made(surface, ""))
        return known

    @property
    def acts(self) -> bool:
        """Whether anything of the answer may be changed or held back."""
        return any(self.acts_on(surface) for surface in self._surfaces)

    def prepare(self) -> None:
        """Learn what of the answer may be changed or held, before any of it is there."""
        for surface in self._surfaces:
            self.acts_on(surface)

    def channel(self, name: str, surface: Surface, *, json: bool = False) -> Channel:
        """Return what follows a text that comes in pieces."""
        return Channel(
            surface,
            lambda: self._made(surface, name),
            self._judge,
            lambda match, action: self._note(match, action, name, surface, once=False),
            json=json,
            under_way=self._under_way,
            arguments=self._judged(surface, name),
            arguments_act=self._calls_act,
        )

    def whole(
        self,
        at: str,
        surface: Surface,
        text: str,
        *,
        json: bool = False,
        payload: Mapping[str, Any] | Sequence[Any] | None = None,
        channel: str = "",
    ) -> tuple[str, Stop | None]:
        """Return a whole text as it goes out, and whether the answer ends in it.

        A match that stands at the same place of another text of its kind is counted once: streams repeat
        at their end what they have said. payload: what the pointer points into, to see a tool call whole.
        channel: of the text in a stream.
        """
        is_call = surface is Surface.TOOL_CALL and surface in self._surfaces
        if is_call and self._calls is not None and is_name(at):
            stop = self._called(self._calls.named(at, text, payload, channel), at)
            if stop is not None:
                return "", stop
        arguments = self._judged(surface, channel or at[1:], at, payload) if are_arguments(at) else None
        followed = Channel(
            surface,
            lambda: self._made(surface, at),
            self._judge,
            lambda match, action: self._note(match, action, at, surface, once=True),
            json=json,
            arguments=arguments,
            arguments_act=self._calls_act,
        )
        out = followed.feed(text)
        out += followed.end()
        return out, followed.stop

    def across(self, at: str, surface: Surface, texts: Sequence[str]) -> list[tuple[Match, OutputAction]]:
        """Return what stands across a place where two texts meet that clients show joined, and what becomes of it.

        The last comes first, none overlap, and only what is changed is returned; all is recorded. Offsets are those of
        the texts joined.
        """
        borders, length = [], 0
        for text in texts:
            borders.append(length)
            length += len(text)
        found: list[tuple[Match, OutputAction]] = []
        for follower in self._made(surface, at):
            for match in follower.watcher.end("".join(texts)):
                action = self._judge.action(match, surface)
                place = bisect_right(borders, match.start)
                meets = place < len(borders) and borders[place] < match.end
                if meets and action is not OutputAction.ALLOW and not match.rule.startswith(_WHOLE_TEXT):
                    self._note(match, action, at, surface, once=True)
                    if action.alters and self.enforced:
                        found.append((match, action))
        found.sort(key=lambda one: (-one[1].rank, one[0].start, -one[0].end, one[0].rule))
        kept: list[tuple[Match, OutputAction]] = []
        for match, action in found:
            if all(match.end <= other.start or other.end <= match.start for other, _ in kept):
                kept.append((match, action))
        return sorted(kept, key=lambda one: -one[0].start)

    def _called(self, wrong: Sequence[Match], at: str) -> Stop | None:
        """Record what is wrong with a call; return where the answer ends, None if it goes on."""
        stop = None
        for match in wrong:
            action = self._judge.action(match, Surface.TOOL_CALL)
            if action is not OutputAction.ALLOW:
                self._note(match, action, at, Surface.TOOL_CALL, once=True)
                if self.enforced and action.alters and stop is None:
                    stop = Stop(action, match.rule, 0)
        return stop

    def _judged(
        self,
        surface: Surface,
        channel: str,
        at: str = "",
        payload: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> Arguments | None:
        """Return what judges a text as the arguments of a call, None where it is none or nobody asks."""
        if self._calls is None or surface is not Surface.TOOL_CALL or surface not in self._surfaces:
            return None
        return self._calls.arguments(channel, at, payload)

    @property
    def _calls_act(self) -> bool:
        return self._calls is not None and self.enforced and self._section.tools.action.alters

    def _made(self, surface: Surface, name: str) -> Sequence[Follower]:
        if surface not in self._surfaces:
            return ()
        made = self._followers(surface, name)
        return made if self.enforced else [Follower(follower.watcher, False) for follower in made]

    def _note(self, match: Match, action: OutputAction, at: str, surface: Surface, *, once: bool) -> None:
        key = (f"{match.rule} {surface}", match.start, match.end)
        if once and key in self._seen:
            return
        if action.rank > self._worst.rank:
            self._worst = action
        if len(self._findings) < MAX_FOUND:
            self._seen.add(key)
            self._findings.append((finding_of(match, at), surface))

    def absorb(self, other: "OutputFilter") -> None:
        """Take over what another filter has found, as far as there is room."""
        other._break_off()
        if other._worst.rank > self._worst.rank:
            self._worst = other._worst
        self._findings += other._findings[: max(0, MAX_FOUND - len(self._findings))]

    def _break_off(self) -> None:
        """Have what is only recorded looked for in texts whose end never came."""
        for channel in [*self._under_way]:
            channel.break_off()

    @property
    def surfaces(self) -> dict[str, Surface]:
        """The surface of each text that something was found in, by its channel or pointer."""
        return {finding.at: surface for finding, surface in self._findings}

    def decision(self) -> Decision | None:
        """Return what the stage says of the answer, which ends here; None where nothing was found."""
        self._break_off()
        if self._worst is OutputAction.ALLOW:
            return None
        action, reason = _REASONS[self._worst]
        return Decision(
            NAME,
            action,
            reason,
            mode=self._judge.mode,
            findings=tuple(finding for finding, _ in self._findings),
        )


def _without_texts(request: Request) -> Request:
    return replace(request, segments=())
