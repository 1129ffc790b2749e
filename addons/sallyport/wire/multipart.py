"""A form is read by one strict grammar: whatever two parsers could cut differently is refused.

No preamble, no epilogue, no padding, CRLF only, no nesting, and the boundary nowhere but where it delimits. Browsers,
httpx, curl and .NET all write within this grammar. .NET puts no quotes around a name that needs none, and says a
filename twice (filename and filename*): servers differ on which of them they take, so both have to say the same.
Letters beyond ASCII it writes as an encoded word, which some servers undo and others do not: a filename that is one
is read as what it says, and nothing else may look like one. A part may say its length, if that is its length, and
that nothing is encoded in it: OkHttp 4, Spring, and PHP's, Ruby's and Apache's builders of forms do. Ruby's also
ended a form with an empty line for years.

Sources: RFC 7578, RFC 2045 section 6.2, RFC 2046 section 5.1, RFC 2047, RFC 8187; the WHATWG encoding of quotes in
names (%22).
"""

import binascii
import itertools
import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from sallyport.wire.errors import WireError
from sallyport.wire.mediatype import MediaType, parse_media_type, require_utf8

MAX_PARTS = 1000
MAX_HEAD_BYTES = 8192

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=?]{1,70}")
_HEADER = re.compile(rb"([A-Za-z-]{1,40}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
# A token without "'", which is a quote to PHP, and without "*".
_VALUE = rb'(?:"([^"\\\x00-\x1f\x7f]*)"|([0-9A-Za-z!#$%&+\-.^_`|~]+))'
_EXTENDED = rb"utf-8''((?:[0-9A-Za-z!#$&+\-.^_`|~]|%[0-9A-Fa-f]{2})*)"
_DISPOSITION = re.compile(
    rb"form-data;[ ]*name="
    + _VALUE
    + rb"(?:;[ ]*filename="
    + _VALUE
    + rb"(?:;[ ]*filename\*="
    + _EXTENDED
    + rb")?)?",
    re.IGNORECASE,
)
_AS_IT_IS = {b"binary", b"8bit"}
"""Transfer encodings under which content is what it looks like, to every parser."""

_ENCODED_WORD = re.compile(rb"=\?utf-8\?B\?([0-9A-Za-z+/=]*)\?=", re.IGNORECASE)
_LIKE_A_WORD = re.compile(r"=\?.*\?=")


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form. Spans are byte offsets into the body; names as they stand, %22 not decoded.

    filename: None if the part has none; of an encoded word what it says. media_type: None if it has no Content-Type.
    extended_span: of the filename as it is said again (filename*), without its charset; None if it is not.
    length_span: of the length of the content where the part says it.
    """

    name: str
    filename: str | None
    media_type: MediaType | None
    name_span: tuple[int, int]
    filename_span: tuple[int, int]
    content_span: tuple[int, int]
    extended_span: tuple[int, int] | None = None
    length_span: tuple[int, int] | None = None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Raises WireError multipart.media_type if it is no form, multipart.boundary if it has no usable one.
    """
    media_type = parse_media_type(content_type)
    if media_type.essence != "multipart/form-data":
        raise WireError("multipart.media_type")
    try:
        boundary = (media_type.parameter("boundary") or "").encode("ascii")
    except UnicodeEncodeError:
        boundary = b""
    return _checked(boundary)


def boundary_in(body: bytes) -> bytes:
    """Return the boundary that a body opens with. Raises WireError multipart.boundary."""
    end = body.find(b"\r\n", 0, 80)
    return _checked(body[2:end] if body.startswith(b"--") and end > 0 else b"")


def read_parts(body: bytes, boundary: bytes) -> tuple[Part, ...]:
    """Cut a form into its parts.

    Raises WireError multipart.preamble, multipart.delimiter, multipart.truncated, multipart.epilogue,
    multipart.header, multipart.disposition, multipart.nested, multipart.parts, multipart.utf8, or what
    parse_media_type and require_utf8 raise; places are byte offsets.
    """
    delimiter = b"--" + boundary
    # Every occurrence counts, also one after a bare LF or inside a line: other parsers may stop there.
    starts = [m.start() for m in re.finditer(re.escape(delimiter), body)]
    if not starts or starts[0]:
        raise WireError("multipart.preamble", "byte 0")
    if len(starts) > MAX_PARTS + 1:
        raise WireError("multipart.parts")
    parts: list[Part] = []
    for start, following in itertools.pairwise(starts):
        head = start + len(delimiter)
        if body[head : head + 2] != b"\r\n" or body[following - 2 : following] != b"\r\n":
            raise WireError("multipart.delimiter", f"byte {head}")
        parts.append(_read_part(body, head + 2, following - 2))
    close = starts[-1] + len(delimiter)
    if body[close : close + 2] != b"--":
        raise WireError("multipart.truncated", f"byte {len(body)}")
    if body[close + 2 :] not in (b"", b"\r\n", b"\r\n\r\n"):
        raise WireError("multipart.epilogue", f"byte {close + 2}")
    return tuple(parts)


def _checked(boundary: bytes) -> bytes:
    if not _BOUNDARY.fullmatch(boundary):
        raise WireError("multipart.boundary")
    return boundary


def _read_part(body: bytes, start: int, end: int) -> Part:
    head_end = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEAD_BYTES))
    if head_end < 0:
        raise WireError("multipart.header", f"byte {start}")
    found: dict[bytes, tuple[int, bytes]] = {}
    at = start
    for line in body[start:head_end].split(b"\r\n"):
        header = _HEADER.fullmatch(line)
        if not header or header[1].lower() in found:
            raise WireError("multipart.header", f"byte {at}")
        found[header[1].lower()] = at + header.start(2), header[2].rstrip(b" \t")
        at += len(line) + 2
    content = head_end + 4, end
    length = found.pop(b"content-length", None)
    # Servers that go by another length, another encoding or anything unheard of would read another content.
    encoding_at, encoding = found.pop(b"content-transfer-encoding", (start, b"binary"))
    if encoding.lower() not in _AS_IT_IS:
        raise WireError("multipart.header", f"byte {encoding_at}")
    if length is not None and length[1] != b"%d" % (end - content[0]):
        raise WireError("multipart.header", f"byte {length[0]}")
    if not found.keys() <= {b"content-disposition", b"content-type"}:
        raise WireError("multipart.header", f"byte {start}")
    value_at, value = found.get(b"content-disposition", (start, b""))
    disposition = _DISPOSITION.fullmatch(value)
    if not disposition:
        raise WireError("multipart.disposition", f"byte {value_at}")
    name, filename, extended = (_span(disposition, groups, value_at) for groups in ((1, 2), (3, 4), (5,)))
    assert name is not None
    return Part(
        name=_plain(_decoded(body[slice(*name)], value_at), value_at),
        filename=None if filename is None else _filename(body, filename, extended),
        media_type=_media_type(*found[b"content-type"]) if b"content-type" in found else None,
        name_span=name,
        filename_span=filename or (value_at, value_at),
        content_span=content,
        extended_span=extended,
        length_span=None if length is None else (length[0], length[0] + len(length[1])),
    )


