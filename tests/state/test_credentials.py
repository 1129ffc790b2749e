"""Real credentials: where they come from, when they change, and that nothing shows them."""

import asyncio
import base64
import contextlib
import logging
import os
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.credentials import Credentials, CredentialUnavailable, Secret, checked_value, read_file
from sallyport.state.directory.credentials import (
    StoredCredential,
    find_credential,
    load_credentials,
    put_credential,
    remove_credential,
)
from sallyport.state.directory.lastgood import LastGood
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.masterkey import COMMAND_VARIABLE, FILE_VARIABLE, VARIABLE, MasterKeys, NotOpened

AT = datetime(2026, 11, 1, tzinfo=UTC)


def value() -> str:
    return "sk-" + os.urandom(30).hex()


def master() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def private(path: Path, text: str) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    os.replace(fresh, path)
    return path


@dataclass
class Clock:
    at_s: float = 0.0

    def __call__(self) -> float:
        return self.at_s


@dataclass
class Desk:
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.masters = MasterKeys(self.folder, self.variables)
        self.credentials = Credentials(lambda name: None, self.masters, self.variables, self.clock)

    def sealed(self, name: str, text: str) -> StoredCredential:
        return StoredCredential(name, "openai", "sealed", AT, sealed=self.masters.seal(text, name, "openai"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_variable_is_read_each_time(desk: Desk) -> None:
    stored = StoredCredential("c", "openai", "env:KEY", AT)
    first, second = value(), value()
    desk.variables["KEY"] = first
    assert (await desk.credentials.secret(stored)).value == first
    desk.variables["KEY"] = second
    desk.clock.at_s += 2
    assert (await desk.credentials.secret(stored)).value == second


async def test_a_file_is_read_again_when_it_changes_and_not_before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = value(), value()
    path = private(desk.folder / "key", first + "\n")
    stored = StoredCredential("c", "openai", f"file:{path}", AT)
    reads = []
    monkeypatch.setattr("sallyport.state.credentials.read_file", lambda p: (reads.append(p), read_file(p))[1])
    for _ in range(5):
        assert (await desk.credentials.secret(stored)).value == first
        desk.clock.at_s += 2
    assert len(reads) == 1
    private(path, second)
    assert (await desk.credentials.secret(stored)).value == second
    path.unlink()
    desk.clock.at_s += 2
    with pytest.raises(CredentialUnavailable, match="unreadable"):
        await desk.credentials.secret(stored)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o666])
async def test_a_file_that_others_may_read_is_not_used(desk: Desk, mode: int) -> None:
    path = private(desk.folder / "key", value())
    path.chmod(mode)
    with pytest.raises(CredentialUnavailable, match="unreadable"):
        await desk.credentials.secret(StoredCredential("c", "openai", f"file:{path}", AT))


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "loop"])
async def test_what_is_no_file_is_not_used_and_keeps_no_other_waiting(desk: Desk, kind: str) -> None:
    path = desk.folder / "key"
    match kind:
        case "pipe":
            os.mkfifo(path, 0o600)
        case "directory":
            path.mkdir(0o700)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
    stored = [StoredCredential(f"c{i}", "openai", f"file:{path}", AT) for i in range(8)]
    sound = StoredCredential("sound", "openai", f"file:{private(desk.folder / 'sound', value())}", AT)
    asked = [asyncio.ensure_future(desk.credentials.secret(each)) for each in stored]
    assert (await asyncio.wait_for(desk.credentials.secret(sound), 4)).value
    for each in asked:
        with pytest.raises(CredentialUnavailable, match="unreadable"):
            await each


async def test_a_file_changed_behind_its_date_is_read_again(desk: Desk) -> None:
    first, second = value(), value()
    path = private(desk.folder / "key", first)
    stored = StoredCredential("c", "openai", f"file:{path}", AT)
    assert (await desk.credentials.secret(stored)).value == first
    dates = path.stat()
    path.write_text(second)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    desk.clock.at_s += 2
    assert (await desk.credentials.secret(stored)).value == second


