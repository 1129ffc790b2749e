"""A gateway prunes and makes partitions by itself where it may, and says once what somebody else must do."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from audit.chains import assert_sound
from audit.test_retention import Past, id_at
from audit.test_roles import Roles
from sallyport.audit.checkpoints import make_checkpoint
from sallyport.audit.events import Event, EventKind
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.upkeep import Upkeep
from sallyport.doctor.findings import Level, Situation
from sallyport.doctor.machine import check_store
from sallyport.state.elapsed import DAY_MS, SETTLED_MS, Elapsed
from state.test_elapsed import SetClock


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_S", "_FIRST_S"):
        monkeypatch.setattr(f"sallyport.audit.upkeep.{name}", 0.0)


def test_a_gateway_prunes_by_its_policy(url: str, tmp_path: Path) -> None:
    store = Store.open(url)
    past = Past(store, Signer.of(tmp_path))
    keep: list[int | None] = [None]
    upkeep = Upkeep(url, tmp_path, "gw-1", lambda: keep[0], now)
    before = past.count()
    upkeep()
    assert past.count() == before
    keep[0] = 30
    upkeep()
    assert past.count() < before
    told = store.events(10, kind=EventKind.PRUNED)
    assert [(one.gateway, one.source, one.reason) for one in told] == [("gw-1", "policy", "pruning_1")]
    assert min(one.at for one in store.events(1000)) > told[0].at - timedelta(days=38)
    upkeep()
    assert len(store.events(10, kind=EventKind.PRUNED)) == 1
    assert_sound(store, past.signer)
    store.close()


def test_a_gateway_that_may_not_prune_says_so_once(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    roles = Roles(postgres_url)
    store = Store.open(postgres_url)
    past = Past(store, Signer.of(tmp_path))
    upkeep = Upkeep(roles.make("gateway"), tmp_path, "gw-1", lambda: 30, now)
    before = past.count()
    with caplog.at_level(logging.WARNING, logger="sallyport.audit"):
        upkeep()
        upkeep()
    assert past.count() == before
    assert [one.getMessage() for one in caplog.records] == [
        "this gateway's role may not prune: run sallyport audit prune as one that may"
    ]
    store.close()


def test_a_gateway_that_may_make_no_partitions_says_when_they_end(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = Roles(postgres_url).make("gateway")
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        query = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass ORDER BY 1"
        weeks = [name for name in connection.scalars(text(query)) if "other" not in name]
        for name in weeks[1:]:
            connection.execute(text(f"DROP TABLE {name}"))
    engine.dispose()
    doctor = check_store(Situation(tmp_path, store=gateway))
    assert doctor.level is Level.WARN
    assert "audit maintain" in doctor.todo
    with caplog.at_level(logging.WARNING, logger="sallyport.audit"):
        Upkeep(gateway, tmp_path, "gw-1", lambda: None, now)()
        assert "sallyport audit maintain" in caplog.text
        caplog.clear()
        Upkeep(postgres_url, tmp_path, "gw-1", lambda: None, now)()
    assert not caplog.records


def test_a_clock_that_leaps_makes_nothing_old(url: str, tmp_path: Path) -> None:
    store = Store.open(url)
    past = Past(store, Signer.of(tmp_path))
    clock = SetClock()
    elapsed = Elapsed(tmp_path / "elapsed", now(), clock)
    upkeep = Upkeep(url, tmp_path, "gw-1", lambda: 365, elapsed.now)
    before = past.count()
    upkeep()
    clock.wall += 400 * DAY_MS
    upkeep()
    assert past.count() == before
    clock.pass_by(SETTLED_MS + 1)
    upkeep()
    assert past.count() < before
    store.close()


def test_a_clock_that_was_ahead_once_keeps_nothing_for_longer(url: str, tmp_path: Path) -> None:
    store = Store.open(url)
    past = Past(store, Signer.of(tmp_path))
    ahead, older, younger = (now() + timedelta(days=days) for days in (400, -10, -2))
    for number, at in enumerate((ahead, older, younger, ahead)):
        store.write([Event(kind=EventKind.STARTED, gateway="gw-1", id=id_at(at, number), at=at)])
        assert make_checkpoint(store._at, past.signer, at) is not None
    Upkeep(url, tmp_path, "gw-1", lambda: 5, now)()
    assert [one.detail for one in store.events(10, kind=EventKind.PRUNED)] == ["checkpoint_10"]
    assert_sound(store, past.signer)
    store.close()
