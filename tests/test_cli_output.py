"""What every command has alike: help without frames, an empty --confdir refused, an output that is lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from sallyport.cli.main import app
from sallyport.errors import OperatorError

COMMANDS = [
    ("ca",), ("ca", "init"), ("ca", "show"), ("ca", "install-help"),
    ("redirect",), ("redirect", "apply"), ("redirect", "print"), ("redirect", "status"),
    ("policy",), ("policy", "check"), ("policy", "schema"),
    ("audit",), ("audit", "list"), ("audit", "show"),
    ("rules",), ("rules", "list"), ("rules", "show"), ("rules", "test"),
    ("scan",), ("doctor",), ("demo",),
]  # fmt: skip

PROGRAM = """
import sys
from sallyport.cli.main import app
from sallyport.cli.output import guarded_stdout
with guarded_stdout():
    app(sys.argv[1:])
"""


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_plain_and_names_no_python_type(command: tuple[str, ...]) -> None:
    said = CliRunner().invoke(app, [*command, "--help"]).output
    assert "Usage:" in said
    assert "╭" not in said
    assert not re.search(r"list\[|<(Path|str|Kind|.* \| None)>", said)
    assert "--install-completion" not in said


LISTING = """
import sys
from typer.testing import CliRunner
from sallyport.cli.main import app
print(CliRunner().invoke(app, ["--help"]).output)
print([name for name in sys.modules if name.startswith("sallyport.cli.")])
"""


@pytest.mark.parametrize("group", ["", "audit", "keys", "limits", "policy", "redirect", "directory readers"])
def test_a_list_of_commands_tells_what_each_does_to_the_end(group: str) -> None:
    listed = CliRunner().invoke(app, [*group.split(), "--help"], env={"COLUMNS": "80"}).output
    _, _, commands = listed.partition("Commands:\n")
    assert commands
    told = " ".join(commands.split())
    assert "..." not in told
    assert told.endswith(".")


def test_the_list_of_all_commands_imports_none_of_them_and_has_each() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", LISTING], capture_output=True, text=True, check=True
    ).stdout
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    for name in root.list_commands(typer.Context(root)):
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE)
    imported = listed.splitlines()[-1]
    assert "sallyport.cli.output" in imported
    for module in ("run", "audit", "policy", "keys"):
        assert f"sallyport.cli.{module}" not in imported


@pytest.mark.parametrize(
    "command", ["ca init", "ca show", "ca install-help", "audit list", "audit show x", "doctor"]
)
@pytest.mark.parametrize("given", ["", " "], ids=["empty", "blank"])
def test_an_empty_confdir_is_refused(command: str, given: str) -> None:
    error = CliRunner().invoke(app, [*command.split(), "--confdir", given]).exception
    assert isinstance(error, OperatorError)
    assert error.exit_code == 2
    assert "--confdir: it is empty" in str(error)


def guarded(*words: str, stdout: int, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(
        command, input=given, stdout=stdout, stderr=subprocess.PIPE, env=environment, timeout=100
    )


OUTPUTS = [
    (("rules", "list"), b""),
    (("policy", "schema"), b""),
    (("scan",), b'{"id": 1, "text": "hello"}\n'),
    (("--version",), b""),
]


@pytest.mark.parametrize(
    ("words", "given"), OUTPUTS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_a_reader_that_has_gone_ends_the_command_quietly(words: tuple[str, ...], given: bytes) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = guarded(*words, stdout=writing, given=given)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    ("words", "given"), OUTPUTS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_an_output_that_is_full_is_told_in_a_sentence(words: tuple[str, ...], given: bytes) -> None:
    with Path("/dev/full").open("wb") as full:
        done = guarded(*words, stdout=full.fileno(), given=given)
    assert done.returncode == 3
    assert done.stderr.startswith(b"stdout: cannot write the output (No space left on device). ")
    assert len(done.stderr.splitlines()) == 1


def test_what_can_be_written_arrives_whole() -> None:
    done = guarded("policy", "schema", stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert done.stdout == (Path(__file__).parents[1] / "docs" / "policy.schema.json").read_bytes()


@pytest.mark.parametrize("words", [("policy", "check"), ("policy", "explain")], ids=" ".join)
def test_no_error_obeys_what_somebody_wrote_for_a_terminal(words: tuple[str, ...], tmp_path: Path) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text('version: 1\n"\\e]0;title\\a\\u202e": 1\n', encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sallyport", *words, str(policy)]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=100)
    assert done.returncode == 2
    assert b"p.yaml:2:1: \\x1b]0;title\\x07\\u202e: the key is not known" in done.stderr
    assert b"\x1b" not in done.stderr