@pytest.mark.parametrize(
    "text", ["", "short", "two words here", "line\nline-of-another", "é" * 20, "x" * 9000]
)
async def test_what_is_no_credential_is_not_sent(desk: Desk, text: str) -> None:
    path = private(desk.folder / "key", text)
    with pytest.raises(CredentialUnavailable):
        await desk.credentials.secret(StoredCredential("c", "openai", f"file:{path}", AT))
    with pytest.raises(ValueError, match="ASCII"):
        checked_value(text)


async def test_a_sealed_credential_is_opened_by_its_master_key_only(desk: Desk, tmp_path: Path) -> None:
    text = value()
    desk.variables[VARIABLE] = master()
    stored = desk.sealed("c", text)
    assert (await desk.credentials.secret(stored)).value == text
    other = Desk(tmp_path, {VARIABLE: master()})
    with pytest.raises(CredentialUnavailable, match="not_opened"):
        await other.credentials.secret(stored)


@pytest.mark.parametrize("swap", ["name", "provider", "hosts", "bytes"])
async def test_a_sealed_credential_cannot_be_put_in_anothers_place(desk: Desk, swap: str) -> None:
    desk.variables[VARIABLE] = master()
    stored = desk.sealed("c", value())
    if swap == "bytes":
        data = bytearray(base64.b64decode(stored.sealed))
        data[-1] ^= 1
        stored = replace(stored, sealed=base64.b64encode(data).decode())
    else:
        other: dict[str, Any] = {"name": "d", "provider": "groq", "hosts": ("evil.openai.azure.com",)}
        stored = replace(stored, **{swap: other[swap]})
    with pytest.raises(CredentialUnavailable, match="not_opened"):
        await desk.credentials.secret(stored)


@pytest.mark.parametrize("source", ["default", "file", "variable", "command"])
def test_the_master_key_comes_from_each_source(desk: Desk, source: str) -> None:
    key = master()
    path = private(desk.folder / ("master.key" if source == "default" else "elsewhere"), key + "\n")
    desk.variables.update(
        {
            "default": {},
            "file": {FILE_VARIABLE: str(path)},
            "variable": {VARIABLE: key},
            "command": {COMMAND_VARIABLE: f"{sys.executable} -c \"print(open('{path}').read())\""},
        }[source]
    )
    assert desk.masters.is_configured
    sealed = desk.masters.seal("text-of-it", "c", "openai")
    assert desk.masters.open(sealed, "c", "openai") == "text-of-it"
    assert b"text-of-it" not in base64.b64decode(sealed)
    assert desk.masters.seal("text-of-it", "c", "openai") != sealed


@pytest.mark.parametrize(
    "variables",
    [
        {VARIABLE: "c2hvcnQ="},
        {VARIABLE: "\n"},
        {VARIABLE: "not base64 at all"},
        {COMMAND_VARIABLE: "false"},
        {COMMAND_VARIABLE: "/no/such/program"},
        {FILE_VARIABLE: "/no/such/file"},
        {FILE_VARIABLE: "/"},
        {VARIABLE: "a" * 64, FILE_VARIABLE: "/x"},
    ],
)
def test_a_master_key_that_is_none_is_refused(desk: Desk, variables: dict[str, str]) -> None:
    desk.variables.update(variables)
    with pytest.raises(OperatorError) as caught:
        desk.masters.seal("text", "c", "openai")
    assert all(len(text) < 20 or text not in str(caught.value) for text in variables.values())


def test_several_master_keys_open_and_the_first_one_seals(desk: Desk) -> None:
    old, new = master(), master()
    desk.variables[VARIABLE] = old
    sealed = desk.masters.seal("text", "c", "openai")
    desk.variables[VARIABLE] = f"{new},{old}"
    assert desk.masters.open(sealed, "c", "openai") == "text"
    assert not desk.masters.is_under_first(sealed)
    anew = desk.masters.seal("text", "c", "openai")
    assert desk.masters.is_under_first(anew)
    desk.variables[VARIABLE] = new
    fresh = MasterKeys(desk.folder, desk.variables)
    assert fresh.open(anew, "c", "openai") == "text"
    with pytest.raises(NotOpened):
        fresh.open(sealed, "c", "openai")


