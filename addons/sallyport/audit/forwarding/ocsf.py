"""An event in the Open Cybersecurity Schema Framework."""

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

VERSION = "1.4.0"

_API, _NETWORK, _LIFECYCLE, _ENTITY, _FINDING = 6003, 4001, 6002, 3004, 2004
_NAMES = {
    _API: ("API Activity", 6, "Application Activity"),
    _NETWORK: ("Network Activity", 4, "Network Activity"),
    _LIFECYCLE: ("Application Lifecycle", 6, "Application Activity"),
    _ENTITY: ("Entity Management", 3, "Identity & Access Management"),
    _FINDING: ("Detection Finding", 2, "Findings"),
}
_CLASS: Mapping[EventKind, tuple[int, int]] = {
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
_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4}


def ocsf(event: Event) -> Members:
    """Return the event in the Open Cybersecurity Schema Framework; the whole of it is under `unmapped`."""
    class_uid, activity = _CLASS.get(event.kind, (_API, 99))
    class_name, category_uid, category_name = _NAMES[class_uid]
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
        "severity_id": _SEVERITY[severity],
        "severity": severity.value.capitalize(),
        "message": said(event),
        "status_id": {"success": 1, "failure": 2}.get(outcome(event), 0),
        "status_code": "" if event.status is None else str(event.status),
        "status_detail": event.reason or event.detail,
        "duration": None if event.duration_us is None else event.duration_us // 1000,
        "metadata": {
            "version": VERSION,
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
        "ip": event.client if is_address(event.client) else "",
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
    return without_empty(members)
