"""What `--ledger` takes, and what it says where it is none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.ledger import open_ledger
from sallyport.cli.limits import app
from sallyport.errors import OperatorError


@pytest.mark.parametrize("url", ["", "ledger.db", "http://h", "redis://[::1", "redis://h:99999"])
def test_an_address_that_is_no_ledger_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"it is no ledger|not a Redis URL"):
        open_ledger(url, tmp_path)


@pytest.mark.parametrize("words", [("status",), ("top",), ("reset", "calls"), ("reconcile",)], ids=" ".join)
def test_a_file_that_is_not_there_is_told_and_not_made(words: tuple[str, ...], tmp_path: Path) -> None:
    typo = tmp_path / "folder" / "typo.db"
    given = ["--ledger", f"sqlite:///{typo}", "--policy", "balanced", "--confdir", str(tmp_path / "conf")]
    with pytest.raises(OperatorError, match="is not there") as raised:
        CliRunner().invoke(app, [*words, *given], catch_exceptions=False)
    assert (raised.value.where, raised.value.exit_code) == (str(typo), 3)
    assert not typo.parent.exists()


@pytest.mark.parametrize("words", [("status",), ("top",), ("reset", "calls"), ("reconcile",)], ids=" ".join)
@pytest.mark.parametrize("kind", ["another database", "an empty file", "a text"])
def test_a_file_that_holds_no_ledger_is_told_and_left_as_it_is(
    words: tuple[str, ...], kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "of another.db"
    file.write_text("A diary.\n" * 1000 if kind == "a text" else "")
    if kind == "another database":
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE accounts (name TEXT)")
    held = file.read_bytes()
    given = ["--ledger", f"sqlite:///{file}", "--policy", "balanced", "--confdir", str(tmp_path / "conf")]
    with pytest.raises(OperatorError, match="it holds no ledger") as raised:
        CliRunner().invoke(app, [*words, *given], catch_exceptions=False)
    assert (raised.value.where, raised.value.exit_code) == (str(file), 3)
    assert file.read_bytes() == held
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
