"""The rights of roles in PostgreSQL, as SQL: what a gateway, an operator and a tenant's reader need, no more.

Row-level security is on for the events as soon as one of these has run: a role without a policy of its own
sees no row. The owner of the tables and superusers are bound by none of it.
"""

import hashlib
from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import Connection, text

from sallyport.audit import partitions
from sallyport.audit.schema import checkpoints, events, prunings, schema_versions
from sallyport.audit.text import storable
from sallyport.errors import OperatorError
from sallyport.state.directory import schema as directory

_READER = "sallyport_reader"
_ALL = "sallyport_all"

GATEWAY_WRITES = (directory.state, directory.requests, directory.keys)
"""What a gateway itself writes of the directory: requests for approval, keys that it sees, the revision."""


class Duty(StrEnum):
    """What a role is for, beside reading one tenant."""

    GATEWAY = "gateway"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    PRUNER = "pruner"


def for_duty(duty: Duty, role: str, schema: str) -> tuple[str, ...]:
    """Return the statements that give a role what its duty needs. Nobody changes an event; the pruner removes some."""
    match duty:
        case Duty.AUDITOR:
            return _auditors(role, schema)
        case Duty.PRUNER:
            return (*_auditors(role, schema), *_pruners(role, schema))
    who, tables = _identifier(role), [_table(t.name, schema) for t in directory.metadata.sorted_tables]
    written = tables
    if duty is Duty.GATEWAY:
        written = [_table(table.name, schema) for table in GATEWAY_WRITES]
    may = "INSERT, UPDATE" if duty is Duty.GATEWAY else "INSERT, UPDATE, DELETE"
    return (
        *_auditors(role, schema),
        *_adding(role, schema),
        f"GRANT INSERT ON {_table(checkpoints.name, schema)} TO {who}",
        f"GRANT SELECT ON {', '.join(tables)} TO {who}",
        f"GRANT {may} ON {', '.join(written)} TO {who}",
    )


def _auditors(role: str, schema: str) -> tuple[str, ...]:
    who = _identifier(role)
    return (
        *_fenced(who, schema),
        f"GRANT SELECT ON {', '.join(_of_audit(schema))} TO {who}",
        *_policy(_ALL, who, schema, "FOR SELECT", "USING (true)", "read"),
    )


def _adding(role: str, schema: str) -> tuple[str, ...]:
    who = _identifier(role)
    return (
        f"GRANT INSERT ON {_events(schema)}, {_table(partitions.spans.name, schema)} TO {who}",
        f"GRANT INSERT, UPDATE ON {_table(partitions.heads.name, schema)} TO {who}",
        *_policy(_ALL, who, schema, "FOR INSERT", "WITH CHECK (true)", "add"),
    )


def _pruners(role: str, schema: str) -> tuple[str, ...]:
    who = _identifier(role)
    return (
        *_adding(role, schema),
        f"GRANT DELETE ON {_events(schema)}, {_table(checkpoints.name, schema)} TO {who}",
        f"GRANT INSERT ON {_table(prunings.name, schema)} TO {who}",
        f"GRANT EXECUTE ON FUNCTION {_table(partitions.DROP_WEEKS, schema)}(integer) TO {who}",
        *_policy(_ALL, who, schema, "FOR DELETE", "USING (true)", "remove"),
    )


def for_tenant(tenant: str, role: str, schema: str) -> tuple[str, ...]:
    """Return the statements that let a role read one tenant's events; granted twice, it reads both tenants'."""
    who, value = _identifier(role), _literal(storable(tenant))
    return (
        *_fenced(who, schema),
        f"GRANT SELECT ON {_events(schema)}, {_table(schema_versions.name, schema)} TO {who}",
        f"GRANT SELECT ON {_table(partitions.spans.name, schema)} TO {who}",
        *_policy(_READER, who, schema, "FOR SELECT", f"USING (tenant = {value})", tenant),
    )


