"""A client of HTTP/2 frames: several requests at once on one connection, each sent and given up as a test wants."""

import json

import h2.config
import h2.connection
import h2.events

import rawclient
from e2e.traffic import CHAT, OPENAI
from gateways import GatewayProcess

CALL = [
    (":method", "POST"),
    (":scheme", "https"),
    (":authority", OPENAI),
    (":path", CHAT),
    ("content-type", "application/json"),
    ("authorization", "Bearer sk-test-EXAMPLE"),
]
CANCEL = 8


class Http2Client:
    """A client of frames: several requests at once on one connection, each given up when a test wants it."""

    def __init__(self, gateway: GatewayProcess) -> None:
        raw = rawclient.tunnel(gateway.port, OPENAI, timeout=30)
        self.sock = rawclient.tls(raw, OPENAI, gateway.confdir / "ca-cert.pem", ["h2"])
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.heads: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()

    def ask(self, model: str, text: str = "hello", *, stream: bool = False) -> int:
        """Send a request; return its number."""
        body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": text}]}
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return self.send(CALL, json.dumps(body).encode())

    def send(self, fields: list[tuple[str, str]], body: bytes) -> int:
        number = self.h2.get_next_available_stream_id()
        self.bodies[number] = b""
        self.h2.send_headers(number, fields)
        while body:
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            self.h2.send_data(number, body[:room])
            body = body[room:]
            self.flush()
            if body and not self.h2.local_flow_control_window(number):
                self.read()
        self.h2.end_stream(number)
        self.flush()
        return number

    def give_up(self, number: int) -> None:
        self.h2.reset_stream(number, CANCEL)
        self.flush()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def read(self) -> None:
        data = self.sock.recv(65536)
        assert data, "the gateway has closed the connection"
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    self.heads[event.stream_id] = {str(name): str(value) for name, value in event.headers}
                case h2.events.DataReceived():
                    self.bodies[event.stream_id] += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.ended.add(event.stream_id)
                case h2.events.StreamReset():
                    self.reset.add(event.stream_id)
                case _:
                    pass
        self.flush()

    def heard(self, number: int, text: str) -> None:
        """Read until a text has come in an answer."""
        while text.encode() not in self.bodies[number]:
            assert number not in self.ended | self.reset
            self.read()

    def whole(self, number: int) -> tuple[int, str]:
        """Read an answer to its end; return its status and body."""
        while number not in self.ended:
            assert number not in self.reset
            self.read()
        return int(self.heads[number][":status"]), self.bodies[number].decode()

    def status(self, model: str, text: str = "hello") -> int:
        return self.whole(self.ask(model, text))[0]
