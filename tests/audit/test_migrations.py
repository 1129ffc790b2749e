"""A store of an earlier schema is brought up to date with what it holds, and by nobody who only reads."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from audit.samples import event
from sallyport.audit.events import Event, EventKind
from sallyport.audit.schema import SCHEMA_VERSION
from sallyport.audit.store import Store
from sallyport.errors import OperatorError
from sallyport.exchange import Usage

ADDED_BY_2 = (
    *("cache_write_1h_tokens", "audio_input_tokens", "audio_output_tokens", "searches"),
    *("service_tier", "usage_source", "cost_micro_usd"),
)
ADDED_BY_5 = ("coverage", "content_type", "unread")


def back_to_version_1(url: str) -> None:
    """Take from a store what version 2 added, as an earlier Sallyport had left it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for name in ADDED_BY_5:
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("DROP TABLE audit_checkpoints"))  # of version 4
        connection.execute(text("DROP INDEX audit_chain"))
        for name in ("seq", "hash"):
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("DROP INDEX audit_key_use"))  # of version 3
        for name in ADDED_BY_2:
            connection.execute(text(f"ALTER TABLE audit_events DROP COLUMN {name}"))
        connection.execute(text("UPDATE sallyport_schema SET version = 1"))
    engine.dispose()


def written_by_version_1(url: str) -> list[Event]:
    store = Store.open(url)
    admitted = event(EventKind.ADMITTED, "x1", principal="ann", model="gpt-4o", provider="openai")
    done = admitted.followed_by(EventKind.COMPLETED, status=200, usage=Usage(100, 20, 0, 30, 5))
    store.write([admitted, done])
    store.close()
    back_to_version_1(url)
    return [admitted, done]


def test_a_store_of_version_1_keeps_its_events_and_takes_new_ones(
    url: str, open_store: Callable[[str], Store]
) -> None:
    before = written_by_version_1(url)
    store = open_store(url)
    assert store.exchange("x1") == before
    priced = replace(
        event(EventKind.COMPLETED, "x2"),
        usage=Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, tier="flex"),
        usage_source="provider",
        cost_micro_usd=1234,
    )
    store.write([priced])
    assert store.exchange("x2") == [priced]
    assert sum(s.cost_micro_usd for s in store.spend()) == 1234
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM sallyport_schema")) == SCHEMA_VERSION
    engine.dispose()


def test_a_reader_changes_nothing_and_says_what_to_do(url: str) -> None:
    written_by_version_1(url)
    with pytest.raises(OperatorError, match="schema version 1") as caught:
        Store.open(url, create=False)
    assert "Start the gateway once" in caught.value.todo
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM sallyport_schema")) == 1
    engine.dispose()
