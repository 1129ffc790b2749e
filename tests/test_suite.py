"""scripts/suite.py: what fails is tried once more and alone, and nothing of that is hidden."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[1] / "scripts" / "suite.py"

FLEETING = """
from pathlib import Path
import pytest

@pytest.mark.parametrize("name", {names})
def test_fleeting(name):
    seen = Path(__file__).with_name(name + ".seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""
STEADY = "def test_steady():\n    pass\n\nimport pytest\n\n@pytest.mark.skip\ndef test_skipped():\n    pass\n"
BROKEN = "def test_broken():\n    assert False\n"


def suite(folder: Path, **files: str) -> tuple[int, list[str]]:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:cacheprovider\n")
    command = [sys.executable, str(SUITE), "-p", "no:xdist"]
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    return done.returncode, done.stdout.rstrip().splitlines()


def test_a_test_that_passes_alone_passes_and_is_named(tmp_path: Path) -> None:
    code, said = suite(tmp_path, fleeting=FLEETING.format(names=["a b", "c"]), steady=STEADY)
    assert code == 0
    named = [line for line in said if line.startswith("UNSTEADY: ")]
    assert named == [
        f"UNSTEADY: test_fleeting.py::test_fleeting[{name}] failed first and passed alone"
        for name in ("a b", "c")
    ]
    assert said.index(named[0]) >= len(said) - 5, "it is among the last lines"
    assert said[-1].startswith("3 passed, 1 skipped, 2 rerun in ")


def test_a_test_that_fails_twice_fails_the_run(tmp_path: Path) -> None:
    code, said = suite(tmp_path, fleeting=FLEETING.format(names=["a"]), broken=BROKEN, steady=STEADY)
    assert code == 1
    assert "FAILED: test_broken.py::test_broken failed twice" in said
    assert said[-1].startswith("1 failed, 2 passed, 1 skipped, 2 rerun in ")


def test_more_than_five_failures_are_not_tried_again(tmp_path: Path) -> None:
    code, said = suite(tmp_path, fleeting=FLEETING.format(names=list("abcdef")), steady=STEADY)
    assert code == 1
    assert said[-1].startswith("6 failed, 1 passed, 1 skipped in ")


@pytest.mark.parametrize(
    "text", ["import nothing_of_that_name\n", "def test_x(no_such_fixture):\n    pass\n"]
)
def test_a_file_that_cannot_be_run_fails_the_run(tmp_path: Path, text: str) -> None:
    assert suite(tmp_path, odd=text, steady=STEADY)[0] != 0


def test_a_teardown_that_fails_counts_as_a_failure(tmp_path: Path) -> None:
    text = "import pytest\n\n@pytest.fixture\ndef left():\n    yield\n    assert False\n\ndef test_x(left):\n    pass\n"
    code, said = suite(tmp_path, odd=text, steady=STEADY)
    assert code == 1
    assert said[-1].startswith("1 failed, 1 passed, 1 skipped, 1 rerun in ")


def test_a_run_without_failures_ends_as_pytest_ends(tmp_path: Path) -> None:
    code, said = suite(tmp_path, steady=STEADY)
    assert code == 0
    assert said[-1].startswith("1 passed, 1 skipped in ")
