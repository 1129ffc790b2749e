"""WebSockets of one gateway: which upgrades are let through, and the session of each that was.

An upgrade passes everything a call passes, and is admitted before the provider hears of it; it holds no text but its
head, and costs nothing. What is said on it is judged event by event (websocket_session.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol
from weakref import WeakKeyDictionary

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision
from sallyport.exchange import Attachment, Operation, Response
from sallyport.pipeline import Step, decide
from sallyport.proxy import intake, websocket_layer
from sallyport.proxy.answers import STOPPING
from sallyport.proxy.dispatch import dispatch
from sallyport.proxy.ending import end_exchange, refuse_exchange
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Gateway, Live, ports_for
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.passage import Passage
from sallyport.proxy.scanning import ScanOnce
from sallyport.proxy.websocket_answers import MakeTap
from sallyport.proxy.websocket_keeping import Keeping
from sallyport.proxy.websocket_layer import POLICY, RESTART, Outcome, SocketEnd, SocketMessage, SocketWake
from sallyport.proxy.websocket_session import Session
from sallyport.proxy.websocket_standing import Standing
from sallyport.proxy.websocket_upgrade import (
    FALL_BACK,
    check_upgrade,
    new_key,
    put_handshake,
    refuse,
    take_handshake,
    without_handshake,
)
from sallyport.proxy.websocket_verdict import lapsed_proof, misplaced_key


class _Conversing(Protocol):
    passage: Passage

    @property
    def is_idle(self) -> bool: ...

    async def from_client(self, message: SocketMessage) -> Outcome: ...

    async def from_provider(self, message: SocketMessage) -> Outcome: ...

    def wake(self) -> Outcome: ...

    def end(self, end: SocketEnd) -> None: ...


class Unread:
    """A WebSocket that the policy lets pass as it is. Kill switches and the end of the gateway still end it."""

    def __init__(self, gateway: Gateway, passage: Passage, stages: Sequence[Step]) -> None:
        self.passage = passage
        self._gateway = gateway
        self._standing = Standing(gateway, stages)
        self._bytes = 0

    is_idle = False

    async def from_client(self, message: SocketMessage) -> Outcome:
        if await self._standing.lapsed(self._gateway.live, self.passage) is not None:
            return Outcome(close=POLICY)
        return self._passed(message)

    async def from_provider(self, message: SocketMessage) -> Outcome:
        self._bytes += len(message.content)
        return self._passed(message)

    def wake(self) -> Outcome:
        return Outcome()

    def _passed(self, message: SocketMessage) -> Outcome:
        policy, content = self._gateway.live.policy.websocket, message.content
        if self.passage.cut or not policy.passes_unread(self.passage.exchange.request.provider):
            return Outcome(close=POLICY)
        if message.from_client and (
            misplaced_key(self.passage, content) or lapsed_proof(self._gateway.live, message.flow)
        ):
            return Outcome(close=POLICY)
        if self.passage.cleaner is not None and not message.from_client:
            content = self.passage.cleaner.whole(content)
        return Outcome([content], binary=not message.is_text)

    def end(self, end: SocketEnd) -> None:
        passage = self.passage
        if passage.cleaner is not None:
            end.reason = passage.cleaner.error(end.reason.encode()).decode("utf-8", "replace")
        if passage.ended:
            return
        if passage.cut:
            end.client_code = RESTART if passage.cut == STOPPING else POLICY
        kind = EventKind.BROKEN if passage.cut else EventKind.COMPLETED
        answer = Response(101, attachments=(Attachment("", "application/octet-stream", self._bytes),))
        end_exchange(self._gateway, passage, kind, answer, self._bytes, passage.cut or f"close.{end.code}")


class Sockets:
    """All WebSockets of a gateway. make_tap: gives the tap of one answer; make_keeping: what keeps a session."""

    def __init__(
        self,
        gateway: Gateway,
        make_tap: MakeTap,
        stages: Sequence[Step],
        make_keeping: Callable[[Passage], Keeping],
    ) -> None:
        self._gateway = gateway
        self._make_keeping = make_keeping
        self._make_tap = make_tap
        self._stages = stages
        self._keys: WeakKeyDictionary[http.HTTPFlow, tuple[str, str]] = WeakKeyDictionary()
        self._sessions: WeakKeyDictionary[http.HTTPFlow, _Conversing] = WeakKeyDictionary()

    # -- the upgrade ---------------------------------------------------------------------------------

    def refused(self, flow: http.HTTPFlow, passage: Passage) -> Decision | None:
        """Return why a request that wants to become a WebSocket may not, None where nothing speaks against it."""
        live, provider, target = passage.live, passage.provider, passage.target
        if not intake.is_websocket(flow.request) or provider is None or target is None:
            return None
        unsound = check_upgrade(flow.request)
        if unsound is not None:
            return unsound
        if target.miss:
            if live.policy.websocket.passes_unread(provider.name):
                return None
            return refuse("upgrade", f"The gateway does not read this WebSocket. {FALL_BACK}")
        endpoint = target.endpoint
        if not live.policy.websocket.reads(f"{provider.name} {endpoint.method} {endpoint.template}"):
            return refuse("upgrade_refused", f"The policy does not allow this WebSocket. {FALL_BACK}")
        return None

    async def request(self, flow: http.HTTPFlow, passage: Passage) -> None:
        """Judge an upgrade whose head is sound, and let it go to the provider with a key of the gateway's own."""
        live = passage.live
        _read_head(flow, passage)
        exchange = passage.exchange
        scanner = ScanOnce(
            live.detector, exchange.request.segments, live.policy.detection.max_text_bytes, live.names
        )
        # It is a call and takes part as one, but its tokens are those of the answers it will carry.
        unbilled = replace(exchange, request=replace(exchange.request, operation=Operation.COUNT_TOKENS))
        passage.meter = self._gateway.meter(live, unbilled, 0)
        ports = ports_for(self._gateway, live, scanner, passage.meter)
        passage.exchange, verdict = await decide(exchange, live.policy, ports, stages=self._stages)
        self._gateway.asked(live, passage.exchange, verdict)
        self._gateway.watch.counted(passage.meter.answer, live.policy.limits, exchange.received_at)
        if not verdict.decisions:
            raise RuntimeError("no stage decided")
        if verdict.action is Action.DENY:
            await refuse_exchange(self._gateway, flow, passage, verdict)
            return
        passage.verdict = verdict
        await dispatch(self._gateway, flow, passage, b"")
        if not gate.admitted(flow):
            return
        given, sent = flow.request.headers["sec-websocket-key"], new_key()
        put_handshake(flow.request, sent)
        self._keys[flow] = (given, sent)

    def accepted(self, flow: http.HTTPFlow, passage: Passage) -> bool:
        """Take the provider's 101; False where nobody asked for it, or its handshake is not sound."""
        keys = self._keys.pop(flow, None)
        if keys is None or flow.response is None or passage.cut:
            return False
        given, sent = keys
        if not take_handshake(flow.response, sent, given):
            return False
        _settle(passage)
        if passage.target is not None and passage.target.miss:
            self._sessions[flow] = Unread(self._gateway, passage, self._stages)
        else:
            keeping = self._make_keeping(passage)
            self._sessions[flow] = Session(self._gateway, passage, self._make_tap, self._stages, keeping)
        websocket_layer.opened.add(flow)
        return True

    def __contains__(self, flow: http.HTTPFlow) -> bool:
        return flow in self._sessions

    # -- the session ---------------------------------------------------------------------------------

    async def message(self, message: SocketMessage) -> None:
        """Give a message its outcome. Whatever raises here leaves it without one, so that it goes nowhere."""
        session = self._sessions[message.flow]
        if message.from_client:
            message.outcome = await session.from_client(message)
        else:
            message.outcome = await session.from_provider(message)

    def wake(self, wake: SocketWake) -> None:
        """Let what has waited too long go on."""
        wake.outcome = self._sessions[wake.flow].wake()

    def end(self, end: SocketEnd) -> None:
        session = self._sessions.pop(end.flow, None)
        if session is not None:
            session.end(end)

    def close_forbidden(self) -> None:
        """End the sessions that pass unread and that the policy in force does not let pass so any more."""
        policy = self._gateway.live.policy.websocket
        for flow, session in list(self._sessions.items()):
            passage = session.passage
            unread = isinstance(session, Unread)
            if unread and not passage.cut and not policy.passes_unread(passage.exchange.request.provider):
                passage.cut = "websocket.upgrade"
                passage.cut_message = "The policy does not let this WebSocket pass unread any more."
                abort_connection(flow.client_conn, flow.server_conn)

    def close_idle(self) -> None:
        """End the sessions in which nothing is under way: the gateway stops, and they would wait for ever."""
        for flow, session in list(self._sessions.items()):
            if session.is_idle and not session.passage.cut:
                session.passage.cut = STOPPING
                session.passage.cut_message = "The gateway is being stopped. Open the session again."
                abort_connection(flow.client_conn, flow.server_conn)


