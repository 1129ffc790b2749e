"""Whatever is done to a log is found, and found where it was done."""

import ast
import json
import random
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from audit.chains import assert_sound, filled, path_of_url, signed, some_events, verified
from audit.tampering import PostgresHands, SqliteHands, Tamperer, assert_found
from sallyport.audit import verifier
from sallyport.audit.checkpoints import Checkpoint
from sallyport.audit.exporting import StoreSource, export_lines
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.verifier import Report, SqliteSource, Unusable, check_file, verify

FEW, MANY = 250, 5_000
"""Acts on each store: in every run, and in the slow one."""

BESIDE = settings(suppress_health_check=list(HealthCheck), database=None)


class OpenSource(SqliteSource):
    """The verifier's own reader, in the transaction of who tampers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._at = connection


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path / "conf")


@pytest.fixture
def made(store: Store, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> list[Checkpoint]:
    monkeypatch.setattr(verifier, "is_signed", lru_cache(100_000)(verifier.is_signed))
    found = filled(store, signer)
    assert_sound(store, signer)
    return found


@pytest.fixture
def tamper(url: str, made: list[Checkpoint], signer: Signer) -> Iterator[Callable[[int], None]]:
    """Do one act, look for it, undo it."""

    def check(hands: Any, source: Any, seed: int) -> None:
        tamperer = Tamperer(hands, made, signer, random.Random(seed))
        act, place = tamperer.act()
        with_copy = tamperer.needs_copy or seed % 2 == 0
        copy = signed(made) if with_copy else []
        report = verify(source, keys=[signer.public_key], copy=copy)
        assert_found(report, place, act)

    if url.startswith("sqlite"):
        with sqlite3.connect(path_of_url(url), isolation_level=None) as connection:
            connection.row_factory = sqlite3.Row

            def once(seed: int) -> None:
                connection.execute("BEGIN")
                try:
                    check(SqliteHands(connection), OpenSource(connection), seed)
                finally:
                    connection.execute("ROLLBACK")

            yield once
        connection.close()
        return
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

    def once_there(seed: int) -> None:
        with engine.connect() as connection:
            check(PostgresHands(connection), StoreSource(connection), seed)
            connection.rollback()

    yield once_there
    engine.dispose()


def test_some_random_acts_are_found_where_they_were_done(tamper: Callable[[int], None]) -> None:
    @settings(BESIDE, max_examples=FEW)
    @given(st.integers(0, 2**32))
    def one(seed: int) -> None:
        tamper(seed)

    one()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_random_acts_are_found_where_they_were_done(tamper: Callable[[int], None]) -> None:
    for seed in range(MANY):
        tamper(seed)


def test_an_untouched_log_is_sound_and_says_what_it_cannot_know(
    store: Store, made: list[Checkpoint], signer: Signer
) -> None:
    report = verified(store, signer, made)
    assert report.is_sound
    assert report.uncovered == 4
    assert any("behind the last checkpoint" in note for note in report.notes)
    with store.whole() as connection:
        unsure = verify(StoreSource(connection))
    assert any("taken from the log itself" in note for note in unsure.notes)


def test_one_changed_event_is_one_finding(store: Store, made: list[Checkpoint], signer: Signer) -> None:
    with store._at.writer.begin() as connection:
        connection.execute(
            text("UPDATE audit_events SET principal = 'eve' WHERE gateway = 'cli' AND seq = 5")
        )
    (finding,) = verified(store, signer, made).findings
    assert (finding.kind, finding.writer, finding.last) == ("changed", "cli", 5)
    assert (finding.after, finding.before) == (1, 2)


def test_one_removed_event_is_one_finding(store: Store, made: list[Checkpoint], signer: Signer) -> None:
    with store._at.writer.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE gateway = 'cli' AND seq = 5"))
    (finding,) = verified(store, signer, made).findings
    assert (finding.kind, finding.writer, finding.first, finding.last) == ("removed", "cli", 5, 5)


def test_a_log_that_goes_on_stays_sound(store: Store, made: list[Checkpoint], signer: Signer) -> None:
    store.write(some_events("gw-1", 50, "later"))
    assert verified(store, signer, made).is_sound


@settings(BESIDE, max_examples=FEW)
@given(seed=st.integers(0, 2**32))
def test_what_is_done_to_an_export_is_found(
    export: list[str], keys: list[bytes], work: Path, seed: int
) -> None:
    chance = random.Random(seed)
    lines = list(export)
    at, other = sorted(chance.sample(range(1, len(lines)), 2))
    match chance.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines[at], lines[other] = lines[other], lines[at]
        case 2:
            lines.insert(other, lines[at])
        case 3:
            del lines[at:]
        case _:
            place = chance.randrange(len(lines[at]) - 1)
            letter = chance.choice([c for c in "0123456789abcdef" if c != lines[at][place]])
            lines[at] = lines[at][:place] + letter + lines[at][place + 1 :]
    if _by_writer(lines) == _by_writer(export):
        return  # lines of different writers may stand in any order
    path = work / "export.jsonl"
    path.write_text("".join(lines))
    try:
        report = check_file(path, keys, None, lambda done, total: None)
    except Unusable:
        return
    assert not report.is_sound, (at, other)


def _by_writer(lines: Sequence[str]) -> dict[str, list[str]]:
    """Return the lines of each writer, and those of no writer, in their order."""
    found: dict[str, list[str]] = {}
    for line in lines:
        try:
            members = json.loads(line)
            writer = str(members["event"]["gateway"]) if members["type"] == "event" else ""
        except (ValueError, KeyError, TypeError):
            writer = ""
        found.setdefault(writer, []).append(line.strip())
    return found


@pytest.fixture
def export(sqlite_url: str, open_store: Callable[[str], Store], signer: Signer) -> list[str]:
    store = open_store(sqlite_url)
    filled(store, signer)
    with store.whole() as connection:
        return list(export_lines(connection, 0))


@pytest.fixture
def keys(signer: Signer) -> list[bytes]:
    return [signer.public_key]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path


def test_the_verifier_stands_alone() -> None:
    """It imports the standard library only, so that it shares no code with the writer."""
    tree = ast.parse(Path(verifier.__file__).read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
    script = Path(__file__).parents[2] / "scripts" / "verify_audit"
    assert script.resolve() == Path(verifier.__file__).resolve()


@pytest.mark.parametrize(
    "content", ["", "x", '{"type":"event"}\n', '{"type":1}\n', "[]\n", "\x00", '{"a":1,"a":2}']
)
def test_what_is_no_log_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    try:
        report: Report = check_file(path, [], None, lambda done, total: None)
    except Unusable:
        return
    assert not report.is_sound
