"""JSON lines on stdin to JSON lines on stdout: every line that is not blank gets one answer, in order.

A line that is no request is answered too, flagged and incomplete, so that nothing after it is lost and the
nth answer belongs to the nth line; stderr says what is wrong with it.
"""

import json
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from sallyport.cli.scanning.crew import Crew
from sallyport.cli.scanning.scanner import Answer
from sallyport.errors import OperatorError
from sallyport.exchange import Surface

MAX_LINE_BYTES = 64 << 20
"""A longer line is not read into memory; it is answered as incomplete."""

_READ_BYTES = 64 << 10
_BATCH_LINES = 256
_ALONE_S = 0.2
"""Seconds of work before more processes are worth their start."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the input. number: from 1. raw: without its end; None where it was too long to be read."""

    number: int
    raw: bytes | None


type Batch = tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Answers to a batch, ready to be written; errors: what is wrong with lines that are no requests."""

    output: str
    errors: tuple[str, ...]


class Scans(Protocol):
    """What of Scanner is used here."""

    def answer(self, text: str, surface: Surface) -> Answer: ...


class Lines:
    """Cuts a stream of bytes into batches of lines, taking no more than is there. See crew.Source.

    read: returns what is there, at most so many bytes, blocking while nothing is; b"" at the end.
    descriptor: readable when read() would not block; None where that cannot be known.
    """

    def __init__(self, read: Callable[[int], bytes], descriptor: int | None) -> None:
        self._read, self._descriptor = read, descriptor
        self._rest = bytearray()
        self._lines: deque[Line] = deque()
        self._number = 0
        self._too_long = self._at_end = False

    @property
    def ended(self) -> bool:
        return self._at_end and not self._lines

    @property
    def waits_on(self) -> int | None:
        return None if self._lines else self._descriptor

    @property
    def count(self) -> int:
        """Lines read so far, blank ones too."""
        return self._number

    @property
    def ready(self) -> bool:
        """Whether more lines can be had at once."""
        return bool(self._lines) or self._descriptor is None or bool(_readable(self._descriptor))

    def take(self) -> Batch | None:
        if not self._lines:
            self._fill()
        batch = tuple(self._lines.popleft() for _ in range(min(_BATCH_LINES, len(self._lines))))
        return batch or None

    def put_back(self, lines: Sequence[Line]) -> None:
        self._lines.extendleft(reversed(lines))

    def _fill(self) -> None:
        data = self._read(_READ_BYTES)
        if not data:
            self._at_end = True
            if self._rest or self._too_long:
                self._end_line()
            return
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._end_line()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if self._too_long or len(self._rest) + len(piece) > MAX_LINE_BYTES:
            self._too_long = True
            self._rest = bytearray()
        else:
            self._rest += piece

    def _end_line(self) -> None:
        self._number += 1
        if self._too_long:
            self._lines.append(Line(self._number, None))
        elif self._rest.strip():
            self._lines.append(Line(self._number, bytes(self._rest)))
        self._rest.clear()
        self._too_long = False


def _readable(descriptor: int) -> list[Any]:
    return select.select([descriptor], [], [], 0)[0]


def lines_of(stream: Any) -> Lines:
    """Return the lines of a binary stream: of its descriptor where it has one."""
    with suppress(OSError, ValueError):
        descriptor = stream.fileno()
        return Lines(lambda size: os.read(descriptor, size), descriptor)
    return Lines(stream.read, None)


def scan_lines(scanner: Scans, lines: Lines, processes: int) -> Iterator[Told]:
    """Yield the answers to all lines, in order. Raises OperatorError when a worker process dies."""

    def work(batch: Batch) -> Told:
        return _told(scanner, batch)

    begun = 0.0
    while not lines.ended:
        batch = lines.take()
        if batch is None:
            continue
        for index, line in enumerate(batch):
            started = time.monotonic()
            yield work((line,))
            begun += time.monotonic() - started
            if begun > _ALONE_S and processes > 1:
                lines.put_back(batch[index + 1 :])
                break
        if begun > _ALONE_S and processes > 1 and lines.ready:
            break
    if lines.ended:
        return
    with Crew(work, processes) as crew:
        yield from crew.answers(lines)


def _told(scanner: Scans, batch: Batch) -> Told:
    output, errors = [], []
    for line in batch:
        id_: object = None
        try:
            given = _object(line)
            id_ = given.get("id")
            answer = scanner.answer(*_request(given, line.number))
        except OperatorError as error:
            errors.append(str(error))
            answer = Answer(flag=True, score=1.0, incomplete=error.what)
        output.append(json.dumps({"id": id_, **_members(answer)}) + "\n")
    return Told("".join(output), tuple(errors))


def _members(answer: Answer) -> dict[str, object]:
    members: dict[str, object] = {"flag": answer.flag, "score": answer.score, "spans": answer.spans()}
    return members if answer.incomplete is None else {**members, "incomplete": answer.incomplete}


def _object(line: Line) -> dict[str, Any]:
    number = line.number
    if line.raw is None:
        raise _no_request(number, f"it is longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = line.raw.decode("utf-8-sig")  # files that Windows wrote, also several behind one another
        given: Any = json.loads(text, parse_constant=_no_number)
    except UnicodeDecodeError:
        raise _no_request(number, "it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise _no_request(number, "it is not JSON") from None
    if not isinstance(given, dict):
        raise _no_request(number, "it is not an object")
    return given


def _request(given: dict[str, Any], number: int) -> tuple[str, Surface]:
    if "id" not in given:
        raise _no_request(number, "it has no id")
    text, surface = given.get("text"), given.get("surface") or "user"
    if not isinstance(text, str):
        raise _no_request(number, "its text is not a string" if "text" in given else "it has no text")
    if surface not in [*Surface]:
        raise _no_request(number, f"its surface is none of {', '.join(Surface)}")
    return text, Surface(surface)


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _no_request(number: int, why: str) -> OperatorError:
    todo = 'Write {"id": ..., "text": "...", "surface": "user"} on one line'
    return OperatorError(f"stdin:{number}", f"the line is no scan request: {why}", todo)