def apply_settings(live: Live) -> None:
    """Hand the section's sizes to the layer; at start and after each reload."""
    websocket_layer.settings.max_message_bytes = live.policy.websocket.max_message_bytes
    websocket_layer.settings.max_messages_per_s = live.policy.websocket.max_messages_per_s


def _settle(passage: Passage) -> None:
    """Book the upgrade as one request and give its place back: what waits in a session is no call under way."""
    meter, passage.meter = passage.meter, None
    if meter is not None:
        meter.settle(None, 0, failed=True)
        if meter.owes:
            meter.book(_at_once())


async def _at_once() -> None:
    """The event of the upgrade is durable already."""


def _read_head(flow: http.HTTPFlow, passage: Passage) -> None:
    """Take what an upgrade says into its exchange: its headers, and what the client chose in path and query."""
    assert passage.provider is not None
    assert passage.target is not None
    endpoint, live = passage.target.endpoint, passage.live
    headers = without_handshake(intake.scanned_headers(flow.request, passage.provider.credentials))
    request = passage.exchange.request
    request = replace(
        request,
        segments=intake.extra_segments(headers, endpoint, live.identity_headers),
        stream=True,
        max_output_tokens=0,
        region=live.region(passage.provider, passage.host, endpoint, request.model),
        endpoint=f"{endpoint.method} {endpoint.template}".strip(),
    )
    passage.exchange = replace(passage.exchange, request=request)
