"""One WebSocket between a client and a provider: every event judged before it goes on, in both directions.

A client's event that asks for an answer, or that holds anything to read, passes the stages; masks are spliced into
it, and its event is durable before it leaves. One that is refused is answered with the dialect's own error event.
A provider's event goes through the tap of its answer, where originals come back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision, Mode, Refusal, Verdict
from sallyport.exchange import Attachment, Request, Response
from sallyport.pipeline import Step
from sallyport.policy.sections import standing
from sallyport.proxy import intake, stream
from sallyport.proxy.answers import CORE_MESSAGES, STOPPING, spoken_text
from sallyport.proxy.ending import end_exchange
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.passage import Passage
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.websocket_answers import MAX_TURNS, Answers, MakeTap, Turn
from sallyport.proxy.websocket_keeping import Keeping
from sallyport.proxy.websocket_layer import (
    GOING_AWAY,
    INTERNAL,
    NO_STATUS,
    NORMAL,
    POLICY,
    RESTART,
    Outcome,
    SocketEnd,
    SocketMessage,
)
from sallyport.proxy.websocket_standing import Standing
from sallyport.proxy.websocket_verdict import (
    admit,
    edited,
    judge,
    lapsed_proof,
    misplaced_key,
    of_its_kind,
    passage_of,
    record_refusal,
    refuse,
    without_allowed_sound,
)
from sallyport.state.keyed import digest
from sallyport.wire.dialect import Call, Stamp
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import parse_object
from sallyport.wire.sockets import MANNERS, Asked, Purpose, Told, without_sound

INLINE_BYTES = 16 * 1024
"""Events up to this size are read and edited on the event loop; larger ones in a thread."""

_UNREAD = Asked(Purpose.UNKNOWN, "unread")
_AUDIO = "audio/*"


class Session:
    """The state of one WebSocket. passage: of the upgrade, admitted; it ends with the session."""

    def __init__(
        self,
        gateway: Gateway,
        passage: Passage,
        make_tap: MakeTap,
        stages: Sequence[Step],
        keeping: Keeping,
    ) -> None:
        self.passage = passage
        self._keeping = keeping
        self._gateway = gateway
        self._stages = stages
        self._standing = Standing(gateway, stages)
        self._manners = MANNERS[passage.dialect.name]
        self._answers = Answers(gateway, passage, make_tap, keeping)
        self._lacking: dict[str, bool] = {}
        self._model = passage.exchange.request.model
        self._sound_bytes = 0
        self._loose_bytes = 0
        self._told_of_sound = False
        self._failed = ""
        # A provider forgets a realtime conversation with its session; other conversations are told by their texts.
        own = digest(gateway.key, "conversation", passage.exchange.request.provider, passage.id)
        self._conversation = own if passage.dialect.name == "openai_realtime" else ""
        if self._conversation:
            passage.exchange = replace(passage.exchange, conversation=self._conversation)
        keeping.open()

    @property
    def is_idle(self) -> bool:
        """Whether no answer is awaited or under way."""
        return self._answers.is_idle

    # -- the client's events -------------------------------------------------------------------------

    async def from_client(self, message: SocketMessage) -> Outcome:
        live = self._gateway.live
        if self.passage.cut or not self._is_read(live):
            return Outcome(close=POLICY)
        lapsed = lapsed_proof(live, message.flow)
        if lapsed is not None:
            return await self._lapsed(live, _UNREAD, lapsed, message)
        misplaced = misplaced_key(self.passage, message.content)
        if not message.is_text:
            if live.policy.websocket.binary == "allow" and misplaced is None:
                return await self._unjudged(live, _UNREAD, message)
            decision = refuse("binary", "Binary messages are not accepted here; send JSON events.")
            return await self._refused_unread(
                live, _UNREAD, misplaced or decision, message, always=misplaced is not None
            )
        if len(message.content) > INLINE_BYTES:
            read = await asyncio.to_thread(self._read, message.content)
        else:
            read = self._read(message.content)
        if isinstance(read, Decision):
            return await self._refused_unread(
                live, _UNREAD, misplaced or read, message, always=misplaced is not None
            )
        asked, request = read
        refusal = misplaced or self._of_the_event(live, asked)
        if refusal is not None:
            return await self._refused_unread(
                live, asked, refusal, message, request, always=misplaced is not None
            )
        if asked.purpose is Purpose.SOUND:
            self._sound_bytes += len(message.content)
        if asked.purpose in (Purpose.SOUND, Purpose.CONTROL) and not _says_anything(asked, request):
            return await self._unjudged(live, asked, message)
        return await self._decided(live, asked, request, message)

    async def _unjudged(self, live: Live, asked: Asked, message: SocketMessage) -> Outcome:
        """Pass on what no stage has anything to read in, unless its sender may not go on."""
        lapsed = await self._standing.lapsed(live, self.passage)
        if lapsed is not None:
            return await self._lapsed(live, asked, lapsed, message)
        if not message.is_text:
            self._sound_bytes += len(message.content)
        return Outcome([message.content], binary=not message.is_text)

    async def _lapsed(self, live: Live, asked: Asked, why: Decision, message: SocketMessage) -> Outcome:
        """Refuse a message whose sender may not go on, and end the session."""
        outcome = await self._refused_unread(live, asked, why, message, always=True)
        return replace(outcome, close=POLICY)

    def _read(self, event: bytes) -> tuple[Asked, Request] | Decision:
        passage = self.passage
        assert passage.target is not None
        assert passage.provider is not None
        endpoint = passage.target.endpoint
        call = Call(passage.provider.name, endpoint.operation, model=endpoint.model, stream=True)
        try:
            asked = self._manners.asked(parse_object(event))
            return asked, passage.dialect.read_request(event, call)
        except WireError as error:
            return intake.unreadable(error)

    def _of_the_event(self, live: Live, asked: Asked) -> Decision | None:
        """Return why an event is refused for what it is, None if nothing speaks against its kind."""
        refused = of_its_kind(live.policy, asked)
        if refused is not None or asked.purpose is not Purpose.TURN:
            return refused
        if stream.settings.draining:
            return refuse("stopping", CORE_MESSAGES[STOPPING], 503)
        if self._answers.is_full:
            return refuse("too_many", "Too many answers are under way in this session.", 429)
        if asked.lane in self._lacking:
            lacking = refuse(
                "refused_context", "What this asks about was refused and has not been sent.", 409
            )
            return replace(lacking, spoken=self._lacking.pop(asked.lane))
        return None

    async def _decided(self, live: Live, asked: Asked, request: Request, message: SocketMessage) -> Outcome:
        """Judge an event, and send what the verdict leaves of it."""
        is_turn = asked.purpose is Purpose.TURN
        request = self._placed(live, request)
        judged = without_allowed_sound(live.policy, request)
        passage = self._passage(live, judged, len(message.content))
        try:
            verdict, scanner = await judge(self._gateway, passage, self._stages, counted=is_turn)
            passage.exchange = replace(passage.exchange, request=request)
            self._keeping.begin(passage, message.content, scanner.everything)
            if verdict.action is Action.DENY:
                return await self._refused(live, asked, passage, None)
            event = await self._edited(message, passage, verdict)
            if isinstance(event, Decision):
                return await self._refused(live, asked, passage, event)
            found = any(d.findings for d in verdict.decisions) or judged.attachments
            is_exchange = asked.purpose not in (Purpose.SOUND, Purpose.CONTROL) or found
            unkept = await self._keeping.refused(passage) if is_exchange else None
            if unkept is not None:
                return await self._refused(live, asked, passage, unkept)
        except BaseException:
            passage.give_back()  # it goes nowhere, and no end of an exchange will do it
            self._keeping.end(passage)
            raise
        if not is_exchange:
            self._keeping.end(passage)
            return Outcome([event])  # names of what is there already; nothing of it is worth an event
        refused = await admit(self._gateway, passage, f"{asked.type}:{self.passage.id}")
        if refused is not None:
            return await self._refused(live, asked, passage, refused)
        if is_turn:
            self._model = request.model or self._model
            self._answers.expect(Turn(passage, asked.lane, asked.id))
        else:
            end_exchange(self._gateway, passage, EventKind.COMPLETED, None, 0)
            self._keeping.end(passage)
        if asked.purpose is Purpose.CONTEXT:
            self._lacking.pop(asked.lane, None)
        return Outcome([event])

    async def _edited(self, message: SocketMessage, passage: Passage, verdict: Verdict) -> bytes | Decision:
        event = message.content
        if len(event) > INLINE_BYTES:
            return await asyncio.to_thread(edited, self._gateway, message.flow, passage, verdict, event)
        return edited(self._gateway, message.flow, passage, verdict, event)

    def _placed(self, live: Live, request: Request) -> Request:
        passage = self.passage
        assert passage.target is not None
        assert passage.provider is not None
        endpoint = passage.target.endpoint
        model = request.model or self._model
        return replace(
            request,
            model=model,
            region=live.region(passage.provider, passage.host, endpoint, model),
            endpoint=f"{endpoint.method} {endpoint.template}",
        )

    def _passage(self, live: Live, request: Request, size: int) -> Passage:
        conversation = self._conversation or self._gateway.conversation(request)
        kept = self._answers.kept_tokens if self._conversation else self._gateway.kept_tokens(request)
        request = replace(request, kept_tokens=kept, makers=self._gateway.makers(request))
        return passage_of(self._gateway, live, self.passage, request, conversation, size)

    async def _refused(
        self, live: Live, asked: Asked, passage: Passage, decision: Decision | None
    ) -> Outcome:
        """Tell the client no, in the dialect's own words."""
        await record_refusal(self._gateway, passage, decision, f"{asked.type}:{self.passage.id}")
        self._keeping.end(passage)
        cause = decision or (passage.verdict.cause if passage.verdict is not None else None)
        assert cause is not None
        if asked.purpose is Purpose.CONTEXT and len(self._lacking) < MAX_TURNS:
            self._lacking[asked.lane] = cause.spoken
        if cause.spoken and asked.purpose is Purpose.TURN:
            stamp = Stamp(passage.id, int(passage.exchange.received_at.timestamp()))
            text = spoken_text(cause, passage.id)
            return Outcome(back=self._manners.say(text, asked, passage.exchange.request, stamp))
        said = Refusal(cause.reason, cause.message, passage.id, cause.status, cause.retry_after_s)
        closes = live.policy.websocket.on_refusal == "close"
        return Outcome(back=[self._manners.refusal(said, asked)], close=POLICY if closes else 0)

    async def _refused_unread(
        self,
        live: Live,
        asked: Asked,
        decision: Decision,
        message: SocketMessage,
        request: Request | None = None,
        *,
        always: bool = False,
    ) -> Outcome:
        """Refuse what no stage has seen; where nothing is enforced anywhere, record that and pass it on.

        always: it is refused in any mode, as on HTTPS.
        """
        given = self._placed(live, request or replace(self.passage.exchange.request, segments=()))
        passage = self._passage(live, given, len(message.content))
        passage.exchange = replace(passage.exchange, principal=self.passage.exchange.principal)
        if always or not live.policy.only_observes:
            return await self._refused(live, asked, passage, decision)
        passage.refused = decision
        passage.verdict = Verdict((replace(decision, mode=Mode.OBSERVE),))
        refused = await admit(self._gateway, passage, f"{asked.type}:{self.passage.id}")
        if refused is not None:
            return await self._refused(live, asked, passage, refused)
        end_exchange(self._gateway, passage, EventKind.COMPLETED, None, 0)
        return Outcome([message.content], binary=not message.is_text)

    # -- the provider's events -----------------------------------------------------------------------

    async def from_provider(self, message: SocketMessage) -> Outcome:
        live = self._gateway.live
        if self.passage.cut:
            return Outcome(close=POLICY)
        lenient = self._is_lenient(live)
        if not message.is_text:
            if lenient or live.policy.websocket.binary == "allow":
                self._sound_bytes += len(message.content)
                return Outcome([self._clean(message.content)], binary=True)
            return self._broken("The provider sent a binary message, which nobody here can read.")
        try:
            payload = parse_object(message.content)
            told = self._manners.told(payload)
        except WireError as error:
            self.passage.unread = True
            if lenient:
                return Outcome([self._clean(message.content)])
            self._failed = f"wire.{error.reason}"
            return self._broken("The gateway ended this session because it could not read the provider.")
        if told.begins and not self._answers.expected(told):
            refused = await self._unasked(live, told)
            if refused is not None:
                return refused
        if told.begins:
            self._answers.begin(told)
        event = message.content
        if live.policy.websocket.audio == "refuse" and not live.policy.only_observes and not told.sound:
            event = without_sound(event, payload)
        outcome = self._tapped(live, told, event)
        if stream.settings.draining and self.is_idle and not outcome.close:
            outcome.close = RESTART
        return outcome

    def _is_lenient(self, live: Live) -> bool:
        """Say whether what nobody can read passes: nothing of the answer's policy is in force."""
        exchange = self.passage.exchange
        who = exchange.principal
        policy = live.policy if who is None else live.policy.for_tenant(who.tenant)
        return not any(standing(policy, section, exchange).acts for section in (None, policy.output))

    def _tapped(self, live: Live, told: Told, event: bytes) -> Outcome:
        """Send an event through the tap of its answer, and end the answer where it ends."""
        if told.sound:
            self._sound_bytes += len(event)
            if live.policy.websocket.audio == "refuse" and not live.policy.only_observes:
                return Outcome(self._told_of_refused_sound())  # in a tap it could wait, and go on with a text
        turn = self._answers.turn_of(told)
        tap = self._answers.tap_for(told, turn)
        if turn is None:
            self._loose_bytes += len(event)
        elif not told.sound:
            self._keeping.heard(turn.passage, event)
        step = tap.feed(event)
        own = [*step.out, *(tap.end().out if told.ends and not step.finish else ())]
        texts = [data for data in own if data != event] if told.sound else own  # nobody keeps sound
        self._keeping.said(None if turn is None else turn.passage, texts, error=told.failed)
        out = [*self._answers.left(), *own]
        if told.failed:
            self._answers.fail(told)
        if turn is not None and (told.ends or step.finish):
            self._answers.finish(turn)
        close = _code_of(tap) if step.finish else 0
        clean = [self._clean(data, error=told.failed) for data in out if data]
        return Outcome(clean, close=close, wake_s=step.wake_s)

    def wake(self) -> Outcome:
        """Let go what the taps have held too long."""
        if self.passage.cut:
            return Outcome(close=POLICY)
        step = self._answers.wake()
        out = [self._clean(data) for data in step.out if data]
        return Outcome(out, close=POLICY if step.finish else 0, wake_s=step.wake_s)

    def _told_of_refused_sound(self) -> list[bytes]:
        if self._told_of_sound:
            return []
        self._told_of_sound = True
        said = Refusal(
            "websocket.audio",
            "The policy does not let sound pass, which nobody can read; ask for text.",
            self.passage.id,
        )
        return [self._manners.refusal(said, None)]

    async def _unasked(self, live: Live, told: Told) -> Outcome | None:
        """Judge an answer that the provider began by itself, on speech it heard; what refuses it ends the session."""
        blank = self._placed(live, replace(self.passage.exchange.request, segments=(), attachments=()))
        passage = self._passage(live, replace(blank, stream=True, max_output_tokens=None), 0)
        asked = Asked(Purpose.TURN, "unasked", told.lane)
        full = refuse("too_many", "Too many answers are under way in this session.", 429)
        refused = full if self._answers.is_full else None
        if refused is None:
            try:
                verdict, scanner = await judge(self._gateway, passage, self._stages, counted=True)
                self._keeping.begin(passage, b"", scanner.everything)
            except BaseException:
                passage.give_back()  # as in _decided
                self._keeping.end(passage)
                raise
            if verdict.action is not Action.DENY:
                refused = await admit(self._gateway, passage, f"unasked:{self.passage.id}")
                if refused is None:
                    self._answers.expect(Turn(passage, told.lane))
                    return None
        outcome = await self._refused(live, asked, passage, refused)
        return Outcome(outcome.back, close=POLICY)

    def _broken(self, text: str) -> Outcome:
        said = Refusal("upstream.unreadable", text, self.passage.id, status=502)
        return Outcome([self._manners.refusal(said, None)], close=INTERNAL)

    def _clean(self, data: bytes, *, error: bool = False) -> bytes:
        """Take the real credential out of what the provider says; of an error also pieces of it."""
        cleaner = self.passage.cleaner
        if cleaner is None:
            return data
        return cleaner.error(data) if error else cleaner.whole(data)

    # -- the end -------------------------------------------------------------------------------------

    def end(self, end: SocketEnd) -> None:
        """Write the ends of all that was under way, and say what the client is still told."""
        passage = self.passage
        if passage.ended:
            return
        end.reason = self._clean(end.reason.encode(), error=True).decode("utf-8", "replace")
        gone = "client.gone" if end.by_client else "upstream.broken" if end.by_client is False else "closed"
        last = self._answers.break_off(passage.cut or self._failed or gone)
        rest = self._answers.rest()
        if passage.cut:
            said = Refusal(passage.cut, passage.cut_message, passage.id)
            end.last = [self._manners.refusal(said, None)]
            end.client_code = RESTART if passage.cut == STOPPING else POLICY
        elif not end.by_client:
            end.last = [self._clean(data) for data in last or rest]
        plain = end.code in (NORMAL, GOING_AWAY, NO_STATUS, RESTART) or end.by_client is True
        kind = EventKind.COMPLETED if plain and not passage.cut else EventKind.BROKEN
        sound = (Attachment("", _AUDIO, self._sound_bytes),) if self._sound_bytes else ()
        answer = Response(101, attachments=sound)
        end_exchange(
            self._gateway, passage, kind, answer, self._loose_bytes, passage.cut or f"close.{end.code}"
        )
        self._keeping.end(passage)

    def _is_read(self, live: Live) -> bool:
        """Say whether the policy in force still reads this endpoint."""
        request = self.passage.exchange.request
        return live.policy.websocket.reads(f"{request.provider} {request.endpoint}")


def _code_of(tap: AnswerTap) -> int:
    """Return the code of a session whose answer was ended: by policy, or since it could not be read."""
    return POLICY if tap.ended_early is not None else INTERNAL


def _says_anything(asked: Asked, request: Request) -> bool:
    """Say whether an event holds more than names, numbers and, where that is its purpose, a piece of sound."""
    sound = ("/audio",) if asked.purpose is Purpose.SOUND else ()
    return bool(request.segments) or any(a.at not in sound for a in request.attachments)
