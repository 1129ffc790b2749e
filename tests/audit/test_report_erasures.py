"""A report tells who was forgotten, as a digest, and who looked at what was kept."""

import json
from datetime import UTC, datetime
from pathlib import Path

from typer.testing import CliRunner

from sallyport.audit.events import Event, EventKind
from sallyport.audit.reportpage import NO_ERASURES
from sallyport.audit.store import Store
from sallyport.cli.main import app

AT = datetime(2026, 5, 3, 12, tzinfo=UTC)


def report(url: str, *words: str) -> str:
    period = ["--since", "2026-05-01", "--until", "2026-06-01", "--store", url]
    done = CliRunner().invoke(app, ["audit", "report", *period, *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_erasures_and_looks_are_told(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    page = tmp_path / "page.html"
    report(sqlite_url, "--html", str(page))
    assert NO_ERASURES in page.read_text()
    common = {"gateway": "cli", "principal": "officer", "at": AT}
    store.write(
        [
            Event(
                kind=EventKind.ERASED, reason="subject.0123abcd", detail="keys_1.records_2.index_3", **common
            ),  # type: ignore[arg-type]
            Event(kind=EventKind.CONTENT_REVEALED, reason="content.reveal", detail="shown:rv77", **common),  # type: ignore[arg-type]
        ]
    )
    store.close()
    (erased,) = json.loads(report(sqlite_url, "--json"))["erasures"]
    assert (erased["by"], erased["subject"], erased["detail"]) == (
        "officer",
        "subject.0123abcd",
        "keys_1.records_2.index_3",
    )
    report(sqlite_url, "--html", str(page))
    told = page.read_text()
    assert NO_ERASURES not in told
    assert all(word in told for word in ("subject.0123abcd", "keys_1.records_2.index_3", "shown:rv77"))
