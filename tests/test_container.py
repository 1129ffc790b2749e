"""The image is built from what is there, by hashes, and what it starts is what it asks after."""

import re
from pathlib import Path

from typer.testing import CliRunner

from sallyport.cli.main import app

ROOT = Path(__file__).parents[1]
FILE = (ROOT / "deploy/container/Containerfile").read_text("utf-8")


def line(word: str) -> str:
    """Return what a word of the file is given, the last time, with its lines joined."""
    found = re.findall(rf"^{word} +(.*)$", FILE.replace("\\\n", " "), re.MULTILINE)
    return found[-1] if found else ""


def test_everything_that_is_copied_is_there() -> None:
    copied = [
        source
        for words in re.findall(r"^COPY (?!--from)(.*)$", FILE, re.MULTILINE)
        for source in words.split()[:-1]
    ]
    assert len(copied) > 3
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_packages_come_by_their_hashes_and_nothing_else_is_fetched() -> None:
    installs = [run for run in FILE.replace("\\\n", " ").splitlines() if "pip install" in run]
    assert len(installs) == 2
    assert all("--no-deps" in run for run in installs)
    assert "--require-hashes" in installs[0]
    assert "--no-build-isolation" in installs[1]


def test_it_does_not_run_as_root_and_its_folder_lies_inside_the_volume() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", line("USER"))
    assert f"SALLYPORT_CONFDIR={line('VOLUME')}/" in line("ENV")


def test_the_health_check_asks_where_the_gateway_listens() -> None:
    command = re.findall(r'"([^"]*)"', line("CMD"))
    ports = [word.partition("@")[2] for word in command if "@" in word]
    assert ports == [line("EXPOSE")]
    assert f"('127.0.0.1', {ports[0]})" in line("HEALTHCHECK")
    options = [word for word in command if word.startswith("--")]
    known = CliRunner().invoke(app, [command[0], "--help"]).output
    assert options
    assert all(option in known for option in options)
