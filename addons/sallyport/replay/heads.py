"""The little of each flow of a mitmproxy file that says what it is and when it began; bodies are passed over.

Such a file is tnetstrings one behind the other: `LENGTH:DATA` and a letter for the type, `}` a dictionary of pairs.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mitmproxy.io import tnetstring

_DIGITS = 12
_SMALL = 4096
"""Bytes of a value that is looked at: names and times, no bodies."""


@dataclass(frozen=True, slots=True)
class Head:
    """sort: http, tcp, udp, dns. requests: whether it has a request. began: as the file has it, None for nothing."""

    sort: str
    websocket: bool
    requests: bool
    began: object


def heads(file: BinaryIO) -> Iterator[tuple[int, Head | None]]:
    """Yield offset and head of each flow from here on; None for what is none, after which nothing comes."""
    begin = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(begin)
    while True:
        at = file.tell()
        first = file.read(1)
        if not first:
            return
        length = _length(first, file)
        if length is not None and length >= end - file.tell():
            length = None
        data = b"" if length is None else file.read(length)
        if length is None or file.read(1) != b"}":
            yield at, None
            return
        try:
            head = _head(data)
        except (ValueError, TypeError, IndexError, OverflowError, RecursionError):
            head = None
        yield at, head
        if head is None:
            return


def _length(first: bytes, file: BinaryIO) -> int | None:
    digits = first
    while digits.isdigit() and len(digits) <= _DIGITS:
        char = file.read(1)
        if char == b":":
            return int(digits)
        digits += char or b"?"
    return None


def _head(data: bytes) -> Head | None:
    """Return the head of a flow, None where it is none. Raises what tnetstring raises."""
    fields = dict(_fields(data, 0, len(data)))
    if b"type" not in fields:
        return None
    request = fields.get(b"request")
    began: object = None
    if request is not None and data[request[1] : request[1] + 1] == b"}":
        inner = dict(_fields(data, *request))
        if b"timestamp_start" in inner:
            began = _value(data, inner[b"timestamp_start"])
    else:
        request = None
    sort = _value(data, fields[b"type"])
    websocket = b"websocket" in fields and bool(_value(data, fields[b"websocket"]))
    return Head(str(sort), websocket, request is not None, began)


type _Span = tuple[int, int]
"""Begin and end of a value's bytes; the letter of its type stands at the end."""


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, _Span]]:
    """Yield the keys of a dictionary, with where the values stand. Raises ValueError."""
    while at < end:
        key, at = _item(data, at, end)
        value, at = _item(data, at, end)
        yield data[key[0] : key[1]], value


def _item(data: bytes, at: int, end: int) -> tuple[_Span, int]:
    colon = data.index(b":", at, min(end, at + _DIGITS + 1))
    digits = data[at:colon]
    start = colon + 1
    stop = start + int(digits)
    if not digits.isdigit() or stop >= end:
        raise ValueError("an item that goes beyond its end")
    return (start, stop), stop + 1


def _value(data: bytes, span: _Span) -> object:
    """Return a small value; of one that is large, that it is there."""
    start, stop = span
    if stop - start > _SMALL:
        return True
    value: object = tnetstring.parse(data[stop], memoryview(data)[start:stop])
    return value
