"""The last step of a request: its body as it leaves, its durable event, its real credential, and the gate.

Only dispatch admits a flow that is read; between its last look at the kill switches and the gate nothing waits.
"""

import asyncio
from dataclasses import replace

from mitmproxy import http

from sallyport.audit.events import EventKind
from sallyport.decision import Action, Decision, Edit, Mode, Verdict
from sallyport.exchange import KeyForm
from sallyport.pipeline import merge_edits
from sallyport.policy.sections import standing
from sallyport.proxy import intake
from sallyport.proxy.answers import AUDIT_DOWN, refusal
from sallyport.proxy.barred import barred
from sallyport.proxy.broker import Exchanged, Lacking, exchange_key, put_real
from sallyport.proxy.cleaning import Cleaner
from sallyport.proxy.ending import end_exchange, refuse_exchange
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.outflow import prepare
from sallyport.proxy.passage import Passage, event_of
from sallyport.proxy.signing import signed_anew
from sallyport.stages.excision import settled
from sallyport.stages.places import in_body
from sallyport.wire.errors import WireError


def edited_body(
    gateway: Gateway, flow: http.HTTPFlow, passage: Passage, verdict: Verdict, body: bytes
) -> bytes | Decision:
    """Return the body that leaves: what was scanned, with the enforced edits and changes in it.

    Or the refusal of one that has no place for a setting which the policy changes or puts in.
    """
    edits = verdict.edits
    if not edits and not verdict.changes:
        # In observe no byte changes, not even a content coding.
        observed = not standing(passage.live.policy, None, passage.exchange).acts
        return (flow.request.raw_content or b"") if observed else passage.dialect.unlinked(body)
    if not all(in_body(edit.at) for edit in edits):
        raise ValueError("an edit outside the body")
    texts = {s.at: s.text for s in passage.exchange.request.segments}
    vault = gateway.scope(passage.exchange)

    def over_union(both: tuple[Edit, Edit], union: Edit) -> str:
        if any(vault.original(edit.replacement) is None for edit in both):
            return "[MASKED]"
        return vault.placeholder("MASKED", texts[union.at][union.start : union.end])

    edited = passage.dialect.edit(body, merge_edits(settled(edits), over_union))
    try:
        changed = passage.dialect.change(edited, verdict.changes)
    except WireError as error:
        return _unsettable(error)
    return passage.dialect.unlinked(changed)


def _unsettable(error: WireError) -> Decision:
    names = "has a member twice" if error.reason == "json.duplicate_key" else "has something else there"
    return Decision(
        "access",
        Action.DENY,
        "access.parameter.no_place",
        message=f"The policy sets a setting of this request, and the request {names} ({error.place or error.reason}). "
        "Write the setting as the provider documents it, or leave it out.",
        status=400,
    )


def with_usage(passage: Passage, body: bytes) -> bytes:
    """Return the body that asks for a report of usage, where limits need one that would not come."""
    provider = passage.provider
    if provider is None or not provider.usage_if_asked or not passage.live.counts_usage:
        return body
    if not passage.exchange.request.stream:
        return body
    asking = passage.dialect.ask_usage(body)
    if asking is None:
        return body
    passage.asked_usage = True
    return asking


async def dispatch(gateway: Gateway, flow: http.HTTPFlow, passage: Passage, body: bytes) -> None:
    """Make the event durable, put the body in place, and only then open the gate."""
    if not flow.client_conn.connected:
        return  # Nobody waits any more: it stays unadmitted, and its end gives back what it had reserved.
    request = flow.request
    if await _stopped_late(gateway, flow, passage):
        return
    live = passage.live
    provider = passage.provider
    exchanged: Exchanged | Decision | Lacking | None = None
    if provider is not None and passage.exchange.client.key_form is not KeyForm.PROVIDER:
        where = provider.credentials.without(live.identity_headers)
        exchanged = await exchange_key(
            gateway, live.catalogue, passage.exchange, request, body, where, passage.gateway_key
        )
    if isinstance(exchanged, Decision | Lacking):
        await _refuse_lacking(gateway, flow, passage, exchanged)
        return
    # What was scanned is what leaves: decoded, with the edits in it.
    changed = body != request.raw_content
    fields = intake.outgoing_fields(request.headers.fields, live.identity_headers, len(body), changed=changed)
    fields = live.restricted.apply(passage.host, fields)
    signed = await signed_anew(gateway, passage, request, body, fields, exchanged)
    if isinstance(signed, Lacking):
        await _refuse_lacking(gateway, flow, passage, signed)
        return
    admitted = event_of(gateway, EventKind.ADMITTED, passage)
    if not await gateway.recorded(admitted, required=live.policy.audit_required):
        passage.ended = True  # the log itself records the refusal once it can
        passage.give_back()
        flow.response = refusal(passage, AUDIT_DOWN)
        return
    passage.admitted = admitted
    # Between here and the gate nothing waits: what is stopped later is in flight, and is cut.
    if (cause := barred(passage.exchange, gateway.directory(), gateway.live.policy)) is not None:
        flow.response = refusal(passage, cause)
        end_exchange(gateway, passage, EventKind.REFUSED, None, 0, cause.reason)
        return
    request.headers.fields = fields if signed is None else signed.fields
    if signed is not None and signed.shown:
        passage.cleaner = Cleaner(*signed.shown)
    elif signed is None and exchanged is not None and provider is not None:
        put_real(request, provider.credentials, exchanged)
        passage.cleaner = Cleaner(exchanged.real.value)
    request.raw_content = body
    intake.readdress(request, passage.host)
    gate.admit(flow)
    # Done once the request has left: while the provider is at work there is nothing else to do.
    asyncio.get_running_loop().call_soon(prepare, passage)


async def _refuse_lacking(
    gateway: Gateway, flow: http.HTTPFlow, passage: Passage, why: Lacking | Decision
) -> None:
    """Refuse a call whose credential cannot be had, or must not be used for it."""
    lacking = why if isinstance(why, Lacking) else Lacking(why)
    said = passage.verdict.decisions if passage.verdict is not None else ()
    await refuse_exchange(gateway, flow, passage, Verdict((*said, lacking.decision)), lacking.detail)


async def _stopped_late(gateway: Gateway, flow: http.HTTPFlow, passage: Passage) -> bool:
    """Refuse what was stopped while it waited, for a limit or for its names to be found."""
    cause = barred(passage.exchange, gateway.directory(), gateway.live.policy)
    if cause is None:
        return False
    said = passage.verdict.decisions if passage.verdict is not None else ()
    await refuse_exchange(gateway, flow, passage, Verdict((*said, replace(cause, mode=Mode.ENFORCE))))
    return True