def test_no_representation_holds_a_secret(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    text = value()
    desk.variables[VARIABLE] = master()
    secret, stored = Secret(text), desk.sealed("c", text)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").warning("%s %r %s %r", secret, secret, stored, [secret])
    shown = f"{secret} {secret!r} {[secret]} {stored} {caplog.text}"
    assert text not in shown
    assert stored.sealed not in shown


def test_credentials_are_kept_with_the_directory_and_its_copy(tmp_path: Path) -> None:
    store = DirectoryStore.open(tmp_path / "a.db")
    sealed = base64.b64encode(os.urandom(80)).decode()
    one = StoredCredential("one", "openai", "env:KEY", AT)
    two = StoredCredential("two", "azure_openai", "sealed", AT, ("acme.openai.azure.com",), sealed)
    before = store.revision()
    with store.change() as connection:
        put_credential(connection, one)
        put_credential(connection, two)
    assert store.revision() > before
    with store.read() as connection:
        assert load_credentials(connection) == (one, two)
        snapshot = Snapshot.read(connection)
    assert snapshot.credential("two") == two
    copy = LastGood(tmp_path / "copy", b"k" * 32)
    copy.write(snapshot)
    read = copy.read()
    assert read is not None
    assert read.credential("one") == one
    assert read.credential("two") == two
    with store.change() as connection:
        assert remove_credential(connection, "one")
        assert not remove_credential(connection, "one")
        assert find_credential(connection, "one") is None
    with store.read() as connection:
        again = Snapshot.read(connection, snapshot)
    assert again.credential("one") is None
    assert again.keys is snapshot.keys
    store.close()


# -- what is told --------------------------------------------------------------------------------------


def test_the_log_names_a_credential_that_cannot_be_had_once_and_again_when_it_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    variables: dict[str, str] = {}
    clock = Clock()
    stored = StoredCredential("work", "openai", "env:REAL", AT)
    held = Credentials({"work": stored}.get, MasterKeys(tmp_path), variables, clock)

    async def asked(times: int) -> None:
        for _ in range(times):
            clock.at_s += 2
            with contextlib.suppress(CredentialUnavailable):
                await held.secret(stored)

    with caplog.at_level(logging.WARNING, "sallyport.credentials"):
        asyncio.run(asked(3))
        variables["REAL"] = "short"
        asyncio.run(asked(2))
        variables["REAL"] = secret = value()
        asyncio.run(asked(2))
        assert held.stored("gone") is None
    assert [record.getMessage() for record in caplog.records] == [
        "credential 'work' cannot be had (variable_missing): its calls are refused",
        "credential 'work' cannot be had (malformed): its calls are refused",
        "credential 'work' can be had again",
        "credential 'gone' cannot be had (missing): its calls are refused",
    ]
    assert secret not in caplog.text
    held.close()


def command(folder: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["credentials", *words, "--confdir", str(folder)])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def test_a_variable_has_to_be_in_the_gateways_process_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REAL_KEY", raising=False)
    code, said = command(tmp_path, "add", "a", "--provider", "openai", "--from-env", "REAL_KEY")
    assert code == 0
    assert "the gateway reads REAL_KEY from the environment its own process was started with" in said
    assert "is not set here" in said
    monkeypatch.setenv("REAL_KEY", secret := value())
    code, said = command(tmp_path, "rotate", "a", "--from-env", "REAL_KEY")
    assert code == 0
    assert "is set here, which does not count" in said
    assert secret not in said


@pytest.mark.parametrize("wrong", ["", "shrt7", "two words of a credential"])
def test_a_variable_that_is_set_here_and_holds_no_credential_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("REAL_KEY", wrong)
    code, said = command(tmp_path, "add", "a", "--provider", "openai", "--from-env", "REAL_KEY")
    assert code != 0
    assert "the variable is set here" in said
    assert not wrong or wrong not in said
    assert "There is no credential." in command(tmp_path, "list")[1]
