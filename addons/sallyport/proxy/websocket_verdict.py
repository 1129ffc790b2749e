"""One event of a WebSocket under policy: the stages, the durable event and the kill switches of any call."""

import time
from collections.abc import Sequence
from dataclasses import replace

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.audit.ids import new_id
from sallyport.decision import Action, Decision, Mode, Verdict
from sallyport.exchange import KeyForm, Request
from sallyport.pipeline import Step
from sallyport.policy.sections import Policy
from sallyport.proxy.answers import AUDIT_DOWN
from sallyport.proxy.barred import barred
from sallyport.proxy.connections import address_of, mode_name
from sallyport.proxy.dispatch import edited_body
from sallyport.proxy.ending import end_exchange
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.judging import judged
from sallyport.proxy.passage import Passage, event_of
from sallyport.proxy.proved import standing
from sallyport.proxy.recorded import Over
from sallyport.proxy.scanning import ScanOnce
from sallyport.stages.keys import refused_gateway_key
from sallyport.wire.sockets import Asked, Purpose

SOCKET = "websocket"
"""The stage name of decisions on events that no stage has seen."""


def refuse(reason: str, message: str, status: int = 400) -> Decision:
    """Return a refusal of an event."""
    return Decision(SOCKET, Action.DENY, f"websocket.{reason}", message=message, status=status)


def passage_of(
    gateway: Gateway, live: Live, session: Passage, request: Request, conversation: str, size: int
) -> Passage:
    """Return the passage of one event of a session: an exchange of its own, of the same caller. size: its bytes."""
    exchange = replace(
        session.exchange,
        id=new_id(),
        conversation=conversation,
        received_at=gateway.now(),
        request=request,
        principal=None,
        response=None,
    )
    return Passage(
        exchange.id,
        live,
        time.perf_counter_ns(),
        session.host,
        session.provider,
        session.target,
        session.dialect,
        exchange,
        gateway_key=session.gateway_key,
        request_bytes=size,
        content_type="application/json",
    )


async def judge(
    gateway: Gateway, passage: Passage, stages: Sequence[Step], *, counted: bool
) -> tuple[Verdict, ScanOnce]:
    """Ask the stages about an event; return what they say, and what its texts were scanned with.

    counted: it asks for an answer, so that limits count it as a call. The others are paid for with the answer that
    builds on them, as the provider reports it.
    """
    verdict, scanner = await judged(gateway, passage, stages, counted=counted)
    passage.verdict = verdict
    return verdict, scanner


def of_its_kind(policy: Policy, asked: Asked) -> Decision | None:
    """Return why a policy refuses an event for what it is, None if nothing speaks against its kind."""
    rules = policy.websocket
    if asked.purpose is Purpose.UNKNOWN and rules.unknown_events == "refuse":
        return refuse("unknown_event", "The gateway does not know this type of event.")
    if asked.purpose is Purpose.SOUND and rules.audio != "allow":
        return refuse("audio", "The policy does not let sound leave, which nobody can read.", 403)
    return None


def without_allowed_sound(policy: Policy, request: Request) -> Request:
    """Return an event as the stages see it: sound that may leave is no content that nobody reads."""
    if policy.websocket.audio != "allow":
        return request
    return replace(request, attachments=tuple(a for a in request.attachments if not a.at.endswith("/audio")))


def edited(
    gateway: Gateway, flow: http.HTTPFlow, passage: Passage, verdict: Verdict, event: bytes
) -> bytes | Decision:
    """Return the event that leaves, with the enforced edits and changes in it, or why it cannot, as edited_body."""
    if not verdict.edits and not verdict.changes:
        return event
    return edited_body(gateway, flow, passage, verdict, event)


def lapsed_key(gateway: Gateway, passage: Passage) -> Decision | None:
    """Return why the gateway key of a session may not be used now, None where it may, or where it is none of ours."""
    if passage.exchange.client.key_form is KeyForm.PROVIDER:
        return None
    now = replace(passage.exchange, received_at=gateway.now())
    refused = refused_gateway_key(now, gateway.directory())
    if refused is None:
        return None
    return Decision("identity", Action.DENY, refused.reason, message=refused.message)


def lapsed_proof(live: Live, flow: http.HTTPFlow) -> Decision | None:
    """Return why what the connection of a session has proved does not hold now, as for any request on it."""
    client = flow.client_conn
    return standing(client, live, address_of(client), mode_name(client)).refused


def misplaced_key(passage: Passage, content: bytes) -> Decision | None:
    """Return the refusal of a message that carries the gateway key itself, whatever the policy's mode."""
    if not passage.gateway_key or passage.gateway_key.encode() not in content:
        return None
    return refuse("key_misplaced", "The event carries the gateway key. Take it out.", 403)


async def admit(gateway: Gateway, passage: Passage, detail: str) -> Decision | None:
    """Make the event of an admission durable; return what refuses it instead, None where nothing does.

    Between its return and the sending nothing may wait: what is stopped later is in flight, and is cut.
    """
    cause = barred(passage.exchange, gateway.directory(), gateway.live.policy)
    if cause is not None:
        return cause
    lapsed = lapsed_key(gateway, passage)
    if lapsed is not None:
        return lapsed
    admitted = event_of(gateway, EventKind.ADMITTED, passage, detail)
    if not await gateway.recorded(admitted, required=passage.live.policy.audit_required):
        passage.ended = True  # the log itself records the refusal once it can
        passage.give_back()
        return AUDIT_DOWN
    passage.admitted = admitted
    if (cause := barred(passage.exchange, gateway.directory(), gateway.live.policy)) is not None:
        end_exchange(gateway, passage, EventKind.REFUSED, None, 0, cause.reason)
        return cause
    return None


async def record_refusal(gateway: Gateway, passage: Passage, decision: Decision | None, detail: str) -> None:
    """Write the event of an event that is not sent. decision: what refused it after the stages, or before them."""
    if decision is not None:
        said = passage.verdict.decisions if passage.verdict is not None else ()
        passage.verdict = Verdict((*said, replace(decision, mode=Mode.ENFORCE)))
    if passage.ended:
        return
    passage.ended = True
    passage.over = Over(None, 0)
    passage.give_back()
    await gateway.recorded(event_of(gateway, EventKind.REFUSED, passage, detail), required=False)
