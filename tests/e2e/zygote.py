"""Runs `sallyport` commands in forks of an interpreter that has imported everything already.

What runs is main() with a command line of its own, in a process of its own, writing to a file of its own.
Saved are the seconds of importing, and those of making rules, gates and providers of files that have not changed
by a byte since this interpreter made them: immutable values, the same as a start of its own would make.
One JSON object a line on stdin, one answer a line on stdout.
"""

import atexit
import contextlib
import ctypes
import errno
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from keeping import keep, keep_what_is_read


def serve() -> None:
    """Answer lines of JSON: {"reap": pid} with the code it ended with, null while it runs, and all others with a pid.

    Those are {"run": [words], "given": file of stdin, "log": file of stdout, "errors": file of stderr, "env": {},
    "netns": name, "first": Python that runs in the new process before the command}.
    """
    import presidio_analyzer  # noqa: F401

    import sallyport.cli.assembly
    import sallyport.cli.main
    import sallyport.cli.run
    import sallyport.pki.authority
    import sallyport.pki.create
    import sallyport.proxy.host

    for module, _ in sallyport.cli.main._GROUPS.values():
        importlib.import_module(module)
    _read_what_is_shipped()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        if "reap" in asked:
            pid, status = os.waitpid(asked["reap"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                files = asked["given"], asked["log"], asked["errors"]
                _become(asked["run"], files, asked["env"], asked["netns"], asked["first"])
        print(json.dumps(answer), flush=True)


def _read_what_is_shipped() -> None:
    import sallyport.metering.tokens as tokens
    from sallyport.cli.detection import make_answer_rules, make_detector
    from sallyport.cli.rulesinforce import rules_of
    from sallyport.data import rules_dir
    from sallyport.detect.packs import load
    from sallyport.policy.catalogue import shipped_catalogue
    from sallyport.policy.load import parse_policy

    keep_what_is_read()
    keep(tokens, "_encoding", lambda name, folder: [folder / tokens.RANKS[name].file])
    policy = parse_policy("version: 1\n")
    shipped_catalogue()
    packs = load(rules_dir())
    make_detector(policy, packs)
    make_answer_rules(policy, packs)
    rules_of(policy)  # keeps the digests of files, and that of the code that was imported
    tokens.TokenCounter().load()


def _become(
    words: list[str], files: tuple[str, str, str], env: dict[str, str], netns: str, first: str
) -> None:
    from sallyport.cli.main import main

    if netns:
        _enter(netns)
    given, out, errors = files
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    os.dup2(os.open(given, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, closefd=False)
    os.dup2(os.open(out, flags, 0o600), 1)
    os.dup2(1 if errors == out else os.open(errors, flags, 0o600), 2)
    os.environ.update(env)
    sys.argv = ["sallyport", *words]
    exec(first, {})
    try:
        main()
    except SystemExit as ended:
        _end(ended.code)


def _end(code: object) -> NoReturn:
    """End as the interpreter does, but for taking itself apart: a sixth of a second for all that was imported.

    That too goes well, which `gateways.gateway_process` sees to with processes that were not forked.
    """
    assert code is None or isinstance(code, int), code
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _enter(netns: str) -> None:
    """Do as `ip netns exec`: its network, its /sys, and its files of /etc, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str, flags: int) -> None:
        if libc.mount(source.encode(), target.encode(), kind.encode(), flags, None):
            raise OSError(ctypes.get_errno(), target)

    with open(f"/run/netns/{netns}") as namespace:
        os.setns(namespace.fileno(), os.CLONE_NEWNET)
    os.unshare(os.CLONE_NEWNS)
    mount("", "/", "none", _MS_SLAVE | _MS_REC)
    libc.umount2(b"/sys", _MNT_DETACH)
    mount(netns, "/sys", "sysfs", 0)
    for file in Path("/etc/netns", netns).glob("*"):
        mount(str(file), f"/etc/{file.name}", "none", _MS_BIND)


_MS_BIND, _MS_REC, _MS_SLAVE, _MNT_DETACH = 0x1000, 0x4000, 0x80000, 2


class Forked:
    """A process as subprocess.Popen shows it, as far as tests ask.

    log: where it writes. errors: where stderr goes, if elsewhere. given: what it reads as stdin.
    netns: a network namespace it runs in. first: Python that it runs before, to break something.
    """

    def __init__(
        self,
        words: list[str],
        log: Path,
        env: dict[str, str] | None = None,
        *,
        errors: Path | None = None,
        given: str | Path = os.devnull,
        netns: str = "",
        first: str = "",
    ) -> None:
        self.returncode: int | None = None
        asked = {
            "run": words,
            "given": str(given),
            "log": str(log),
            "errors": str(errors or log),
            "env": env or {},
            "netns": netns,
            "first": first,
        }
        self.pid: int = _ask(asked)

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

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """End it, politely first."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(15)
        self.kill()


def command(*words: str, first: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `sallyport` to its end, in a process of its own with the environment of this one, and more."""
    done = _run(words, None, first, env)
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


def piped(*words: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a command as above with a pipe as stdin, through which it is sent what is given."""
    return _run(words, given, "", {})


def _run(
    words: Sequence[str], given: bytes | None, first: str, env: dict[str, str]
) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        pipe, out, errors = Path(folder, "pipe"), Path(folder, "out"), Path(folder, "errors")
        if given is not None:
            os.mkfifo(pipe)
        stdin = os.devnull if given is None else pipe
        process = Forked([*words], out, {**os.environ, **env}, errors=errors, given=stdin, first=first)
        try:
            if given is not None:
                _send(process, pipe, given)
            code = process.wait()
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, out.read_bytes(), errors.read_bytes())


def _send(process: Forked, pipe: Path, given: bytes) -> None:
    """Write into a pipe that a process reads, and close it; a process may end before it has read everything."""
    while process.poll() is None:
        try:
            writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody has opened it for reading so far
                raise
            time.sleep(0.001)
            continue
        os.set_blocking(writing, True)
        with contextlib.suppress(BrokenPipeError), open(writing, "wb", buffering=0) as file:
            left = memoryview(given)
            while left:
                left = left[file.write(left) :]
        return


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
