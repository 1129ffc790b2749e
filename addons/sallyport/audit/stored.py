"""What is asked of stored events: lists, one decision, what was used and what was read, over one scope.

A tenant's scope is put on every query in one place. All calls block and raise OperatorError where the store cannot be
read.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Join, RowMapping, Select, and_, exists, or_, select, text
from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit import partitions
from sallyport.audit.coverage import (
    CoverageDimension,
    Shares,
    Unparsed,
    shares_of,
    shares_query,
    unparsed_of,
    unparsed_query,
)
from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.audit.ids import first_id
from sallyport.audit.keys import KeyUse, key_use_of, key_use_query
from sallyport.audit.naming import Names, told
from sallyport.audit.schema import IS_ADMISSION, IS_END, events, from_row, microseconds
from sallyport.audit.spend import (
    Booked,
    Spend,
    SpendDimension,
    booked_of,
    booked_query,
    spend_of,
    spend_query,
)
from sallyport.audit.text import storable
from sallyport.errors import OperatorError
from sallyport.sql.engines import Database
from sallyport.sql.failures import cure_of, name_of


class Outcome(StrEnum):
    """How an exchange or a connection fared, as people ask for it."""

    ALLOWED = "allowed"
    MODIFIED = "modified"
    REFUSED = "refused"
    WOULD_REFUSE = "would-refuse"
    WOULD_MODIFY = "would-modify"


class StoredEvents:
    """The events of one or several gateways, for who reads them. Any number of threads."""

    def __init__(self, at: Database, tenant: str | None = None) -> None:
        self._at = at
        self._tenant = None if tenant is None else storable(tenant)
        self._is_sqlite = at.writer.dialect.name == "sqlite"
        self.names: Names | None = None
        """Who pseudonyms stand for, where who reads may know; None shows events as they are stored."""

    @property
    def name(self) -> str:
        """The address without a password."""
        return self._at.name

    def events(
        self,
        limit: int = 100,
        *,
        since: datetime | None = None,
        kind: EventKind | None = None,
        principal: str | None = None,
        exchange: str | None = None,
        outcome: Outcome | None = None,
    ) -> list[Event]:
        """Return the latest events that fit all conditions, newest first."""
        query = select(events).order_by(events.c.id.desc()).limit(limit)
        if since is not None:
            query = query.where(events.c.at_us >= microseconds(since), *self._of_time(since, None))
        if kind is not None:
            query = query.where(events.c.kind == kind.value)
        if principal is not None:
            known = () if self.names is None else self.names.pseudonyms(principal)
            query = query.where(events.c.principal.in_([storable(principal), *known]))
        if exchange is not None:
            query = query.where(*self._of_exchange(exchange))
        if outcome is not None:
            query = query.where(_OUTCOMES[outcome])
        return self._read(query)

    def exchange(self, exchange: str) -> list[Event]:
        """Return the events of one exchange, oldest first."""
        return self._read(select(events).where(*self._of_exchange(exchange)).order_by(events.c.id))

    def decision(self, prefix: str) -> list[Event]:
        """Return everything about one decision, oldest first: the events of its exchange, or the one event.

        prefix: the beginning of an event id or of an exchange id. Raises OperatorError where nothing or
        more than one thing begins so.
        """
        wanted = storable(prefix.strip())
        query = select(events).where(or_(_begins(events.c.id, wanted), _begins(events.c.exchange, wanted)))
        found = self._read(query.order_by(events.c.id.desc()).limit(20)) if wanted else []
        subjects = list(dict.fromkeys(event.exchange or event.id for event in found))
        if not subjects:
            raise self._error(
                "no event or exchange id begins with what was given",
                "List ids with: sallyport audit list",
                exit_code=2,
            )
        if len(subjects) > 1:
            raise self._error(
                f"{len(subjects)} or more decisions begin with what was given: {', '.join(subjects[:5])}",
                "Give more characters of the id.",
                exit_code=2,
            )
        return self.exchange(found[0].exchange) if found[0].exchange else found

    def open_exchanges(self, gateway: str | None = None, *, before: datetime | None = None) -> list[Event]:
        """Return the ADMITTED events without an end, oldest first.

        gateway: only those of one instance; where several share a store, the others' are in flight.
        before: only those admitted before this time, so that a start leaves its own alone.
        """
        ends = events.alias("ends")
        ended = exists().where(and_(ends.c.exchange == events.c.exchange, text(f"ends.{IS_END}")))
        query = select(events).where(text(f"audit_events.{IS_ADMISSION}"), ~ended).order_by(events.c.id)
        if gateway is not None:
            query = query.where(events.c.gateway == storable(gateway))
        if before is not None:
            query = query.where(events.c.at_us < microseconds(before))
        return self._read(query)

    def ended(self, since: datetime, limit: int) -> list[Event]:
        """Return the ends of exchanges since a time, of all gateways, oldest first; of many, the latest."""
        kinds = [kind.value for kind in END_KINDS]
        query = select(events).where(
            events.c.id >= first_id(since), events.c.kind.in_(kinds), *self._of_time(since, None)
        )
        return self._read(query.order_by(events.c.id.desc()).limit(limit))[::-1]

    def between(self, since: datetime, until: datetime) -> Iterator[Event]:
        """Yield the events from since up to, not including, until, oldest first; few are in memory at once.

        Raises OperatorError.
        """
        query = select(events).where(
            events.c.at_us >= microseconds(since),
            events.c.at_us < microseconds(until),
            *self._of_time(since, until),
        )
        if self._tenant is not None:
            query = query.where(events.c.tenant == self._tenant)
        try:
            with (
                self._at.reader.connect() as connection,
                connection.execute(
                    query.order_by(events.c.id), execution_options={"yield_per": 1000}
                ) as found,
            ):
                for rows in found.mappings().partitions():
                    yield from map(from_row, told(rows, self.names))
        except SQLAlchemyError as error:
            raise self._unread(error) from None

    def spend(
        self,
        by: Sequence[SpendDimension] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Spend, ...]:
        """Return what the exchanges that ended from since up to, not including, until used, by dimensions."""
        query = spend_query(by, since, until).where(*self._of_time(since, until))
        return spend_of(self._rows(query), by)

    def coverage(
        self,
        by: Sequence[CoverageDimension] = (),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> tuple[Shares, ...]:
        """Return how much was read of what ended from since up to, not including, until, by dimensions."""
        query = shares_query(by, since, until).where(*self._of_time(since, until))
        return shares_of(self._rows(query), by)

    def unparsed(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Unparsed, ...]:
        """Return what was not read whole, and why."""
        return unparsed_of(self._rows(unparsed_query(since, until).where(*self._of_time(since, until))))

    def key_use(self, tenant: str | None = None) -> tuple[KeyUse, ...]:
        """Return what every credential was used for, the one that was used last first."""
        return key_use_of(self._rows(key_use_query(None if tenant is None else storable(tenant))))

    def booked(self, since: datetime, until: datetime) -> tuple[Booked, ...]:
        """Return what exchanges admitted in [since, until) used, as far as they have ended."""
        query = booked_query(since, until).where(
            *self._of_time(since, until)
        )  # an end lies where its admission does
        return booked_of(self._rows(query))

    @contextmanager
    def whole(self) -> Iterator[Connection]:
        """Open one state of all that is stored, for who verifies or exports it. Raises OperatorError."""
        if self._tenant is not None:
            raise self._error(
                "is open to you for one tenant only", "Ask the operator for a token of all tenants."
            )
        try:
            with self._at.reader.connect() as connection:
                if not self._is_sqlite:
                    connection = connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
        except SQLAlchemyError as error:
            raise self._unread(error) from None

    def _of_time(self, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
        """Return a condition that spares PostgreSQL the partitions which hold nothing of a time."""
        if self._is_sqlite or (since is None and until is None):
            return []
        ends = (None if end is None else microseconds(end) for end in (since, until))
        return [partitions.is_within(*ends)]

    def _of_exchange(self, exchange: str) -> list[ColumnElement[bool]]:
        id = storable(exchange)
        return [events.c.exchange == id, *([] if self._is_sqlite else [partitions.is_of(id)])]

    def _read(self, query: Select[Any]) -> list[Event]:
        return [from_row(row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> Sequence[RowMapping]:
        """Return the rows of a query over the events; the one place where a tenant's scope is put on it."""
        if self._tenant is not None:
            if not _is_of_events(query):
                raise AssertionError("a query that the scope of a tenant cannot be put on")
            query = query.where(events.c.tenant == self._tenant)
        try:
            with self._at.reader.connect() as connection:
                return told(list(connection.execute(query).mappings()), self.names)
        except SQLAlchemyError as error:
            raise self._unread(error) from None

    def _unread(self, error: BaseException) -> OperatorError:
        return self._error(
            f"cannot be read ({name_of(error)})",
            f"{cure_of(error, 'Check that it is running and that you may read it')}.",
        )

    def _error(self, what: str, todo: str, *, exit_code: int = 3) -> OperatorError:
        return OperatorError(f"audit store {self.name}", what, todo, exit_code=exit_code)


def _is_of_events(query: Select[Any]) -> bool:
    """Say whether every row of a query is of one event, so that a condition on events is one on the rows."""
    froms = query.get_final_froms()
    first = froms[0] if len(froms) == 1 else None
    while isinstance(first, Join):
        first = first.left
    return first is events


def _begins(column: Any, prefix: str) -> Any:
    return and_(column >= prefix, column < prefix + "\U0010ffff")


_OUTCOMES: dict[Outcome, Any] = {
    Outcome.ALLOWED: and_(events.c.kind == "admitted", events.c.action == "allow"),
    Outcome.MODIFIED: and_(events.c.kind == "admitted", events.c.action == "modify"),
    Outcome.REFUSED: events.c.kind.in_(("refused", "connection_refused")),
    Outcome.WOULD_REFUSE: and_(events.c.kind == "admitted", events.c.would_be == "deny"),
    Outcome.WOULD_MODIFY: and_(
        events.c.kind == "admitted", events.c.would_be == "modify", events.c.action == "allow"
    ),
}
