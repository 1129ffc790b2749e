"""A form is changed by splicing into its parts: no other byte moves, and no part appears or goes.

Pointers are those of openai_form: /<part>/name, /<part>/filename, /<part>/content, and below a content
of JSON lines /<part>/content/<line>/... . Offsets are code points.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote

from sallyport.decision import Change, Edit
from sallyport.wire.errors import WireError
from sallyport.wire.jsonlines import edit_lines, grouped
from sallyport.wire.multipart import Part, boundary_in, read_parts
from sallyport.wire.textsplice import spliced

_TOKEN = re.compile(rb"[0-9A-Za-z!#$%&+\-.^_`|~]+")

# The WHATWG encoding of a name: these would end its quotes or its line.
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A", "\\": "%5C"})


def edit_form(body: bytes, edits: Sequence[Edit]) -> bytes:
    """Return the form with edits spliced in.

    Raises WireError: what read_parts raises, edit.pointer, edit.range, edit.overlap, edit.surrogate, or
    edit.boundary if a replacement would cut a part in two.
    """
    boundary = boundary_in(body)
    parts = read_parts(body, boundary)
    tokens: dict[tuple[int, int], bytes] = {}
    for number, wanted in grouped(edits).items():
        if number >= len(parts):
            raise WireError("edit.pointer", f"/{number}")
        tokens |= _tokens(body, parts[number], wanted, f"/{number}")
    pieces: list[bytes] = []
    position = 0
    for (start, end), new in sorted(tokens.items()):
        pieces += (body[position:start], new)
        position = end
    result = b"".join((*pieces, body[position:]))
    if result.count(b"--" + boundary) != len(parts) + 1:
        raise WireError("edit.boundary")
    read_parts(result, boundary)
    return result


def set_fields(body: bytes, changes: Sequence[Change]) -> bytes:
    """Return the form with the contents of fields set. Raises WireError change.pointer, edit.boundary."""
    parts = read_parts(body, boundary_in(body))
    edits = []
    for one in changes:
        number, _, place = one.at.removeprefix("/").partition("/")
        if place != "content" or not number.isdecimal() or int(number) >= len(parts):
            raise WireError("change.pointer")
        text = decoded(body[slice(*parts[int(number)].content_span)])
        value = str(one.value).lower() if isinstance(one.value, bool) else str(one.value)
        edits.append(Edit(one.at, 0, len(text), value))
    return edit_form(body, edits)


def decoded(data: bytes) -> str:
    """Return bytes as UTF-8 text. Raises WireError form.utf8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise WireError("form.utf8") from None


def _tokens(body: bytes, part: Part, edits: list[Edit], at: str) -> dict[tuple[int, int], bytes]:
    """Return the new bytes of each span of a part that the edits name."""
    names: dict[str, list[Edit]] = {}
    for one in edits:
        _, place, below = one.at.split("/", 2) if one.at.count("/") > 1 else (*one.at.split("/", 1), "")
        if below and place == "content":
            names.setdefault("lines", []).append(replace(one, at=f"/{below}"))
        else:
            names.setdefault(place if not below else "", []).append(one)
    found: dict[tuple[int, int], bytes] = {}
    for place, wanted in names.items():
        match place:
            case "name":
                found[part.name_span] = _written(body, part.name_span, spliced(part.name, wanted))
            case "filename" if part.filename is not None:
                name = spliced(part.filename, wanted)
                found[part.filename_span] = _written(body, part.filename_span, name)
                if part.extended_span is not None:
                    # Both say the same; what stands in quotes may be longer by %22.
                    found[part.extended_span] = quote(name.translate(_QUOTED), safe="!#$&+^`|").encode()
            case "content" if "lines" not in names:
                text = decoded(body[slice(*part.content_span)])
                found[part.content_span] = spliced(text, wanted).encode()
            case "lines" if "content" not in names:
                found[part.content_span] = edit_lines(body[slice(*part.content_span)], wanted)
            case _:
                raise WireError("edit.pointer", at)
    if part.length_span is not None and (new := found.get(part.content_span)) is not None:
        found[part.length_span] = b"%d" % len(new)
    return found


def _written(body: bytes, span: tuple[int, int], text: str) -> bytes:
    """Return a name as it goes in place of another; one that stood without quotes gets them if it needs them."""
    new = text.translate(_QUOTED).encode()
    quoted = body[span[0] - 1 : span[0]] == b'"'
    return new if quoted or _TOKEN.fullmatch(new) else b'"' + new + b'"'
