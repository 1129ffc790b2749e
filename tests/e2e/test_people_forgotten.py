"""A person who is forgotten is in no file of a gateway, no store, no spool, no capture and no backup of them.

A real gateway that writes pseudonyms, killed in between; the same with its store in SQLite and in PostgreSQL.
"""

import base64
import json
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

import rawclient
from e2e.traffic import CHAT, OPENAI, assert_sound, chat, eventually, recorded, running, settled
from gateways import GatewayProcess
from rawclient import Talk, post
from sallyport.cli.main import app
from sallyport.lab.server import Lab
from sallyport.state.content.keys import VARIABLE, SubjectKeys
from sallyport.state.masterkey import MasterKeys, NotOpened
from servers import Postgres
from state.content.conftest import Place
from state.content.test_forgetting import assert_not_in_clear, killed_at

ANN, BOB = "odile.brandt@example.org", "bertrand.kurz@example.org"
SAID = "marmalade quarrel of the north tower"

POLICY = """version: 1
identity:
  unknown: anonymous
  header: {name: X-User, trusted_peers: [127.0.0.1/32]}
audit: {required: true, people: pseudonymised, when_unavailable: spool, checkpoints: {interval_s: 1}}
content: {keep: original, reveal: {second_person: false}}
capture: {share: 1, content: original}
"""

STANDS = re.compile(r"person:[0-9a-f]{32}")
SEALED = re.compile(r"sealed:[A-Za-z0-9_-]+")


@dataclass
class House:
    """Where everything of a gateway is. url: of the store; server: the one it is in, with its files."""

    folder: Path
    url: str
    server: Postgres | None
    files: Path | None

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    @property
    def extra(self) -> list[str]:
        return ["--store", self.url] if self.server is not None else []

    @property
    def where(self) -> Path | str:
        return self.url if self.server is not None else self.conf

    @contextmanager
    def keys(self, folder: Path | None = None) -> Iterator[SubjectKeys]:
        """Open keys as a command with the gateway's master keys has them. folder: of a copy of the keys."""
        file = (folder or self.conf) / "content-keys.db"
        keys = SubjectKeys(f"sqlite:///{file}", MasterKeys(self.conf, {}))
        try:
            yield keys
        finally:
            keys.close()  # the last one takes files with it that are looked through

    def command(self, *words: str) -> Result:
        more = ["--confdir", str(self.conf), *self.extra]
        return CliRunner().invoke(app, ["audit", *words, *more], env={VARIABLE: ""})

    def everything(self) -> list[Path]:
        return [self.conf, *([self.files] if self.files is not None else [])]


@pytest.fixture(params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    if request.param == "sqlite":
        yield House(tmp_path, f"sqlite:///{tmp_path}/conf/audit.db", None, None)
        return
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    server = Postgres(folder / "server")
    try:
        yield House(tmp_path, server.create_database("people"), server, folder / "server")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def ask(gateway: GatewayProcess, who: str, model: str, **more: object) -> Talk:
    headers = [f"X-User: {who}"] if who else []
    request = post(CHAT, chat(model, f"{SAID} {who}", **more), OPENAI, *headers)
    return rawclient.ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request, timeout=10)


