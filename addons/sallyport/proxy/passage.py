"""One exchange on its way through the hooks: what is known of it, from its head to its end event."""

import time
from dataclasses import dataclass, field, replace

from mitmproxy import http

from sallyport.audit.classes import Coverage, media_name
from sallyport.audit.events import Event, EventKind, about
from sallyport.audit.ids import new_id
from sallyport.audit.text import coded
from sallyport.decision import Decision, Verdict
from sallyport.exchange import Client as Caller
from sallyport.exchange import Exchange, Operation, Request, Response
from sallyport.policy.catalogue import Provider
from sallyport.proxy import intake
from sallyport.proxy.broker import Presented, presented
from sallyport.proxy.cleaning import Cleaner
from sallyport.proxy.connections import address_of, mode_name
from sallyport.proxy.covering import content_name, request_coverage
from sallyport.proxy.flowing import Originals
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.noted import Noted
from sallyport.proxy.proved import proved_by, standing
from sallyport.proxy.recorded import Kept, Over
from sallyport.proxy.stream import leaving
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.tls import normalise_name
from sallyport.stages.channel import Stop
from sallyport.stages.output import OutputFilter
from sallyport.state.meter import ExchangeMeter
from sallyport.wire.dialect import Dialect
from sallyport.wire.dialects import DIALECTS


@dataclass(slots=True)
class Passage:
    """What the hooks of one flow share.

    refused: why it is refused before any stage; verdict: what the stages said; admitted: its durable event.
    ended: its end event is written, or it never began. cut: reason id for which it is ended from here, "" where it
    is not; cut_message: what the client is told of it.
    meter: what it has reserved of limits. asked_usage: the gateway asked for a report that the client did
    not ask for. unread: the provider answered, and nobody here could read how much. withheld: what is recorded of an
    answer that could not be read and did not go to the client. gateway_key: the key it
    came with, where that is one of ours; cleaner: takes the real one out of the answer. output: looks at the answer;
    output_stop: where it ended a buffered one. content_type: as the client
    wrote it, never to be recorded so. originals: what comes back into the answer.
    """

    id: str
    live: Live
    started_ns: int
    host: str
    provider: Provider | None
    target: intake.Target | None
    dialect: Dialect
    exchange: Exchange
    refused: Decision | None = None
    verdict: Verdict | None = None
    admitted: Event | None = None
    ended: bool = False
    cut: str = ""
    cut_message: str = ""
    tap: AnswerTap | None = None
    meter: ExchangeMeter | None = None
    asked_usage: bool = False
    unread: bool = False
    withheld: Response | None = None
    gateway_key: str = field(default="", repr=False)
    cleaner: Cleaner | None = None
    request_bytes: int = 0
    kept: Kept | None = None
    noted: Noted | None = None
    over: Over | None = None
    output: OutputFilter | None = None
    output_stop: Stop | None = None
    content_type: str = ""
    originals: Originals = field(default_factory=Originals)

    def give_back(self) -> None:
        """Release what was reserved of limits: nothing left."""
        if self.meter is not None:
            self.meter.release()


def arrive(gateway: Gateway, flow: http.HTTPFlow) -> Passage:
    """Say whose host this is, which endpoint, and what the connection has proved; refuse what has no answer."""
    live, client, request = gateway.live, flow.client_conn, flow.request
    mode = mode_name(client)
    refused: Decision | None = None
    host = normalise_name(client.sni) or ""
    if mode == "reverse" and not client.tls:
        host = normalise_name(request.host) or ""
    elif not client.tls:
        refused = intake.refuse("plain_http", "Plain HTTP is not forwarded there; use HTTPS.", 403)
        host = normalise_name(request.pretty_host) or ""
    provider = live.catalogue.provider(host) if refused is None else None
    target = intake.find_target(provider, request) if provider is not None else None
    if provider is None and refused is None:
        refused = intake.refuse("host_unlisted", "The gateway does not forward to this host.", 403)
    if provider is not None and host in live.policy.hosts.refused_hosts:
        refused = intake.refuse("host_refused", "The policy does not allow this provider.", 403)
    holds = standing(client, live, address_of(client), mode)
    if holds.refused is not None:
        leaving.add(client)
    refused = refused or holds.refused
    dialect = DIALECTS[target.endpoint.dialect if target else "opaque"]
    where = provider.credentials.without(live.identity_headers) if provider else None
    shown = presented(request, where, gateway.key) if where else Presented()
    caller = Caller(
        address=address_of(client),
        mode=mode,
        credential=shown.fingerprints[0] if len(shown.fingerprints) == 1 else None,
        credentials=shown.fingerprints,
        key_ids=shown.key_ids,
        key_form=shown.form,
        headers=intake.open_headers(request, where) if where else (),
        certificate=holds.certificate,
        proxy_user=holds.proxy_user,
        tls=proved_by(client).hello,
    )
    exchange = Exchange(
        id=new_id(),
        conversation="",
        received_at=gateway.now(),
        host=host,
        client=caller,
        request=Request(
            provider=provider.name if provider else "",
            dialect=dialect.name,
            operation=target.endpoint.operation if target else Operation.OPAQUE,
            model=target.endpoint.model if target else None,
        ),
    )
    started_ns = time.perf_counter_ns()
    return Passage(
        exchange.id,
        live,
        started_ns,
        host,
        provider,
        target,
        dialect,
        exchange,
        refused,
        gateway_key=shown.gateway_key,
        content_type=request.headers.get("content-type", ""),
    )


def event_of(gateway: Gateway, kind: EventKind, passage: Passage, detail: str = "") -> Event:
    """Return an event that tells what is known of a passage now. The model is shown as the rules allow."""
    live = passage.live
    if not detail and passage.target is not None:
        detail = passage.target.miss
    cause = passage.verdict.cause if passage.verdict is not None else None
    if not detail and kind is EventKind.REFUSED and cause is not None and cause.media:
        detail = coded(f"attachment.{media_name(cause.media)}")
    miss = passage.target.miss if passage.target is not None else ""
    coverage, unread = request_coverage(passage.exchange.request, passage.refused, miss)
    if kind is EventKind.REFUSED:
        coverage, unread = Coverage.DENIED, ""
    held = passage.meter.reserved if kind is EventKind.ADMITTED and passage.meter is not None else None
    return about(
        kind,
        _with_shown_model(passage.exchange, live),
        passage.verdict,
        gateway=gateway.id,
        endpoint=passage.target.endpoint.template if passage.target else "",
        connected_to=gateway.connected_to(passage.host),
        policy_revision=live.policy.revision,
        rules_revision=live.rules_revision,
        usage=held.usage if held else None,
        usage_source=held.source if held else "",
        cost_micro_usd=held.cost_micro_usd if held else None,
        request_bytes=passage.request_bytes,
        duration_us=(time.perf_counter_ns() - passage.started_ns) // 1000,
        detail=detail,
        coverage=coverage,
        content_type=content_name(passage.content_type, passage.request_bytes),
        unread=unread,
    )


def _with_shown_model(exchange: Exchange, live: Live) -> Exchange:
    model = exchange.request.model
    shown = live.shown_model(model)
    if shown == (model or ""):
        return exchange
    return replace(exchange, request=replace(exchange.request, model=shown))
