"""A file of JSON lines is read line by line: pointers start with the number of the line, from 0.

Blank lines are kept and skipped. Every other line must be one JSON object.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sallyport.decision import Change, Edit
from sallyport.exchange import Attachment, Segment
from sallyport.wire import jsonset, jsonsplice
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.ndjson import lines_of
from sallyport.wire.shape import Reading, Shape, walk

MAX_LINES = 50_000  # what OpenAI takes in one batch file
BLANK = b" \t\r"


def read_lines(body: bytes) -> list[tuple[int, dict[str, Json]]]:
    """Return the number and value of every line that is not blank.

    Raises WireError jsonlines.lines, or what parse_object raises; then the place starts with the line.
    """
    found: list[tuple[int, dict[str, Json]]] = []
    for number, (start, end) in enumerate(lines_of(body)):
        line = body[start:end]
        if not line.strip(BLANK):
            continue
        if len(found) == MAX_LINES:
            raise WireError("jsonlines.lines", f"/{number}")
        try:
            found.append((number, parse_object(line)))
        except WireError as error:
            raise WireError(error.reason, f"/{number} {error.place}".rstrip()) from None
    return found


def walk_lines(lines: Sequence[tuple[int, dict[str, Json]]], shape: Shape) -> Reading:
    """Read every string of every line by one shape."""
    whole = Reading()
    for number, value in lines:
        add_under(whole, walk(value, shape), f"/{number}")
    return whole


def add_under(whole: Reading, part: Reading, prefix: str) -> None:
    """Add what a walk gathered to a greater whole, its pointers under a prefix."""
    whole.segments += (Segment(prefix + s.at, s.surface, s.text) for s in part.segments)
    whole.attachments += (Attachment(prefix + a.at, a.media_type, a.size) for a in part.attachments)


def edit_lines(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the body with edits spliced in. Raises WireError as jsonsplice.edit does."""
    by_line = grouped(edits)
    return _with_lines(body, by_line, lambda number, line: jsonsplice.edit(line, by_line[number]))


def change_lines(body: bytes, changes: Sequence[Change]) -> bytes:
    """Return the body with settings of its lines changed. Raises WireError as jsonset.change does."""
    by_line = grouped(changes)
    return _with_lines(body, by_line, lambda number, line: jsonset.change(line, by_line[number]))


def _with_lines(body: bytes, numbers: Iterable[int], anew: Callable[[int, bytes], bytes]) -> bytes:
    """Return the body with these lines as `anew` gives them. Raises WireError edit.pointer for one that it lacks."""
    spans = lines_of(body)
    pieces: list[bytes] = []
    position = 0
    for number in sorted(numbers):
        if number >= len(spans):
            raise WireError("edit.pointer", f"/{number}")
        start, end = spans[number]
        pieces += (body[position:start], anew(number, body[start:end]))
        position = end
    return b"".join((*pieces, body[position:]))


def grouped[T: (Edit, Change)](given: Sequence[T]) -> dict[int, list[T]]:
    """Return edits or changes by the number their pointers start with, that number taken off.

    Raises WireError edit.pointer.
    """
    found: dict[int, list[T]] = {}
    for one in given:
        number, at = _numbered(one.at)
        found.setdefault(number, []).append(replace(one, at=at))
    return found


def _numbered(pointer: str) -> tuple[int, str]:
    """Return the number a pointer starts with, and the pointer behind it. Raises WireError edit.pointer."""
    head, slash, rest = pointer.removeprefix("/").partition("/")
    plain = head.isascii() and head.isdigit() and len(head) < 10 and str(int(head)) == head
    if not (pointer.startswith("/") and slash and plain):
        raise WireError("edit.pointer")
    return int(head), f"/{rest}"