def rows_of(house: House) -> list[dict[str, Any]]:
    engine = create_engine(house.url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM audit_events ORDER BY id"))
        rows = [dict(row) for row in found.mappings()]
    engine.dispose()
    return rows


def listed(house: House, *words: str) -> list[dict[str, Any]]:
    done = house.command("list", "--json", "--limit", "100000", *words)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def of(found: list[dict[str, Any]]) -> set[str]:
    return {event.get("principal", "") for event in found if event.get("source") == "header"}


def traffic(house: House, lab: Lab) -> None:
    """Ann and Bob ask, and somebody without a name; the gateway is killed; the store goes away where it can."""
    with running(house.folder, lab, policy=POLICY, extra=house.extra) as gateway:
        for number in range(3):
            assert ask(gateway, ANN, f"people-ann-{number}", stream=number == 2).status == 200
        assert ask(gateway, BOB, "people-bob").status == 200
        assert ask(gateway, "", "people-nobody").status == 200
        settled(house.where)
        eventually(lambda: any((house.conf / "captures").glob("*.flows")), 10, "flows are captured")
        if house.server is not None:
            house.server.stop()
            for who in (ANN, BOB):
                assert ask(gateway, who, "people-away").status == 200
            waits = house.conf / "audit-spool"
            assert STANDS.search(b"".join(f.read_bytes() for f in waits.iterdir()).decode("latin-1"))
            assert_not_in_clear(house.conf, ANN, BOB, SAID)
        gateway.signal(signal.SIGKILL)
        gateway.process.wait(5)
    if house.server is not None:
        house.server.start()
    with running(house.folder, lab, policy=POLICY, extra=house.extra) as gateway:
        assert ask(gateway, ANN, "people-again").status == 200
        eventually(lambda: not any((house.conf / "audit-spool").glob("*.spool")), 10, "the spool is emptied")
        settled(house.where)


def opens(house: House, text: str, folder: Path | None = None) -> list[str]:
    """Return all that keys can still tell of what stands in a text. folder: of a copy of the keys."""
    with house.keys(folder) as keys:
        known = keys.entered(sorted(set(STANDS.findall(text))))
    sealed = {found[:end] for found in set(SEALED.findall(text)) for end in range(22, len(found) + 1)}
    texts = [
        person.unseal(each) for person in known.values() for each in sealed
    ]  # what follows it in a file is cut
    return [person.name for person in known.values()] + [each for each in texts if each]


def contents(*folders: Path) -> str:
    """Return all bytes of all files, as text of which the pseudonyms can be read."""
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return "\n".join(file.read_bytes().decode("latin-1") for file in files)


def test_nothing_names_who_is_forgotten_and_nothing_opens_what_did(
    house: House, lab: Lab, tmp_path: Path
) -> None:
    traffic(house, lab)
    assert_sound([event for event in recorded(house.where) if event.exchange])
    asked = [row for row in rows_of(house) if row["source"] == "header"]
    assert len({row["principal"] for row in asked}) == 2, (
        "each of them has one pseudonym, over a kill and a spool"
    )
    assert {row["client"][:7] for row in asked} == {"sealed:"}
    assert_not_in_clear(house.conf, ANN, BOB, SAID)

    # As long as the keys are there, people are read by their names.
    assert of(listed(house)) == {ANN, BOB}
    of_ann = listed(house, "--principal", ANN)
    assert {"people-ann-0", "people-again"} <= {event["model"] for event in of_ann}
    assert {event["client"] for event in of_ann} == {"127.0.0.1"}
    report = house.command("report", "--since", "1d", "--json")
    assert ANN in report.output

    # A backup of everything, and one that has the keys too.
    backup = tmp_path / "backup"
    shutil.copytree(
        house.conf, backup / "conf", ignore=shutil.ignore_patterns("content-keys.db*", "master.key")
    )
    if house.files is not None:
        assert house.server is not None
        house.server.stop()
        shutil.copytree(house.files, backup / "server", ignore=shutil.ignore_patterns("*.s.PGSQL*", ".s.*"))
        house.server.start()
    old = tmp_path / "old-keys"
    old.mkdir()
    for file in house.conf.glob("content-keys.db*"):
        shutil.copy(file, old)
    assert {ANN, BOB, "client:127.0.0.1", "127.0.0.1"} == set(opens(house, contents(backup)))
    stood = {row["principal"] for row in rows_of(house) if row["model"] == "people-again"}

    # Killed when the key is gone and nothing else yet; then run again.
    place = Place(house.conf, house.url, {})
    assert (
        killed_at(place, "sallyport.state.content.store ContentStore remove before", "forget", ANN).returncode
        == -9
    )
    assert ANN not in opens(house, contents(backup, *house.everything()))
    done = house.command("forget", ANN)
    assert done.exit_code == 0, done.output

    # A new master key, and the old one destroyed: what protects from a backup of the keys.
    master = house.conf / "master.key"
    before = master.read_bytes()
    master.write_bytes(base64.b64encode(b"n" * 32) + b"\n" + before)
    assert house.command("keys", "rotate").exit_code == 0
    master.write_bytes(base64.b64encode(b"n" * 32) + b"\n")

    everything = contents(backup, old, *house.everything())
    for folder in (backup, old, *house.everything()):
        assert_not_in_clear(folder, ANN, SAID)
    left = opens(house, everything)
    assert ANN not in left
    assert set(left) == {BOB, "client:127.0.0.1", "127.0.0.1"}, "others are read as before"
    with house.keys() as keys:
        assert keys.entered(sorted(stood)) == {}
    with pytest.raises(NotOpened):
        opens(house, everything, old)

    # The log is whole, and says of her nothing but what she did.
    assert house.command("checkpoint").exit_code == 0
    verified = house.command("verify")
    assert verified.exit_code == 0, verified.output
    assert listed(house, "--principal", ANN) == []
    assert of(listed(house)) == {BOB, *stood}
    assert ANN not in house.command("report", "--since", "1d", "--json").output
    gone = house.command("forget", next(iter(stood)))
    assert "nobody is known by this pseudonym" in str(gone.exception)


def test_a_running_gateway_goes_on_under_another_pseudonym(lab: Lab, tmp_path: Path) -> None:
    house = House(tmp_path, f"sqlite:///{tmp_path}/conf/audit.db", None, None)
    with running(house.folder, lab, policy=POLICY, extra=house.extra) as gateway:
        assert ask(gateway, ANN, "people-before").status == 200
        settled(house.where)
        assert house.command("forget", ANN).exit_code == 0
        time.sleep(2.1)
        assert ask(gateway, ANN, "people-after").status == 200
        settled(house.where)
    stood = {row["model"]: row["principal"] for row in rows_of(house) if row["source"] == "header"}
    assert stood["people-before"] != stood["people-after"]
    assert [event["model"] for event in listed(house, "--principal", ANN)] == ["people-after"] * 2
    assert_not_in_clear(house.conf, ANN, SAID)


def test_without_keys_who_is_known_goes_on_and_a_stranger_does_not_leave(lab: Lab, tmp_path: Path) -> None:
    house = House(tmp_path, f"sqlite:///{tmp_path}/conf/audit.db", None, None)
    policy = POLICY.replace("when_unavailable: spool", "when_unavailable: refuse")
    policy = "".join(
        line for line in policy.splitlines(True) if not line.startswith(("content:", "capture:"))
    )
    with running(house.folder, lab, policy=policy, extra=house.extra) as gateway:
        assert ask(gateway, ANN, "strangers-ann").status == 200
        keys = house.conf / "content-keys.db"
        aside = [file.rename(tmp_path / file.name) for file in sorted(house.conf.glob("content-keys.db*"))]
        keys.mkdir()
        assert ask(gateway, ANN, "strangers-ann").status == 200
        assert ask(gateway, BOB, "strangers-bob").status == 503
        keys.rmdir()
        for file in aside:
            file.rename(house.conf / file.name)
        eventually(lambda: ask(gateway, BOB, "strangers-bob").status == 200, 10, "the keys are back")
        settled(house.where)
        eventually(
            lambda: BOB in of(listed(house, "--decision", "refused")), 10, "who was refused can be told"
        )
    events = listed(house)
    assert of(events) == {ANN, BOB}
    refused = [event for event in events if event["kind"] == "refused"]
    assert {(event["principal"], event["detail"]) for event in refused} == {(BOB, "audit_unavailable")}
    assert_not_in_clear(house.conf, ANN, BOB)
    assert house.command("checkpoint").exit_code == 0
    assert house.command("verify").exit_code == 0


def test_limits_and_what_is_usual_go_by_names_over_a_restart_and_agree_with_the_log(
    lab: Lab, tmp_path: Path
) -> None:
    house = House(tmp_path, f"sqlite:///{tmp_path}/conf/audit.db", None, None)
    policy = f"{POLICY}limits: {{rules: [{{id: few, limit: 3, per: day, by: [principal]}}]}}\n"

    def limits(*words: str) -> Result:
        return CliRunner().invoke(app, ["limits", *words, "--confdir", str(house.conf)])

    with running(house.folder, lab, policy=policy) as gateway:
        for who in (ANN, ANN, BOB):
            assert ask(gateway, who, "counted").status == 200
        settled(house.where)
        gateway.signal(signal.SIGKILL)
        gateway.process.wait(5)
    with running(house.folder, lab, policy=policy) as gateway:
        assert [ask(gateway, ANN, "counted").status for _ in range(2)] == [200, 429]
        assert ask(gateway, BOB, "counted").status == 200
        settled(house.where)
    agreed = limits("reconcile", "--json")
    assert agreed.exit_code == 0, agreed.output
    lines = [json.loads(line) for line in agreed.stdout.splitlines()]
    assert sorted((line["ledger"], line["events"]) for line in lines) == [("2", "2"), ("3", "3")]
    usual = limits("behaviour", "--json")
    assert ANN in usual.output
    assert "person:" not in usual.output
    assert all(row["principal"].startswith("person:") for row in rows_of(house) if row["source"] == "header")
