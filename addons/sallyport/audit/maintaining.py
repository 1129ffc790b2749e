"""Partitions are made ahead, by who owns the tables: at a start, by the thread of checkpoints, or by a command."""

from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from sallyport.audit import partitions
from sallyport.sql.engines import Database

LACKS_RIGHT = "42501"
"""SQLSTATE of what a role may not do."""

LOCK_TIMEOUT = "55P03"
"""SQLSTATE where somebody holds a table for long."""

_SOON = 2 * partitions.DAYS


@dataclass(frozen=True, slots=True)
class Ahead:
    """How events are kept in PostgreSQL. made: partitions made just now. until: first day without one, as a period.

    outside: events in the default partition, which no dropping of a week removes; those of no known day left out.
    """

    made: int
    until: int
    outside: int

    @property
    def is_short(self) -> bool:
        """Whether somebody should make partitions soon."""
        return self.until - partitions.this_day() < _SOON or self.outside > 0


def keep_ahead(at: Database) -> Ahead | None:
    """Make the partitions that are wanted where this role may, and tell what there is; None in SQLite.

    While somebody reads the events for long, none are made: it can wait for weeks. Raises SQLAlchemy's errors.
    """
    if at.writer.dialect.name != "postgresql":
        return None
    try:
        with at.writer.begin() as connection:
            made = partitions.keep_ahead(connection) if partitions.is_owner(connection) else 0
            return look(connection, made)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != LOCK_TIMEOUT:
            raise
    with at.writer.begin() as connection:
        return look(connection)


def look(connection: Connection, made: int = 0) -> Ahead:
    """Tell how far ahead partitions are there."""
    weeks = set(partitions.weeks_there(connection))
    until = partitions.week_of(partitions.this_day())
    while until in weeks:
        until += partitions.DAYS
    outside = 0
    if connection.scalar(text(f"SELECT has_table_privilege('{partitions.OTHER}', 'SELECT')")):
        query = f"SELECT count(*) FROM (SELECT 1 FROM {partitions.OTHER} WHERE period > 0 LIMIT 10000) AS few"  # noqa: S608
        outside = connection.scalar(text(query)) or 0
    return Ahead(made, until, outside)