def _span(found: re.Match[bytes], groups: tuple[int, ...], at: int) -> tuple[int, int] | None:
    """Return where the one of some groups stands that has matched, None if none has."""
    start, end = next((found.span(group) for group in groups if found[group] is not None), (-1, -1))
    return None if start < 0 else (at + start, at + end)


def _filename(body: bytes, at: tuple[int, int], extended: tuple[int, int] | None) -> str:
    """Return a filename. One that is said twice has to be the same: servers take either."""
    plain = body[slice(*at)]
    if word := _ENCODED_WORD.fullmatch(plain):
        try:
            plain = binascii.a2b_base64(word[1], strict_mode=True)
        except binascii.Error:
            raise WireError("multipart.disposition", f"byte {at[0]}") from None
    said = _plain(_decoded(plain, at[0]), at[0])
    if extended is not None and _decoded(unquote_to_bytes(body[slice(*extended)]), extended[0]) != said:
        raise WireError("multipart.disposition", f"byte {extended[0]}")
    return said


def _plain(name: str, at: int) -> str:
    """Return a name that every server reads alike: none undoes anything in it."""
    if _LIKE_A_WORD.search(name) or any(letter < " " or letter == "\x7f" for letter in name):
        raise WireError("multipart.disposition", f"byte {at}")
    return name


def _media_type(at: int, value: bytes) -> MediaType:
    text = _decoded(value, at)
    require_utf8(text)
    media_type = parse_media_type(text)
    if media_type.essence.startswith(("multipart/", "message/")):
        raise WireError("multipart.nested", f"byte {at}")
    return media_type


def _decoded(value: bytes, at: int) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WireError("multipart.utf8", f"byte {at}") from None
