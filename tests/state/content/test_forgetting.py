"""Who is forgotten is in no file any more: not in clear, and not under any key that is left, backups included."""

import base64
import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from e2e.zygote import command
from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.captures import CaptureFile, CaptureWriter
from sallyport.state.content.keys import VARIABLE
from sallyport.state.content.people import lasting_person
from sallyport.state.content.sealing import Part, Text, normalised, unseal
from sallyport.state.content.store import content_address
from sallyport.state.content.subjects import Subject, SubjectKey
from sallyport.state.content.writing import ContentWriter, Page
from sallyport.state.elapsed import FILE as ELAPSED
from sallyport.state.ledger.clocks import SystemClock
from state.content.conftest import Place

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")
SAID = {ANN: "quarrelsome marmalade of odile", BOB: "peaceful turnip of bertrand"}
MAIL = {ANN: "odile.brandt@example.org", BOB: "bertrand@example.org"}
EXCHANGES = 12


def fill(place: Place) -> None:
    """Keep some exchanges and captures of two people."""
    Store.open(place.url).close()
    writer = ContentWriter(place.store(), place.keys())
    captures = CaptureWriter(place.folder / "captures", "gw", place.masters())
    for number in range(EXCHANGES):
        who = (ANN, BOB)[number % 2]

        def pages(who: Subject = who, number: int = number) -> tuple[Page, ...]:
            texts = (Text("/a", "user", f"{SAID[who]} {MAIL[who]} {number}"),)
            values = frozenset({MAIL[who]})
            return tuple(
                Page(f"x{number}", part, who, texts, values, "ordinary", "original", 1.0) for part in Part
            )

        writer.put(pages)
        captures.put(lambda who=who: f"{SAID[who]} {MAIL[who]}".encode(), 0, who)
    writer.close()
    captures.close()
    assert (writer.lost, captures.lost) == (0, 0)


def rows_of(url: str, table: str) -> list[dict[str, Any]]:
    address = content_address(url).replace("postgresql://", "postgresql+psycopg://")
    with create_engine(address).connect() as connection:
        return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]


def backup(place: Place, to: Path) -> list[dict[str, Any]]:
    """Copy everything but the keys, as a backup would; return the sealed rows as they are in it."""
    shutil.copytree(place.folder / "captures", to / "captures")
    for file in place.folder.glob("content.db*"):
        shutil.copy(file, to)
    for file in place.folder.glob("audit.db*"):
        shutil.copy(file, to)
    return rows_of(place.url, "content_records")


def spellings(word: str) -> Iterator[bytes]:
    plain = word.encode()
    yield plain
    yield plain.hex().encode()
    yield word.encode("utf-16-le")
    for shift in range(3):
        yield base64.b64encode(b" " * shift + plain)[4:-4]


def assert_not_in_clear(folder: Path, *words: str) -> None:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = file.read_bytes()
        for word in words:
            assert not any(spelt in content for spelt in spellings(word)), f"{word} in {file}"


def opened_by(key: SubjectKey, row: dict[str, Any]) -> bool:
    """Say whether a key opens a row: under the id it was sealed with, or under its own."""
    sealed = bytes(row["sealed"])
    for id in (row["key"], key.id):
        bound = [part.encode() for part in (id, row["exchange"], row["part"])]
        about = b"sallyport content 1" + b"".join(len(p).to_bytes(4, "big") + p for p in bound)
        try:
            AESGCM(key.sealing).decrypt(sealed[1:13], sealed[13:], about)
            return True
        except InvalidTag:
            continue
    return False


