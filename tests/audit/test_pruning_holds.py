"""Pruning loses nothing that comes meanwhile, removes no evidence, and leaves export and proofs whole."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy import event as sql_event
from typer.testing import CliRunner

from audit.chains import assert_sound, checkpointed, filled, path_of_url, some_events, verified
from audit.test_retention import START, Past, id_at, kinds
from sallyport.audit import checkpoints, retention, verifier
from sallyport.audit.checkpoints import Checkpoint, Unreadable, make_checkpoint, proof_of
from sallyport.audit.events import Event, EventKind
from sallyport.audit.exporting import export_lines
from sallyport.audit.forwarding.cursor import Cursor
from sallyport.audit.forwarding.forwarder import Forwarder
from sallyport.audit.forwarding.receivers import Access, receiver
from sallyport.audit.maintaining import keep_ahead
from sallyport.audit.retention import PRUNING_TAG, prune
from sallyport.audit.schema import events
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.upkeep import Upkeep
from sallyport.cli.main import app
from sallyport.errors import OperatorError

OpenStore = Callable[[str], Store]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path / "conf")


@pytest.fixture
def past(store: Store, signer: Signer) -> Past:
    return Past(store, signer)


@pytest.fixture
def weeks(postgres_url: str, open_store: OpenStore, signer: Signer) -> Past:
    """A log in PostgreSQL whose weeks have partitions."""
    past = Past(open_store(postgres_url), signer)
    keep_ahead(past.store._at)
    return past


def at_first(engine: Engine, words: tuple[str, ...], act: Callable[[], object]) -> list[str]:
    """Do something just before the first statement with one of some words; the list tells whether it was done."""
    done: list[str] = []

    @sql_event.listens_for(engine, "before_cursor_execute")
    def look(_: object, __: object, statement: str, *___: object) -> None:
        if not done and any(word in statement for word in words):
            done.append(statement)
            act()

    return done


def own() -> Event:
    return Event(kind=EventKind.STARTED, gateway="gw-1", source="policy")


def weeks_after(count: int) -> datetime:
    return START + timedelta(days=7 * (count - 1), hours=2)


# -- while others write --------------------------------------------------------------------------------


def test_an_event_that_comes_late_to_a_week_while_it_is_dropped_is_kept(
    weeks: Past, open_store: OpenStore, signer: Signer
) -> None:
    other = open_store(weeks.store._at.writer.url.render_as_string(hide_password=False))
    late = Event(
        kind=EventKind.BROKEN, gateway="gw-1", exchange=id_at(START, 999), id=id_at(datetime.now(UTC), 77)
    )
    done = at_first(weeks.store._at.writer, ("LOCK TABLE", "drop_weeks"), lambda: other.write([late]))
    assert weeks.prune(3) is not None
    assert done
    assert [one.id for one in other.exchange(late.exchange)] == [late.id]
    assert_sound(other, signer)


def test_a_gateway_that_prunes_by_itself_goes_on_writing(
    weeks: Past, open_store: OpenStore, signer: Signer
) -> None:
    other = open_store(weeks.store._at.writer.url.render_as_string(hide_password=False))
    at = weeks.store._at
    done = at_first(
        at.writer, ("DELETE FROM audit_events",), lambda: other.write(some_events("gw-1", 3, "x"))
    )
    assert prune(at, signer, weeks_after(3), own) is not None
    assert done
    assert_sound(other, signer)


def test_two_prunings_at_once_are_one_and_a_word_to_the_other(
    weeks: Past, open_store: OpenStore, signer: Signer
) -> None:
    """And none of them takes what the other one removed for a tampering."""
    other = open_store(weeks.store._at.writer.url.render_as_string(hide_password=False))
    said: list[str] = []

    def second() -> None:
        try:
            prune(other._at, signer, weeks_after(3), own)
        except Exception as error:
            said.append(str(error))

    thread = threading.Thread(target=second)
    at_first(weeks.store._at.writer, ("DELETE FROM audit_events",), thread.start)
    assert weeks.prune(3) is not None
    thread.join()
    assert len(said) <= 1
    assert not [one for one in said if "another pruning" not in one]
    assert_sound(other, signer)


def test_partitions_are_not_worth_a_store_that_does_not_open(
    postgres_url: str, open_store: OpenStore
) -> None:
    """While somebody reads the events for long, the table cannot be locked."""
    open_store(postgres_url)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        query = (
            "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"
        )
        last = connection.scalar(text(query + " AND inhrelid::regclass::text NOT LIKE '%other'"))
        connection.execute(text(f"DROP TABLE {last}"))
    with engine.begin() as reading:
        reading.execute(text("SELECT count(*) FROM audit_events"))
        store = open_store(postgres_url)
        store.write(some_events("gw-1", 2, "x"))
        found = keep_ahead(store._at)
        assert found is not None
        assert (found.made, found.is_short) == (0, False)
    engine.dispose()
    again = keep_ahead(store._at)
    assert again is not None
    assert again.made == 1


# -- what shows a tampering ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change", ["model = 'other'", f"hash = '{7:064x}'", "detail = 'x', confidence = 0.25"]
)
def test_what_was_changed_is_not_pruned(past: Past, change: str) -> None:
    past.do(f"UPDATE audit_events SET {change} WHERE gateway = 'gw-1' AND seq = 2")
    before = past.count()
    with pytest.raises(Unreadable):
        past.prune(3)
    assert past.count() == before


def test_a_statement_that_goes_further_than_its_event_is_found(past: Past) -> None:
    """As who holds the key and may delete could make it, without a word in the chain."""
    past.prune(2)
    fifth = past.made[4]
    for writer, head in fifth.heads.items():
        past.do("DELETE FROM audit_events WHERE gateway = :g AND seq <= :s", g=writer, s=head.seq)
    past.do("DELETE FROM audit_checkpoints WHERE number < 5")
    body = {"number": 1, "at_us": 0, "checkpoint": 5, "digest": fifth.digest, "events": 9}
    said = json.dumps({**body, "key": past.signer.public_key.hex()}, sort_keys=True)
    signature = past.signer.sign(PRUNING_TAG + said.encode()).hex()
    past.do("UPDATE audit_prunings SET checkpoint = 5, body = :body, signature = :signature", body=said, signature=signature)  # fmt: skip
    assert kinds(past) == {"pruning"}


def test_a_pruning_in_lots_tells_of_all_it_removed(
    sqlite_url: str, signer: Signer, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(open_store(sqlite_url), signer)
    monkeypatch.setattr(retention, "_AT_ONCE", 30)
    pruned = past.prune(6)
    assert pruned is not None
    (told,) = past.store.events(10, kind=EventKind.PRUNED)
    assert (told.reason, told.detail) == ("pruning_1", "checkpoint_6")
    with past.store._at.reader.connect() as connection:
        (row,) = connection.execute(text("SELECT checkpoint, body FROM audit_prunings"))
    assert (row.checkpoint, json.loads(row.body)["events"]) == (6, pruned.events)


# -- exports and proofs --------------------------------------------------------------------------------

ODD = ("{", '{"heads":{"gw-1":["x","y"]},"total":1}', "[" * 100_000)


@pytest.mark.parametrize("body", ODD)
def test_an_export_goes_on_behind_a_checkpoint_that_cannot_be_read(
    store: Store, signer: Signer, tmp_path: Path, body: str
) -> None:
    filled(store, signer)
    engine = create_engine(store._at.writer.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE audit_checkpoints SET body = :body WHERE number = 2"), {"body": body})
    engine.dispose()
    unreadable: list[int] = []
    with store.whole() as connection:
        count = len(connection.execute(select(events.c.id)).all())
        lines = list(export_lines(connection, 0, unreadable=unreadable.append))
    assert unreadable == [2]
    assert [json.loads(line)["type"] for line in lines].count("event") == count
    assert json.loads(lines[-1])["cursor"] == 4
    path = tmp_path / "export.jsonl"
    path.write_text("".join(lines))
    report = verifier.check_file(path, [signer.public_key], None, lambda done, total: None)
    assert {finding.kind for finding in report.findings} == {"checkpoint"}
    url = store._at.writer.url.render_as_string(hide_password=False)
    done = CliRunner().invoke(app, ["audit", "export", "--store", url, "-o", str(path)])
    assert done.exit_code == 1
    assert path.read_text() == "".join(lines)
    assert "2" in str(done.exception) + done.output


def test_an_export_of_a_pruned_log_whose_beginning_cannot_be_read_has_all_events(
    past: Past, tmp_path: Path
) -> None:
    past.prune(3)
    past.do("UPDATE audit_checkpoints SET body = '{' WHERE number = 3")
    unreadable: list[int] = []
    with past.store.whole() as connection:
        lines = list(export_lines(connection, 0, unreadable=unreadable.append))
    assert unreadable == [3]
    assert [json.loads(line)["type"] for line in lines].count("event") == past.count()
    path = tmp_path / "export.jsonl"
    path.write_text("".join(lines))
    report = verifier.check_file(path, [past.signer.public_key], None, lambda done, total: None)
    assert "pruning" in {finding.kind for finding in report.findings}


def test_a_proof_looks_at_few_checkpoints_and_at_none_that_cannot_be_read_elsewhere(
    sqlite_url: str, open_store: OpenStore, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(sqlite_url)
    for number in range(64):
        store.write(some_events(("gw-1", "gw-2", "cli")[number % 3], 2, str(number)))
        checkpointed(store, signer)
    looked: list[int] = []

    class Counted(Checkpoint):
        def __post_init__(self) -> None:
            looked.append(self.number)

    monkeypatch.setattr(checkpoints, "Checkpoint", Counted)
    engine = create_engine(store._at.writer.url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE audit_checkpoints SET body = '{' WHERE number = 32"))
    engine.dispose()
    with store.whole() as connection:
        for row in connection.execute(select(events)).mappings():
            number = int(row["seq"] - 1) // 2 * 3 + ("gw-1", "gw-2", "cli").index(row["gateway"]) + 1
            looked.clear()
            if number in (32, 33):
                continue
            proof = proof_of(connection, row)
            assert json.loads(proof["checkpoint"]["body"])["number"] == number
            assert verifier.verify_proof(proof, [signer.public_key]).is_sound
            assert len(looked) <= 16


def test_who_forwards_is_told_what_was_pruned_before_it_could_be_sent(past: Past, tmp_path: Path) -> None:
    url = past.store._at.writer.url.render_as_string(hide_password=False)
    past.prune(3)
    told: list[str] = []
    out = tmp_path / "out.jsonl"
    for _ in range(2):
        Forwarder(
            lambda: Store.open(url, create=False),
            receiver(f"file://{out}", "jsonl", Access()),
            Cursor(tmp_path / "x.json"),
            tell=told.append,
        ).run(once=True)
    gone = past.made[2].heads["gw-1"].seq
    assert [one for one in told if "gw-1" in one] == [
        f"{gone} events of gw-1 were pruned before they could be sent"
    ]
    assert len(told) == 3
    assert len(out.read_text().splitlines()) == past.count()


def test_a_checkpoint_can_be_made_and_verified_after_all(past: Past, signer: Signer) -> None:
    past.prune(8)
    assert make_checkpoint(past.store._at, signer) is not None
    assert past.prune(9, dry_run=True) is None
    assert verified(past.store, signer, past.made).is_sound
    with closing(Store.open(past.store._at.writer.url.render_as_string(hide_password=False))) as again:
        assert_sound(again, signer)


@pytest.mark.parametrize("value", ["X'ff'", "CAST(X'ff' AS TEXT)"])
def test_bytes_in_an_event_are_found_and_keep_nobody_from_looking_at_the_rest(
    sqlite_url: str, open_store: OpenStore, signer: Signer, tmp_path: Path, value: str
) -> None:
    store = open_store(sqlite_url)
    filled(store, signer)
    engine = create_engine(store._at.writer.url)
    with engine.begin() as connection:
        connection.execute(
            text(f"UPDATE audit_events SET model = {value} WHERE gateway = 'gw-1' AND seq = 2")
        )
    engine.dispose()
    report = verifier.check_file(path_of_url(sqlite_url), [signer.public_key], None, lambda done, total: None)
    assert [(found.kind, found.writer) for found in report.findings] == [("changed", "gw-1")]
    if value.startswith("X"):
        with store.whole() as connection:
            lines = list(export_lines(connection, 0))
        path = tmp_path / "export.jsonl"
        path.write_text("".join(lines))
        report = verifier.check_file(path, [signer.public_key], None, lambda done, total: None)
        assert [(found.kind, found.writer) for found in report.findings] == [("changed", "gw-1")]


def test_a_folder_without_a_key_signs_no_statement(past: Past, tmp_path: Path) -> None:
    """A key that is made for it is one that no auditor knows."""
    before, folder = past.count(), tmp_path / "empty"
    url = past.store._at.writer.url.render_as_string(hide_password=False)
    for more in ((), ("--dry-run",)):
        done = CliRunner().invoke(
            app, ["audit", "prune", "--before", "1d", "--store", url, "--confdir", str(folder), *more]
        )
        assert isinstance(done.exception, OperatorError), done.output
        assert "sallyport audit key" in done.exception.todo
    assert past.count() == before
    assert not folder.exists()


def test_a_gateway_prunes_no_checkpoint_that_is_not_copied_yet(
    past: Past, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EVERY_S", "_FIRST_S"):
        monkeypatch.setattr(f"sallyport.audit.upkeep.{name}", 0.0)
    has: list[int | None] = [0, 2, None]
    upkeep = Upkeep(url, tmp_path / "conf", "gw-1", lambda: 20, lambda: datetime.now(UTC), lambda: has.pop(0))
    gone = []
    for _ in range(3):
        upkeep()
        gone.append([one.detail for one in past.store.events(10, kind=EventKind.PRUNED)])
    assert gone[:2] == [[], ["checkpoint_2"]]
    assert len(gone[2]) == 2
    assert_sound(past.store, past.signer)
