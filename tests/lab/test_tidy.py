"""scripts/tidy.py, which stands between scripts/test and the processes that tests start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TIDY = Path(__file__).parents[2] / "scripts" / "tidy.py"
LEAVE_BEHIND = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; print(1, flush=True); time.sleep(300)"],
                         stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TIDY), sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 1, 5])
def test_the_exit_code_is_passed_on(code: int) -> None:
    assert run(f"raise SystemExit({code})").returncode == code


def test_death_by_a_signal_is_a_failure() -> None:
    assert run("import os; os.kill(os.getpid(), 9)").returncode == 128 + 9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_a_process_in_a_session_of_its_own_is_ended_and_named() -> None:
    done = run(LEAVE_BEHIND)
    pid = int(done.stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert f"({pid}), which was left behind" in done.stderr
    assert done.returncode == 0
