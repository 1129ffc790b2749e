"""AWS event-stream frames are read with both checksums, kept byte for byte, and written back whole.

A frame, integers big-endian: total length (4), headers length (4), CRC-32 of these 8 bytes (4), headers,
payload, CRC-32 of everything before (4). A header: name length (1), name, type (1), value.

Source: application/vnd.amazon.eventstream in the Smithy specification ("Amazon Event Stream"); bounds
and the refusal of repeated header names as in botocore 1.44.5, eventstream.py.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID
from zlib import crc32

from sallyport.wire.errors import WireError

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
_PRELUDE_BYTES = 12
_OVERHEAD_BYTES = 16

type HeaderValue = bool | int | bytes | str | UUID


class HeaderType(IntEnum):
    """The type byte of a header. TIMESTAMP: milliseconds since 1970, as int."""

    TRUE = 0
    FALSE = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


_INTEGERS = {
    HeaderType.INT8: struct.Struct(">b"),
    HeaderType.INT16: struct.Struct(">h"),
    HeaderType.INT32: struct.Struct(">i"),
    HeaderType.INT64: struct.Struct(">q"),
    HeaderType.TIMESTAMP: struct.Struct(">q"),
}


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    type: HeaderType
    value: HeaderValue


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. raw: its exact bytes; headers in wire order."""

    raw: bytes
    headers: tuple[Header, ...]
    payload: bytes

    def text(self, name: str) -> str | None:
        """Return the value of a string header, None if it is absent or of another type."""
        return next((h.value for h in self.headers if h.name == name and isinstance(h.value, str)), None)

    def with_payload(self, payload: bytes) -> bytes:
        """Return the frame's bytes with another payload: headers as they came, lengths and CRCs anew."""
        headers_bytes = int.from_bytes(self.raw[4:8])
        return _framed(self.raw[_PRELUDE_BYTES : _PRELUDE_BYTES + headers_bytes], payload)


class FrameReader:
    """Cuts bytes into frames; holds at most one unfinished frame.

    Raises WireError eventstream.length, eventstream.prelude_crc, eventstream.message_crc,
    eventstream.header, eventstream.duplicate_header; places are byte offsets into the stream. After an
    error the reader is spent.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that these bytes complete."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _PRELUDE_BYTES:
            total, headers_bytes = self._prelude()
            if len(self._buffer) < total:
                break
            frames.append(self._frame(bytes(self._buffer[:total]), headers_bytes))
            del self._buffer[:total]
            self._offset += total
        return frames

    def end(self) -> None:
        """Finish. Raises WireError eventstream.truncated if the input stopped inside a frame."""
        if self._buffer:
            raise WireError("eventstream.truncated", f"byte {self._offset + len(self._buffer)}")

    def _prelude(self) -> tuple[int, int]:
        total, headers_bytes, crc = struct.unpack_from(">III", self._buffer)
        # The checksum comes first: a length from damaged bytes must never be waited for.
        if crc32(self._buffer[:8]) != crc:
            raise WireError("eventstream.prelude_crc", f"byte {self._offset + 8}")
        payload_bytes = total - headers_bytes - _OVERHEAD_BYTES
        if headers_bytes > MAX_HEADERS_BYTES or not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
            raise WireError("eventstream.length", f"byte {self._offset}")
        return total, headers_bytes

    def _frame(self, raw: bytes, headers_bytes: int) -> Frame:
        if crc32(raw[:-4]) != int.from_bytes(raw[-4:]):
            raise WireError("eventstream.message_crc", f"byte {self._offset + len(raw) - 4}")
        behind = _PRELUDE_BYTES + headers_bytes
        try:
            headers = _read_headers(raw[_PRELUDE_BYTES:behind])
        except (IndexError, struct.error, ValueError) as error:
            reason = error.reason if isinstance(error, WireError) else "eventstream.header"
            raise WireError(reason, f"byte {self._offset + _PRELUDE_BYTES}") from None
        return Frame(raw, headers, raw[behind:-4])


def encode(headers: tuple[Header, ...], payload: bytes) -> bytes:
    """Return a frame. Raises WireError if a header or a length does not fit the format."""
    try:
        written = b"".join(_write_header(header) for header in headers)
    except (struct.error, OverflowError, UnicodeEncodeError):
        raise WireError("eventstream.header") from None
    return _framed(written, payload)


def json_frame(message_type: str, kind: str, payload: bytes) -> bytes:
    """Return an event (":event-type") or exception (":exception-type") frame with a JSON payload."""
    names = (
        (f":{message_type}-type", kind),
        (":content-type", "application/json"),
        (":message-type", message_type),
    )
    return encode(tuple(Header(name, HeaderType.STRING, value) for name, value in names), payload)


def _framed(headers: bytes, payload: bytes) -> bytes:
    if len(headers) > MAX_HEADERS_BYTES or len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError("eventstream.length")
    lengths = struct.pack(">II", _OVERHEAD_BYTES + len(headers) + len(payload), len(headers))
    frame = b"".join((lengths, crc32(lengths).to_bytes(4), headers, payload))
    return frame + crc32(frame).to_bytes(4)


def _read_headers(data: bytes) -> tuple[Header, ...]:
    headers: dict[str, Header] = {}
    at = 0
    while at < len(data):
        behind = at + 1 + data[at]
        name = _whole(data, at + 1, behind).decode()
        kind = HeaderType(data[behind])
        at, value = _read_value(data, behind + 1, kind)
        if not name:
            raise WireError("eventstream.header")
        if name in headers:
            raise WireError("eventstream.duplicate_header")
        headers[name] = Header(name, kind, value)
    return tuple(headers.values())


def _read_value(data: bytes, at: int, kind: HeaderType) -> tuple[int, HeaderValue]:
    """Return the offset behind a value, and the value."""
    if kind is HeaderType.TRUE or kind is HeaderType.FALSE:
        return at, kind is HeaderType.TRUE
    if kind in _INTEGERS:
        number: int = _INTEGERS[kind].unpack_from(data, at)[0]
        return at + _INTEGERS[kind].size, number
    if kind is HeaderType.UUID:
        return at + 16, UUID(bytes=_whole(data, at, at + 16))
    behind = at + 2 + int.from_bytes(_whole(data, at, at + 2))
    value = _whole(data, at + 2, behind)
    return behind, value.decode() if kind is HeaderType.STRING else value


def _whole(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise WireError("eventstream.header")
    return data[start:end]


def _write_header(header: Header) -> bytes:
    name = header.name.encode()
    start = bytes((len(name),)) if 0 < len(name) < 256 else None
    if start is None:
        raise WireError("eventstream.header")
    start += name + bytes((header.type,))
    match header.value:
        case bool() if header.type is (HeaderType.TRUE if header.value else HeaderType.FALSE):
            return start
        case int() if header.type in _INTEGERS:
            return start + _INTEGERS[header.type].pack(header.value)
        case UUID() if header.type is HeaderType.UUID:
            return start + header.value.bytes
        case bytes() if header.type is HeaderType.BYTES:
            return start + len(header.value).to_bytes(2) + header.value
        case str() if header.type is HeaderType.STRING:
            value = header.value.encode()
            return start + len(value).to_bytes(2) + value
        case _:
            raise WireError("eventstream.header")
