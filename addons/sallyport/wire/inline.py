"""Files that stand in a string, in base64 or as a data URL: what is text in them is read, edited and encoded again.

A file is read as text if its bytes are UTF-8 without a NUL, whatever media type it claims; its text has the pointer of
the string with "~t" behind it. Whether that was all that there is to it, is_whole says.
"""

import base64
import binascii
import codecs
import re
from collections.abc import Sequence

from sallyport.decision import Edit
from sallyport.wire.errors import WireError
from sallyport.wire.textsplice import spliced

TEXT_MARK = "~t"
"""Ends a pointer to the text in a file; no valid RFC 6901 escape, so it cannot collide."""

_DATA_URL = re.compile(r"data:[^,;]{0,127}(?:;[^,;]{0,127}){0,8};base64,", re.IGNORECASE)
_HEAD_CHARS = 4096
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_URL_SAFE = str.maketrans("-_", "+/")
_TEXTUAL = frozenset(
    (
        *("application/csv", "application/javascript", "application/json", "application/json-lines"),
        *("application/jsonl", "application/octet-stream", "application/sql", "application/toml"),
        *("application/x-jsonlines", "application/x-ndjson", "application/x-sh", "application/x-yaml"),
        *("application/xml", "application/yaml", "application/x-python", "application/x-javascript"),
    )
)


def is_whole(text: str, media_type: str) -> bool:
    """Say whether a file that is read as this text has nothing in it beside: no control characters, no other type."""
    if _CONTROL.search(text):
        return False
    if media_type.startswith("text/") or media_type in _TEXTUAL:
        return True
    return media_type.startswith("application/") and media_type.endswith(("+json", "+xml"))


def text_of(content: bytes) -> str | None:
    """Return a file as text, None if it is none."""
    if b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


def text_in(encoded: str) -> str | None:
    """Return the text that a string in base64 holds, None if it is no base64 or no text."""
    if len(encoded) > _HEAD_CHARS:
        head = _decoded(encoded[:_HEAD_CHARS], whole=False)
        if head is None or not _may_begin_text(head):
            return None
    content = _decoded(encoded, whole=True)
    return None if not content else text_of(content)


def edited(string: str, edits: Sequence[Edit]) -> str:
    """Return a string whose file has edits in its text, encoded anew behind the same head.

    Raises WireError edit.pointer where there is no text, or what spliced raises.
    """
    head = _DATA_URL.match(string)
    start = head.end() if head else 0
    content = _decoded(string[start:], whole=True)
    if content is None:
        raise WireError("edit.pointer")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise WireError("edit.pointer") from None
    encoded = base64.b64encode(spliced(text, edits).encode()).decode()
    return string[:start] + encoded


def _decoded(encoded: str, *, whole: bool) -> bytes | None:
    """Return the bytes of base64 in either alphabet, None if it is none. whole: not cut off anywhere."""
    digits = encoded.replace("\n", "").replace("\r", "").translate(_URL_SAFE)
    bare = digits.rstrip("=")
    if not whole:
        bare = bare[: len(bare) // 4 * 4]
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _may_begin_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
