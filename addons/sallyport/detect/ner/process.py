"""The gateway's end of one worker process: start it, ask it, kill it. Blocking; used by one thread.

A worker gets an environment made of a few harmless names: provider keys, proxies and store passwords that
stand in the gateway's own never reach it.
"""

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from sallyport.detect.cache import Hit
from sallyport.detect.ner import frames
from sallyport.errors import OperatorError

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
_SET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_PIECE = 65_536


class Lost(Exception):
    """The worker can no longer be used. why: a few words without any text that it was given."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Worker:
    """A process with one engine. Not thread-safe, but kill() may come from any thread.

    engine: as detect.ner.engines.load takes it.
    """

    def __init__(self, engine: str) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError:
            raise Lost("it could not be started") from None
        command = [sys.executable, "-P", "-m", "sallyport.detect.ner.worker"]
        command += [str(theirs.fileno()), str(os.getpid()), engine]
        try:
            # A new session: what a terminal sends to the gateway is not sent to its workers.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError:
            ours.close()
            raise Lost("it could not be started") from None
        finally:
            theirs.close()
        self._socket = ours

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when an idle worker dies."""
        return self._socket.fileno()

    def hello(self, limit_s: float) -> tuple[str, str]:
        """Wait for the engine; return its name and revision.

        Raises OperatorError if it cannot be loaded, Lost if the process dies or takes longer than limit_s.
        """
        kind, payload = self._receive(limit_s)
        try:
            if kind == frames.UNFIT:
                raise OperatorError(*frames.get_words(payload, "where", "what", "todo"))
            if kind != frames.HELLO:
                raise ValueError("no greeting")
            name, revision = frames.get_words(payload, "name", "revision")
        except ValueError:
            raise Lost("it said something unexpected") from None
        return name, revision

    def ask(self, texts: Sequence[str], limit_s: float) -> list[tuple[Hit, ...] | None]:
        """Return what the engine finds in each text, None where it failed on one. Raises Lost."""
        payload = frames.put_texts(texts)
        deadline = time.monotonic() + limit_s
        try:
            self._socket.settimeout(limit_s)
            self._socket.sendall(frames.HEAD.pack(frames.TEXTS, len(payload)) + payload)
        except TimeoutError:
            raise Lost("it does not take texts") from None
        except OSError:
            raise Lost("it ended") from None
        kind, answer = self._receive(deadline - time.monotonic())
        try:
            if kind != frames.SPANS:
                raise ValueError("no spans")
            return frames.get_spans(answer, texts)
        except ValueError:
            raise Lost("it gave a wrong answer") from None

    def gone(self) -> bool:
        """Say whether an idle worker has ended, or speaks without being asked."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self) -> None:
        """End the process now, whatever it does, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill the process and release its socket; only from the thread that asks."""
        self.kill()
        self._socket.close()

    def _receive(self, limit_s: float) -> tuple[bytes, bytes]:
        try:
            return receive(self._socket, limit_s)
        except TimeoutError:
            raise Lost("it did not answer in time") from None
        except (OSError, ValueError):
            raise Lost("it ended") from None


def receive(channel: socket.socket, limit_s: float | None = None) -> tuple[bytes, bytes]:
    """Read one frame, its kind and payload. Used at both ends.

    Raises TimeoutError after limit_s, ConnectionError at the end, ValueError for a frame beyond MAX_PAYLOAD.
    """
    deadline = None if limit_s is None else time.monotonic() + limit_s
    kind, length = frames.HEAD.unpack(_exactly(channel, frames.HEAD.size, deadline))
    if length > frames.MAX_PAYLOAD:
        raise ValueError("a frame that is too large")
    return kind, _exactly(channel, length, deadline)


def _exactly(channel: socket.socket, count: int, deadline: float | None) -> bytes:
    got = bytearray()
    while len(got) < count:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            channel.settimeout(left)
        piece = channel.recv(min(_PIECE, count - len(got)))
        if not piece:
            raise ConnectionError("closed")
        got += piece
    return bytes(got)


def _environment() -> dict[str, str]:
    """Return what a worker may know: where to find modules, how to spell texts, and that it is offline."""
    passed = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    return {**passed, **_SET, "PYTHONPATH": path}
