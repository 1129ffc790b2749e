"""Runs `sallyport` commands in forks of an interpreter that has imported everything already.

What runs is main() with a command line of its own, in a process of its own, writing to a file of its own;
only the seconds of importing are saved. One JSON object a line on stdin, one answer a line on stdout.
"""

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def serve() -> None:
    """Fork on {"run": [words], "log": file, "env": {}}, answer the pid; on {"reap": pid} the exit code."""
    import presidio_analyzer  # noqa: F401

    import sallyport.cli.assembly
    import sallyport.cli.run
    import sallyport.pki.authority
    import sallyport.pki.create
    import sallyport.proxy.host  # noqa: F401

    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "reap" in asked:
            pid, status = os.waitpid(asked["reap"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(asked["run"], asked["log"], asked["env"])
        print(json.dumps(answer), flush=True)


def _become(words: list[str], log: str, env: dict[str, str]) -> None:
    from sallyport.cli.main import main

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(fd, number)
    os.environ.update(env)
    sys.argv = ["sallyport", *words]
    main()
    sys.exit(0)


class Forked:
    """A process as subprocess.Popen shows it, as far as tests ask."""

    def __init__(self, words: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.returncode: int | None = None
        self.pid: int = _ask({"run": words, "log": str(log), "env": env or {}})

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask({"reap": self.pid})
        return self.returncode

    def wait(self, timeout: float = 60) -> int:
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("sallyport", timeout)
            time.sleep(0.01)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_lock = threading.Lock()
_servers: list[subprocess.Popen[bytes]] = []


def _ask(question: object) -> int:
    with _lock:
        if not _servers:
            folders = [Path(__file__).parents[2] / "addons", Path(__file__).parents[1]]
            env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
            command = [sys.executable, str(Path(__file__))]
            _servers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env))
            atexit.register(_servers[0].kill)
        server = _servers[0]
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(question).encode() + b"\n")
        server.stdin.flush()
        answer: int = json.loads(server.stdout.readline())
        return answer


if __name__ == "__main__":
    serve()
