"""Events in OpenTelemetry's protocol for logs."""

from collections.abc import Mapping, Sequence
from typing import Any

from sallyport import __version__
from sallyport.audit.events import Event
from sallyport.audit.forwarding.spelling import Members, Severity, said, severity_of
from sallyport.audit.schema import event_json

_SEVERITY = {
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
    number, text = _SEVERITY[severity_of(event)]
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
