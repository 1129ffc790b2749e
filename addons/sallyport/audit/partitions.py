"""How PostgreSQL keeps events: in partitions of a week each, so that the past can be dropped.

The period of an event is the UTC day on which its exchange was made, or the event itself where it has no exchange,
as days since 1970-01-01: a function of an id, so that all events of an exchange share a partition, and a unique
index that holds the period is as unique as one without. An id that tells no time has period 0. What falls into no
partition of a week lies in the default partition.

A unique index cannot span partitions. That no place of a chain is taken twice is the work of audit_heads: whoever
adds events moves the head of their writer from where it was, in the same transaction, and of two who try it from
the same place the second moves nothing (audit/adding.py).

An end may come days after its exchange began, and then lies in the week of the beginning. audit_spans notes such
days, so that who asks for a time reads those weeks too and no others.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    and_,
    func,
    literal_column,
    or_,
    select,
    text,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from sallyport.audit.schema import events, metadata

DAYS = 7
"""Of one partition."""

AHEAD = 5
"""Partitions that are made before they are needed."""

OTHER = f"{events.name}_other"
"""The default partition."""

DROP_WEEKS = f"{events.name}_drop_weeks"
"""A function that drops partitions as their owner, for a role that may prune and owns nothing."""

_DROP_WEEKS = """
CREATE FUNCTION {function}(before integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part record;
    dropped integer := 0;
BEGIN
    FOR part IN
        SELECT c.oid::regclass AS name, (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO .([0-9]+)'))[1] AS until
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = '{table}'::regclass
    LOOP
        IF part.until::integer <= before THEN
            EXECUTE 'DROP TABLE ' || part.name;
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END $$
"""

_DAY_MS, _DAY_US = 86_400_000, 86_400_000_000
_MONDAY = 4
"""1970-01-05, the first Monday, in days."""

_DATED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7")
PERIOD_IN_SQL = (
    "CASE WHEN coalesce(exchange, id) ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7' THEN (('x0000' || "
    "substr(coalesce(exchange, id), 1, 8) || substr(coalesce(exchange, id), 10, 4))::bit(64)::bigint "
    f"/ {_DAY_MS})::integer ELSE 0 END"
)
"""period_of, for rows that are there."""

postgres_metadata = MetaData()


def _partitioned() -> Table:
    """Return the table of events as PostgreSQL has it: the model's columns, and the period."""
    table = Table(
        events.name,
        postgres_metadata,
        *(Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable) for c in events.columns),
        Column("period", Integer, primary_key=True, autoincrement=False),
        postgresql_partition_by="RANGE (period)",
    )
    for index in sorted(events.indexes, key=lambda index: str(index.name)):
        names = [c.name for c in index.columns] + (["period"] if index.unique else [])
        where = index.dialect_options["postgresql"]["where"]
        Index(index.name, *(table.c[name] for name in names), unique=index.unique, postgresql_where=where)
    Index("audit_time", table.c.at_us)
    return table


stored = _partitioned()
"""What rows are inserted into, and their partitions made like. Everybody else reads `events`."""

heads = Table(
    "audit_heads",
    postgres_metadata,
    Column("gateway", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

spans = Table(
    "audit_spans",
    postgres_metadata,
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column(
        "day", Integer, primary_key=True, autoincrement=False, doc="of an event in that period, another day"
    ),
)


def period_of(row: Mapping[str, Any]) -> int:
    """Return the period of a row."""
    id = row["exchange"] or row["id"]
    return int(id[:8] + id[9:13], 16) // _DAY_MS if _DATED.match(id) else 0


def late_days(rows: Iterable[Mapping[str, Any]]) -> set[tuple[int, int]]:
    """Return period and day of those rows, placed by their periods, that happened on another day."""
    found = {(row["period"], row["at_us"] // _DAY_US) for row in rows}
    return {(period, day) for period, day in found if period and period != day}


def is_within(since_us: int | None, until_us: int | None) -> ColumnElement[bool]:
    """Return a condition that names the only periods which can hold events of a time.

    since_us, until_us: microseconds since 1970, None where that side is open.
    """
    period: ColumnElement[int] = literal_column(f"{events.name}.period", Integer)
    found: list[ColumnElement[bool]] = []
    if since_us is not None:
        day = since_us // _DAY_US
        first = select(func.min(spans.c.period)).where(spans.c.day >= day).scalar_subquery()
        found.append(period >= func.least(day, first))
    if until_us is not None:
        day = until_us // _DAY_US
        last = select(func.max(spans.c.period)).where(spans.c.day <= day).scalar_subquery()
        found.append(period <= func.greatest(day, last))
    return or_(period == 0, and_(*found))


def is_of(exchange: str) -> ColumnElement[bool]:
    """Return a condition that names the period of an exchange."""
    period: ColumnElement[int] = literal_column(f"{events.name}.period", Integer)
    return or_(period == 0, period == period_of({"exchange": exchange, "id": exchange}))


# Making partitions.


def create_all(connection: Connection) -> None:
    """Create everything that a new database needs."""
    for table in metadata.sorted_tables:
        if table is not events:
            table.create(connection, checkfirst=True)
    create_stored(connection)


def create_stored(connection: Connection) -> None:
    """Create the table of events with its default partition, and what stands beside it."""
    for table in (stored, heads, spans):
        connection.execute(CreateTable(table))
    for index in sorted(stored.indexes, key=lambda index: str(index.name)):
        connection.execute(CreateIndex(index))
    connection.execute(text(f"CREATE TABLE {OTHER} PARTITION OF {events.name} DEFAULT"))
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    connection.exec_driver_sql(_DROP_WEEKS.format(function=DROP_WEEKS, table=f"{schema}.{events.name}"))
    connection.execute(text(f"REVOKE ALL ON FUNCTION {DROP_WEEKS}(integer) FROM PUBLIC"))


def week_of(day: int) -> int:
    """Return the day a partition begins with that holds a day."""
    return day - (day - _MONDAY) % DAYS


def name_of(first_day: int) -> str:
    """Return the name of the partition that begins with a day."""
    return f"{events.name}_{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=first_day):%Y%m%d}"


def weeks_there(connection: Connection) -> list[int]:
    """Return the first days of all partitions of a week, in order."""
    query = text(
        "SELECT pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
        "WHERE i.inhparent = to_regclass(:table)"
    )
    bounds = (
        re.match(r"FOR VALUES FROM \((\d+)\)", said)
        for said in connection.scalars(query, {"table": events.name})
    )
    return sorted(int(found[1]) for found in bounds if found)


def wanted_weeks(connection: Connection, beside: Iterable[int] = ()) -> list[int]:
    """Return the first days of partitions that should be there and are not.

    These are the ones ahead, those of what lies in the default partition, and those of the days beside.
    """
    present = set(weeks_there(connection))
    today = week_of(this_day())
    strays = connection.scalars(text(f"SELECT DISTINCT period FROM {OTHER} WHERE period > 0"))  # noqa: S608
    wanted = {week_of(day) for day in (*strays, *beside)} | {today + DAYS * number for number in range(AHEAD)}
    return sorted(week for week in wanted - present if week >= 0)


def make_week(connection: Connection, first_day: int) -> None:
    """Make one partition, and move into it what the default one holds of its days."""
    name, last = name_of(first_day), first_day + DAYS
    of_it = f"period >= {first_day} AND period < {last}"
    connection.execute(
        text(f"CREATE TABLE {name} (LIKE {events.name} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
    )
    moved = connection.execute(
        text(f"INSERT INTO {name} SELECT * FROM {OTHER} WHERE {of_it}")  # noqa: S608
    )
    if moved.rowcount:
        connection.execute(text(f"DELETE FROM {OTHER} WHERE {of_it}"))  # noqa: S608
    bounds = f"FROM ({first_day}) TO ({last})"
    connection.execute(text(f"ALTER TABLE {events.name} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def keep_ahead(connection: Connection, beside: Iterable[int] = ()) -> int:
    """Make the partitions that are wanted, inside the caller's transaction; return how many.

    beside: days, as periods are, that partitions are wanted for as well. Raises SQLAlchemy's ProgrammingError where
    the role does not own the events, OperationalError where somebody reads them for longer than 0.8 s.
    """
    days = list(beside)
    if not wanted_weeks(connection, days):
        return 0
    # Writers wait, so that nothing falls into the default partition between the look and the move. Whoever waits
    # for this lock keeps all who come after him waiting: less than a gateway's second for one write.
    connection.execute(text("SET LOCAL lock_timeout = '800ms'"))
    connection.execute(text(f"LOCK TABLE {events.name} IN ACCESS EXCLUSIVE MODE"))
    wanted = wanted_weeks(connection, days)
    for first_day in wanted:
        make_week(connection, first_day)
    return len(wanted)


def is_owner(connection: Connection) -> bool:
    """Say whether this role may make and drop partitions."""
    query = text("SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(:table)")
    return bool(connection.scalar(query, {"table": events.name}))


def this_day() -> int:
    """Return today as days since 1970-01-01 UTC."""
    return int(datetime.now(UTC).timestamp()) // 86_400
