"""Whose events can be read: in PostgreSQL the server says so, in SQLite a token does, where one is asked for."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from typer.testing import CliRunner

from audit.samples import event
from sallyport.audit.events import EventKind
from sallyport.audit.store import Store, StoreUnavailable
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory import readers
from sallyport.state.directory.people import put_person, put_tenant
from sallyport.state.directory.store import DirectoryStore
from servers import Postgres

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def run(*words: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command; return its exit code and what it said, errors included."""
    done = CliRunner().invoke(app, list(words), env=env)
    return (
        2 if isinstance(done.exception, OperatorError) else done.exit_code
    ), f"{done.output}{done.exception or ''}"


def fill(url: str) -> None:
    """Put two tenants and an exchange of each into a store, and a connection that belongs to nobody."""
    store = Store.open(url)
    for tenant in ("acme", "bmw"):
        admitted = event(
            EventKind.ADMITTED, f"x-{tenant}", principal=f"ann-{tenant}", tenant=tenant, model=f"m-{tenant}"
        )
        store.write(
            [admitted, admitted.followed_by(EventKind.COMPLETED, status=200, cost_micro_usd=1_000_000)]
        )
    store.write([event(EventKind.CONNECTION_REFUSED, host="nobody.example")])
    store.close()
    directory = DirectoryStore.open(url)
    with directory.change() as connection:
        put_tenant(connection, Tenant("acme"))
        put_tenant(connection, Tenant("bmw"))
        put_person(connection, Person("ann", "bmw", names=("user:ann",)))
    directory.close()


# -- the scope of a store ------------------------------------------------------------------------------


