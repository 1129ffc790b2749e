"""Run a command and end whatever it leaves behind: python scripts/tidy.py COMMAND [ARGUMENT ...]

On Linux this process adopts the orphans of its descendants (prctl PR_SET_CHILD_SUBREAPER), so that a server
which a crashed test could not stop is found here, whatever session or group it moved to.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_GRACE_S = 5.0


def main(command: list[str]) -> int:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child too
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    code = wait_for(child)
    end_orphans()
    return code if code >= 0 else 128 - code


def wait_for(child: subprocess.Popen[bytes]) -> int:
    """Return the child's exit code, and meanwhile reap orphans, so that nobody waits for a zombie's end."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


def end_orphans() -> None:
    """Ask every adopted process to end, and make it after a grace."""
    deadline = time.monotonic() + _GRACE_S
    told: set[int] = set()
    while left := children():
        for pid in left - told:
            print(f"tidy: ending {name(pid)} ({pid}), which was left behind", file=sys.stderr)
            os.kill(pid, signal.SIGTERM)
        told |= left
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def children() -> set[int]:
    """Reap what has ended, and return what still lives."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return set()
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            found.add(int(folder.name))
    return found


def name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a process"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
