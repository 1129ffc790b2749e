"""A gateway with a spool, as a role that may only add: its database goes away, it is killed, and nothing is missing."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner

from audit.chains import assert_sound as assert_chained
from e2e.traffic import (
    Load,
    ask,
    assert_sound,
    eventually,
    models_seen,
    of_kind,
    recorded,
    running,
    settled,
)
from gateways import OPEN_POLICY
from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.lab.server import Lab
from servers import Postgres

POLICY = OPEN_POLICY + "audit: {when_unavailable: spool}\n"


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    try:
        server = Postgres(folder / "server")
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_gateway(owner: str) -> str:
    """Make the tables, and a role that may only add; return the address it connects with."""
    for words in (("audit", "maintain"), ("directory", "people", "list")):
        CliRunner().invoke(app, [*words, "--store", owner])
    engine = create_engine(owner)
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE adds LOGIN"))
    engine.dispose()
    done = CliRunner().invoke(app, ["audit", "roles", "gateway", "adds", "--execute", "--store", owner])
    assert done.exit_code == 0, done.output
    return owner.replace("postgres@", "adds@")


def test_a_store_that_is_away_and_a_kill_lose_no_exchange_where_there_is_a_spool(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    owner = postgres.create_database("spooled")
    url = as_gateway(owner)
    extra = ["--store", url]
    waits = tmp_path / "conf" / "audit-spool"
    with running(tmp_path, lab, policy=POLICY, extra=extra) as gateway:
        assert ask(gateway, "spool-before").status == 200
        with Load(gateway, "spool-load", clients=2) as load:
            eventually(lambda: load.answered > 3, 10, "traffic flows")
            postgres.stop()
            for name in "abc":
                assert ask(gateway, f"spool-away-{name}").status == 200
        assert any(waits.iterdir())
        gateway.signal(signal.SIGKILL)
        gateway.process.wait(5)
    postgres.start()
    with running(tmp_path, lab, policy=POLICY, extra=extra) as gateway:
        assert ask(gateway, "spool-after").status == 200
        eventually(lambda: not any(waits.iterdir()), 10, "the spool is emptied")
        postgres.freeze()
        try:
            assert ask(gateway, "spool-frozen").status == 200
        finally:
            postgres.resume()
        eventually(lambda: len(of_kind(recorded(url), EventKind.SPOOLED)) >= 2, 15, "it is told of")
        events = settled(url)
    assert {talk.status for talk in load.talks.values()} <= {200}
    admitted = [one.model for one in of_kind(events, EventKind.ADMITTED)]
    assert models_seen(lab, "spool-").keys() <= set(admitted)
    assert {f"spool-away-{name}" for name in "abc"} | {"spool-frozen"} <= set(admitted)
    assert len(admitted) == len(set(admitted))
    assert_sound([one for one in events if one.gateway != "cli" and one.kind is not EventKind.SPOOLED])
    store = Store.open(owner)
    assert_chained(store)
    store.close()
