"""What every spelling of an event says in its own words: how grave it is, how it ended, a short sentence.

One spelling a file (ecs, ocsf, cef, otlp), one function each, no I/O. Nothing is added to an event, and nothing is
lost: what a format has no name for stands under our own.
"""

from enum import StrEnum
from typing import Any

from sallyport.audit.events import Event, EventKind
from sallyport.decision import Action

type Members = dict[str, Any]

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


def said(event: Event) -> str:
    """Return an event in a short sentence of its own names."""
    parts = [event.kind.value.replace("_", " ")]
    if event.host:
        parts.append(f"to {event.host}")
    if cause := event.reason or event.detail:
        parts.append(f"({cause})")
    return " ".join(parts)


def outcome(event: Event) -> str:
    """Return success, failure or unknown."""
    if event.kind in (
        EventKind.REFUSED, EventKind.CONNECTION_REFUSED, EventKind.BROKEN, EventKind.POLICY_REJECTED,
    ):  # fmt: skip
        return "failure"
    if event.kind is EventKind.COMPLETED:
        return "success" if event.status is None or event.status < 400 else "failure"
    return "unknown" if event.action is Action.DENY else "success"


def is_address(text: str) -> bool:
    """Say whether a client is named by an address of IP."""
    return bool(text) and set(text) <= set("0123456789abcdefABCDEF.:") and any(c in text for c in ".:")


def without_empty(members: Members) -> Members:
    """Return members without what is empty, at every depth but in our own; zero and false are not empty."""
    kept: Members = {}
    for name, value in members.items():
        if isinstance(value, dict) and name not in ("sallyport", "unmapped"):
            value = without_empty(value)
        if value not in ("", None, {}, []):
            kept[name] = value
    return kept
