"""From each earlier schema to the next, with the data that is there."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Text, text, update

from sallyport.audit import partitions
from sallyport.audit.chain import START, Head, linked
from sallyport.audit.schema import SCHEMA_VERSION, checkpoints, events, prunings, schema_versions

_ROWS_AT_ONCE = 1000
_BEFORE = f"{events.name}_before"

if TYPE_CHECKING:
    from alembic.operations import Operations


def _usage_and_cost(operations: "Operations") -> None:
    """1 to 2: all that a price depends on, and the price."""
    for name in ("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "searches"):
        operations.add_column(events.name, Column(name, BigInteger))
    for name in ("service_tier", "usage_source"):
        operations.add_column(events.name, Column(name, Text))
    operations.add_column(events.name, Column("cost_micro_usd", BigInteger))


def _key_use(operations: "Operations") -> None:
    """2 to 3: the index that answers what each credential was used for."""
    index = next(index for index in events.indexes if index.name == "audit_key_use")
    index.create(operations.get_bind())


def _chain(operations: "Operations") -> None:
    """3 to 4: every writer's events are chained as they lie there, in the order of their ids.

    That proves nothing about the time before, and everything from now on.
    """
    connection = operations.get_bind()
    operations.add_column(events.name, Column("seq", BigInteger))
    operations.add_column(events.name, Column("hash", Text))
    page = text(f"SELECT * FROM {events.name} WHERE id > :after ORDER BY id LIMIT {_ROWS_AT_ONCE}")  # noqa: S608
    change = text(f"UPDATE {events.name} SET seq = :seq, hash = :hash WHERE id = :id")  # noqa: S608
    heads: dict[str, Head] = {}
    after = ""
    while rows := [dict(row) for row in connection.execute(page, {"after": after}).mappings()]:
        for row in rows:
            heads[row["gateway"]] = linked(row, heads.get(row["gateway"], START))
        connection.execute(change, [{name: row[name] for name in ("seq", "hash", "id")} for row in rows])
        after = rows[-1]["id"]
    next(index for index in events.indexes if index.name == "audit_chain").create(connection)
    if connection.dialect.name == "postgresql":  # SQLite would have to copy the table
        for name in ("seq", "hash"):
            operations.alter_column(events.name, name, nullable=False)
    checkpoints.create(connection)


def _coverage(operations: "Operations") -> None:
    """4 to 5: how much of each request was read. Nobody knows it of earlier ones; their hashes leave NULL out."""
    for name in ("coverage", "content_type", "unread"):
        operations.add_column(events.name, Column(name, Text))


def _partitions(operations: "Operations") -> None:
    """5 to 6: pruning, and in PostgreSQL the events in partitions, written anew as they are.

    Whoever had rights on the table has them on the new one, row by row as before; who could add events may move the
    heads of their writers.
    """
    connection = operations.get_bind()
    prunings.create(connection)
    if connection.dialect.name != "postgresql":
        return
    events_, before = events.name, _BEFORE
    connection.execute(text(f"LOCK TABLE {events_} IN ACCESS EXCLUSIVE MODE"))
    grants = _grants(connection)
    connection.execute(text(f"ALTER TABLE {events_} RENAME TO {before}"))
    connection.execute(text(f"ALTER TABLE {before} DROP CONSTRAINT {events_}_pkey"))
    for index in events.indexes:
        connection.execute(text(f"DROP INDEX {index.name}"))
    partitions.create_stored(connection)
    columns = ", ".join(column.name for column in events.columns)
    days = connection.scalars(text(f"SELECT DISTINCT {partitions.PERIOD_IN_SQL} FROM {before}"))  # noqa: S608
    partitions.keep_ahead(connection, beside=[day for day in days if day])
    connection.execute(
        text(
            f"INSERT INTO {events_} ({columns}, period) "  # noqa: S608
            f"SELECT {columns}, {partitions.PERIOD_IN_SQL} FROM {before}"
        )
    )
    connection.execute(
        text(
            f"INSERT INTO {partitions.heads.name} "  # noqa: S608
            f"SELECT DISTINCT ON (gateway) gateway, seq, hash FROM {before} ORDER BY gateway, seq DESC"
        )
    )
    connection.execute(
        text(
            f"INSERT INTO {partitions.spans.name} SELECT DISTINCT period, at_us / 86400000000 "  # noqa: S608
            f"FROM {events_} WHERE period > 0 AND period != at_us / 86400000000"
        )
    )
    connection.execute(text(f"DROP TABLE {before}"))
    for statement in grants:
        connection.exec_driver_sql(statement.replace("%", "%%"))


def _grants(connection: Connection) -> list[str]:
    """Return the statements that give everybody on a new table of events the rights that they have on this one."""
    events_, heads, spans = events.name, partitions.heads.name, partitions.spans.name
    held = text(
        "SELECT DISTINCT a.privilege_type, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END "
        "FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass(:table) AND a.grantee != c.relowner"
    )
    found = []
    for right, who in connection.execute(held, {"table": events_}):
        found.append(f"GRANT {right} ON {events_} TO {who}")
        if right == "INSERT":
            found.append(f"GRANT SELECT, INSERT, UPDATE ON {heads} TO {who}")
            found.append(f"GRANT SELECT, INSERT ON {spans} TO {who}")
        if right == "SELECT":
            found.append(f"GRANT SELECT ON {heads}, {spans}, {prunings.name} TO {who}")
    rules = text(
        "SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', policyname, tablename, permissive, cmd, "
        "(SELECT string_agg(CASE r WHEN 'public' THEN 'PUBLIC' ELSE quote_ident(r) END, ', ') FROM unnest(roles) r)) "
        "|| coalesce(' USING (' || qual || ')', '') || coalesce(' WITH CHECK (' || with_check || ')', '') "
        "FROM pg_policies p JOIN pg_class c ON c.oid = to_regclass(:table) AND p.tablename = c.relname "
        "AND p.schemaname::regnamespace = c.relnamespace"
    )
    found += connection.scalars(rules, {"table": events_})
    fenced = text("SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass(:table)")
    if connection.scalar(fenced, {"table": events_}):
        found.append(f"ALTER TABLE {events_} ENABLE ROW LEVEL SECURITY")
    return found


_STEPS = {1: _usage_and_cost, 2: _key_use, 3: _chain, 4: _coverage, 5: _partitions}
"""By the version a step starts from."""


def can_migrate(version: int) -> bool:
    """Say whether there is a way from a version to the present one."""
    return all(step in _STEPS for step in range(version, SCHEMA_VERSION)) and version <= SCHEMA_VERSION


def migrate(connection: Connection, version: int) -> None:
    """Bring the store to the present schema, inside the caller's transaction."""
    # Half a second to load, and hardly ever needed: commands must not wait for it.
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for step in range(version, SCHEMA_VERSION):
        _STEPS[step](operations)
    present = update(schema_versions).where(schema_versions.c.part == "audit").values(version=SCHEMA_VERSION)
    connection.execute(present)
