"""`sallyport limits`: what changes a counter is recorded before it does, or does not happen."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.ledger import open_ledger
from sallyport.cli.limits import app
from sallyport.errors import OperatorError
from sallyport.stages.ledger import Calendar, Claim, Level, RollingWindow, Unit

KEY = "calls/principal=default:ada"
POLICY = "version: 1\nlimits: {rules: [{id: calls, limit: 5, per: hour, by: [principal]}]}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a log, a policy and a counter of which three are used."""
    Store.open(tmp_path / "audit.db").close()
    (tmp_path / "policy.yaml").write_text(POLICY)

    async def use() -> None:
        ledger = open_ledger(None, tmp_path)
        await ledger.book("r-1", [Claim(KEY, 5, 3, RollingWindow(3_600_000))])
        await ledger.close()

    asyncio.run(use())
    return tmp_path


def limits(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--policy", str(home / "policy.yaml"), "--confdir", str(home)])


def level(home: Path) -> tuple[int, int]:
    """What is used and what was granted."""

    async def ask() -> tuple[Level, ...]:
        ledger = open_ledger(None, home)
        found = await ledger.levels(KEY)
        await ledger.close()
        return found

    return next(((each.used, each.granted) for each in asyncio.run(ask())), (0, 0))


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """A log that takes nothing, as with a full disk or a table that somebody holds."""
    with closing(sqlite3.connect(home / "audit.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


def acts(home: Path) -> list[str]:
    store = Store.open(home / "audit.db", create=False)
    found = [e.detail for e in store.events() if e.kind is EventKind.LIMIT_CHANGED]
    store.close()
    return found


@pytest.mark.parametrize("words", [["reset", KEY], ["grant", KEY, "5"]], ids=["reset", "grant"])
def test_what_cannot_be_recorded_is_not_done(home: Path, words: list[str]) -> None:
    with locked(home):
        refused = limits(home, *words)
    assert isinstance(refused.exception, OperatorError)
    assert refused.exception.exit_code == 3
    assert "the event cannot be written (OperationalError SQLITE_BUSY), so nothing was done" in str(
        refused.exception
    )
    assert (level(home), acts(home)) == ((3, 0), [])
    assert limits(home, *words).exit_code == 0
    assert acts(home) == [words[0]]
    assert level(home) == ((0, 0) if words[0] == "reset" else (3, 5))


@pytest.mark.parametrize(
    "words", [["reset", "calls/principal=default:bob"], ["grant", "calls/principal=default:bob", "5"]]
)
def test_what_is_not_there_is_not_recorded(home: Path, words: list[str]) -> None:
    refused = limits(home, *words)
    assert "there is no such counter" in str(refused.exception)
    assert acts(home) == []


def test_no_log_is_begun_beside_one_that_was_lost(home: Path) -> None:
    (home / "audit.db").unlink()
    refused = limits(home, "reset", KEY)
    assert "is not there" in str(refused.exception)
    assert not (home / "audit.db").exists()
    assert level(home) == (3, 0)


def test_counters_of_people_who_cannot_be_named_are_not_said_to_differ(home: Path) -> None:
    """The log holds a pseudonym, and its key is not here: nobody knows whose counter that is."""
    (home / "policy.yaml").write_text(POLICY.replace("per: hour", "per: day"))

    async def use() -> None:
        ledger = open_ledger(None, home)
        await ledger.book("r-2", [Claim(KEY, 5, 1, Calendar(Unit.DAY))])
        await ledger.close()

    asyncio.run(use())
    store = Store.open(home / "audit.db")
    whose = {"tenant": "default", "principal": f"person:{'ab' * 16}", "source": "header"}
    admitted = Event(kind=EventKind.ADMITTED, gateway="gw", exchange="e-1", **whose)  # type: ignore[arg-type]
    store.write([admitted, admitted.followed_by(EventKind.COMPLETED)])
    store.close()
    told = limits(home, "reconcile")
    assert isinstance(told.exception, OperatorError)
    assert told.exception.exit_code == 3
    assert "cannot be compared" in str(told.exception)
    assert "differ" not in told.output


@pytest.mark.parametrize(
    ("reason", "code", "said"),
    [
        ("ledger.redis", 1, f"{KEY}: ledger 0, events 1\n1 counters compared, 1 differ, 1 left out\n"),
        ("ledger.file", 1, f"{KEY}: ledger 0, events 1\n1 counters compared, 1 differ, 1 left out\n"),
        ("limits.calls", 0, "0 counters compared, 0 differ, 1 left out\n"),
    ],
)
def test_counters_that_the_store_has_lost_whole_are_compared(
    reason: str, code: int, said: str, home: Path
) -> None:
    (home / "policy.yaml").write_text(POLICY.replace("per: hour", "per: day"))
    store = Store.open(home / "audit.db")
    whose = {"tenant": "default", "principal": "ada", "source": "header"}
    admitted = Event(kind=EventKind.ADMITTED, gateway="gw", exchange="e-1", **whose)  # type: ignore[arg-type]
    lost = Event(kind=EventKind.LIMIT_CHANGED, gateway="gw", stage="limits", reason=reason, detail="lost")
    store.write([admitted, admitted.followed_by(EventKind.COMPLETED), lost])
    store.close()
    told = limits(home, "reconcile")
    assert (told.exit_code, told.stdout) == (code, said)


def test_who_looks_at_the_clock_is_not_sent_there(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert limits(home, "clock").exit_code == 0
    leap = "UPDATE clock SET ledger_ms = ledger_ms + 30 * 86400000, uptime_ms = uptime_ms - 2000"
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as file:
        file.execute(leap)
    assert limits(home, "clock").exit_code == 1
    assert not caplog.records
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as file:
        file.execute("UPDATE clock SET uptime_ms = uptime_ms - 2000")
    limits(home, "status")
    assert "Look with: sallyport limits clock" in caplog.text


def test_counters_that_are_ahead_are_told_and_set_right_with_a_record(home: Path) -> None:
    (home / "policy.yaml").write_text(
        POLICY.replace("rules: [", "rules: [{id: daily, limit: 5, per: day, by: []}, ")
    )
    assert limits(home, "clock").exit_code == 0
    with closing(sqlite3.connect(home / "ledger.db", isolation_level=None)) as file:
        file.execute(
            "UPDATE clock SET ledger_ms = ledger_ms + 30 * 86400000 - 100"
        )  # a boot with a clock that was ahead

    async def use() -> tuple[Level, ...]:
        ledger = open_ledger(None, home)
        await ledger.book("r-2", [Claim("daily", 5, 2, Calendar(Unit.DAY))])
        found = await ledger.levels("daily")
        await ledger.close()
        return found

    asyncio.run(use())
    told = limits(home, "clock")
    assert (told.exit_code, acts(home)) == (1, [])
    assert "The counters were 30 days, 0:00:00 ahead." in told.stdout
    with locked(home):
        assert isinstance(limits(home, "clock", "--set-right").exception, OperatorError)
    assert limits(home, "clock").exit_code == 1
    assert limits(home, "clock", "--set-right").exit_code == 0
    assert (limits(home, "clock").exit_code, acts(home)) == (0, ["set_right"])
    (today,) = asyncio.run(use())
    assert today.start_ms == Calendar(Unit.DAY).at(time.time_ns() // 1_000_000).start_ms
    assert today.used == 2  # what was booked by the clock that was ahead, for it is booked once