def withdrawal(connection: Connection, role: str, schema: str) -> tuple[str, ...]:
    """Return the statements that take everything from a role again."""
    who = _identifier(role)
    query = text(
        "SELECT policyname FROM pg_policies WHERE schemaname = :schema AND tablename = :table "
        "AND CAST(:role AS name) = ANY(roles) ORDER BY policyname"
    )
    names = connection.scalars(query, {"schema": schema, "table": events.name, "role": role})
    return (
        *(f"DROP POLICY {_identifier(name)} ON {_events(schema)}" for name in names),
        *_revoked(who, schema),
    )


def check_role(connection: Connection, role: str) -> None:
    """Refuse a role that is not there, or that row-level security would not bind. Raises OperatorError."""
    query = text(
        "SELECT r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, c.relowner, 'USAGE') FROM pg_roles r, pg_class c "
        "WHERE r.rolname = :role AND c.oid = to_regclass(:table)"
    )
    found = connection.execute(query, {"role": role, "table": events.name}).first()
    if found is None:
        raise OperatorError(
            "ROLE",
            "there is no such role, or this database holds no audit",
            "Create it first: CREATE ROLE name LOGIN PASSWORD '...';",
        )
    if found[0]:
        raise OperatorError(
            "ROLE",
            "it is a superuser, owns the tables or bypasses row-level security, so nothing would bind it",
            "Create a role of its own for this.",
        )


def present_schema(connection: Connection) -> str:
    """Return the schema that holds the events. Raises OperatorError."""
    query = text(
        "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = to_regclass(:table)"
    )
    schema = connection.scalar(query, {"table": events.name})
    if schema is None:
        raise OperatorError("--store", "this database holds no audit", "Give the right one with --store.")
    return str(schema)


def carry_out(connection: Connection, statements: Sequence[str]) -> None:
    """Run statements inside the caller's transaction."""
    for statement in statements:
        connection.exec_driver_sql(statement)


def _fenced(who: str, schema: str) -> tuple[str, ...]:
    """Return the statements with which every grant begins: nothing for everybody, rows by policy only."""
    everything = ", ".join(_everything(schema))
    return (
        f"REVOKE ALL ON {everything} FROM PUBLIC",
        f"ALTER TABLE {_events(schema)} ENABLE ROW LEVEL SECURITY",
        f"GRANT USAGE ON SCHEMA {_identifier(schema)} TO {who}",
    )


def _revoked(who: str, schema: str) -> tuple[str, ...]:
    return (
        f"REVOKE ALL ON {', '.join(_everything(schema))} FROM {who}",
        f"REVOKE ALL ON FUNCTION {_table(partitions.DROP_WEEKS, schema)}(integer) FROM {who}",
    )


def _of_audit(schema: str) -> list[str]:
    tables = (events, checkpoints, prunings, partitions.heads, partitions.spans, schema_versions)
    return [_table(table.name, schema) for table in tables]


def _everything(schema: str) -> list[str]:
    return [*_of_audit(schema), *(_table(t.name, schema) for t in directory.metadata.sorted_tables)]


def _policy(kind: str, who: str, schema: str, command: str, rule: str, of: str) -> tuple[str, str]:
    """Return the statements that put one policy in the place of the same one before."""
    name = f"{kind}_{hashlib.sha256(f'{who} {of}'.encode()).hexdigest()[:16]}"
    return (
        f"DROP POLICY IF EXISTS {name} ON {_events(schema)}",
        f"CREATE POLICY {name} ON {_events(schema)} {command} TO {who} {rule}",
    )


def _events(schema: str) -> str:
    return _table(events.name, schema)


def _table(name: str, schema: str) -> str:
    return f"{_identifier(schema)}.{_identifier(name)}"


def _identifier(name: str) -> str:
    """Return a name quoted for SQL. Raises OperatorError for one that PostgreSQL would cut or cannot hold."""
    if not name or len(name.encode()) > 63 or not name.isprintable():
        raise OperatorError("ROLE", "it is no name of a role", "Write 1 to 63 printable characters.")
    return '"' + name.replace('"', '""') + '"'


def _literal(value: str) -> str:
    """Return a text quoted for SQL, whatever standard_conforming_strings says."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
