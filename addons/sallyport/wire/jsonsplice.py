"""JSON is changed by splicing into its bytes: whatever no edit names stays exactly as it came.

A pointer is RFC 6901; one that ends in "~k" names the member's key instead of its value, one that ends in "~t" the
text of the file that the value holds (inline.py). Spans are byte offsets of whole tokens, quotes included. Offsets of
edits are code points of the decoded text.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from sallyport.decision import Edit
from sallyport.wire import inline
from sallyport.wire.dialect import Texts
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import (
    BOM,
    LONG_INTEGER,
    MAX_ANSWER_NODES,
    is_long,
    parse,
    public_pointer,
    untoken,
)

_SPACE = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")
_INTEGER = re.compile(rb"-?[0-9]++(?![.eE])")
_FRACTION = re.compile(rb"-?[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+")
_SKIP = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL
)


def edit(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the body with the edits spliced in.

    Edits of one pointer must not overlap; order is free. A long integer may be edited like its digits
    and becomes a string. Raises WireError: what parse() raises, edit.pointer for a pointer that names
    no text, edit.range for offsets outside it, edit.overlap, edit.surrogate for a replacement that is
    no Unicode text, json.duplicate_key if two keys of an object would become equal.
    """
    if not edits:
        return body
    parse(body, MAX_ANSWER_NODES)
    by_pointer: dict[str, list[Edit]] = {}
    in_files: dict[str, list[Edit]] = {}
    for one in edits:
        if one.at.endswith(inline.TEXT_MARK):
            in_files.setdefault(one.at.removesuffix(inline.TEXT_MARK), []).append(one)
        else:
            by_pointer.setdefault(one.at, []).append(one)
    if by_pointer.keys() & in_files.keys():
        raise WireError("edit.overlap")
    tokens = {}
    for at, (start, end) in spans(body, [*by_pointer, *in_files]).items():
        raw = body[start:end]
        tokens[(start, end)] = (
            _edited(raw, at, by_pointer[at]) if at in by_pointer else _edited_file(raw, in_files[at])
        )
    result = _spliced(body, tokens)
    if any(at.endswith("~k") for at in by_pointer):
        parse(result, MAX_ANSWER_NODES)
    return result


def replace(body: bytes, texts: Texts) -> bytes:
    """Return the body with whole texts replaced, by pointer; None empties whatever stands there.

    A list becomes an empty list, all else null; bytes are JSON that stands there instead. No pointer may lie in such a
    place. The body must have been read by parse() before. Raises WireError as edit() does.
    """
    if not texts:
        return body
    new = {at: quote(text) for at, text in texts.items() if isinstance(text, str)}
    tokens = {span: new[at] for at, span in spans(body, new).items()}
    for at, text in texts.items():
        if not isinstance(text, str):
            span = value_span(body, at)
            if span is None:
                raise WireError("edit.pointer", public_pointer(at))
            tokens[span] = text or (b"[]" if body[span[0]] == 0x5B else b"null")
    return _spliced(body, tokens)


def quote(text: str) -> bytes:
    """Return a text as a JSON string token. Raises WireError (edit.surrogate) for a lone surrogate."""
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise WireError("edit.surrogate") from None