def killed_at(place: Place, dying: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process. dying: where it is killed, `MODULE CLASS METHOD before|after`."""
    module, owner, method, when = dying.split()
    trap = (
        "import os\n"
        f"import {module} as m\n"
        f"real = getattr(m.{owner}, {method!r})\n"
        "def dies(*args, **kwargs):\n"
        f"    if {when == 'before'!r}: os.kill(os.getpid(), 9)\n"
        "    real(*args, **kwargs)\n"
        "    os.kill(os.getpid(), 9)\n"
        f"setattr(m.{owner}, {method!r}, dies)\n"
    )
    more = ["--store", place.url, "--confdir", str(place.folder)]
    return command("audit", *words, *more, first=trap, **place.variables)


def done(place: Place, *words: str) -> Result:
    """Run a command here."""
    more = ["--store", place.url, "--confdir", str(place.folder)]
    return CliRunner().invoke(app, ["audit", *words, *more], env=place.variables, catch_exceptions=False)


def erased(place: Place) -> list[str]:
    store = Store.open(place.url, create=False)
    try:
        return [event.detail for event in store.events(1000, kind=EventKind.ERASED)]
    finally:
        store.close()


def test_what_was_said_is_readable_before_and_for_the_other_after(place: Place, tmp_path: Path) -> None:
    fill(place)
    copy = tmp_path / "copy"
    copy.mkdir()
    before = backup(place, copy)
    keys = place.keys()
    of_ann, of_bob = keys.key_of(ANN), keys.key_of(BOB)
    assert sum(opened_by(of_ann, row) for row in before) == EXCHANGES
    assert (
        SAID[ANN] in unseal(bytes(before[0]["sealed"]), of_ann, before[0]["exchange"], Part.REQUEST)[0].text
    )
    in_backup = {bytes(row["token"]) for row in rows_of(place.url, "content_tokens")}
    assert of_ann.token(normalised(MAIL[ANN])) in in_backup

    assert done(place, "forget", "ann", "--tenant", "acme").exit_code == 0

    left = list(place.keys().each())
    assert [key.id for key in left] == [of_bob.id]
    for row in (*before, *rows_of(place.url, "content_records")):
        assert opened_by(of_bob, row) == (row["key"] == of_bob.id)
    assert not any(key.token(normalised(MAIL[ANN])) in in_backup for key in left)
    assert {row["key"] for row in rows_of(place.url, "content_records")} == {of_bob.id}
    assert {row["key"] for row in rows_of(place.url, "content_tokens")} == {of_bob.id}
    for folder in (copy, place.folder):
        assert_not_in_clear(folder, *SAID.values(), *MAIL.values())
        for path in folder.glob("captures/*.flows"):
            file = CaptureFile(path, place.masters())
            flows = [flow for _, flow in file.records()]
            assert flows == [f"{SAID[BOB]} {MAIL[BOB]}".encode()] * (EXCHANGES // 2)
            assert file.forgotten == EXCHANGES // 2
    secrets = [base64.b64encode(of_ann.secret), of_ann.secret, of_ann.secret.hex().encode()]
    for path in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert not any(secret in path.read_bytes() for secret in secrets)
    assert erased(place) == [f"keys_1.records_{EXCHANGES}.index_{EXCHANGES // 2}"]


_KEYS, _STORE = "sallyport.state.content.keys SubjectKeys", "sallyport.state.content.store ContentStore"


@pytest.mark.parametrize(
    "dying",
    [
        f"{_KEYS} destroy before",
        "sallyport.state.content.opening Opened scrub before",
        f"{_KEYS} destroy after",
        f"{_STORE} remove after",
        "sallyport.cli.contentopening Content tell before",
        "sallyport.cli.contentopening Content tell after",
        f"{_KEYS} settle after",
    ],
    ids=lambda words: "-".join(words.split()[1:]),
)
def test_who_is_killed_in_between_has_destroyed_the_key_or_nothing_and_can_go_on(
    place: Place, dying: str
) -> None:
    fill(place)
    killed = killed_at(place, dying, "forget", "ann", "--tenant", "acme")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    destroyed = len(list(place.keys().each())) == 1
    assert destroyed == (dying != f"{_KEYS} destroy before")
    again = done(place, "forget", "ann", "--tenant", "acme")
    assert again.exit_code == 0, again.output
    assert len(list(place.keys().each())) == 1
    assert {row["exchange"] for row in rows_of(place.url, "content_records")} == {
        f"x{number}" for number in range(1, EXCHANGES, 2)
    }
    told = [detail for detail in erased(place) if detail.startswith("keys_1")]
    assert len(told) == 1


def test_what_a_gateway_writes_too_late_is_swept(place: Place) -> None:
    fill(place)
    late = place.keys()
    key = late.key_of(ANN)
    done(place, "forget", "ann", "--tenant", "acme")
    writer = ContentWriter(place.store(), late)
    late._looked_s = time.monotonic()  # it has just looked
    late._by_subject[ANN] = key
    page = Page(
        "late", Part.REQUEST, ANN, (Text("", "user", "x"),), frozenset({"y"}), "ordinary", "original", 1.0
    )
    writer.put(lambda: (page,))
    writer.close()
    assert "late" in {row["exchange"] for row in rows_of(place.url, "content_records")}
    assert done(place, "content", "sweep").exit_code == 0
    assert "late" not in {row["exchange"] for row in rows_of(place.url, "content_records")}
    assert "late" not in {row["exchange"] for row in rows_of(place.url, "content_tokens")}


def test_a_clock_that_leapt_sweeps_nothing(place: Place) -> None:
    Store.open(place.url).close()
    writer = ContentWriter(place.store(), place.keys())
    page = Page("old", Part.REQUEST, ANN, (Text("", "user", "x"),), frozenset(), "ordinary", "original", 1e-9)
    writer.put(lambda: (page,))
    writer.close()
    clock, ago_ms = SystemClock(), time.time_ns() // 1_000_000 - 100 * 86_400_000
    noted = {"boot": clock.boot(), "uptime_ms": clock.uptime_ms(), "ahead_ms": None, "counted_ms": ago_ms}
    (place.folder / ELAPSED).write_text(json.dumps(noted))
    assert done(place, "content", "sweep").output == "0 rows removed\n"
    (place.folder / ELAPSED).unlink()
    assert done(place, "content", "sweep").output == "1 rows removed\n"


def test_where_no_gateway_has_made_keys_none_are_made(place: Place) -> None:
    Store.open(place.url).close()
    for words in (("forget", "ann"), ("forget", "ann", "--dry-run"), ("keys", "rotate")):
        with pytest.raises(OperatorError, match="there are none"):
            done(place, *words)
    assert not (place.folder / "content-keys.db").exists()


def test_keys_that_another_gateway_has_are_not_taken_for_nothing(place: Place, tmp_path: Path) -> None:
    fill(place)
    other = tmp_path / "other"
    other.mkdir()
    elsewhere = Place(other, place.url, {VARIABLE: str(other / "keys.db")})
    elsewhere.masters().make()
    elsewhere.keys().make()
    said = done(elsewhere, "forget", "ann", "--tenant", "acme")
    assert said.exit_code == 1
    assert "under 2 keys that are not in" in said.output
    assert len(list(place.keys().each())) == 2
    assert len(rows_of(place.url, "content_records")) == 2 * EXCHANGES


def test_in_postgresql_a_gateway_keeps_under_a_role_that_destroys_no_key(
    postgres_url: str, tmp_path: Path
) -> None:
    owner = Place(tmp_path, postgres_url, {VARIABLE: postgres_url})
    owner.masters().make()
    Store.open(postgres_url).close()
    assert done(owner, "content", "init").exit_code == 0
    page = Path(__file__).parents[3].joinpath("docs", "content.md").read_text()
    (rights,) = [part.partition("```")[0] for part in page.split("```sql\n")[1:]]
    schema = postgres_url.rpartition("%3D")[2]
    gateway, operator = f"{schema}_gw", f"{schema}_op"
    with create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://")).begin() as connection:
        for role in (gateway, operator):
            connection.execute(text(f"CREATE ROLE {role} LOGIN"))
            connection.execute(text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {operator}"))
        for table in ("content_records", "content_tokens", "content_reveals", *_KEY_TABLES):
            connection.execute(text(f"REVOKE ALL ON {table} FROM {operator}"))
        for line in rights.strip().splitlines():
            named = line.replace("gateway, operator", f"{gateway}, {operator}")
            named = named.replace("TO gateway;", f"TO {gateway};").replace("TO operator;", f"TO {operator};")
            connection.execute(text(named))
    as_gateway = replace(
        owner, url=under(postgres_url, gateway), variables={VARIABLE: under(postgres_url, gateway)}
    )
    keep_under(as_gateway)
    own = lasting_person(as_gateway.keys(), ANN)
    assert own.pseudonym in owner.keys().entered([own.pseudonym])
    with pytest.raises(OperatorError, match="InsufficientPrivilege"):
        as_gateway.keys().destroy(ANN, 1, "e")
    as_operator = replace(
        owner, url=under(postgres_url, operator), variables={VARIABLE: under(postgres_url, operator)}
    )
    told = done(as_operator, "forget", "ann", "--tenant", "acme")
    assert told.exit_code == 1
    assert owner.keys().entered([own.pseudonym]) == {}
    assert "its owner's" in told.output
    assert len(list(owner.keys().each())) == 1, "it is destroyed all the same"
    assert done(owner, "forget", "ann", "--tenant", "acme").exit_code == 0
    assert "no key" in done(owner, "forget", "ann", "--tenant", "acme").output


_KEY_TABLES = ("content_keys", "content_key_settings", "content_erasures", "content_people")


def under(url: str, role: str) -> str:
    return re.sub("//[^@/]*@", f"//{role}@", url)


def keep_under(place: Place) -> None:
    writer = ContentWriter(place.store(), place.keys())
    for who in (ANN, BOB):
        made = Page(
            who.principal,
            Part.REQUEST,
            who,
            (Text("", "user", "x"),),
            frozenset({"y"}),
            "ordinary",
            "original",
            1.0,
        )
        writer.kept(lambda made=made: (made,)).result(30)
    writer.close()
