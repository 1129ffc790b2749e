"""The packages of node/package-lock.json, installed once; every worker of a test run waits for the first."""

import fcntl
import shutil
import subprocess
from functools import cache
from pathlib import Path

NODE = Path(__file__).parent / "node"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-fund", "--no-audit")


@cache
def node_packages() -> bool:
    """Install what the lock names unless it is there; False where Node.js or npm is missing.

    Raises RuntimeError where npm is there and fails.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    done = NODE / "node_modules" / ".conformance-lock"
    wanted = (NODE / "package-lock.json").read_bytes()
    with (NODE / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_bytes() == wanted:
            return True
        ran = subprocess.run(_INSTALL, cwd=NODE, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"npm ci: {ran.stderr[-1500:]}")
        done.write_bytes(wanted)
    return True
