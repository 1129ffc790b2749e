"""From each earlier schema to the next, with the data that is there."""

from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Connection, Text, text, update

from sallyport.audit.chain import START, Head, linked
from sallyport.audit.schema import SCHEMA_VERSION, checkpoints, events, schema_versions

_ROWS_AT_ONCE = 1000

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


_STEPS = {1: _usage_and_cost, 2: _key_use, 3: _chain, 4: _coverage}
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
