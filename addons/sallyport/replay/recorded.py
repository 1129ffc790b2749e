"""What the gateway wrote into a flow it captured: whose it was, and what was decided. Plain captures have none.

It stands in the flow's metadata under one key, as JSON values, so that every tool of mitmproxy keeps it.
"""

from dataclasses import dataclass
from typing import Any

from mitmproxy import http

from sallyport.decision import Action, Verdict
from sallyport.exchange import Exchange, Principal
from sallyport.replay.ruling import Ruling, cause_reason, masked_by

KEY = "sallyport"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """exchange: its id in the audit. ruling: what was decided then."""

    exchange: str
    principal: Principal | None
    ruling: Ruling


def record_of(exchange: Exchange, verdict: Verdict, cost: int | None) -> dict[str, Any]:
    """Return what is written into a captured flow: no text, no credential."""
    who = exchange.principal
    stage, reason = cause_reason(verdict)
    return {
        "version": VERSION,
        "exchange": exchange.id,
        "principal": who
        and {
            "id": who.id,
            "tenant": who.tenant,
            "roles": list(who.roles),
            "attributes": [list(pair) for pair in who.attributes],
            "source": who.source,
            "confidence": who.confidence,
        },
        "action": verdict.action.name.lower(),
        "would_be": verdict.would_be.name.lower(),
        "stage": stage,
        "reason": reason,
        "masked": [list(pair) for pair in masked_by(verdict)],
        "cost": cost,
    }


def read_record(flow: http.HTTPFlow) -> Record | None:
    """Return what was written into a flow; None where there is nothing, or nothing that can be read."""
    said = flow.metadata.get(KEY)
    if not isinstance(said, dict) or said.get("version") != VERSION:
        return None
    try:
        who = said["principal"]
        principal = who and Principal(
            str(who["id"]),
            str(who["tenant"]),
            tuple(str(role) for role in who["roles"]),
            tuple((str(name), str(value)) for name, value in who["attributes"]),
            str(who["source"]),
            float(who["confidence"]),
        )
        ruling = Ruling(
            Action[str(said["action"]).upper()],
            Action[str(said["would_be"]).upper()],
            str(said["stage"]),
            str(said["reason"]),
            tuple((str(entity), int(count)) for entity, count in said["masked"]),
            None if said["cost"] is None else int(said["cost"]),
        )
        return Record(str(said["exchange"]), principal or None, ruling)
    except (KeyError, TypeError, ValueError):
        return None
