"""An event of a WebSocket that the gateway captured, with its answer: read again as the session read it.

Each exchange on a socket is a flow of its own: the request of the upgrade, what the client said as its first message,
and what the provider answered as the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mitmproxy import http

from sallyport.decision import Decision, Mode
from sallyport.exchange import Request
from sallyport.proxy import intake
from sallyport.proxy.gateway import Live
from sallyport.proxy.passage import Passage
from sallyport.proxy.recorded import Record
from sallyport.proxy.websocket_verdict import of_its_kind, refuse, without_allowed_sound
from sallyport.wire.dialect import Call
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import parse_object
from sallyport.wire.sockets import MANNERS, Purpose


@dataclass(frozen=True, slots=True)
class Event:
    """What a client said. counted: it asks for an answer, so that limits count it as a call."""

    request: Request
    counted: bool


def event_of(flow: http.HTTPFlow) -> bytes:
    """Return what the client said, empty where the provider began by itself."""
    messages = flow.websocket.messages if flow.websocket is not None else []
    return b"".join(message.content for message in messages[:1] if message.from_client)


def answer_of(flow: http.HTTPFlow) -> Iterator[bytes]:
    """Yield the events of the provider."""
    for message in flow.websocket.messages if flow.websocket is not None else ():
        if not message.from_client:
            yield message.content


def read_event(flow: http.HTTPFlow, passage: Passage, record: Record | None) -> Event | Decision:
    """Read what a client said, under the policy of a passage; return what refuses it before any stage instead.

    What is wrong with an event is enforced unless the whole policy observes; what is with its upgrade, always.
    """
    live, target, provider = passage.live, passage.target, passage.provider
    if target is None or provider is None or target.miss or passage.dialect.name not in MANNERS:
        return _always(intake.refuse("upgrade", "The gateway does not read this WebSocket.", 426))
    endpoint = target.endpoint
    if not live.policy.websocket.reads(f"{provider.name} {endpoint.method} {endpoint.template}"):
        return _always(intake.refuse("upgrade_refused", "The policy does not allow this WebSocket.", 426))
    said = event_of(flow)
    if len(said) > live.policy.websocket.max_message_bytes:
        return _always(refuse("too_long", "The message is longer than the policy allows."))
    if not said:
        began = replace(passage.exchange.request, segments=(), stream=True, max_output_tokens=None)
        return Event(_placed(live, passage, began, record), counted=True)
    call = Call(provider.name, endpoint.operation, model=endpoint.model, stream=True)
    try:
        asked = MANNERS[passage.dialect.name].asked(parse_object(said))
        request = passage.dialect.read_request(said, call)
    except WireError as error:
        return _by_mode(live, intake.unreadable(error))
    refused = of_its_kind(live.policy, asked)
    if refused is not None:
        return _by_mode(live, refused)
    placed = without_allowed_sound(live.policy, _placed(live, passage, request, record))
    return Event(placed, counted=asked.purpose is Purpose.TURN)


def _always(decision: Decision) -> Decision:
    return replace(decision, mode=Mode.ENFORCE)


def _by_mode(live: Live, decision: Decision) -> Decision:
    return replace(decision, mode=Mode.OBSERVE if live.policy.only_observes else Mode.ENFORCE)


def _placed(live: Live, passage: Passage, request: Request, record: Record | None) -> Request:
    """Return a request with what its session says of it: its model, where it is processed, its endpoint."""
    assert passage.target is not None
    assert passage.provider is not None
    endpoint = passage.target.endpoint
    model = request.model or (record.model if record is not None else "") or None
    return replace(
        request,
        model=model,
        region=live.region(passage.provider, passage.host, endpoint, model),
        endpoint=f"{endpoint.method} {endpoint.template}",
    )
