"""Pseudonyms in the place of people who are written of.

In memory an event names its people, so that limits, anomalies and receivers go by them; its alias says what is
written instead. It is chosen once for an exchange, with its admission, and its end says the same.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from sallyport.audit.events import AUDIT_UNAVAILABLE, CANCELLED, Alias, Event, EventKind
from sallyport.audit.log import AuditLog, AuditUnavailable, Sink
from sallyport.audit.naming import CLIENT
from sallyport.audit.text import MAX_TEXT_CHARS, original, storable
from sallyport.stages.identity import ANONYMOUS

OPERATOR = "operator"
"""source of events of an operator's own acts, who answers for them by name."""

PEOPLE = "people"
"""Why an admission is refused whose person has no pseudonym: the keys are away."""

_MAX_LATE = 1_000


class Pseudonyms(Protocol):
    """What stands for a principal and its client's address. held and passing never wait."""

    def held(self, tenant: str, principal: str, client: str) -> Alias | None: ...

    def find(self, tenant: str, principal: str, client: str) -> Alias:
        """Raises whatever means that the keys cannot be had."""
        ...

    def passing(self, tenant: str, principal: str, client: str) -> Alias: ...


def person_of(event: Event) -> tuple[str, str] | None:
    """Return tenant and name of the person an event is of, None where it is of nobody, or of an operator.

    The same person as the one whose content is kept: of a caller whom nobody knows, its address.
    """
    if event.source == OPERATOR:
        return None
    if event.principal and event.source != ANONYMOUS.source:
        name = event.principal
        return event.tenant, original(name) if "\\" in name and len(name) <= MAX_TEXT_CHARS else name
    return (event.tenant, f"{CLIENT}{event.client}") if event.client else None


def subject_name(principal: str) -> str:
    """Return the name person_of() gives of a principal: its id, of a long one what of it an event can hold."""
    stored = storable(principal)
    return original(stored) if len(stored) <= MAX_TEXT_CHARS else stored


class PersonalLog(AuditLog):
    """A log that writes pseudonyms where the policy wants them.

    people: gives them. wanted: whether the policy does, now. may_pass: whether an admission that must be durable may
    go under a passing pseudonym while the keys are away; else it is refused. Events that nobody waits for always may.
    """

    def __init__(
        self,
        sink: Sink,
        people: Pseudonyms,
        wanted: Callable[[], bool],
        may_pass: Callable[[], bool],
        *,
        deadline_s: float = 2.0,
    ) -> None:
        self._people = people
        self._wanted = wanted
        self._may_pass = may_pass
        self._patience_s = deadline_s
        self._finders = ThreadPoolExecutor(4, "sallyport-people")
        self._late = ThreadPoolExecutor(1, "sallyport-late-people")
        self._waiting = 0
        self._counting = threading.Lock()
        super().__init__(sink, deadline_s=deadline_s)

    async def append(self, event: Event, *, required: bool = True) -> None:
        whose = self._unnamed(event)
        if whose is not None:
            find = asyncio.get_running_loop().run_in_executor(self._finders, self._find, event, whose)
            try:
                await asyncio.wait_for(find, self._patience_s)
            except asyncio.CancelledError:
                self._cancelled(event, whose, required=required)
                raise
            except Exception:
                # The border to the keys: whatever is raised means that they cannot be had.
                self._pass(event, whose)
                if required and not self._may_pass():
                    if event.kind is EventKind.ADMITTED:
                        super().append_nowait(event.followed_by(EventKind.REFUSED, detail=AUDIT_UNAVAILABLE))
                    raise AuditUnavailable(PEOPLE) from None
        await super().append(event, required=required)

    def append_nowait(self, event: Event) -> None:
        whose = self._unnamed(event)
        if whose is None:
            super().append_nowait(event)
            return
        with self._counting:
            is_full = self._waiting >= _MAX_LATE
            self._waiting += not is_full
        if is_full:
            self._pass(event, whose)
            super().append_nowait(event)
            return
        try:
            self._late.submit(self._append_late, event, whose)
        except RuntimeError:  # closed
            raise AuditUnavailable("closed") from None

    def alias(self, event: Event) -> Event:
        """Give an event that is written elsewhere what stands for its person, and return it. May wait."""
        whose = self._unnamed(event)
        if whose is not None:
            try:
                self._find(event, whose)
            except Exception:
                # The border to the keys, as above.
                self._pass(event, whose)
        return event

    def close(self, timeout_s: float = 10.0) -> bool:
        self._late.shutdown(wait=True)
        self._finders.shutdown(wait=False, cancel_futures=True)
        return super().close(timeout_s)

    def _unnamed(self, event: Event) -> tuple[str, str] | None:
        """Return whose name an event would be written with; None where it has what stands for it, or none is wanted."""
        if event.alias is not None or not self._wanted():
            return None
        whose = person_of(event)
        if whose is None:
            return None
        held = self._people.held(*whose, event.client)
        if held is None:
            return whose
        _put(event, held)
        return None

    def _find(self, event: Event, whose: tuple[str, str]) -> None:
        _put(event, self._people.held(*whose, event.client) or self._people.find(*whose, event.client))

    def _pass(self, event: Event, whose: tuple[str, str]) -> None:
        _put(event, self._people.passing(*whose, event.client))

    def _cancelled(self, event: Event, whose: tuple[str, str], *, required: bool) -> None:
        """Have written what a caller that went away leaves: of an admission that did not leave, its refusal."""
        withdrawn = required and event.kind in (EventKind.ADMITTED, EventKind.TUNNELLED)
        if withdrawn and event.kind is EventKind.TUNNELLED:
            return
        self._pass(event, whose)
        with suppress(AuditUnavailable):  # the log counts what it loses
            super().append_nowait(
                event.followed_by(EventKind.REFUSED, detail=CANCELLED) if withdrawn else event
            )

    def _append_late(self, event: Event, whose: tuple[str, str]) -> None:
        try:
            try:
                self._find(event, whose)
            except Exception:
                # The border to the keys, as above.
                self._pass(event, whose)
            with suppress(AuditUnavailable):  # the log counts what it loses
                super().append_nowait(event)
        finally:
            with self._counting:
                self._waiting -= 1


def _put(event: Event, alias: Alias) -> None:
    """Say what is written for an event's person; of a caller nobody knew, the principal stays as it is."""
    principal, client = alias
    if not principal and event.principal and event.source != ANONYMOUS.source:
        principal = client  # somebody who is called as a caller at that address would be
    if event.alias is None:  # a look that came too late changes nothing
        object.__setattr__(event, "alias", (principal or event.principal, client))
