"""Times as operators write them."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from sallyport.cli.acts import end_of
from sallyport.cli.auditcoverage import coverage
from sallyport.cli.auditreport import write_report
from sallyport.cli.moments import end_or_never, moment, time_to_come
from sallyport.cli.spend import spend
from sallyport.errors import OperatorError

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", "2026-05-01T11:59:30+00:00"),
        ("2d", "2026-04-29T12:00:00+00:00"),
        ("2026-05-01", "2026-05-01T00:00:00+00:00"),
        ("2026-05-01T10:00+02:00", "2026-05-01T08:00:00+00:00"),
        ("999999999w", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    found = moment(text, NOW)
    assert found == datetime.fromisoformat(expected)
    assert found.utcoffset() == timedelta(0), "what prints it calls it UTC"


@pytest.mark.parametrize("text", ["0001-01-01T00:00+02:00", "9999-12-31T23:59-02:00"])
def test_a_moment_that_utc_has_not_is_told(text: str) -> None:
    with pytest.raises(OperatorError, match="neither an age nor a time"):
        moment(text, NOW)


@pytest.mark.parametrize(
    "command", [spend, write_report, coverage], ids=lambda command: str(command.__name__)
)
def test_a_time_is_refused_under_the_name_of_its_option(command: object) -> None:
    app = typer.Typer()
    app.command()(command)  # type: ignore[type-var]
    error = CliRunner().invoke(app, ["--since", "1d", "--until", "tomorrow"]).exception
    assert isinstance(error, OperatorError)
    assert str(error).startswith("--until: neither an age nor a time")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", "2026-05-01T12:00:30+00:00"),
        (" 2d ", "2026-05-03T12:00:00+00:00"),
        ("2026-05-02", "2026-05-02T00:00:00+00:00"),
        ("2026-05-01T15:00+02:00", "2026-05-01T13:00:00+00:00"),
    ],
)
def test_a_length_of_time_to_come_counts_from_now(text: str, expected: str) -> None:
    found = end_or_never("--expires", text, NOW)
    assert found == datetime.fromisoformat(expected)
    assert found == time_to_come("--until", text, NOW, "")


def test_never_is_no_time() -> None:
    assert end_or_never("--expires", " Never", NOW) is None
    with pytest.raises(OperatorError, match=r"--until: it is no time to come\. Write 12h"):
        time_to_come("--until", "never", NOW, "Write 12h")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("soon", "it is no time to come"),
        ("", "it is no time to come"),
        ("9999-12-31T23:59-02:00", "it is no time to come"),
        ("0h", "it is over already"),
        ("2026-05-01T12:00", "it is over already"),
        ("2026-04-30", "it is over already"),
    ],
)
def test_what_is_no_time_to_come_is_told_with_the_option(text: str, what: str) -> None:
    with pytest.raises(OperatorError, match=f"--expires: {what}. Write 12h"):
        end_or_never("--expires", text, NOW)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2026-06-01", "no length of time"),
        ("m", "no length of time"),
        ("", "no length of time"),
        ("0m", "over already"),
    ],
)
def test_what_lasts_no_time_is_told(text: str, what: str) -> None:
    with pytest.raises(OperatorError, match=f"--for: it is {what}"):
        end_of(text, NOW)
