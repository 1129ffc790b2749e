"""An event as others spell it: JSON lines, ECS, OCSF, CEF, OpenTelemetry. One function each, no I/O.

Nothing is added to an event, and nothing is lost: what a format has no name for stands under our own.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sallyport import __version__
from sallyport.audit.events import Event, EventKind
from sallyport.audit.schema import event_json
from sallyport.decision import Action

type Members = dict[str, Any]

ECS_VERSION = "8.17.0"
OCSF_VERSION = "1.4.0"
NAME = "Sallyport"


class Severity(StrEnum):
    """How much a person should care."""

    INFORMATIONAL = "informational"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def severity_of(event: Event) -> Severity:
    """Return how much a person should care about an event."""
    match event.kind:
        case EventKind.BREAK_GLASS | EventKind.KILL_SWITCH | EventKind.CONTENT_REVEALED:
            return Severity.HIGH
        case (
            EventKind.ANOMALY
            | EventKind.POLICY_REJECTED
            | EventKind.POLICY_DRIFTED
            | EventKind.NOTIFICATIONS_LOST
            | EventKind.PRUNED
        ):
            return Severity.MEDIUM
        case EventKind.REFUSED | EventKind.CONNECTION_REFUSED:
            return Severity.MEDIUM if event.stage in ("secrets", "injection") else Severity.LOW
        case (
            EventKind.BROKEN
            | EventKind.POLICY_CHANGED
            | EventKind.POLICY_PROMOTED
            | EventKind.DIRECTORY_CHANGED
            | EventKind.LIMIT_CHANGED
            | EventKind.ERASED
            | EventKind.CONTENT_CHANGED
        ):
            return Severity.LOW
        case _:
            return Severity.INFORMATIONAL


def plain(event: Event) -> Members:
    """Return the event as `sallyport audit list --json` prints it."""
    return event_json(event)


# -- Elastic Common Schema ------------------------------------------------------------------------------

_ECS_CATEGORY: Mapping[EventKind, tuple[str, str]] = {
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
_ECS_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 5, Severity.HIGH: 8}


def ecs(event: Event) -> Members:
    """Return the event in Elastic Common Schema; what ECS has no field for is under `sallyport`."""
    category, type_ = _ECS_CATEGORY.get(event.kind, ("process", "info"))
    usage = event.usage
    return _without_empty(
        {
            "@timestamp": _time(event),
            "message": said(event),
            "ecs": {"version": ECS_VERSION},
            "event": {
                "id": event.id,
                "kind": "alert" if event.kind is EventKind.ANOMALY else "event",
                "category": [category],
                "type": [type_],
                "action": event.kind.value,
                "outcome": _outcome(event),
                "reason": event.reason or event.detail,
                "severity": _ECS_SEVERITY[severity_of(event)],
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
            "source": {"address": event.client, "ip": event.client if _is_address(event.client) else ""},
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


# -- OCSF ------------------------------------------------------------------------------------------------

_API, _NETWORK, _LIFECYCLE, _ENTITY, _FINDING = 6003, 4001, 6002, 3004, 2004
_OCSF_NAMES = {
    _API: ("API Activity", 6, "Application Activity"),
    _NETWORK: ("Network Activity", 4, "Network Activity"),
    _LIFECYCLE: ("Application Lifecycle", 6, "Application Activity"),
    _ENTITY: ("Entity Management", 3, "Identity & Access Management"),
    _FINDING: ("Detection Finding", 2, "Findings"),
}
_OCSF_CLASS: Mapping[EventKind, tuple[int, int]] = {
    EventKind.TUNNELLED: (_NETWORK, 6),
    EventKind.CONNECTION_REFUSED: (_NETWORK, 5),
    EventKind.STARTED: (_LIFECYCLE, 3),
    EventKind.STOPPED: (_LIFECYCLE, 4),
    EventKind.NOTIFICATIONS_LOST: (_LIFECYCLE, 99),
    EventKind.SPOOLED: (_LIFECYCLE, 99),
    EventKind.PRUNED: (_ENTITY, 4),
    EventKind.ANOMALY: (_FINDING, 1),
    EventKind.POLICY_CHANGED: (_ENTITY, 3),
    EventKind.POLICY_REJECTED: (_ENTITY, 99),
    EventKind.POLICY_PROMOTED: (_ENTITY, 3),
    EventKind.POLICY_DRIFTED: (_ENTITY, 99),
    EventKind.LIMIT_CHANGED: (_ENTITY, 3),
    EventKind.DIRECTORY_CHANGED: (_ENTITY, 3),
    EventKind.APPROVAL_REQUESTED: (_ENTITY, 1),
    EventKind.APPROVAL_DECIDED: (_ENTITY, 3),
    EventKind.BREAK_GLASS: (_ENTITY, 99),
    EventKind.KILL_SWITCH: (_ENTITY, 3),
    EventKind.CONTENT_REVEALED: (_ENTITY, 2),
    EventKind.CONTENT_CHANGED: (_ENTITY, 3),
    EventKind.ERASED: (_ENTITY, 4),
}
_OCSF_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4}


def ocsf(event: Event) -> Members:
    """Return the event in the Open Cybersecurity Schema Framework; the whole of it is under `unmapped`."""
    class_uid, activity = _OCSF_CLASS.get(event.kind, (_API, 99))
    class_name, category_uid, category_name = _OCSF_NAMES[class_uid]
    refused = event.kind in (EventKind.REFUSED, EventKind.CONNECTION_REFUSED)
    severity = severity_of(event)
    members: Members = {
        "class_uid": class_uid,
        "class_name": class_name,
        "category_uid": category_uid,
        "category_name": category_name,
        "activity_id": activity,
        "activity_name": event.kind.value if activity == 99 else "",
        "type_uid": class_uid * 100 + activity,
        "time": int(event.at.timestamp() * 1000),
        "severity_id": _OCSF_SEVERITY[severity],
        "severity": severity.value.capitalize(),
        "message": said(event),
        "status_id": {"success": 1, "failure": 2}.get(_outcome(event), 0),
        "status_code": "" if event.status is None else str(event.status),
        "status_detail": event.reason or event.detail,
        "duration": None if event.duration_us is None else event.duration_us // 1000,
        "metadata": {
            "version": OCSF_VERSION,
            "uid": event.id,
            "correlation_uid": event.exchange,
            "log_name": "audit",
            "tenant_uid": event.tenant,
            "product": {
                "name": NAME,
                "vendor_name": NAME,
                "version": __version__,
                "uid": event.gateway,
            },
            "profiles": ["security_control"],
        },
        "action_id": 2 if refused else 1,
        "disposition_id": 2 if refused else 1,
        "unmapped": event_json(event),
    }
    actor = {"user": {"uid": event.principal, "name": event.principal}, "app_name": NAME}
    source = {
        "ip": event.client if _is_address(event.client) else "",
        "name": event.client or event.gateway or "unknown",
    }
    target = {"hostname": event.host or event.gateway or "unknown", "port": 443 if event.host else None}
    match class_uid:
        case 6003:
            service = {"name": event.provider}
            members |= {"actor": actor, "src_endpoint": source, "dst_endpoint": target}
            members["api"] = {"operation": event.operation or event.kind.value, "service": service}
            members["http_response"] = None if event.status is None else {"code": event.status}
        case 4001:
            members |= {"src_endpoint": source, "dst_endpoint": target}
        case 6002:
            members["app"] = {"name": NAME, "uid": event.gateway, "vendor_name": NAME}
        case 3004:
            members |= {
                "actor": actor,
                "entity": {"name": event.reason or event.kind.value, "type": event.kind.value},
            }
        case _:
            members["finding_info"] = {
                "uid": event.id,
                "title": said(event),
                "types": [event.detail or "anomaly"],
            }
            members["status_id"] = 1
    return _without_empty(members)


# -- ArcSight Common Event Format -----------------------------------------------------------------------

_CEF_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6, Severity.HIGH: 9}


def cef(event: Event) -> str:
    """Return the event as one line of CEF, version 0."""
    usage = event.usage
    is_ipv6 = ":" in event.client and _is_address(event.client)
    extension: Members = {
        "rt": int(event.at.timestamp() * 1000),
        "externalId": event.id,
        "deviceExternalId": event.gateway,
        "act": event.action.name.lower() if event.action is not None else event.kind.value,
        "outcome": _outcome(event),
        "reason": event.reason or event.detail,
        "suser": event.principal,
        "src": event.client if ":" not in event.client and _is_address(event.client) else "",
        "c6a2": event.client if is_ipv6 else "",
        "c6a2Label": "Source IPv6 Address" if is_ipv6 else "",
        "dhost": event.host,
        "request": event.endpoint,
        "app": event.provider,
        "out": event.request_bytes,
        "in": event.response_bytes,
    }
    strings = (
        ("tenant", event.tenant), ("model", event.model), ("exchange", event.exchange),
        ("policyRevision", event.policy_revision), ("stage", event.stage), ("detail", event.detail),
    )  # fmt: skip
    numbers = (
        ("inputTokens", usage.input if usage else None),
        ("outputTokens", usage.output if usage else None),
        ("costMicroUsd", event.cost_micro_usd),
    )
    for place, (label, value) in enumerate(strings, 1):
        if value:
            extension |= {f"cs{place}": value, f"cs{place}Label": label}
    for place, (label, number) in enumerate(numbers, 1):
        if number is not None:
            extension |= {f"cn{place}": number, f"cn{place}Label": label}
    head = (NAME, NAME, __version__, event.kind.value, said(event), str(_CEF_SEVERITY[severity_of(event)]))
    shown = " ".join(f"{k}={_cef_value(str(v))}" for k, v in extension.items() if v not in ("", None))
    return f"CEF:0|{'|'.join(map(_cef_head, head))}|{shown}"


def _cef_head(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _cef_value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")


# -- OpenTelemetry ---------------------------------------------------------------------------------------

_OTLP_SEVERITY = {
    Severity.INFORMATIONAL: (9, "INFO"),
    Severity.LOW: (10, "INFO2"),
    Severity.MEDIUM: (13, "WARN"),
    Severity.HIGH: (17, "ERROR"),
}


def otlp(events: Sequence[Event]) -> Members:
    """Return events as one ExportLogsServiceRequest in OTLP's JSON encoding, a resource for each gateway."""
    by_gateway: dict[str, list[Members]] = {}
    for event in events:
        by_gateway.setdefault(event.gateway, []).append(_log_record(event))
    return {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": _attributes(
                        {
                            "service.name": "sallyport",
                            "service.instance.id": gateway,
                            "service.version": __version__,
                        }
                    )
                },
                "scopeLogs": [{"scope": {"name": "sallyport.audit"}, "logRecords": records}],
            }
            for gateway, records in by_gateway.items()
        ]
    }


