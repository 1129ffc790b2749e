"""Which gateways run, and under which policy, as far as their log tells."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.gatewayname import known_name

_KINDS = (EventKind.STARTED, EventKind.POLICY_CHANGED, EventKind.STOPPED)


def running(opened: Store, home: Path) -> Mapping[str, Event]:
    """Return by gateway the event by which its policy took force, of those that have not stopped.

    home: folder of a gateway of this machine: one that was killed has said nothing, but holds its lock no more.
    """
    found = [event for kind in _KINDS for event in opened.events(10_000, kind=kind)]
    latest: dict[str, Event] = {}
    for event in sorted(found, key=lambda event: event.id):
        latest[event.gateway] = event
    gone = _gone(home)
    return {
        name: event
        for name, event in latest.items()
        if event.kind is not EventKind.STOPPED and event.gateway != gone
    }


def last_in_force(opened: Store) -> Event | None:
    """Return the event by which a policy took force last on any gateway, running or not."""
    found = [event for kind in _KINDS[:2] for event in opened.events(1, kind=kind)]
    return max(found, key=lambda event: event.id, default=None)


def _gone(home: Path) -> str:
    """Return the name of the gateway of a folder if it does not run, "" if it does or nobody knows."""
    name = known_name(home)
    if name is None:
        return ""
    try:
        lock = os.open(home / "gateway.lock", os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return ""
    finally:
        os.close(lock)
    return name