def spans(body: bytes, pointers: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return the byte span of each pointer's token: a string, or an integer read as text.

    The body must have been read by parse() before. Raises WireError (edit.pointer) if one is missing.
    """
    root = _Target()
    wanted = 0
    for pointer in pointers:
        wanted += root.add(pointer)
    found: dict[str, tuple[int, int]] = {}
    start = len(BOM) if body.startswith(BOM) else 0
    try:
        _visit(body, _space(body, start), root, found)
    except (IndexError, RecursionError):
        raise WireError("json.truncated") from None
    if len(found) != wanted:
        missing = next((p for p in pointers if p not in found), "")
        raise WireError("edit.pointer", public_pointer(missing))
    return found


def value_span(body: bytes, pointer: str) -> tuple[int, int] | None:
    """Return the byte span of the whole value at a pointer, of any type; None if nothing is there.

    The body must have been read by parse() before.
    """
    try:
        at = _space(body, len(BOM) if body.startswith(BOM) else 0)
        for part in pointer.split("/")[1:]:
            inside = _member(body, at, untoken(part)) if body[at] == 0x7B else _element(body, at, part)
            if inside is None:
                return None
            at = inside
        return at, _skip(body, at)
    except IndexError:
        raise WireError("json.truncated") from None


def _member(body: bytes, at: int, name: str) -> int | None:
    at = _space(body, at + 1)
    while body[at] != 0x7D:
        end = _string(body, at)
        value = _space(body, _expect(body, _space(body, end), 0x3A))
        if _key(body, at, end) == name:
            return value
        at = _behind(body, value)
    return None


def _element(body: bytes, at: int, part: str) -> int | None:
    if body[at] != 0x5B or not part.isdecimal():
        return None
    at = _space(body, at + 1)
    for _ in range(int(part)):
        if body[at] == 0x5D:
            return None
        at = _behind(body, at)
    return None if body[at] == 0x5D else at


def _behind(body: bytes, at: int) -> int:
    """Return where the next member or element starts, or the bracket that closes them."""
    at = _space(body, _skip(body, at))
    return _space(body, at + 1) if body[at] == 0x2C else at


class _Target:
    """A node of the tree of wanted pointers."""

    __slots__ = ("children", "key", "value")

    def __init__(self) -> None:
        self.children: dict[str, _Target] = {}
        self.key: str | None = None
        self.value: str | None = None

    def add(self, pointer: str) -> int:
        """Plant a pointer; return how many new tokens it asks for."""
        path = pointer.removesuffix("~k")
        if (path and not path.startswith("/")) or (path != pointer and not path):
            raise WireError("edit.pointer", public_pointer(pointer))
        node = self
        for part in path.split("/")[1:]:
            node = node.children.setdefault(untoken(part), _Target())
        if path != pointer:
            new = node.key is None
            node.key = pointer
        else:
            new = node.value is None
            node.value = pointer
        return int(new)


def _visit(body: bytes, at: int, target: _Target, found: dict[str, tuple[int, int]]) -> int:
    """Record the tokens wanted in the value that starts here; return the offset behind it."""
    first = body[at : at + 1]
    if target.value is not None:
        if first == b'"':
            end = _string(body, at)
            found[target.value] = (at, end)
            return end
        number = _INTEGER.match(body, at)
        if number and abs(int(number[0])) >= LONG_INTEGER:
            found[target.value] = number.span()
            return number.end()
        fraction = _FRACTION.match(body, at)
        if fraction and is_long(float(fraction[0])):
            found[target.value] = fraction.span()
            return fraction.end()
    if not target.children:
        return _skip(body, at)
    if first == b"{":
        return _visit_object(body, at, target, found)
    if first == b"[":
        return _visit_array(body, at, target, found)
    return _skip(body, at)


def _visit_object(body: bytes, at: int, target: _Target, found: dict[str, tuple[int, int]]) -> int:
    at = _space(body, at + 1)
    while body[at] != 0x7D:
        end = _string(body, at)
        child = target.children.get(_key(body, at, end))
        if child is not None and child.key is not None:
            found[child.key] = (at, end)
        at = _space(body, _expect(body, _space(body, end), 0x3A))
        at = _skip(body, at) if child is None else _visit(body, at, child, found)
        at = _space(body, at)
        if body[at] == 0x2C:
            at = _space(body, at + 1)
    return at + 1


def _visit_array(body: bytes, at: int, target: _Target, found: dict[str, tuple[int, int]]) -> int:
    at = _space(body, at + 1)
    index = 0
    while body[at] != 0x5D:
        child = target.children.get(str(index))
        at = _skip(body, at) if child is None else _visit(body, at, child, found)
        at = _space(body, at)
        if body[at] == 0x2C:
            at = _space(body, at + 1)
        index += 1
    return at + 1


def _skip(body: bytes, at: int) -> int:
    first = body[at]
    if first == 0x22:
        return _string(body, at)
    if first not in b"[{":
        scalar = _SCALAR.match(body, at)
        if scalar is None:
            raise WireError("json.syntax", f"byte {at}")
        return scalar.end()
    depth = 0
    for piece in _SKIP.finditer(body, at):
        mark = body[piece.start()]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 0:
                return piece.end()
    raise WireError("json.truncated")


def _space(body: bytes, at: int) -> int:
    space = _SPACE.match(body, at)
    return space.end() if space else at


def _string(body: bytes, at: int) -> int:
    string = _STRING.match(body, at)
    if string is None:
        raise WireError("json.syntax", f"byte {at}")
    return string.end()


def _expect(body: bytes, at: int, byte: int) -> int:
    if body[at] != byte:
        raise WireError("json.syntax", f"byte {at}")
    return at + 1


def _key(body: bytes, start: int, end: int) -> str:
    raw = body[start + 1 : end - 1]
    try:
        if b"\\" not in raw:
            return raw.decode()
        key: str = json.loads(body[start:end])
    except ValueError:
        raise WireError("json.syntax", f"byte {start}") from None
    return key


def _edited(raw: bytes, at: str, edits: list[Edit]) -> bytes:
    """Return a token with its edits applied; the spelling of every character no edit covers is kept."""
    inner = raw[1:-1] if raw.startswith(b'"') else str(int(float(raw))).encode() if _is_fraction(raw) else raw
    ordered = sorted(edits, key=lambda e: (e.start, e.end))
    wanted: list[int] = []
    behind = 0
    for number, one in enumerate(ordered):
        if not 0 <= one.start <= one.end:
            raise WireError("edit.range", public_pointer(at))
        if one.start < behind or (number and one.end == ordered[number - 1].start):
            raise WireError("edit.overlap", public_pointer(at))
        behind = one.end
        wanted += (one.start, one.end)
    offsets = _byte_offsets(inner, wanted)
    if offsets is None:
        raise WireError("edit.range", public_pointer(at))
    pieces: list[bytes] = []
    position = 0
    for number, one in enumerate(ordered):
        pieces += (inner[position : offsets[2 * number]], quote(one.replacement)[1:-1])
        position = offsets[2 * number + 1]
    return b'"' + b"".join(pieces) + inner[position:] + b'"'


def _edited_file(raw: bytes, edits: list[Edit]) -> bytes:
    """Return a string token whose file has edits in its text."""
    if not raw.startswith(b'"'):
        raise WireError("edit.pointer")
    return quote(inline.edited(json.loads(raw), edits))


def _is_fraction(raw: bytes) -> bool:
    return any(mark in raw for mark in b".eE")


def _byte_offsets(inner: bytes, wanted: list[int]) -> list[int] | None:
    """Translate ascending code point offsets of a decoded string to bytes of its source, or None."""
    offsets: list[int] = []
    points = 0  # code points before `start`
    start = 0
    escapes = _ESCAPE.finditer(inner)
    while len(offsets) < len(wanted):
        escape = next(escapes, None)
        stop = escape.start() if escape else len(inner)
        run = inner[start:stop].decode()
        taken = 0  # code points of the run that `offset` lies behind
        offset = start
        while len(offsets) < len(wanted) and wanted[len(offsets)] <= points + len(run):
            upto = wanted[len(offsets)] - points
            offset += len(run[taken:upto].encode())
            taken = upto
            offsets.append(offset)
        if escape is None:
            break
        points += len(run) + 1
        start = escape.end()
    return offsets if len(offsets) == len(wanted) else None


def _spliced(body: bytes, tokens: Mapping[tuple[int, int], bytes]) -> bytes:
    pieces: list[bytes] = []
    position = 0
    for (start, end), new in sorted(tokens.items()):
        pieces += (body[position:start], new)
        position = end
    pieces.append(body[position:])
    return b"".join(pieces)
