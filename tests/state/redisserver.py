"""A real Redis or Valkey server in a folder of its own, on a Unix socket and, if asked for, a loopback port."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from servers import missing


class RedisServer:
    """options: further lines of its configuration, such as ("--cluster-enabled", "yes")."""

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            missing("Redis (apt-get install redis-server)")
        self._program = program
        self._folder = folder
        self._options = options
        self.port = port
        self.socket = folder / "s"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700)
        self.start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def port_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
                *("--unixsocket", str(self.socket), "--dir", str(self._folder), *self._options),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < deadline, "Redis did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """Stop at once, as after a crash; what is in memory is gone."""
        if self._process is None:
            return
        self.resume()
        self._process.kill()
        self._process.wait(20)
        self._process = None
        self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Stop the server with SIGSTOP: connections stay, nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def call(self, *words: str) -> bytes:
        """Send one command as an array and return the raw reply."""
        parts = [word.encode() for word in words]
        message = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(message)
            return connection.recv(65536)

    def _answers(self) -> bool:
        try:
            return self.call("PING").startswith(b"+PONG")
        except OSError:
            return False