def _log_record(event: Event) -> Members:
    number, text = _OTLP_SEVERITY[severity_of(event)]
    at = str(int(event.at.timestamp()) * 1_000_000_000 + event.at.microsecond * 1000)
    facts = event_json(event)
    usage = facts.pop("usage", {})
    flat: Members = {
        "enduser.id": event.principal,
        "client.address": event.client,
        "server.address": event.host,
        "gen_ai.provider.name": event.provider,
        "gen_ai.operation.name": event.operation,
        "gen_ai.request.model": event.model,
        "gen_ai.usage.input_tokens": event.usage.input if event.usage else None,
        "gen_ai.usage.output_tokens": event.usage.output if event.usage else None,
        "http.response.status_code": event.status,
    }
    flat |= {f"sallyport.{name}": value for name, value in facts.items()}
    flat |= {
        f"sallyport.usage.{name}": value for name, value in (usage if isinstance(usage, dict) else {}).items()
    }
    return {
        "timeUnixNano": at,
        "observedTimeUnixNano": at,
        "severityNumber": number,
        "severityText": text,
        "eventName": f"sallyport.{event.kind.value}",
        "body": {"stringValue": said(event)},
        "attributes": _attributes(flat),
    }


def _attributes(members: Mapping[str, Any]) -> list[Members]:
    return [
        {"key": key, "value": _any_value(value)} for key, value in members.items() if value not in ("", None)
    ]


