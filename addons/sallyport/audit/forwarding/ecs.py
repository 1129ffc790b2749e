"""An event in Elastic Common Schema."""

from collections.abc import Mapping

from sallyport import __version__
from sallyport.audit.events import Event, EventKind
from sallyport.audit.forwarding.spelling import (
    NAME,
    Members,
    Severity,
    is_address,
    outcome,
    said,
    severity_of,
    without_empty,
)
from sallyport.audit.schema import event_json

VERSION = "8.17.0"

_CATEGORY: Mapping[EventKind, tuple[str, str]] = {
    EventKind.ADMITTED: ("network", "start"),
    EventKind.COMPLETED: ("network", "end"),
    EventKind.BROKEN: ("network", "end"),
    EventKind.REFUSED: ("network", "denied"),
    EventKind.TUNNELLED: ("network", "allowed"),
    EventKind.CONNECTION_REFUSED: ("network", "denied"),
    EventKind.POLICY_CHANGED: ("configuration", "change"),
    EventKind.POLICY_REJECTED: ("configuration", "error"),
    EventKind.POLICY_PROMOTED: ("configuration", "change"),
    EventKind.POLICY_DRIFTED: ("configuration", "info"),
    EventKind.LIMIT_CHANGED: ("configuration", "change"),
    EventKind.ANOMALY: ("threat", "indicator"),
    EventKind.DIRECTORY_CHANGED: ("iam", "change"),
    EventKind.APPROVAL_REQUESTED: ("iam", "info"),
    EventKind.APPROVAL_DECIDED: ("iam", "change"),
    EventKind.BREAK_GLASS: ("iam", "admin"),
    EventKind.KILL_SWITCH: ("configuration", "change"),
    EventKind.NOTIFICATIONS_LOST: ("process", "error"),
    EventKind.PRUNED: ("configuration", "deletion"),
    EventKind.SPOOLED: ("process", "info"),
    EventKind.CONTENT_REVEALED: ("database", "access"),
    EventKind.CONTENT_CHANGED: ("database", "change"),
    EventKind.ERASED: ("database", "deletion"),
    EventKind.STARTED: ("process", "start"),
    EventKind.STOPPED: ("process", "end"),
}
_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 5, Severity.HIGH: 8}


def ecs(event: Event) -> Members:
    """Return the event in Elastic Common Schema; what ECS has no field for is under `sallyport`."""
    category, type_ = _CATEGORY.get(event.kind, ("process", "info"))
    usage = event.usage
    return without_empty(
        {
            "@timestamp": _time(event),
            "message": said(event),
            "ecs": {"version": VERSION},
            "event": {
                "id": event.id,
                "kind": "alert" if event.kind is EventKind.ANOMALY else "event",
                "category": [category],
                "type": [type_],
                "action": event.kind.value,
                "outcome": outcome(event),
                "reason": event.reason or event.detail,
                "severity": _SEVERITY[severity_of(event)],
                "duration": None if event.duration_us is None else event.duration_us * 1000,
                "module": "sallyport",
                "dataset": "sallyport.audit",
                "provider": "sallyport",
            },
            "observer": {
                "vendor": NAME,
                "product": NAME,
                "type": "proxy",
                "name": event.gateway,
                "version": __version__,
            },
            "user": {"id": event.principal},
            "organization": {"id": event.tenant},
            "source": {"address": event.client, "ip": event.client if is_address(event.client) else ""},
            "destination": {"domain": event.host},
            "http": {
                "request": {"bytes": event.request_bytes},
                "response": {"bytes": event.response_bytes, "status_code": event.status},
            },
            "rule": {"id": event.reason, "category": event.stage, "ruleset": event.policy_revision},
            "trace": {"id": event.exchange},
            "gen_ai": {
                "provider": {"name": event.provider},
                "operation": {"name": event.operation},
                "request": {"model": event.model},
                "usage": {
                    "input_tokens": usage.input if usage else None,
                    "output_tokens": usage.output if usage else None,
                },
            },
            "sallyport": event_json(event),
        }
    )


def _time(event: Event) -> str:
    return event.at.isoformat(timespec="microseconds").replace("+00:00", "Z")
