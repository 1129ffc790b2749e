"""Real servers for tests, each in a folder of its own and reached over a Unix socket.

A test that needs a server which is not installed is skipped, and fails where SALLYPORT_REQUIRE_SERVERS=1.
"""

import os
import shutil
import signal
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip with a warning that nobody overlooks, or fail where servers are required."""
    if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
        pytest.fail(f"{what} is not installed, and SALLYPORT_REQUIRE_SERVERS=1")
    warnings.warn(f"NOT TESTED: {what} is not installed; nothing was checked against it", stacklevel=2)
    pytest.skip(f"NOT TESTED: {what} is not installed")


def postgres_folder() -> Path | None:
    """Return the folder of initdb and postgres, the newest where there are several."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(folders, key=lambda folder: int(folder.parent.name), default=None)


class Postgres:
    """One PostgreSQL server. PostgreSQL refuses to run as root, so root runs it as the user postgres.

    fsync: off makes tests fast and survives a crash of the processes; timings want it on.
    """

    def __init__(self, folder: Path, *, fsync: str = "off") -> None:
        binaries = postgres_folder()
        if binaries is None:
            missing("PostgreSQL (apt-get install postgresql)")
        self._binaries = binaries
        self._folder = folder
        self._data = folder / "data"
        self._fsync = fsync
        # Not through runuser: it stops itself when its child is stopped.
        self._owner = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o755)
        if self._owner:
            shutil.chown(folder, self._owner)
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-D", str(self._data))
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={self._folder}"

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        self._run("createdb", "-h", str(self._folder), "-U", "postgres", name)
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(self._binaries / "postgres", "-D", self._data),
                *("-c", "listen_addresses=", "-k", str(self._folder), "-c", f"fsync={self._fsync}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            user=self._owner,
            cwd="/",
        )
        deadline = time.monotonic() + 20
        while not self._ready():
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop at once, as after a crash: connections die, nothing is flushed in an orderly way."""
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(20)
        self._process = None

    def kill(self) -> None:
        """Kill every process of the server with SIGKILL, at the same moment as far as that goes."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)  # so that it makes no more of them
        pids = self._pids()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(20)
        deadline = time.monotonic() + 20
        while any(
            _lives(pid) for pid in pids
        ):  # what of them holds shared memory keeps the next from starting
            assert time.monotonic() < deadline, "PostgreSQL did not die"
            time.sleep(0.005)
        self._process = None

    def freeze(self) -> None:
        """Stop every process of the server with SIGSTOP: connections stay, nobody answers."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def freeze_backends(self) -> None:
        """Stop only the processes that serve a client; new connections are served."""
        for pid in self._pids()[1:]:
            if b"[local]" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo freeze."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _pids(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def _ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-q", "-h", str(self._folder)]
        return subprocess.run(command, check=False, timeout=20).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._owner,
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
        )


def _lives(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
