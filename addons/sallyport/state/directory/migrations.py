"""From each earlier schema of the directory to the next, with the data that is there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, update

from sallyport.state.directory.schema import SCHEMA_VERSION, state

if TYPE_CHECKING:
    from alembic.operations import Operations

STEPS: "dict[int, Callable[[Operations], None]]" = {}
"""By the version a step starts from. Version 1 is the first, so there is none yet."""


def can_migrate(version: int) -> bool:
    """Say whether there is a way from a version to the present one."""
    return all(step in STEPS for step in range(version, SCHEMA_VERSION)) and version <= SCHEMA_VERSION


def migrate(connection: Connection, version: int) -> None:
    """Bring the tables to the present schema, inside the caller's transaction."""
    # Half a second to load, and hardly ever needed: commands must not wait for it.
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    operations = Operations(MigrationContext.configure(connection))
    for step in range(version, SCHEMA_VERSION):
        STEPS[step](operations)
    connection.execute(update(state).values(version=SCHEMA_VERSION))
