"""A right to read one tenant shows nothing of another's content: by no value, no reason, and no changed row."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.content.sealing import Part, Text
from sallyport.state.content.store import Asked
from sallyport.state.content.subjects import Subject
from sallyport.state.content.writing import ContentWriter, Page
from sallyport.state.directory import readers
from sallyport.state.directory.store import DirectoryStore
from state.content.conftest import Place

MAIL = "odile@example.org"


@pytest.fixture
def kept(tmp_path: Path) -> Place:
    """Content of two tenants, in which the same value was found, and a request to see each."""
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    place.masters().make()
    Store.open(place.url).close()
    writer = ContentWriter(place.store(), place.keys())
    for tenant in ("acme", "bmw"):
        texts = (Text("/a", "user", f"{tenant} wrote to {MAIL}"),)
        page = Page(
            *(f"x-{tenant}", Part.REQUEST, Subject(tenant, "ann"), texts, frozenset({MAIL})),
            *("ordinary", "original", 1.0),
        )
        writer.kept(lambda page=page: (page,)).result(30)
        place.store().ask(Asked(f"rv-{tenant}", f"x-{tenant}", "eve", f"a case of {tenant}", 5))
    writer.close()
    (tmp_path / "policy.yaml").write_text("version: 1\ncontent: {reveal: {second_person: false}}\n")
    return place


def token(place: Place, tenant: str) -> dict[str, str]:
    directory = DirectoryStore.open(place.url)
    with directory.change() as connection:
        _, said = readers.issue(connection, tenant, "root", datetime.now(UTC))
        readers.require_tokens(connection, True)
    directory.close()
    return {"SALLYPORT_READER_TOKEN": said}


def done(place: Place, env: dict[str, str], *words: str, stdin: str | None = None) -> Result:
    more = ["--store", place.url, "--confdir", str(place.folder)]
    return CliRunner().invoke(app, ["audit", *words, *more], env=env, input=stdin)


@pytest.mark.parametrize(("tenant", "found"), [("acme", ["x-acme"]), ("*", ["x-acme", "x-bmw"])])
def test_a_value_is_looked_for_only_where_the_token_lets_read(
    kept: Place, tenant: str, found: list[str]
) -> None:
    said = done(kept, token(kept, tenant), "search", "--value-from-stdin", stdin=MAIL)
    assert said.stdout.split() == found


@pytest.mark.parametrize(("tenant", "others"), [("acme", False), ("*", True)])
def test_reasons_are_shown_to_who_may_read_the_tenant(kept: Place, tenant: str, others: bool) -> None:
    said = done(kept, token(kept, tenant), "reveals").stdout
    assert "a case of acme" in said
    assert ("a case of bmw" in said) == others
    without = done(kept, {}, "reveals")
    assert isinstance(without.exception, OperatorError)
    assert without.stdout == ""


def test_a_row_that_was_given_to_another_tenant_is_not_shown(kept: Place) -> None:
    may = token(kept, "acme")
    words = ("reveal", "x-bmw", "--reason", "x", "--policy", str(kept.folder / "policy.yaml"))
    refused = done(kept, may, *words)
    assert "the token is for tenant" in str(refused.exception)
    with sqlite3.connect(kept.folder / "content.db") as store:
        store.execute("UPDATE content_records SET tenant = 'acme'")
    changed = done(kept, may, *words)
    assert "it was changed in the store" in str(changed.exception)
    assert "bmw wrote" not in refused.output + changed.output
    assert "acme wrote" in done(kept, may, "reveal", "x-acme", *words[2:]).stdout


def test_callers_that_are_refused_as_unknown_can_be_forgotten(kept: Place) -> None:
    kept.keys().key_of(Subject("", "client:10.0.0.9"))
    assert "no key of it" in done(kept, {}, "forget", "client:10.0.0.9").stdout
    assert "destroyed 1 keys" in done(kept, {}, "forget", "client:10.0.0.9", "--tenant", "").stdout
