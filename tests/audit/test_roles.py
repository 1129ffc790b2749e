"""In PostgreSQL every duty has a role that can do that and no more; the server says so, not this program."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from typer.testing import CliRunner

from audit.chains import assert_sound
from audit.samples import event
from audit.test_retention import START, Past
from sallyport.audit.checkpoints import make_checkpoint
from sallyport.audit.events import EventKind
from sallyport.audit.log import AuditLog
from sallyport.audit.maintaining import keep_ahead
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.directory.store import DirectoryStore

_numbers = itertools.count()


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))
    said = f"{done.output}{done.exception or ''}"
    if isinstance(done.exception, OperatorError):
        return done.exception.exit_code, said
    return done.exit_code, said


class Roles:
    """A store that its owner made, and roles of it."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        Store.open(owner).close()
        DirectoryStore.open(owner).close()

    def make(self, duty: str = "") -> str:
        """Create a role, give it a duty, and return the address it connects with."""
        role = f"duty_{duty or 'none'}_{next(_numbers)}"
        engine = create_engine(self.owner)
        with engine.begin() as connection:
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
            schema = connection.scalar(text("SELECT current_schema()"))
            connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
        engine.dispose()
        if duty:
            code, said = run("audit", "roles", duty, role, "--execute", "--store", self.owner)
            assert code == 0, said
        return make_url(self.owner).set(username=role).render_as_string(hide_password=False)

    def refuses(self, url: str, *statements: str) -> None:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        for statement in statements:
            with (
                pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
                engine.begin() as connection,
            ):
                connection.execute(text(statement))
        engine.dispose()


@pytest.fixture
def roles(postgres_url: str) -> Roles:
    return Roles(postgres_url)


CHANGES = (
    "UPDATE audit_events SET principal = 'x'",
    "TRUNCATE audit_events",
    "DROP TABLE audit_events",
    "DROP TABLE audit_events_other",
    "ALTER TABLE audit_events DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE audit_events DETACH PARTITION audit_events_other",
    "INSERT INTO audit_events_other SELECT * FROM audit_events",
    "SELECT * FROM audit_events_other",
    "UPDATE audit_checkpoints SET body = ''",
    "TRUNCATE audit_checkpoints",
    "DROP TABLE audit_checkpoints",
    "UPDATE audit_prunings SET body = ''",
    "DELETE FROM audit_prunings",
    "UPDATE sallyport_schema SET version = 1",
)
REMOVALS = (
    "DELETE FROM audit_events",
    "DELETE FROM audit_checkpoints",
    "INSERT INTO audit_prunings VALUES (1, 1, '', '')",
    "SELECT audit_events_drop_weeks(99999)",
)
ADDITIONS = (
    "INSERT INTO audit_events SELECT * FROM audit_events",
    "INSERT INTO audit_checkpoints VALUES (1, '', '')",
    "UPDATE audit_heads SET seq = 0",
)


async def test_a_gateway_does_all_it_does_as_its_role_and_changes_nothing(
    roles: Roles, tmp_path: Path
) -> None:
    url = roles.make("gateway")
    store = Store.open(url)
    log = AuditLog(store)
    admitted = [event(exchange=f"e{number}") for number in range(30)]
    await asyncio.gather(*(log.append(one) for one in admitted))
    for one in admitted[1:]:
        log.append_nowait(one.followed_by(EventKind.COMPLETED))
    log.append_nowait(admitted[1].followed_by(EventKind.BROKEN))
    assert await log.aclose()
    assert [one.exchange for one in store.open_exchanges("gw-1")] == ["e0"]
    store.write([*admitted[:3], event(exchange="again")])
    signer = Signer.of(tmp_path)
    assert make_checkpoint(store._at, signer) is not None
    ahead = keep_ahead(store._at)
    assert ahead is not None
    assert (ahead.made, ahead.is_short) == (0, False)
    assert_sound(store, signer)
    store.close()
    Store.open(url).close()
    roles.refuses(url, *CHANGES, *REMOVALS)


def test_an_auditor_reads_and_verifies_all_and_adds_nothing(roles: Roles) -> None:
    store = Store.open(roles.owner)
    store.write([event(exchange="e1", tenant="acme")])
    store.close()
    url = roles.make("auditor")
    for words in (("list", "--since", "1h"), ("verify",), ("export",), ("coverage",)):
        code, said = run("audit", *words, "--store", url)
        assert code == 0, said
    roles.refuses(url, *CHANGES, *REMOVALS, *ADDITIONS)


def test_a_pruner_removes_what_is_old_with_its_statement_and_changes_nothing(
    roles: Roles, tmp_path: Path
) -> None:
    owner = Store.open(roles.owner)
    signer = Signer.of(tmp_path)
    past = Past(owner, signer)
    keep_ahead(owner._at)
    url = roles.make("pruner")
    before = (START + timedelta(days=14, hours=2)).isoformat()
    words = ("audit", "prune", "--before", before, "--store", url, "--confdir", str(tmp_path))
    count = past.count()
    code, said = run(*words, "--dry-run")
    assert code == 0, said
    assert "would be removed, up to checkpoint 3" in said
    assert past.count() == count
    code, said = run(*words)
    assert code == 0, said
    assert "were removed, up to checkpoint 3" in said
    assert past.count() < count
    assert_sound(owner, signer)
    assert "No checkpoint" in run(*words)[1]
    code, said = run("audit", "verify", "--store", roles.owner)
    assert code == 0, said
    assert "were pruned" in said
    roles.refuses(url, *CHANGES)
    owner.close()


def test_a_role_without_a_right_is_told_which_command_gives_it(roles: Roles, tmp_path: Path) -> None:
    url = roles.make()
    with pytest.raises(OperatorError) as caught:
        Store.open(url)
    assert "sallyport audit roles" in caught.value.todo
    gateway = roles.make("gateway")
    owner = Store.open(roles.owner)
    Past(owner, Signer.of(tmp_path))
    owner.close()
    words = ("audit", "prune", "--before", "1d", "--store", gateway, "--confdir", str(tmp_path))
    code, said = run(*words)
    assert code == 3, said
    assert "audit roles pruner" in said
    code, said = run("audit", "roles", "king", "x", "--store", roles.owner)
    assert code == 1 or code == 2
    assert "gateway, operator, auditor, pruner" in said


def test_a_role_that_may_make_no_table_is_told_that_the_owner_must(
    postgres_url: str, open_store: Callable[[str], Store]
) -> None:
    engine = create_engine(postgres_url)
    role = f"empty_{next(_numbers)}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN"))
        schema = connection.scalar(text("SELECT current_schema()"))
        connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
    engine.dispose()
    with pytest.raises(OperatorError) as caught:
        open_store(make_url(postgres_url).set(username=role).render_as_string(hide_password=False))
    assert "sallyport audit maintain" in caught.value.todo
    code, said = run("audit", "maintain", "--store", postgres_url)
    assert code == 0, said
    assert "partitions are there until" in said


def test_sqlite_is_maintained_and_pruned_by_the_same_commands(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    past = Past(open_store(sqlite_url), Signer.of(tmp_path))
    assert "SQLite has no partitions" in run("audit", "maintain", "--store", sqlite_url)[1]
    place = ("--store", sqlite_url, "--confdir", str(tmp_path))
    code, said = run("audit", "prune", *place)
    assert "audit.retention_days" in said
    assert code != 0
    code, said = run("audit", "prune", "--before", "30d", *place)
    assert code == 0, said
    assert_sound(past.store, past.signer)
