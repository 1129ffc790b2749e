"""A worker process: loads one engine, then answers texts with spans until its socket closes.

Started by process.py as `python -m sallyport.detect.ner.worker FD PARENT ENGINE`. It is killed with the gateway,
leaves no core file, cannot be read by other processes of its user, and writes nothing anywhere.
"""

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence

from sallyport.detect.ner import frames
from sallyport.detect.ner.engine import Engine, Span
from sallyport.detect.ner.process import receive
from sallyport.errors import OperatorError

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

_WARM = "Ada Lovelace wrote to Charles Babbage from London."


def main() -> None:
    """Serve one gateway; returns when it closes the socket."""
    handle, parent, engine_name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _settle(parent)
    channel = socket.socket(fileno=handle)
    try:
        engine = _load(engine_name)
    except OperatorError as error:
        words = frames.put_words(where=error.where, what=error.what, todo=error.todo)
        _send(channel, frames.UNFIT, words)
        return
    _send(channel, frames.HELLO, frames.put_words(name=engine.name, revision=engine.revision))
    with contextlib.suppress(ConnectionError):
        while True:
            kind, payload = receive(channel)
            if kind != frames.TEXTS:
                return
            _send(channel, frames.SPANS, frames.put_spans(_answers(engine, frames.get_texts(payload))))


def _load(engine_name: str) -> Engine:
    """Load an engine and use it once, so that the first request does not pay. Raises OperatorError."""
    # Imported here: a library that is slow or absent must not keep _settle from being first.
    from sallyport.detect.ner.engines import load

    try:
        engine = load(engine_name)
        engine.spans([_WARM])
    except OperatorError:
        raise
    except Exception as error:
        # The border to the library: whatever it raises, the operator is told its type and not its text.
        what = f"the engine cannot be used ({type(error).__name__})"
        todo = "Try it outside the gateway, or reinstall it"
        raise OperatorError(engine_name, what, todo) from None
    return engine


def _answers(engine: Engine, texts: Sequence[str]) -> list[Sequence[Span] | None]:
    """Return the spans of each text; if the engine fails on them together, None for those it fails on alone."""
    try:
        return list(_checked(engine, texts))
    except Exception:
        # The border to the library; what a text did to it is nobody else's text's fault.
        if len(texts) == 1:
            return [None]
        return [answer for text in texts for answer in _answers(engine, [text])]


def _checked(engine: Engine, texts: Sequence[str]) -> Sequence[Sequence[Span]]:
    answers = engine.spans(texts)
    if len(answers) != len(texts):
        raise ValueError("the engine answered another number of texts")
    return answers


def _send(channel: socket.socket, kind: bytes, payload: bytes) -> None:
    channel.sendall(frames.HEAD.pack(kind, len(payload)) + payload)


def _settle(parent: int) -> None:
    """Tie this process to its parent and leave nothing behind when it dies.

    Signals of a terminal or a service manager are the gateway's to act on: it drains, and needs us until then.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("800")  # short of memory, the kernel takes a worker and not the gateway
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    main()
