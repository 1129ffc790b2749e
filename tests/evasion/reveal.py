"""What a patient reader gets out of a request that left: written apart from the package, to judge it.

Every form within two decodes is searched for the value, and for most of it.
"""

import base64
import codecs
import gzip
import html
import json
import quopri
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from evasion.payloads import compact

MOST = 0.75
"""Part of a value that counts as the value."""

_LOOK_ALIKES = str.maketrans(
    "аеорсхуіАЕОРСХТВНКМονιΑΕΟΡΤΒΗΚΜΝΖᴀʙᴄᴅᴇɢɪɴᴏʀꜱᴛᴜ", "aeopcxyiAEOPCXTBHKMoviAEOPTBHKMNZabcdeginorstu"
)


def leaves(value: bytes, core: str, depth: int) -> bool:
    """Say whether a body, path or header value gives the core away within this many decodes."""
    window = max(4, int(len(core) * MOST)) if len(core) < 60 else 40
    parts = {core[n : n + window] for n in range(len(core) - window + 1)}
    seen: set[str] = set()
    level = set(_texts(value))
    for _ in range(depth + 1):
        for text in level:
            plain = compact(text)
            if any(part in plain for part in parts):
                return True
        seen |= level
        level = {new for text in level for new in _decoded(text)} - seen
    return False


def _texts(value: bytes) -> Iterator[str]:
    text = value.decode("utf-8", "surrogateescape")
    yield text
    yield from _joins(text)


def _joins(text: str) -> Iterator[str]:
    """Yield the strings of a JSON text joined: all of them, and those that stand under one name."""
    try:
        found = [*_strings(json.loads(text))]
    except (ValueError, RecursionError):
        return
    yield "\n".join(string for _, string in found)
    for name in {name for name, _ in found}:
        yield "".join(string for own, string in found if own == name)
    yield "".join(string for own, string in found if own)
    for source in (string for _, string in found if string.startswith(("{", "["))):
        yield from _joins(source)


def _strings(value: Any, name: str = "-") -> Iterator[tuple[str, str]]:
    """Yield (name it stands under, string); names of members stand under the empty name."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield "", key
            yield from _strings(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member, name)
    elif isinstance(value, str):
        yield name, value
    elif not isinstance(value, bool) and value is not None:
        yield name, str(value)


def _plain(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES).translate(_SEEN)


class _Seen(dict[int, str]):
    """By code point: nothing for what is not seen, its digit for a decimal of any script, else itself."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        kind = unicodedata.category(char)
        if kind in ("Cf", "Mn", "Me", "Cc") or "\ufe00" <= char <= "\ufe0f":
            char = ""
        elif kind == "Nd":
            char = str(unicodedata.decimal(char))
        return self.setdefault(code, char)


_SEEN = _Seen()


def _hidden(text: str) -> str:
    out = bytearray()
    for c in "" if text.isascii() else text:
        code = ord(c)
        if 0xE0020 <= code <= 0xE007E:
            out.append(code - 0xE0000)
        elif 0xFE00 <= code <= 0xFE0F:
            out.append(code - 0xFE00)
        elif 0xE0100 <= code <= 0xE01EF:
            out.append(code - 0xE0100 + 16)
    return out.decode("utf-8", "ignore")


def _escapes(text: str) -> str:
    text = re.sub(r"\\+u\{([0-9a-fA-F]{1,6})\}", lambda m: chr(int(m[1], 16) % 0x110000), text)
    text = re.sub(r"\\+(?:u|x|U0000)([0-9a-fA-F]{4}|[0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)
    text = re.sub(r"\\+([0-7]{3})", lambda m: chr(int(m[1], 8)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _joined(text: str) -> str:
    return quopri.decodestring(text.encode("utf-8", "ignore")).decode("utf-8", "replace")


def _runs(pattern: str, decode: Callable[[str], bytes]) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        found = []
        for match in compiled.finditer(text):
            try:
                found += _readings(decode(match.group()))
            except (ValueError, UnicodeDecodeError):
                continue
        return "\n".join(found)

    return read


def _readings(raw: bytes) -> Iterator[str]:
    yield raw.decode("latin-1")
    yield raw.decode("utf-8", "ignore")
    yield raw.decode("utf-16-le", "ignore")
    yield raw.decode("utf-16-be", "ignore")
    for wbits in (31, 15, -15):
        try:
            yield zlib.decompress(raw, wbits).decode("utf-8", "ignore")
        except zlib.error:
            continue


def _base64(text: str) -> bytes:
    body = re.sub(r"[\s=]", "", text).translate(str.maketrans("-_", "+/"))
    return base64.b64decode(
        body[: len(body) // 4 * 4 + (len(body) % 4 if len(body) % 4 > 1 else 0)] + "=" * (-len(body) % 4)
    )


def _base32(text: str) -> bytes:
    body = re.sub(r"[\s=]", "", text).upper()
    body = body[: len(body) - (1 if len(body) % 8 in (1, 3, 6) else 0)]
    return base64.b32decode(body + "=" * (-len(body) % 8))


def _hex(text: str) -> bytes:
    digits = re.sub(r"0x|[^0-9a-fA-F]", "", text)
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


_READERS: tuple[Callable[[str], str], ...] = (
    _plain,
    _hidden,
    html.unescape,
    unquote,
    _escapes,
    _joined,
    lambda t: codecs.encode(t, "rot13"),
    lambda t: re.sub(r"\\(.)", r"\1", t),
    _runs(r"[A-Za-z0-9+/_-]{8,}(?:\s*[A-Za-z0-9+/_-]{2,}(?![a-z]*\b[.]))*={0,2}", _base64),
    _runs(r"[A-Za-z0-9+/_-]{8,}={0,2}", _base64),
    _runs(r"\b[A-Za-z2-7]{12,}", _base32),
    _runs(r"(?:0x)?[0-9a-fA-F]{2}(?:[ :,\n-]{0,2}(?:0x)?[0-9a-fA-F]{2}){5,}", _hex),
)


def _decoded(text: str) -> Iterator[str]:
    for read in _READERS:
        found = read(text)
        if found and found != text:
            yield found


def undone(body: bytes, coding: str) -> bytes:
    """Return a body without a coding that is still on it, as far as this is possible."""
    try:
        return gzip.decompress(body) if coding else body
    except (OSError, EOFError, zlib.error):
        return body