def _any_value(value: Any) -> Members:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case dict():
            return {"kvlistValue": {"values": _attributes(value)}}
        case list() | tuple():
            return {"arrayValue": {"values": [_any_value(each) for each in value if each is not None]}}
        case _:
            return {"stringValue": str(value)}


# -- common ----------------------------------------------------------------------------------------------


def said(event: Event) -> str:
    """Return an event in a short sentence of its own names."""
    parts = [event.kind.value.replace("_", " ")]
    if event.host:
        parts.append(f"to {event.host}")
    if cause := event.reason or event.detail:
        parts.append(f"({cause})")
    return " ".join(parts)


def _outcome(event: Event) -> str:
    if event.kind in (
        EventKind.REFUSED, EventKind.CONNECTION_REFUSED, EventKind.BROKEN, EventKind.POLICY_REJECTED,
    ):  # fmt: skip
        return "failure"
    if event.kind is EventKind.COMPLETED:
        return "success" if event.status is None or event.status < 400 else "failure"
    return "unknown" if event.action is Action.DENY else "success"


def _time(event: Event) -> str:
    return event.at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _is_address(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789abcdefABCDEF.:") and any(c in text for c in ".:")


def _without_empty(members: Members) -> Members:
    """Return members without what is empty, at every depth but in our own; zero and false are not empty."""
    kept: Members = {}
    for name, value in members.items():
        if isinstance(value, dict) and name not in ("sallyport", "unmapped"):
            value = _without_empty(value)
        if value not in ("", None, {}, []):
            kept[name] = value
    return kept
