"""Text that clients wrote, made safe to store and to show: escaped, bounded, never refused.

A client chooses its model name, its host and often its principal id. None of them may keep its own row
out of the store (NUL and lone surrogates do that to SQLite and PostgreSQL) or change what a terminal shows.
"""

import re
from functools import lru_cache
from hashlib import blake2s

MAX_TEXT_CHARS = 256

_UNSTORABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]|\\(?=x[0-9a-f]{2}|u[0-9a-f]{4})")
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})|\\u([0-9a-f]{4})")
_MAX_CODE_CHARS = 120
MAX_CODED_CHARS = 100
"""Of an id in the detail of an event: with the act before it still a code."""

_CODE = re.compile(r"[A-Za-z0-9_.:/-]+")

INVALID_CODE = "invalid_code"


class Stored(str):
    """A text that storable() has already written; writing it again changes nothing."""

    __slots__ = ()


def storable(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    r"""Return the text with every character that a store or a line cannot hold written as \xhh or \uhhhh.

    A backslash is escaped only where it could be read as such an escape, so DOMAIN\user stays as it is and
    two different texts never become the same one. Longer texts keep their beginning, their length in code
    points and a digest, so that two long names remain two names.
    """
    if len(text) <= limit and text.isascii() and text.isprintable() and "\\" not in text:
        return text  # nearly every text, so it is asked first
    if isinstance(text, Stored):
        return text
    full = text
    if len(text) > limit:
        digest = blake2s(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        text = f"{text[: limit - 48]}…[{len(text)} characters, blake2s {digest}]"
    text = _UNSTORABLE.sub(_escaped, text)
    return text if text == full else Stored(text)


def all_storable(texts: tuple[str, ...], limit: int) -> bool:
    """Say whether each text is as storable() would write it within the limit; one look for all of them."""
    together = "".join(texts)
    return (
        together.isascii()
        and together.isprintable()
        and "\\" not in together
        and max(map(len, texts)) <= limit
    )


def original(stored: str) -> str:
    """Return the text that storable() was given; only where it was within the limit."""
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), stored)


def code(text: str) -> str:
    """Return a short stable code as it is, and INVALID_CODE for anything that could be prose."""
    return text if not text or (len(text) <= _MAX_CODE_CHARS and _is_code(text)) else INVALID_CODE


@lru_cache(1024)
def _is_code(text: str) -> bool:
    """Say whether a text is a code; there are few of them, and each is asked about for every event."""
    return _CODE.fullmatch(text) is not None


def coded(id: str) -> str:
    """Return an id as a code can hold it: letters, digits, `_.:/-`, and any other character as `_x40_`.

    Of a longer one than an event takes, the beginning and a digest, so that two ids never become the same one.
    """
    spelt = re.sub(r"[^A-Za-z0-9_.:/-]", lambda found: f"_x{ord(found[0]):x}_", id)
    if len(spelt) <= MAX_CODED_CHARS:
        return spelt
    digest = blake2s(id.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{spelt[: MAX_CODED_CHARS - 20]}.{digest}"


def printable(text: str) -> str:
    r"""Return the text with everything escaped that a terminal would obey rather than show.

    Covers ANSI sequences, line ends, bidirectional controls and zero-width characters.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped_char(c) for c in text)


def _escaped(found: re.Match[str]) -> str:
    return _escaped_char(found[0])


def _escaped_char(char: str) -> str:
    point = ord(char)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
