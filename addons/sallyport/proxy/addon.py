"""The one addon: every hook of an exchange, in the order of the design's table.

Denial is the starting value. Only dispatch, at the end of request(), admits a flow that is read; what raises before
that leaves it unadmitted, and the gate at the core refuses it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision, Mode, Verdict
from sallyport.exchange import Operation, Response
from sallyport.pipeline import PREFLIGHT_STAGES, STAGES, STOP_STAGES, Step, decide
from sallyport.proxy import http1, intake, layers, lingering, stream
from sallyport.proxy.answers import (
    CORE_MESSAGES,
    FINAL,
    STOPPING,
    UNREACHABLE,
    clean_answer,
    ended_as,
    finish_buffered,
    refusal,
)
from sallyport.proxy.barred import barred
from sallyport.proxy.capturing import Captures
from sallyport.proxy.cleaning import CleanTap, clean_head
from sallyport.proxy.connections import Connections, address_of, mode_name
from sallyport.proxy.contents import Contents
from sallyport.proxy.dispatch import dispatch, edited_body, with_usage
from sallyport.proxy.ending import code_of, end_exchange, refuse_exchange
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Gateway, ports_for
from sallyport.proxy.judging import judged
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.outflow import ended_early
from sallyport.proxy.passage import Passage, arrive, event_of
from sallyport.proxy.proved import proved_by, standing, withdrawn
from sallyport.proxy.proving import Proving
from sallyport.proxy.reading import read_body, unsound_body
from sallyport.proxy.relay import is_relayed, relay
from sallyport.proxy.scanning import ScanOnce
from sallyport.proxy.signing import unproved
from sallyport.proxy.stopping import Stopping
from sallyport.proxy.streamed import answer_of, is_streamed, is_unread, make_tap, unread_tap
from sallyport.proxy.tls import normalise_name
from sallyport.proxy.websocket import Sockets
from sallyport.proxy.websocket_keeping import Keeping
from sallyport.proxy.websocket_layer import SocketEnd, SocketMessage, SocketWake
from sallyport.stages.stops import STOPPED
from sallyport.wire.coding import is_coded


class GatewayAddon:
    """Hooks of mitmproxy, each a few lines around a decision made elsewhere."""

    name = "sallyport"

    def __init__(self, gateway: Gateway, *, stages: Sequence[Step] = STAGES) -> None:
        self.gateway = gateway
        gateway.in_flight = lambda: self.in_flight
        self.connections = Connections(gateway)
        self.proving = Proving(gateway, self.connections.refused)
        self._challenged: WeakSet[http.HTTPFlow] = WeakSet()
        self._stages = stages
        self.captures = Captures(gateway.capture_writer)
        self.contents = Contents(gateway.content_writer)
        self.sockets = Sockets(
            gateway,
            lambda passage: make_tap(gateway, passage, "application/json"),
            stages,
            lambda passage: Keeping(self.contents, self.captures, passage),
        )
        self._passages: WeakKeyDictionary[http.HTTPFlow, Passage] = WeakKeyDictionary()
        self.stopping = Stopping(
            lambda: gateway.directory(),
            lambda: list(self._passages.items()),
            self.connections.cut_stopped,
            lambda flow: withdrawn(flow.client_conn, gateway.live),
            self.proving.refresh,
            lambda exchange, directory: barred(exchange, directory, gateway.live.policy),
        )
        stream.settings.answer = self._answer
        layers.on_closed = self.connections.refused
        http1.on_head_started = self._head_started
        http1.on_framing_refused = self._framing_refused

    @property
    def in_flight(self) -> int:
        """Exchanges that have begun and not ended."""
        return sum(1 for p in list(self._passages.values()) if not p.ended)

    def cut(self) -> None:
        """End what is in flight: clients get their dialect's error, the audit its ends."""
        for flow, passage in list(self._passages.items()):
            if not passage.ended:
                passage.cut, passage.cut_message = STOPPING, CORE_MESSAGES[STOPPING]
                gate.revoke(flow)
                # To the core this is a provider that went away.
                if passage.admitted is None or not abort_connection(flow.client_conn, flow.server_conn):
                    abort_connection(flow.client_conn)

    # -- connections ---------------------------------------------------------------------------------

    def client_connected(self, client: Client) -> None:
        self.connections.connected(client)
        lingering.client_came(client)

    def client_disconnected(self, client: Client) -> None:
        self.connections.disconnected(client)
        lingering.client_left(client)

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        await self.proving.refresh()
        flow.response = await self.proving.challenge(flow)
        if flow.response is not None:
            self.connections.progressed(flow.client_conn)
            return
        self.connections.connect(flow)
        proved_by(flow.client_conn).tunnelled = flow.response is None

    async def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        await self.proving.refresh()
        self.proving.said_hello(data.context.client, data.client_hello)
        await self.connections.client_hello(data)

    def tls_established_client(self, data: tls.TlsData) -> None:
        self.proving.established(data.context.client)
        self.connections.progressed(data.context.client)
        within_s = self.gateway.live.policy.transport.header_timeout_s
        self.connections.expect_progress(data.context.client, within_s)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        self.connections.handshake_failed(data.context.client, self.proving.failed(data))

    def server_connected(self, data: ServerConnectionHookData) -> None:
        # A tunnelled connection shakes hands with the client itself.
        if data.server.tls:
            self.connections.expect_handshake(data.client, data.server)

    def server_connect_error(self, data: ServerConnectionHookData) -> None:
        self.connections.unreached(data.client, data.server.error or "")

    def tls_established_server(self, data: tls.TlsData) -> None:
        self.connections.shook_hands(data.context.server)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        self.connections.shook_hands(data.server)

    def _head_started(self, client: object) -> None:
        if isinstance(client, Client):
            self.connections.expect_progress(client, self.gateway.live.policy.transport.header_timeout_s)

    def _framing_refused(self, client: object, reason: str) -> None:
        if isinstance(client, Client):
            self.connections.progressed(client)
            self.connections.refused(client, f"framing_{reason}", client.sni or "")

    # -- request -------------------------------------------------------------------------------------

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        client = flow.client_conn
        self.connections.progressed(client)
        await self.proving.refresh()
        live = self.gateway.live
        if not client.tls and mode_name(client) == "explicit" and not proved_by(client).tunnelled:
            flow.response = await self.proving.challenge(flow)
            if flow.response is not None:
                self._challenged.add(flow)
                self.connections.expect_progress(client, BODY_TIMEOUT_S, flow.id)
                return
        if not client.tls and mode_name(client) != "reverse" and await self.connections.plain_http(flow):
            return
        if client.tls and is_relayed(live, host := normalise_name(client.sni)) and host is not None:
            self.connections.passes_unread(flow)
            holds = standing(client, live, address_of(client), mode_name(client))
            if holds.refused is not None:
                flow.response = stream.plain_answer(flow, 403, holds.refused.reason)
                self.connections.refused(client, holds.refused.reason.removeprefix("identity."), host)
                stream.leaving.add(client)
            elif self.connections.is_stopped(client, host):
                flow.response = stream.plain_answer(flow, 403, STOPPED)
                self.connections.refused(client, "stopped", host)
            elif not relay(live, flow, host):
                self.connections.refused(client, "unsound_head", host)
            return
        passage = arrive(self.gateway, flow)
        self._passages[flow] = passage
        if passage.refused is None:
            limits = live.policy.transport
            passage.refused = intake.check_request(
                flow, passage.host, limits.max_header_bytes, limits.max_headers
            ) or self.sockets.refused(flow, passage)
        if passage.refused is not None:
            # The body is read and thrown away; the answer goes out at its end.
            flow.response = refusal(passage, passage.refused)
        self.connections.expect_progress(client, BODY_TIMEOUT_S, flow.id)

    async def request(self, flow: http.HTTPFlow) -> None:
        self.connections.progressed(flow.client_conn, flow.id)
        if self.connections.is_plain(flow):
            flow.request.trailers = None  # a header among them would be set after the restrictions
            return
        if flow in self._challenged:
            return
        passage = self._passages[flow]
        passage.request_bytes = len(flow.request.raw_content or b"")
        if passage.refused is None:
            passage.refused = unsound_body(flow) or unproved(self.gateway, flow.request, passage)
        asks_ahead = passage.exchange.request.operation is Operation.PREFLIGHT
        if asks_ahead and passage.refused is None:
            if passage.request_bytes:
                passage.refused = intake.PREFLIGHT_BODY
            elif not passage.live.policy.only_observes:
                intake.bound_preflight(flow.request)
        if passage.refused is not None:
            await refuse_exchange(
                self.gateway, flow, passage, Verdict((replace(passage.refused, mode=Mode.ENFORCE),))
            )
            return
        if intake.is_websocket(flow.request):
            await self.sockets.request(flow, passage)
            return
        if passage.request_bytes > INLINE_READ_BYTES:
            body = await asyncio.to_thread(read_body, self.gateway, flow, passage)
        else:
            body = read_body(self.gateway, flow, passage)
        if passage.refused is not None:
            # A rule in force anywhere must not be dodged with a body that nobody can read.
            observed = passage.live.policy.only_observes
            mode = Mode.OBSERVE if observed else Mode.ENFORCE
            verdict = Verdict((replace(passage.refused, mode=mode),))
            if observed and (stopped := await self._stopped_unread(passage)) is not None:
                verdict, observed = stopped, False
            if not observed:
                await refuse_exchange(self.gateway, flow, passage, verdict)
                return
            passage.verdict = verdict
            await dispatch(self.gateway, flow, passage, flow.request.raw_content or b"")
            return
        await self._decide(flow, passage, body)

    async def _stopped_unread(self, passage: Passage) -> Verdict | None:
        """Return the refusal of a body that nobody can read and a kill switch stops, None if none does."""
        ports = ports_for(self.gateway, passage.live, ScanOnce(passage.live.detector, (), 0), None)
        passage.exchange, verdict = await decide(
            passage.exchange, passage.live.policy, ports, stages=STOP_STAGES
        )
        return verdict if verdict.action is Action.DENY else None

    async def _decide(self, flow: http.HTTPFlow, passage: Passage, body: bytes) -> None:
        asks_ahead = passage.exchange.request.operation is Operation.PREFLIGHT
        stages = PREFLIGHT_STAGES if asks_ahead else self._stages
        verdict, scanner = await judged(self.gateway, passage, stages)
        if asks_ahead and passage.meter is not None and passage.meter.answer is None:
            passage.meter = None  # no limit counts it, and it costs nothing
        self.captures.begin(flow, passage, body, scanner.everything)
        self.contents.begin(passage, scanner.everything)
        if verdict.action is Action.DENY:
            await refuse_exchange(self.gateway, flow, passage, verdict)
            self._keep(flow, passage)
            return
        passage.verdict = verdict
        if (unkept := await self.contents.refused(passage)) is not None:
            await refuse_exchange(self.gateway, flow, passage, unkept)
            return
        if (verdict.edits or verdict.changes) and len(body) > INLINE_READ_BYTES:
            leaving = await asyncio.to_thread(edited_body, self.gateway, flow, passage, verdict, body)
        else:
            leaving = edited_body(self.gateway, flow, passage, verdict, body)
        if isinstance(leaving, Decision):
            await refuse_exchange(self.gateway, flow, passage, Verdict((*verdict.decisions, leaving)))
            self._keep(flow, passage)
            return
        await dispatch(self.gateway, flow, passage, with_usage(passage, leaving))

    # -- answer --------------------------------------------------------------------------------------

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        passage = self._passages.get(flow)
        response = flow.response
        last = self.connections.draining or flow.client_conn in stream.leaving
        if response is not None and last and not flow.request.is_http2 and response.status_code != 101:
            response.headers["connection"] = "close"  # a kept connection would bring the next request
        if response is not None:
            # A client sent to another protocol or port would speak there, past all of this.
            for name in ("alt-svc", "alternate-protocol"):
                response.headers.pop(name, None)
        if response is not None and self.connections.is_plain(flow):
            response.stream = response.status_code != 101
            return
        if passage is None or response is None or passage.admitted is None:
            return
        if passage.cleaner is not None:
            clean_head(response, passage.cleaner)
        if passage.verdict is not None and (warning := passage.verdict.warning):
            response.headers["x-sallyport-warning"] = warning
        if passage.cut:
            flow.metadata[stream.UNFIT] = passage.cut
            return
        if response.status_code == 101:
            if not self.sockets.accepted(flow, passage):
                flow.metadata[stream.UNFIT] = "upstream.upgraded"
            return
        if not is_streamed(passage, response):
            if is_unread(passage, response):
                self._pass_unread(passage, response, chunked=not flow.request.is_http2)
            return
        tap = make_tap(self.gateway, passage, response.headers.get("content-type", ""))
        searched = passage.cleaner is not None or not tap.only_reads
        if searched and is_coded(response.headers.get("content-encoding")):
            flow.metadata[stream.UNFIT] = "upstream.encoded"
            return
        passage.tap = tap
        cleaner = passage.cleaner
        cleaned = tap if cleaner is None else CleanTap(tap, cleaner)
        response.stream = stream.StreamTap(
            self.contents.keeping(passage, self.captures.keeping(passage, cleaned))
        )
        response.headers.pop("content-length", None)
        if not flow.request.is_http2:
            # A client takes chunks from HTTP/1.1 only, whatever the provider speaks.
            response.http_version = "HTTP/1.1"
            response.headers["transfer-encoding"] = "chunked"

    def _pass_unread(self, passage: Passage, response: http.Response, *, chunked: bool) -> None:
        """Let an answer go to the client as it comes, head and all; only the real credential is taken out."""
        passage.tap = unread_tap(passage, response)
        cleaned: stream.Tap = passage.tap
        if passage.cleaner is not None:
            cleaned = CleanTap(cleaned, passage.cleaner)
            response.headers.pop("content-length", None)
            if chunked:
                response.http_version = "HTTP/1.1"
                response.headers["transfer-encoding"] = "chunked"
        kept = self.contents.keeping(passage, self.captures.keeping(passage, cleaned))
        response.stream = stream.StreamTap(kept, bare=True)

    async def response(self, flow: http.HTTPFlow) -> None:
        await self._answered(flow)
        if (passage := self._passages.get(flow)) is not None:
            self._keep(flow, passage)

    async def _answered(self, flow: http.HTTPFlow) -> None:
        passage = self._passages.get(flow)
        if passage is not None and passage.cleaner is not None:
            await asyncio.to_thread(clean_answer, flow, passage)
        response = flow.response
        if passage is None or response is None or passage.ended or passage.admitted is None:
            return
        if flow in self.sockets:
            return  # it has only begun
        if passage.tap is not None:
            tap = passage.tap
            answer = answer_of(tap, response.status_code)
            kind = EventKind.COMPLETED if tap.failed is None else EventKind.BROKEN
            end_exchange(
                self.gateway, passage, kind, answer, tap.bytes_out, tap.failed or ended_early(passage)
            )
            return
        scope = self.gateway.scope(passage.exchange)
        if len(response.raw_content or b"") > INLINE_READ_BYTES:
            answer = await asyncio.to_thread(finish_buffered, flow, passage, scope)
        else:
            answer = finish_buffered(flow, passage, scope)
        if not passage.ended:
            size = len(response.raw_content or b"")
            kind, detail = ended_as(passage)
            end_exchange(self.gateway, passage, kind, answer, size, detail)

    def error(self, flow: http.HTTPFlow) -> None:
        self.connections.progressed(flow.client_conn, flow.id)
        passage = self._passages.get(flow)
        if passage is None:
            return
        if not passage.ended:
            self._failed(flow, passage)
        self._keep(flow, passage)

    def _keep(self, flow: http.HTTPFlow, passage: Passage) -> None:
        """Hand what the policy keeps of an exchange that is over to those who write it."""
        self.captures.end(flow, passage)
        self.contents.end(flow, passage)

    def _failed(self, flow: http.HTTPFlow, passage: Passage) -> None:
        status = flow.response.status_code if flow.response else None
        tap = passage.tap
        detail = (tap.failed if tap else None) or (flow.error.msg if flow.error else "") or "broken"
        detail = passage.cut or detail
        if passage.admitted is None:
            # It never came whole, or the core found it unsound; what its head was refused for is told.
            passage.ended = True
            passage.give_back()
            if detail == stream.ENDLESS_BODY and passage.refused is None:
                passage.refused = intake.TOO_LARGE  # the gateway cut it off, not the client
            if passage.refused is not None:
                passage.verdict = Verdict((replace(passage.refused, mode=Mode.ENFORCE),))
            unread = stream.BROKEN_BODY if detail == stream.BROKEN_BODY else "not_whole"
            self.gateway.record(event_of(self.gateway, EventKind.REFUSED, passage, unread))
            return
        usage = tap.usage if tap else None
        answer = Response(status or 0, usage=usage) if status or usage else None
        end_exchange(
            self.gateway, passage, EventKind.BROKEN, answer, tap.bytes_out if tap else 0, code_of(detail)
        )

    # -- WebSocket -----------------------------------------------------------------------------------

    async def socket_message(self, message: SocketMessage) -> None:
        await self.sockets.message(message)

    def socket_wake(self, wake: SocketWake) -> None:
        self.sockets.wake(wake)

    def socket_end(self, end: SocketEnd) -> None:
        self.sockets.end(end)

    # -- answers of our own --------------------------------------------------------------------------

    def _answer(self, flow: http.HTTPFlow, status: int, reason: str) -> http.Response:
        """Answer for the core: an upstream that failed, a body too large, a flow without a verdict."""
        passage = self._passages.get(flow)
        message = CORE_MESSAGES.get(reason, "The gateway could not finish this request.")
        if passage is not None and passage.cut:
            status = 503 if passage.cut == STOPPING else 403
            reason, message = passage.cut, passage.cut_message
        if passage is None:
            if reason == "gateway.no_verdict":
                self.connections.refused(flow.client_conn, "no_verdict", flow.client_conn.sni or "")
            return stream.plain_answer(flow, status, reason)
        if reason == "gateway.no_verdict" and not passage.ended:
            if passage.admitted is not None:
                end_exchange(self.gateway, passage, EventKind.REFUSED, None, 0, "no_verdict")
            else:
                passage.ended = True
                passage.give_back()
                self.gateway.record(event_of(self.gateway, EventKind.REFUSED, passage, "no_verdict"))
        if reason.startswith(UNREACHABLE):
            reason = UNREACHABLE
        decision = Decision("transport", Action.DENY, reason, message=message, status=status)
        retry = reason == STOPPING or (reason.startswith("upstream.") and reason not in FINAL)
        return refusal(passage, decision, retry=retry)


INLINE_READ_BYTES = 16 * 1024
"""Bodies up to this size are decoded, read and edited on the event loop; larger ones in a thread."""

BODY_TIMEOUT_S = 300.0
"""Time a client may take to send a body."""
