"""The provider's side of a WebSocket: which answer an event belongs to, and the tap and the counters of each answer."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sallyport.audit.events import EventKind
from sallyport.exchange import Response
from sallyport.proxy.ending import end_exchange
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import ended_early
from sallyport.proxy.passage import Passage
from sallyport.proxy.stream import Step
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.websocket_keeping import Keeping
from sallyport.wire.sockets import Told

MAX_TURNS = 64
"""Answers of one session that may be awaited or under way at a time."""

MAX_ITEMS = 4096
"""Items of one conversation of which is known which answer spoke them, the latest."""

type _Speaker = tuple[int, str]
"""The number of the tap that an item's texts go through, and the answer they were said to be of."""

_NOBODY: _Speaker = (0, "")
"""Speaks what was told whole before any answer spoke it."""

type MakeTap = Callable[[Passage], AnswerTap]


@dataclass(slots=True, eq=False)
class Turn:
    """One answer, from the event that asks for it to its end. lane, asked: as wire.sockets names them. number: of its
    tap in the session, from 1.
    """

    passage: Passage
    lane: str
    asked: str = ""
    response: str = ""
    number: int = 0


@dataclass(slots=True)
class _Loose:
    """The tap for what belongs to no answer. blind: it was made when nothing was masked yet.

    base: of the latest answer in its lane. apart: a copy of it, so that what is found here is not written over what
    is found in that answer. number: as a Turn's.
    """

    base: Passage
    apart: Passage
    tap: AnswerTap
    blind: bool
    number: int


