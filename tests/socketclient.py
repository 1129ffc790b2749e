"""A WebSocket client of bytes: shakes hands as a test wants, sends any frame, and tells what came back."""

import base64
import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsproto import ConnectionType
from wsproto import events as ws
from wsproto.connection import Connection

import rawclient
from sallyport.lab.server import Lab

OPENAI = "api.openai.com"
REALTIME = "/v1/realtime?model=gpt-realtime"
RESPONSES = "/v1/responses"


@dataclass(frozen=True)
class Closed:
    """The end of a session: the code of its close, 0 where the connection ended without one."""

    code: int
    reason: str = ""


@dataclass
class SocketClient:
    """One connection. status: of the answer to the upgrade; head: that answer's."""

    sock: socket.socket
    status: int
    head: bytes
    ws: Connection = field(default_factory=lambda: Connection(ConnectionType.CLIENT))
    _arrived: list[Any] = field(default_factory=list)
    _text: str = ""

    @classmethod
    def open(
        cls,
        port: int,
        confdir: Path,
        path: str = REALTIME,
        *headers: str,
        host: str = OPENAI,
        key: str = "",
        with_head: bytes = b"",
        drop: tuple[str, ...] = (),
        timeout: float = 30,
    ) -> "SocketClient":
        """Shake hands. with_head: sent in one piece with the head. drop: header names that are left out."""
        key = key or base64.b64encode(os.urandom(16)).decode()
        usual = {
            "Host": host,
            "Authorization": "Bearer sk-test-EXAMPLE",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
        }
        lines = [f"{name}: {value}" for name, value in usual.items() if name not in drop]
        request = "\r\n".join([f"GET {path} HTTP/1.1", *lines, *headers, "", ""]).encode("latin-1")
        sock = rawclient.tls(rawclient.tunnel(port, host, timeout=timeout), host, confdir / "ca-cert.pem")
        sock.settimeout(timeout)
        sock.sendall(request + with_head)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65536)
            if not piece:
                return cls(sock, 0, data)
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        client = cls(sock, int(head.split(b" ", 2)[1]), head)
        if client.status == 101:
            client.ws.receive_data(rest)
        return client

    def say(self, event: object) -> None:
        """Send one event as JSON, a text as it is, or bytes as a binary message."""
        if isinstance(event, bytes):
            self.raw(self.ws.send(ws.BytesMessage(event)))
        else:
            self.raw(self.ws.send(ws.TextMessage(event if isinstance(event, str) else json.dumps(event))))

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.raw(self.ws.send(ws.CloseConnection(code, reason or None)))

    def reset(self) -> None:
        """Go away at once, as a program that is killed does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def hear(self) -> Any:
        """Return the next event (an object, bytes of a binary message, a Ping or a Pong) or Closed."""
        while not self._arrived:
            self._read()
        return self._arrived.pop(0)

    def until(self, kind: str, within_s: float = 30) -> list[Any]:
        """Return all that comes up to an event of a type, or to the end."""
        heard: list[Any] = []
        deadline = time.monotonic() + within_s
        while not heard or not (
            isinstance(heard[-1], Closed) or (isinstance(heard[-1], dict) and heard[-1]["type"] == kind)
        ):
            assert time.monotonic() < deadline, f"no {kind}: {heard}"
            heard.append(self.hear())
        return heard

    def _read(self) -> None:
        for event in self.ws.events():
            if isinstance(event, ws.TextMessage):
                self._text += event.data
                if event.message_finished:
                    whole, self._text = self._text, ""
                    self._arrived.append(json.loads(whole))
            elif isinstance(event, ws.BytesMessage):
                self._arrived.append(bytes(event.data))
            elif isinstance(event, ws.CloseConnection):
                code = 0 if int(event.code) == 1006 else int(event.code)
                self._arrived.append(Closed(code, event.reason or ""))
            else:
                self._arrived.append(event)
        if self._arrived:
            return
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            data = b""
        self.ws.receive_data(data or None)


def item(text: str, role: str = "user") -> dict[str, object]:
    """Return the event that adds a message to a realtime conversation."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


def told(lab: Lab) -> list[str]:
    """Return the messages that the provider got in the last session that was opened, its end included."""
    (*_, last) = [r.connection for r in lab.requests if r.method == "GET"]
    return [r.text for r in lab.requests if r.method == "MESSAGE" and r.connection == last]


CREATE = {"type": "response.create"}


def text_of(events: list[Any]) -> str:
    """Return the text of an answer, its pieces joined."""
    kind = "response.output_text.delta"
    return "".join(e["delta"] for e in events if isinstance(e, dict) and e["type"] == kind)
