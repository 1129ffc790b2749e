"""A provider that speaks HTTP/2 over TLS and does, stream by stream and frame by frame, what a test wants."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.exceptions import ProtocolError
from hyperframe.frame import Frame, GoAwayFrame

from listening import serve_each
from sallyport.lab.authority import LabCa

type Deed = Callable[["Asked"], None]

NO_ERROR = 0
LAST_OF_ALL = 2**31 - 1


class Line:
    """One connection. Several threads write to it, one at a time. goodbye: the peer said it ends; gone: it has."""

    def __init__(self, sock: ssl.SSLSocket, settings: dict[int, int] | None = None) -> None:
        self.sock = sock
        self.writing = threading.RLock()
        self.reset: set[int] = set()
        self.goodbye, self.gone = threading.Event(), threading.Event()
        self.bodies: dict[int, bytes] = {}
        self.unread: list[tuple[int, int]] = []
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False, header_encoding="utf-8", validate_outbound_headers=False
            )
        )
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)

    def flush(self) -> None:
        with self.writing:
            self.sock.sendall(self.h2.data_to_send())

    def frame(self, frame: Frame) -> None:
        """Write a frame past the library, which lets nothing follow a GOAWAY."""
        with self.writing:
            self.sock.sendall(self.h2.data_to_send() + frame.serialize())

    def read_on(self) -> None:
        """Open the windows for what has come while they were kept shut."""
        with self.writing:
            for length, stream in self.unread:
                self.h2.acknowledge_received_data(length, stream)
            self.unread.clear()
            self.flush()

    def goaway(self, last: int, code: int = NO_ERROR) -> None:
        self.frame(GoAwayFrame(0, last_stream_id=last, error_code=code))

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)


@dataclass
class Asked:
    """One request that has come whole. number: of its connection, from 0."""

    line: Line
    stream: int
    number: int
    head: dict[str, str]
    body: bytes
    told: threading.Event = field(default_factory=threading.Event)

    @property
    def model(self) -> str:
        return str(json.loads(self.body)["model"]) if self.body else ""

    def headers(
        self,
        *more: tuple[str, str],
        status: int | str = 200,
        kind: str = "text/event-stream",
        end: bool = False,
    ) -> None:
        with self.line.writing:
            fields = [(":status", str(status)), ("content-type", kind), *more]
            self.line.h2.send_headers(self.stream, fields, end_stream=end)
            self.line.flush()

    def data(self, data: bytes, *, end: bool = False) -> None:
        with self.line.writing:
            self.line.h2.send_data(self.stream, data, end_stream=end)
            self.line.flush()

    def say(self, text: str) -> None:
        """Send one event of an OpenAI stream."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        event = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        self.data(b"data: " + json.dumps(event).encode() + b"\n\n")

    def end(self, prompt: int = 7, completion: int = 5) -> None:
        """Report what was used and end the stream."""
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        event = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [],
            "usage": usage,
        }
        self.data(b"data: " + json.dumps(event).encode() + b"\n\ndata: [DONE]\n\n", end=True)

    def answer(self, text: str = "hello") -> None:
        """Answer whole, with the usage of 7 and 5 tokens."""
        message = {"role": "assistant", "content": text}
        said: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        said["choices"] = [{"index": 0, "finish_reason": "stop", "message": message}]
        said["usage"] = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
        body = json.dumps(said).encode()
        self.headers(("content-length", str(len(body))), kind="application/json")
        self.data(body, end=True)

    def reset(self, code: int) -> None:
        with self.line.writing:
            self.line.h2.reset_stream(self.stream, code)
            self.line.flush()


class Http2Provider:
    """Answers each request by the deed of its model, in a thread of its own.

    settings: of the connections, by the library's codes. asked: requests that came whole, in order.
    open_window: cleared, what comes is not acknowledged. open_door: cleared, a connection waits for its handshake.
    """

    def __init__(self, ca: LabCa, host: str, settings: dict[int, int] | None = None) -> None:
        self.deeds: dict[str, Deed] = {}
        self.asked: list[Asked] = []
        self.lines: list[Line] = []
        self.settings = settings
        self.open_window = threading.Event()
        self.open_window.set()
        self.open_door = threading.Event()
        self.open_door.set()
        self.knocked = 0
        self._context = ca.server_context(host)
        self._context.set_alpn_protocols(["h2"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        serve_each(self._listener, self._serve)

    def _serve(self, raw: socket.socket) -> None:
        self.knocked += 1
        assert self.open_door.wait(20)
        with contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as sock:
            line = Line(sock, self.settings)
            number = len(self.lines)
            self.lines.append(line)
            line.h2.initiate_connection()
            line.flush()
            heads: dict[int, dict[str, str]] = {}
            try:
                while data := sock.recv(65536):
                    with line.writing:
                        for event in line.h2.receive_data(data):
                            self._take(line, number, heads, event)
                        line.flush()
            finally:
                line.gone.set()

    def _take(
        self, line: Line, number: int, heads: dict[int, dict[str, str]], event: h2.events.Event
    ) -> None:
        match event:
            case h2.events.RequestReceived():
                heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                line.bodies[event.stream_id] = b""
            case h2.events.DataReceived():
                line.bodies[event.stream_id] += event.data
                if self.open_window.is_set():
                    line.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    line.unread.append((event.flow_controlled_length, event.stream_id))
            case h2.events.StreamReset():
                line.reset.add(event.stream_id)
            case h2.events.ConnectionTerminated():
                line.goodbye.set()
            case h2.events.StreamEnded():
                asked = Asked(
                    line, event.stream_id, number, heads[event.stream_id], line.bodies[event.stream_id]
                )
                self.asked.append(asked)
                deed = self.deeds.get(asked.model, Asked.answer)
                threading.Thread(target=self._do, args=(deed, asked), daemon=True).start()
            case _:
                pass

    @staticmethod
    def _do(deed: Deed, asked: Asked) -> None:
        with contextlib.suppress(OSError, ProtocolError):  # the peer has gone, or has given the stream up
            deed(asked)

    def close(self) -> None:
        self._listener.close()
        for line in self.lines:
            line.hang_up()


@contextlib.contextmanager
def http2_provider(ca: LabCa, host: str, settings: dict[int, int] | None = None) -> Iterator[Http2Provider]:
    provider = Http2Provider(ca, host, settings)
    try:
        yield provider
    finally:
        provider.close()
