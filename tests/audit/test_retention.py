"""A log that was pruned still verifies, and says so; what only looks pruned is found."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text
from typer.testing import CliRunner

from audit.chains import WRITERS, assert_sound, checkpointed, path_of_url, some_events, verified
from audit.samples import event
from sallyport.audit import retention, verifier
from sallyport.audit.checkpoints import Checkpoint, Unreadable, make_checkpoint, proof_of
from sallyport.audit.events import Event, EventKind
from sallyport.audit.exporting import export_lines
from sallyport.audit.partitions import name_of, this_day, week_of
from sallyport.audit.retention import PRUNING_TAG, Pruned, prune
from sallyport.audit.schema import events
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.elapsed import FILE as ELAPSED
from sallyport.state.ledger.clocks import SystemClock

START = datetime.now(UTC).replace(hour=12) - timedelta(days=60)
"""Of the first events: in PostgreSQL they lie in weeks that are over."""


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path / "conf")


def id_at(at: datetime, number: int) -> str:
    digits = f"{int(at.timestamp() * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{number:012x}"


def told() -> Event:
    return Event(kind=EventKind.STARTED, gateway="cli", principal="op", source="operator")


class Past:
    """A log of eight weeks: every week each writer's exchanges, one of which ends a week later, and a checkpoint."""

    def __init__(self, store: Store, signer: Signer) -> None:
        self.store, self.signer, self.made = store, signer, list[Checkpoint]()
        number, late = 0, list[Event]()
        for week in range(8):
            at = START + timedelta(days=7 * week)
            for writer in WRITERS[:3]:
                batch, late_before = [], [one for one in late if one.gateway == writer]
                for _ in range(4):
                    number += 1
                    exchange = id_at(at, number)
                    batch.append(
                        Event(
                            kind=EventKind.ADMITTED,
                            gateway=writer,
                            exchange=exchange,
                            id=id_at(at, 10_000 + number),
                            at=at,
                        )
                    )
                    end = Event(
                        kind=EventKind.COMPLETED,
                        gateway=writer,
                        exchange=exchange,
                        id=id_at(at, 20_000 + number),
                        at=at,
                    )
                    batch.append(end)
                slow = batch.pop()
                late = [one for one in late if one.gateway != writer]
                moved = at + timedelta(days=7)
                late.append(
                    Event(
                        kind=EventKind.BROKEN,
                        gateway=writer,
                        exchange=slow.exchange,
                        id=id_at(moved, number + 30_000),
                        at=moved,
                    )
                )
                store.write([*late_before, *batch])
            found = make_checkpoint(store._at, signer, at + timedelta(hours=1))
            assert found is not None
            self.made.append(found)
        store.write([event(EventKind.STARTED, "")])

    def count(self) -> int:
        with self.store._at.reader.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM audit_events")) or 0

    def prune(self, weeks: int, **options: object) -> Pruned | None:
        """Prune the first so many weeks."""
        before = START + timedelta(days=7 * (weeks - 1), hours=2)
        return prune(self.store._at, self.signer, before, told, **options)  # type: ignore[arg-type]

    def do(self, statement: str, **values: object) -> None:
        engine = create_engine(self.store._at.writer.url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()


@pytest.fixture
def past(store: Store, signer: Signer) -> Past:
    return Past(store, signer)


def kinds(past: Past) -> set[str]:
    return {finding.kind for finding in verified(past.store, past.signer).findings}


def test_a_pruned_log_is_sound_shorter_and_says_what_is_gone(past: Past) -> None:
    before = past.count()
    would = past.prune(3, dry_run=True)
    assert past.count() == before
    done = past.prune(3)
    assert done == would
    assert done is not None
    assert (done.checkpoint, done.events) == (3, 3 * 3 * 7 + 2 * 3)
    assert past.count() == before - done.events + 1  # the event that tells of it
    report = assert_sound(past.store, past.signer)
    assert any("up to checkpoint 3 were pruned" in note for note in report.notes)
    assert past.store.events(1)[0].kind is EventKind.PRUNED
    assert past.prune(3) is None
    assert past.prune(5) is not None
    assert_sound(past.store, past.signer)
    assert verified(past.store, past.signer, past.made).is_sound


def test_what_an_exchange_of_a_pruned_week_wrote_later_is_kept_and_found(past: Past) -> None:
    past.prune(3)
    late = [
        one for one in past.store.events(1000, kind=EventKind.BROKEN) if one.at < START + timedelta(days=22)
    ]
    assert len(late) == 3
    assert [one.id for one in past.store.exchange(late[0].exchange)] == [late[0].id]
    since = START + timedelta(days=20)
    assert {one.id for one in late} <= {one.id for one in past.store.events(1000, since=since)}


def test_a_writer_all_of_whose_events_are_gone_goes_on_from_its_head(past: Past, signer: Signer) -> None:
    past.store.write(some_events("gone", 3, "only"))
    made = make_checkpoint(past.store._at, signer)
    assert made is not None
    prune(past.store._at, signer, datetime.now(UTC) + timedelta(days=1), told)
    again = Store.open(past.store._at.writer.url.render_as_string(hide_password=False))
    again.write(some_events("gone", 2, "new"))
    checkpointed(again, signer)
    report = assert_sound(again, signer)
    again.close()
    assert report.events == 3
    assert report.checkpoints == 1


def test_proofs_and_exports_hold_after_pruning(past: Past, signer: Signer, tmp_path: Path) -> None:
    past.prune(4)
    with past.store.whole() as connection:
        rows = [dict(row) for row in connection.execute(select(events)).mappings()]
        lines = list(export_lines(connection, 0))
        covered = [row for row in rows if row["seq"] <= past.made[-1].heads[row["gateway"]].seq]
        for row in covered:
            assert verifier.verify_proof(proof_of(connection, row), [signer.public_key]).is_sound
        with pytest.raises(OperatorError, match="pruned"):
            list(export_lines(connection, 2))
    path = tmp_path / "export.jsonl"
    path.write_text("".join(lines))
    report = verifier.check_file(path, [signer.public_key], None, lambda done, total: None)
    assert report.is_sound, report.findings
    assert any("were pruned" in note for note in report.notes)
    header = json.loads(lines[0])
    header["pruned"]["body"] = header["pruned"]["body"].replace('"events":', '"events":1')
    path.write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    assert not verifier.check_file(path, [signer.public_key], None, lambda done, total: None).is_sound


def test_the_verifier_of_files_knows_a_pruned_one(
    sqlite_url: str, signer: Signer, open_store: Callable[[str], Store]
) -> None:
    past = Past(open_store(sqlite_url), signer)
    past.prune(4)
    report = verifier.check_file(path_of_url(sqlite_url), [signer.public_key], None, lambda done, total: None)
    assert report.is_sound, report.findings


# -- what only looks pruned ----------------------------------------------------------------------------


def test_events_dropped_without_a_statement_are_found(past: Past) -> None:
    past.do("DELETE FROM audit_events WHERE seq <= 7 AND gateway = 'gw-1'")
    past.do("DELETE FROM audit_checkpoints WHERE number < 2")
    assert kinds(past) >= {"removed"}


def test_more_dropped_than_the_statement_says_is_found(past: Past) -> None:
    past.prune(3)
    past.do(
        "DELETE FROM audit_events WHERE gateway = 'gw-1' AND seq <= :seq", seq=past.made[3].heads["gw-1"].seq
    )
    assert "removed" in kinds(past)


def test_a_statement_taken_away_is_found(past: Past) -> None:
    past.prune(3)
    past.do("DELETE FROM audit_prunings")
    assert kinds(past)


def test_a_forged_statement_is_found(past: Past, tmp_path: Path) -> None:
    stranger = Signer.of(tmp_path / "stranger")
    past.do(
        "DELETE FROM audit_events WHERE gateway = 'gw-1' AND seq <= :seq", seq=past.made[1].heads["gw-1"].seq
    )
    body = {
        "number": 1, "at_us": 0, "checkpoint": 2, "digest": past.made[1].digest, "events": 9,
    }  # fmt: skip
    for signer, key in ((stranger, stranger.public_key), (stranger, past.signer.public_key)):
        said = json.dumps({**body, "key": key.hex()}, sort_keys=True)
        signature = signer.sign(PRUNING_TAG + said.encode()).hex()
        past.do("DELETE FROM audit_prunings")
        past.do("INSERT INTO audit_prunings VALUES (1, 2, :body, :signature)", body=said, signature=signature)
        assert "pruning" in kinds(past)


def test_an_earlier_statement_put_in_the_place_of_the_present_one_is_found(past: Past) -> None:
    past.prune(2)
    with past.store._at.reader.connect() as connection:
        old = connection.execute(text("SELECT * FROM audit_prunings")).one()
    past.prune(4)
    past.do("DELETE FROM audit_prunings WHERE number = 2")
    assert kinds(past)
    past.do(
        "UPDATE audit_prunings SET number = 2, checkpoint = 4, body = :body, signature = :signature",
        body=old.body, signature=old.signature,
    )  # fmt: skip
    assert "pruning" in kinds(past)


def test_a_statement_of_another_log_with_the_same_key_is_found(
    past: Past, signer: Signer, tmp_path: Path, open_store: Callable[[str], Store]
) -> None:
    other = Past(open_store(f"sqlite:///{tmp_path}/other.db"), signer)
    other.store.write([event(EventKind.STARTED, "")])
    other.prune(3)
    with other.store._at.reader.connect() as connection:
        theirs = connection.execute(text("SELECT * FROM audit_prunings")).one()
    seqs = past.made[2].heads
    for writer, head in seqs.items():
        past.do("DELETE FROM audit_events WHERE gateway = :g AND seq <= :s", g=writer, s=head.seq)
    past.do("DELETE FROM audit_checkpoints WHERE number < 3")
    past.do(
        "INSERT INTO audit_prunings VALUES (1, 3, :body, :signature)",
        body=theirs.body,
        signature=theirs.signature,
    )
    assert "pruning" in kinds(past)


def test_a_true_statement_that_no_event_tells_of_is_found(past: Past) -> None:
    """As the rest of a pruning that was undone would be."""
    made = make_checkpoint(past.store._at, past.signer)
    assert made is not None
    past.prune(3)
    past.do("DELETE FROM audit_events WHERE kind = 'pruned'")
    assert "pruning" in kinds(past)


def test_an_event_planted_where_everything_was_pruned_is_found(past: Past) -> None:
    past.prune(3)
    columns = ", ".join(
        column.name for column in events.columns if column.name not in ("id", "seq", "exchange")
    )
    extra = "" if "sqlite" in past.store.name else ", period"
    past.do(
        f"INSERT INTO audit_events (id, seq, exchange, {columns}{extra}) SELECT 'planted', 2, NULL, {columns}{extra} "
        "FROM audit_events WHERE gateway = 'gw-1' LIMIT 1"
    )
    assert "inserted" in kinds(past)


def test_what_is_not_whole_is_not_pruned(past: Past) -> None:
    past.do("DELETE FROM audit_events WHERE gateway = 'gw-1' AND seq = 2")
    before = past.count()
    with pytest.raises(Unreadable):
        past.prune(3)
    assert past.count() == before


def test_a_copy_shows_that_the_log_was_pruned_to_another_checkpoint(past: Past) -> None:
    past.prune(3)
    third = past.made[2]
    changed = Checkpoint(3, third.body.replace('"count":', '"count":1'), third.signature)
    report = verified(past.store, past.signer, [*past.made[:2], changed, *past.made[3:]])
    assert not report.is_sound


# -- how it is done ------------------------------------------------------------------------------------


def test_sqlite_is_pruned_in_lots_and_sound_between_them(
    sqlite_url: str, signer: Signer, open_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    past = Past(open_store(sqlite_url), signer)
    monkeypatch.setattr(retention, "_AT_ONCE", 30)
    seen: list[int] = []

    def look(done: int, total: int) -> None:
        assert_sound(past.store, signer)
        seen.append(done)

    pruned = past.prune(6, progress=look)
    assert pruned is not None
    assert len(seen) > 3
    assert seen[-1] == pruned.events
    assert len(past.store.events(10, kind=EventKind.PRUNED)) == 1


def test_postgres_drops_the_weeks_that_are_over(
    postgres_url: str, signer: Signer, open_store: Callable[[str], Store]
) -> None:
    open_store(postgres_url).close()
    past = Past(open_store(postgres_url), signer)
    again = open_store(postgres_url)  # makes partitions of what lay in none
    first = name_of(week_of(this_day() - 60))

    def weeks() -> list[str]:
        with again._at.reader.connect() as connection:
            query = (
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass"
            )
            return sorted(connection.scalars(text(query)))

    assert first in weeks()
    before = len(weeks())
    past.prune(4)
    assert first not in weeks()
    assert before - len(weeks()) == 3
    assert_sound(again, signer)


_PRUNER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from audit.test_retention import told
from sallyport.audit import retention
from sallyport.audit.retention import prune
from sallyport.audit.signing import Signer
from sallyport.sql.engines import database
retention._AT_ONCE = 10
at = database(sys.argv[1], None, 60.0)
at.is_there()
print("ready", flush=True)
sys.stdin.readline()
prune(at, Signer.of(Path(sys.argv[2])), datetime.now(UTC) - timedelta(days=20), told)
"""


def test_a_pruning_that_is_killed_leaves_a_sound_log_and_can_be_run_again(
    past: Past, signer: Signer, tmp_path: Path
) -> None:
    url = past.store._at.writer.url.render_as_string(hide_password=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for wait_s in (0.005, 0.02, 0.04):
        pruner = subprocess.Popen(
            [sys.executable, "-c", _PRUNER, url, str(tmp_path / "conf")],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert pruner.stdin is not None
        assert pruner.stdout is not None
        assert pruner.stdout.readline() == "ready\n"
        pruner.stdin.write("go\n")
        pruner.stdin.flush()
        time.sleep(wait_s)
        pruner.send_signal(signal.SIGKILL)
        pruner.communicate()
        assert_sound(past.store, signer)
    past.prune(6)
    assert_sound(past.store, signer)


def test_a_clock_that_leapt_makes_nothing_old_for_the_command(past: Past, tmp_path: Path) -> None:
    """An age is reckoned from the time that passed, as the gateway's own pruning; a date is taken as it is."""
    clock, now_ms = SystemClock(), time.time_ns() // 1_000_000
    noted = {"boot": clock.boot(), "uptime_ms": clock.uptime_ms(), "ahead_ms": None}
    # By what the gateway of this folder noted it is a hundred days ago: the clock has leapt.
    (tmp_path / "conf" / ELAPSED).write_text(json.dumps({**noted, "counted_ms": now_ms - 100 * 86_400_000}))
    before, url = past.count(), past.store._at.writer.url.render_as_string(hide_password=False)

    def prune_from(age: str) -> str:
        words = ["audit", "prune", "--before", age, "--store", url, "--confdir", str(tmp_path / "conf")]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "No checkpoint" in prune_from("20d")
    assert past.count() == before
    (tmp_path / "conf" / ELAPSED).write_text("{")
    words = ["audit", "prune", "--before", "20d", "--store", url, "--confdir", str(tmp_path / "conf")]
    with pytest.raises(OperatorError, match="cannot be read"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert past.count() == before
    assert "were removed" in prune_from(f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%d}")
    assert past.count() < before
