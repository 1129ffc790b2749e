"""An event in the ArcSight Common Event Format."""

from sallyport import __version__
from sallyport.audit.events import Event
from sallyport.audit.forwarding.spelling import (
    NAME,
    Members,
    Severity,
    is_address,
    outcome,
    said,
    severity_of,
)

_SEVERITY = {Severity.INFORMATIONAL: 1, Severity.LOW: 3, Severity.MEDIUM: 6, Severity.HIGH: 9}


def cef(event: Event) -> str:
    """Return the event as one line of CEF, version 0."""
    usage = event.usage
    is_ipv6 = ":" in event.client and is_address(event.client)
    extension: Members = {
        "rt": int(event.at.timestamp() * 1000),
        "externalId": event.id,
        "deviceExternalId": event.gateway,
        "act": event.action.name.lower() if event.action is not None else event.kind.value,
        "outcome": outcome(event),
        "reason": event.reason or event.detail,
        "suser": event.principal,
        "src": event.client if ":" not in event.client and is_address(event.client) else "",
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
    head = (NAME, NAME, __version__, event.kind.value, said(event), str(_SEVERITY[severity_of(event)]))
    shown = " ".join(f"{k}={_value(str(v))}" for k, v in extension.items() if v not in ("", None))
    return f"CEF:0|{'|'.join(map(_head, head))}|{shown}"


def _head(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def _value(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")
