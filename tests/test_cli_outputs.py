"""A file that a command is told to write is the old one until the new one is whole."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit.chains import some_events
from gateways import python_env
from replay.recording import flow, write
from sallyport.audit.checkpointing import checkpoint_now
from sallyport.audit.copies import Copies
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.cli.replacing import output
from sallyport.errors import OperatorError

POLICY = "version: 1\nidentity: {unknown: anonymous}\n"
CASES = "cases: [{name: anybody may, expect: {action: allow}}]\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log of one checkpoint, a policy with a test, a key and a recorded flow."""
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "conf"))
    (tmp_path / "conf").mkdir(mode=0o700)
    url = f"sqlite:///{tmp_path}/conf/audit.db"
    store = Store.open(url)
    store.write(some_events("gw-1", 3, "a"))
    checkpoint_now(url, tmp_path / "conf", Copies(tmp_path / "conf", None, ""))
    store.close()
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "p.test.yaml").write_text(CASES)
    write(tmp_path / "f.flow", [flow("a")])
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "k.pem")]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "k.pem").chmod(0o600)
    return tmp_path


def _replay(option: str) -> Callable[[Path, Path], list[str]]:
    return lambda home, to: [
        *("replay", str(home / "f.flow"), "--policy", str(home / "p.yaml"), "--jobs", "1", option, str(to)),
    ]


def _prove(home: Path, to: Path) -> list[str]:
    store = Store.open(f"sqlite:///{home}/conf/audit.db")
    first = store.events()[0].id
    store.close()
    return ["audit", "prove", first, "-o", str(to)]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "audit export": lambda home, to: ["audit", "export", "-o", str(to)],
    "audit prove": _prove,
    "audit report": lambda home, to: ["audit", "report", "--since", "4000w", "--html", str(to)],
    "policy bundle": lambda home, to: [
        *(
            "policy",
            "bundle",
            str(home / "p.yaml"),
            "-o",
            str(to),
            "--key",
            str(home / "k.pem"),
            "--serial",
            "1",
        ),
    ],
    "policy test": lambda home, to: ["policy", "test", str(home / "p.yaml"), "--junit", str(to)],
    **{f"replay {option}": _replay(option) for option in ("--report", "--junit", "--html", "--latency")},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_new_file_is_another_one_and_a_link_leads_to_it(name: str, home: Path) -> None:
    old, kept, link = home / "old", home / "kept", home / "link"
    old.write_text("yesterday's")
    old.chmod(0o640)
    os.link(old, kept)
    link.symlink_to(old)
    done = CliRunner().invoke(app, COMMANDS[name](home, link), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert kept.read_text() == "yesterday's", "it was written over in its place"
    assert link.is_symlink()
    assert old.read_text() not in ("", "yesterday's")
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert not [each for each in home.iterdir() if each.name.endswith(".draft")]


def test_an_export_that_cannot_begin_leaves_the_one_before(home: Path) -> None:
    old = home / "export.jsonl"
    old.write_text("yesterday's")
    with pytest.raises(OperatorError, match="there is no checkpoint 99"):
        CliRunner().invoke(app, ["audit", "export", "--after", "99", "-o", str(old)], catch_exceptions=False)
    assert old.read_text() == "yesterday's"


def half(path: Path, error: BaseException) -> None:
    with output(path, "-o") as file:
        file.write("half")
        file.flush()
        raise error


def test_what_fails_half_way_or_may_not_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("yesterday's")
    with pytest.raises(OperatorError, match="-o: it cannot be written") as told:
        half(old, OSError(28, "No space left on device"))
    assert (told.value.exit_code, old.read_text(), len(list(tmp_path.iterdir()))) == (3, "yesterday's", 1)
    with pytest.raises(KeyboardInterrupt):
        half(old, KeyboardInterrupt())
    assert (old.read_text(), len(list(tmp_path.iterdir()))) == ("yesterday's", 1)
    for name in ("nowhere/f", "old/f", "."):
        with pytest.raises(OperatorError, match="-o") as told, output(tmp_path / name, "-o"):
            pass
        assert told.value.exit_code == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="runs as another user")
def test_a_file_that_is_closed_to_writers_is_not_replaced_by_its_folder_s_owner() -> None:
    program = (
        "import os, sys; from pathlib import Path; from sallyport.cli.replacing import output\n"
        "os.chown(sys.argv[1], 65534, 65534); os.chmod(sys.argv[1], 0o755)\n"
        "old = Path(sys.argv[1], 'old'); old.write_text('x'); os.chmod(old, 0o444); os.seteuid(65534)\n"
        "with output(old, '-o') as file: file.write('new')\n"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, check=False)
        assert b"-o: it cannot be written (Permission denied)" in done.stderr
        assert Path(folder, "old").read_text() == "x"


def test_what_is_no_file_is_written_as_it_comes(home: Path) -> None:
    pipe = home / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    assert CliRunner().invoke(app, ["audit", "export", "-o", str(pipe)]).exit_code == 0
    assert reader.communicate(timeout=30)[0].count(b"\n") == 6
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert CliRunner().invoke(app, ["audit", "export", "-o", "/dev/null"]).exit_code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_what_the_shell_has_opened_is_written_on_and_not_replaced(home: Path, name: str) -> None:
    told = home / "told"
    command = [sys.executable, "-m", "sallyport", "policy", "test", str(home / "p.yaml"), "--junit", name]
    with told.open("w") as stream:
        stream.write("head\n")
        stream.flush()
        subprocess.run(command, check=True, stdout=stream, env=python_env())
        stream.seek(0, os.SEEK_END)
        stream.write("tail\n")
    text = told.read_text()
    assert text.startswith("head\n")
    assert "</testsuite>" in text
    assert text.endswith("tail\n")


def test_a_descriptor_that_nobody_opened_is_an_error() -> None:
    with pytest.raises(OperatorError, match="cannot be written"), output(Path("/dev/fd/987654"), "-o"):
        pass
