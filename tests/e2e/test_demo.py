"""The demo as users run it: every step checked here once more, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateways import python_env
from sallyport.choke import namespaces
from sallyport.demo import grounds

MAIL = "marta.quill@example.com"
EVERYWHERE = {
    "chat": "allow",
    "stream-openai": "modify",
    "stream-anthropic": "modify",
    "stream-google-genai": "modify",
    "tool-call": "modify",
    "secret": "deny",
    "injection": "deny",
    "injection-in-tool-result": "deny",
    "hostile-answer": "modify",
    "unknown-caller": "deny",
    "unknown-endpoint": "deny",
    "provider-error": "allow",
    "tunnel": "tunnel",
}
AT_THE_CHOKE_POINT = {"quic": "deny", "side-door": "deny", "address-only": "deny"}


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run `sallyport demo`; its temporary files lie in folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sallyport", "demo", *options],
        env=python_env(TMPDIR=str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
        if process.poll() is None:
            process.kill()
            process.wait()


def left_behind(folder: Path) -> list[str]:
    """Name files, and processes that were started with a path of this run."""
    found = [str(path) for path in folder.iterdir()]
    for commandline in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in commandline.read_bytes():
                found.append(f"process {commandline.parent.name}")
    return found


def by_name(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in shown["steps"]}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A demo that was left running, tried by hand, and ended with Ctrl-C."""
    folder = tmp_path_factory.mktemp("demo")
    with demo(folder, "--json", "--keep") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert line, process.stderr.read()
        shown: dict[str, Any] = json.loads(line)
        said: list[str] = []
        while not said or "Ctrl-C here" not in said[-1]:
            said.append(process.stderr.readline())
            assert said[-1], said
        script = "".join(line for line in said if line.startswith(("export ", "curl ")))
        by_hand = subprocess.run(
            ["sh", "-ec", script],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    return shown | {"by_hand": by_hand, "code": process.returncode, "left": left_behind(folder)}


@pytest.fixture(scope="module")
def transparent(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if not namespaces.permitted():
        reason = "needs root and network namespaces: the transparent demo is NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("transparent")
    with demo(folder, "--transparent", "--json") as process:
        out, errors = process.communicate(timeout=100)
    assert out, errors
    shown: dict[str, Any] = json.loads(out)
    return shown | {"code": process.returncode, "left": left_behind(folder)}


def check(shown: dict[str, Any], expected: dict[str, str]) -> None:
    steps = by_name(shown)
    assert {name: step["problems"] for name, step in steps.items() if not step["as_expected"]} == {}
    assert {name: step["decision"] for name, step in steps.items()} == expected
    assert shown["leaks"] == []
    assert shown["code"] == 0
    assert shown["left"] == []
    for name, step in steps.items():
        saw, got = step["upstream_saw"], step["client_got"]
        assert (saw is None) == (step["decision"] == "deny"), name
        if step["decision"] == "modify":
            assert MAIL not in saw, name
            assert re.search(r"<EMAIL_ADDRESS_[a-z2-7]{10}>", saw), name
            assert MAIL in got, name
        if step["decision"] == "deny":
            assert got["raised"], name
            assert step["attempts"] == 1, name
    assert steps["injection"]["client_got"]["raised"] == "BadRequestError"
    assert steps["injection"]["client_got"]["status"] == 400
    assert steps["injection"]["reason"] == "injection.found"
    assert steps["provider-error"]["client_got"]["raised"] == "RateLimitError"
    assert steps["provider-error"]["attempts"] > 1
    assert MAIL not in "".join(re.findall(r"https?://\S+", steps["hostile-answer"]["client_got"]))


def test_every_step_is_as_expected_through_an_explicit_proxy(kept: dict[str, Any]) -> None:
    check(kept, EVERYWHERE)


def test_what_keep_prints_works_by_hand(kept: dict[str, Any]) -> None:
    assert kept["by_hand"].returncode == 0, kept["by_hand"].stderr
    assert "Write to ada@example.com" in kept["by_hand"].stdout


@pytest.mark.root
def test_every_step_is_as_expected_behind_a_redirect(transparent: dict[str, Any]) -> None:
    check(transparent, EVERYWHERE | AT_THE_CHOKE_POINT)


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/gateway.log")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert left_behind(tmp_path) == []


def test_a_signal_while_a_process_is_started_leaves_none_that_nobody_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[subprocess.Popen[str]] = []
    whole = subprocess.Popen

    def interrupted(*args: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(whole(*args, **options))
        signal.raise_signal(signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(grounds.subprocess, "Popen", interrupted)
    ground = grounds.Loopback()
    argv = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(KeyboardInterrupt):
        ground.start(grounds.Role.CLIENT, argv, python_env())
    ground.end()
    assert [process.poll() for process in started] == [-signal.SIGTERM]


def test_without_root_the_transparent_demo_says_so() -> None:
    # What is needed is read before the user changes: a checkout may lie where nobody else can read.
    script = (
        "import os, sys, anthropic, google.genai, openai\n"
        "import sallyport.cli.demo, sallyport.cli.main as cli\n"
        "os.geteuid() or os.setuid(65534)\n"
        "sys.argv = ['sallyport', 'demo', '--transparent']\n"
        "cli.main()\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env=python_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 3, shown.stderr
    assert "root" in shown.stderr
