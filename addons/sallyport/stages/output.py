"""What is found in an answer becomes a notice, a marker, an early end or an error, as the policy says.

One OutputFilter serves one answer, one channel of it each of its texts.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from sallyport.decision import Action, Decision, Finding
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Surface
from sallyport.policy.output import Output, OutputAction
from sallyport.stages.calling import Arguments, Calls, are_arguments, is_name
from sallyport.stages.channel import Channel, Follower, Followers, Stop
from sallyport.stages.judge import Judge, finding_of

NAME = "output"

MAX_FOUND = 1000
"""Findings kept of one answer; of an answer with more only the worst action still changes."""

_WHOLE_TEXT = "output.schema."
"""Rules of a text as a whole: of each part by itself, not of the parts joined."""

_REASONS = {
    OutputAction.OBSERVE: (Action.ALLOW, "output.observed"),
    OutputAction.ANNOTATE: (Action.MODIFY, "output.annotated"),
    OutputAction.MASK: (Action.MODIFY, "output.masked"),
    OutputAction.TRUNCATE: (Action.MODIFY, "output.truncated"),
    OutputAction.REFUSE: (Action.DENY, "output.refused"),
}


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