@dataclass(slots=True)
class Answers:
    """The answers of one session. session: its own passage, for events that belong to no answer.

    keeping: None keeps nothing of them. kept_tokens: of the conversation, as the answer that ended last had them.
    """

    gateway: Gateway
    session: Passage
    make_tap: MakeTap
    keeping: Keeping | None = None
    kept_tokens: int = 0
    _waiting: deque[Turn] = field(default_factory=deque)
    _open: dict[tuple[str, str], Turn] = field(default_factory=dict)
    _bases: dict[str, Passage] = field(default_factory=dict)
    _loose: dict[str, _Loose] = field(default_factory=dict)
    _left: list[bytes] = field(default_factory=list)
    _spoken: dict[str, _Speaker] = field(default_factory=dict)
    _taps_made: int = 0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._open

    @property
    def is_full(self) -> bool:
        return len(self._waiting) + len(self._open) >= MAX_TURNS

    def expect(self, turn: Turn) -> None:
        """Note that an answer was asked for."""
        self._waiting.append(turn)

    def expected(self, told: Told) -> bool:
        """Say whether an answer that begins was asked for."""
        return any(turn.lane == told.lane for turn in self._waiting)

    def begin(self, told: Told) -> None:
        """Give an answer that begins to the oldest that asked for one in its lane."""
        turn = next(turn for turn in self._waiting if turn.lane == told.lane)
        self._waiting.remove(turn)
        turn.response = told.response
        turn.passage.tap, turn.number = self.make_tap(turn.passage), self._next_number()
        # Some servers number the items of each answer anew: those of answers that are over are forgotten.
        speaking = {_NOBODY[0], *(t.number for t in self._open.values())}
        speaking.update(loose.number for loose in self._loose.values())
        self._spoken = {item: by for item, by in self._spoken.items() if by[0] in speaking}
        self._bases.pop(told.lane, None)
        self._bases[told.lane] = turn.passage
        if len(self._bases) > MAX_TURNS:
            del self._bases[next(iter(self._bases))]  # lanes are named by clients, as many as they like
        earlier = self._open.pop((told.lane, told.response), None)
        if earlier is not None:
            self._end(earlier, EventKind.BROKEN, "upstream.unreadable")
        self._open[(told.lane, told.response)] = turn

    def turn_of(self, told: Told) -> Turn | None:
        """Return the answer an event belongs to; where it names none, the one under way in its lane.

        What tells an item again belongs to the answer that speaks it, so that it says what was sent of that.
        """
        if told.retold and told.item:
            number, _ = self._spoken.get(told.item, _NOBODY)
            return next((turn for turn in self._open.values() if turn.number == number), None)
        if told.alone:
            return None
        if told.response:
            return self._open.get((told.lane, told.response))
        return next((turn for (lane, _), turn in reversed(self._open.items()) if lane == told.lane), None)

    def tap_for(self, told: Told, turn: Turn | None) -> AnswerTap:
        """Return what an event goes through; note which answer speaks the item it is of.

        Clients put what is said of an item behind what was said of it. So nobody else may go on with it, who has not
        read that, until that answer is over and another begins: a tap that is to do so ends there.
        """
        if turn is not None and turn.passage.tap is not None:
            self._note(told, turn.passage.tap, (turn.number, turn.response))
            return turn.passage.tap
        base = self._bases.get(told.lane, self.session)
        loose = self._loose.get(told.lane)
        masked = not self.gateway.scope(base.exchange).empty
        if loose is None or loose.base is not base or (loose.blind and masked):
            if loose is not None:
                self._dismiss(told.lane)
            elif len(self._loose) >= MAX_TURNS:
                self._dismiss(next(iter(self._loose)))
            noted = self.session.noted  # with whose content it is kept
            apart = replace(base, tap=None, meter=None, output=None, kept=None, noted=noted)
            number = self._next_number()
            loose = self._loose[told.lane] = _Loose(base, apart, self.make_tap(apart), not masked, number)
        self._note(told, loose.tap, (loose.number, told.response))
        return loose.tap

    def _next_number(self) -> int:
        self._taps_made += 1
        return self._taps_made

    def _note(self, told: Told, tap: AnswerTap, speaker: _Speaker) -> None:
        """Note who speaks an item, and have the tap end where somebody else did before."""
        known = self._spoken.get(told.item)
        if not told.item or (told.retold and (known is not None or not told.says)):
            return
        if told.says and known is not None and known != speaker:
            tap.misplaced()
        self._spoken.pop(told.item, None)
        self._spoken[told.item] = known or (_NOBODY if told.retold else speaker)
        if len(self._spoken) > MAX_ITEMS:
            del self._spoken[next(iter(self._spoken))]

    def left(self) -> list[bytes]:
        """Return what was held by taps that others took the place of; it goes out before what comes next."""
        left, self._left = self._left, []
        return left

    def _dismiss(self, lane: str) -> None:
        """Let a tap go: what it holds goes on, what it found is told with the session."""
        loose = self._loose.pop(lane)
        left = [data for data in loose.tap.end().out if data]
        self._said(None, left)
        self._left += left
        found, told = loose.apart.output, self.session.output
        if told is None:
            self.session.output = found
        elif found is not None:
            told.absorb(found)

    def wake(self) -> Step:
        """Let go what the taps have held too long."""
        steps = []
        for passage, tap in self._taps():
            step = tap.wake()
            self._said(passage, step.out)
            steps.append(step)
        waits = [step.wake_s for step in steps if step.wake_s is not None]
        return Step(
            [data for step in steps for data in step.out],
            finish=any(step.finish for step in steps),
            wake_s=min(waits, default=None),
        )

    def rest(self) -> list[bytes]:
        """Return what is held of events that belong to no answer, at the end."""
        for lane in [*self._loose]:
            self._dismiss(lane)
        return self.left()

    def _taps(self) -> list[tuple[Passage | None, AnswerTap]]:
        """Return all taps, each with the passage of its answer, None where it is for what belongs to none."""
        taps = [(turn.passage, tap) for turn in self._open.values() if (tap := turn.passage.tap) is not None]
        return [*taps, *((None, loose.tap) for loose in self._loose.values())]

    def _said(self, passage: Passage | None, events: list[bytes]) -> None:
        if self.keeping is not None:
            self.keeping.said(passage, events)

    def finish(self, turn: Turn) -> None:
        """End an answer that the provider has ended."""
        self._open.pop((turn.lane, turn.response), None)
        tap = turn.passage.tap
        failed = tap.failed if tap is not None else None
        self._end(
            turn, EventKind.BROKEN if failed else EventKind.COMPLETED, failed or ended_early(turn.passage)
        )

    def fail(self, told: Told) -> None:
        """End what an error event answers: the event it names, the answer asked for longest ago in its lane, or, where
        none is awaited there, the one under way.
        """
        waiting = [turn for turn in self._waiting if turn.lane == told.lane]
        turn = next((turn for turn in waiting if told.cause and turn.asked == told.cause), None)
        if turn is None and not told.cause and waiting:
            turn = waiting[0]
        if turn is not None:
            self._waiting.remove(turn)
            end_exchange(self.gateway, turn.passage, EventKind.COMPLETED, Response(400), 0)
            self._keep(turn.passage)
        elif not told.alone and (under_way := self.turn_of(told)) is not None:
            self.finish(under_way)

    def break_off(self, detail: str) -> list[bytes]:
        """End all that has not ended; return the error event of the dialect where an answer was under way."""
        last: list[bytes] = []
        for turn in self._open.values():
            tap = turn.passage.tap
            said = (tap.failed if tap is not None else "") or ended_early(turn.passage)
            if tap is not None and not last:
                last = [data for data in tap.broken().out if data]
            self._end(turn, EventKind.BROKEN, said or detail)
        for turn in self._waiting:
            self._end(turn, EventKind.BROKEN, detail)
        self._open.clear()
        self._waiting.clear()
        return last

    def _end(self, turn: Turn, kind: EventKind, detail: str) -> None:
        passage, tap = turn.passage, turn.passage.tap
        if passage.ended:
            return
        answer = None
        if tap is not None:
            answer = Response(
                200,
                finish_reason=tap.finish_reason,
                usage=tap.usage,
                model=tap.model,
                id=tap.id or turn.response or None,
                error=tap.error,
                attachments=tap.attachments,
            )
        end_exchange(self.gateway, passage, kind, answer, tap.bytes_out if tap else 0, detail)
        used = passage.over.usage if passage.over is not None else None
        if used is not None:
            self.kept_tokens = (used.input or 0) + (used.output or 0)
        self._keep(passage)

    def _keep(self, passage: Passage) -> None:
        if self.keeping is not None:
            self.keeping.end(passage)
