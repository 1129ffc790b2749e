"""A writer that was idle while its last events were pruned goes on where its chain ends, not where it remembers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from audit.chains import assert_sound, checkpointed, some_events, verified
from audit.test_retention import told
from sallyport.audit.retention import prune
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store


@pytest.mark.parametrize("count", [1, 40])
def test_a_writer_whose_place_was_taken_and_pruned_meanwhile_takes_the_next(
    url: str, open_store: Callable[[str], Store], tmp_path: Path, count: int
) -> None:
    """As a gateway without traffic, whose thread prunes under its name, in SQLite."""
    signer = Signer.of(tmp_path)
    idle, busy = open_store(url), open_store(url)
    idle.write(some_events("gw-1", 2, "first"))
    busy.write(some_events("gw-1", 3, "meanwhile"))
    checkpointed(busy, signer)
    prune(busy._at, signer, datetime.now(UTC) + timedelta(days=1), told)
    idle.write(some_events("gw-1", count, "later"))
    idle.write(some_events("gw-1", 2, "last"))
    checkpointed(idle, signer)
    report = assert_sound(idle, signer)
    assert report.events == count + 2 + 1


@pytest.mark.parametrize("count", [1, 40])
def test_a_last_event_that_is_taken_away_under_a_running_writer_is_found(
    url: str, open_store: Callable[[str], Store], tmp_path: Path, count: int
) -> None:
    store, signer = open_store(url), Signer.of(tmp_path)
    store.write(some_events("gw-1", 3, "first"))
    engine = create_engine(store._at.writer.url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE seq = 3"))
    engine.dispose()
    store.write(some_events("gw-1", count, "later"))
    found = verified(store, signer).findings
    assert [(each.kind, each.first, each.last) for each in found] == [("removed", 3, 3)]