def test_every_query_of_a_scoped_store_stays_in_its_tenant(url: str) -> None:
    fill(url)
    store = Store.open(url, create=False, tenant="acme")
    everything = Store.open(url, create=False)
    other = everything.exchange("x-bmw")
    asked = {
        "events": store.events(),
        "by kind": store.events(kind=EventKind.ADMITTED),
        "exchange": store.exchange("x-acme"),
        "decision": store.decision("x-acme"),
        "ended": store.ended(datetime(2020, 1, 1, tzinfo=UTC), 100),
    }
    for name, found in asked.items():
        assert found, name
        assert {e.tenant for e in found} == {"acme"}, name
    assert store.exchange("x-bmw") == []
    assert store.events(principal="ann-bmw") == []
    assert [e.exchange for e in store.open_exchanges()] == []
    for id in ("x-bmw", other[0].id):
        with pytest.raises(OperatorError, match="no event or exchange id"):
            store.decision(id)
    assert [s.cost_micro_usd for s in store.spend()] == [1_000_000]
    assert [
        b.tenant for b in store.booked(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    ] == ["acme"]
    assert len(everything.events()) == 5
    with pytest.raises(StoreUnavailable):
        store.write([event(EventKind.STARTED)])
    for opened in (store, everything):
        opened.close()


def test_no_query_of_the_store_goes_past_its_scope(url: str) -> None:
    """Whoever adds a query that the scope cannot be put on is told, not trusted."""
    from sqlalchemy import func, select

    from sallyport.audit.schema import events

    store = Store.open(url, tenant="acme", create=True)
    inner = select(events.c.tenant, func.count().label("n")).group_by(events.c.tenant).subquery()
    with pytest.raises(AssertionError, match="scope"):
        store._rows(select(inner))
    store.close()


# -- tokens, for SQLite --------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    fill(f"sqlite:///{tmp_path}/audit.db")
    return tmp_path


def issued(home: Path, tenant: str, *more: str) -> str:
    code, said = run("directory", "readers", "issue", tenant, "--confdir", str(home), *more)
    assert code == 0, said
    return next(line for line in said.splitlines() if line.startswith("sprt_"))


def test_a_token_reads_its_tenant_and_no_other(home: Path) -> None:
    token = {readers_variable(): issued(home, "acme")}
    where = ("--confdir", str(home))
    for words in (
        ("audit", "list", "--json"),
        ("spend", "--format", "json"),
        ("audit", "list", "--json", "--tenant", "acme"),
    ):
        code, said = run(*words, *where, env=token)
        assert code == 0, said
        assert "acme" in said
        assert "bmw" not in said
    for words in (("audit", "list", "--tenant", "bmw"), ("spend", "--tenant", "bmw")):
        code, said = run(*words, *where, env=token)
        assert code == 2
        assert "the token is for tenant acme" in said
    code, said = run("audit", "show", "x-bmw", *where, env=token)
    assert code == 2
    assert "no event or exchange id begins" in said
    code, said = run("limits", "behaviour", "--since", "9999d", "--json", *where, env=token)
    assert code == 0
    assert "bmw" not in said


def readers_variable() -> str:
    return "SALLYPORT_READER_TOKEN"


@pytest.mark.parametrize(
    "words",
    [("audit", "list"), ("audit", "show", "x-acme"), ("spend",), ("limits", "behaviour")],
    ids=" ".join,
)
def test_where_reading_needs_a_right_no_command_reads_without(home: Path, words: tuple[str, ...]) -> None:
    where = ("--confdir", str(home))
    code, said = run("directory", "readers", "require", *where)
    assert code == 2
    assert "nobody could read everything" in said
    every = issued(home, "*")
    assert run("directory", "readers", "require", *where)[0] == 0
    for env in ({}, {readers_variable(): "sprt_wrong"}, {readers_variable(): ""}):
        code, said = run(*words, *where, env=env)
        assert code == 2
        assert "ann" not in said
        assert "sprt_" not in said
    assert run(*words, *where, env={readers_variable(): every})[0] == 0


def test_a_token_from_a_file_and_one_that_holds_no_more(home: Path) -> None:
    where = ("--confdir", str(home))
    file = home / "token"
    file.write_text(issued(home, "acme") + "\n")
    words = ("audit", "list", "--tenant-token", str(file), *where)
    assert run(*words)[0] == 0
    listed = run("directory", "readers", "list", "--json", *where)[1]
    assert run("directory", "readers", "revoke", json.loads(listed)["id"], *where)[0] == 0
    code, said = run(*words)
    assert code == 2
    assert "revoked" in said


def test_a_token_ends_and_its_digest_is_all_that_is_kept(tmp_path: Path) -> None:
    store = DirectoryStore.open(tmp_path / "a.db")
    with store.change() as connection:
        reader, token = readers.issue(connection, "acme", "op", NOW, NOW + timedelta(days=1))
    with store.read() as connection:
        assert readers.reader_of(connection, token) == reader
        assert readers.reader_of(connection, token[:-1]) is None
    assert reader.holds(NOW)
    assert not reader.holds(NOW + timedelta(days=1))
    store.close()
    for file in tmp_path.glob("a.db*"):
        assert token.encode() not in file.read_bytes()


# -- roles, in PostgreSQL ------------------------------------------------------------------------------


class Server:
    """A database with two tenants' events, and ways to ask it as different roles."""

    def __init__(self, postgres: Postgres, number: int) -> None:
        self.owner = postgres.create_database(f"tenants{number}")
        self.suffix = f"_{number}"
        fill(self.owner)

    def create(self, *roles: str) -> None:
        with create_engine(self.owner).begin() as connection:
            for role in roles:
                connection.execute(text(f'CREATE ROLE "{role}" LOGIN'))

    def url(self, role: str) -> str:
        return make_url(self.owner).set(username=role).render_as_string(hide_password=False)

    def ask(self, role: str, *statements: str) -> list[tuple[object, ...]]:
        engine = create_engine(make_url(self.owner).set(username=role, drivername="postgresql+psycopg"))
        try:
            with engine.begin() as connection:
                *before, last = statements
                for statement in before:
                    connection.execute(text(statement))
                done = connection.execute(text(last))
                return [tuple(row) for row in done] if done.returns_rows else []
        finally:
            engine.dispose()

    def grant(self, *words: str) -> None:
        code, said = run("directory", "readers", *words, "--execute", "--store", self.owner)
        assert code == 0, said


_numbers = iter(range(1000))


@pytest.fixture
def server(postgres: Postgres) -> Server:
    return Server(postgres, next(_numbers))


def test_a_tenants_role_reads_its_rows_and_nothing_else_whatever_it_sends(server: Server) -> None:
    role = "reader_of_acme" + server.suffix
    server.create(role)
    server.grant("grant", "acme", role)
    assert server.ask(role, "SELECT DISTINCT tenant FROM audit_events") == [("acme",)]
    assert server.ask(role, "SELECT DISTINCT tenant FROM audit_events WHERE tenant = 'bmw' OR true") == [
        ("acme",)
    ]
    assert server.ask(role, "SELECT count(*) FROM audit_events WHERE tenant IS NULL") == [(0,)]
    assert server.ask(role, "SELECT count(*) FROM pg_stats WHERE tablename = 'audit_events'") == [(0,)]
    # A condition of the reader's own is asked after the policy's, however cheap it claims to be.
    leaky = (
        "CREATE FUNCTION pg_temp.leak(t text) RETURNS bool COST 0.0001 LANGUAGE plpgsql AS "
        "$$ BEGIN IF t IS DISTINCT FROM 'acme' THEN RAISE EXCEPTION 'saw %', t; END IF; RETURN true; END $$"
    )
    seen = server.ask(role, leaky, "SELECT DISTINCT tenant FROM audit_events WHERE pg_temp.leak(tenant)")
    assert seen == [("acme",)]
    for statement in (
        "INSERT INTO audit_events (id, kind, at_us, gateway, confidence, tenant) VALUES ('z', 'started', 0, 'g', 0, 'acme')",
        "UPDATE audit_events SET tenant = 'acme'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "ALTER TABLE audit_events DISABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON audit_events USING (true)",
        "SELECT * FROM directory_people",
        "SELECT * FROM directory_keys",
        "SELECT * FROM directory_credentials",
        "SELECT * FROM directory_readers",
        "SET ROLE postgres",
        "COPY audit_events TO PROGRAM 'cat'",
    ):
        with pytest.raises(SQLAlchemyError):
            server.ask(role, statement)
    assert server.ask(role, "SET row_security = on") == []
    with pytest.raises(ProgrammingError):
        server.ask(role, "SET LOCAL row_security = off", "SELECT * FROM audit_events")


def test_the_commands_of_a_tenants_reader_show_that_tenant_only(server: Server) -> None:
    role = "reader_of_acme" + server.suffix
    server.create(role)
    server.grant("grant", "acme", role)
    for words in (("audit", "list", "--json"), ("spend", "--format", "json")):
        code, said = run(*words, "--store", server.url(role))
        assert code == 0, said
        assert "acme" in said
        assert "bmw" not in said
    assert "No such event" in run("audit", "list", "--tenant", "bmw", "--store", server.url(role))[1]
    code, said = run("audit", "show", "x-bmw", "--store", server.url(role))
    assert code == 2
    assert run("directory", "people", "list", "--store", server.url(role))[0] == 2


def test_two_tenants_for_one_role_and_none_after_withdrawal(server: Server) -> None:
    role = 'odd "role" of\'s' + server.suffix
    with create_engine(server.owner).begin() as connection:
        connection.execute(text('CREATE ROLE "' + role.replace('"', '""') + '" LOGIN'))
    server.grant("grant", "acme", role)
    server.grant("grant", "bmw", role)
    server.grant("grant", "bmw", role)
    assert server.ask(role, "SELECT DISTINCT tenant FROM audit_events ORDER BY 1") == [("acme",), ("bmw",)]
    server.grant("withdraw", role)
    with pytest.raises(ProgrammingError, match="permission denied"):
        server.ask(role, "SELECT * FROM audit_events")


def test_a_gateways_role_adds_events_and_cannot_change_one(server: Server, tmp_path: Path) -> None:
    role = "gateway" + server.suffix
    server.create(role)
    server.grant("duty", "gateway", role)
    store = Store.open(server.url(role))
    store.write([event(EventKind.ADMITTED, "x-new", tenant="acme")])
    assert [e.exchange for e in store.open_exchanges()] == ["x-new"]
    store.close()
    directory = DirectoryStore.open(server.url(role))
    assert directory.revision() > 0
    directory.close()
    for statement in (
        "UPDATE audit_events SET principal = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "DROP TABLE audit_events",
        "DELETE FROM directory_stops",
        "INSERT INTO directory_people (tenant, id, roles, attributes, active, origin) VALUES ('default', 'e', '[]', '{}', true, 'x')",
        "UPDATE directory_people SET roles = '[\"admin\"]'",
        "INSERT INTO directory_approvals SELECT * FROM directory_approvals",
    ):
        with pytest.raises(ProgrammingError):
            server.ask(role, statement)


def test_an_operators_role_keeps_the_directory_and_cannot_change_an_event(server: Server) -> None:
    role = "operator" + server.suffix
    server.create(role)
    server.grant("duty", "operator", role)
    where = ("--store", server.url(role))
    code, said = run("directory", "people", "add", "eve", "--name", "user:eve", *where)
    assert code == 0, said
    assert run("directory", "people", "remove", "eve", *where)[0] == 0
    assert "directory_changed" in run("audit", "list", "--json", *where)[1]
    for statement in ("UPDATE audit_events SET principal = 'x'", "DELETE FROM audit_events"):
        with pytest.raises(ProgrammingError):
            server.ask(role, statement)


def test_a_role_that_nothing_would_bind_is_refused(server: Server) -> None:
    code, said = run(
        "directory", "readers", "grant", "acme", "postgres", "--execute", "--store", server.owner
    )
    assert code == 2
    assert "nothing would bind it" in said
    code, said = run("directory", "readers", "grant", "acme", "nobody", "--execute", "--store", server.owner)
    assert code == 2
    assert "no such role" in said


def test_printed_sql_does_the_same_as_executed(server: Server, postgres: Postgres) -> None:
    role = "reader" + server.suffix
    server.create(role)
    before = server.ask("postgres", "SELECT revision FROM directory_state WHERE part = 'directory'")
    code, said = run("directory", "readers", "grant", "acme", role, "--store", server.owner)
    assert code == 0
    assert server.ask("postgres", "SELECT revision FROM directory_state WHERE part = 'directory'") == before
    with create_engine(server.owner).begin() as connection:
        for statement in said.split(";\n"):
            if statement.strip() and statement.split()[0] not in ("BEGIN", "COMMIT"):
                connection.exec_driver_sql(
                    "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
                    or "SELECT 1"
                )
    assert server.ask(role, "SELECT DISTINCT tenant FROM audit_events") == [("acme",)]


def test_each_kind_of_store_names_its_own_way(server: Server, home: Path) -> None:
    code, said = run("directory", "readers", "issue", "acme", "--store", server.owner)
    assert code == 2
    assert "readers grant" in said
    code, said = run("directory", "readers", "grant", "acme", "x", "--confdir", str(home))
    assert code == 2
    assert "readers issue" in said
