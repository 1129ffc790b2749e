"""What a pattern cannot say of a match: whether an address carries data away.

Names of CHECKS are used by rules/output packs (field `check`).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote_plus

from sallyport.detect.watching.encoded import decoded


@dataclass(frozen=True, slots=True)
class _Limits:
    """From where on an address carries too much; characters unless said otherwise.

    address: of all of it; query: of all of its query.
    opaque_value, opaque_part: of a random-looking query value, of one part of host or path.
    spaced, words: in one query value, words between spaces, and words however they are joined.
    names: query parameters that have no business there, with a value of _VALUE_CHARS or more.
    templates: whether `{{x}}` or `${x}` in the query is a finding. fragment: whether anybody gets to read it.
    """

    address: int
    query: int
    opaque_value: int
    opaque_part: int
    spaced: int
    words: int
    names: re.Pattern[str]
    templates: bool
    fragment: bool


_SPOKEN = (
    r"exfil\w*|stolen|leak\w*|secrets?|payload|passwords?|passwd|pwd|cred(?:ential)?s?|api_?keys?|cookies?"
    r"|conversation|(?:chat_?)?history|(?:system_?)?prompt|ssn|credit_?card|private_?key"
)
_NAMES = re.compile(f"(?i)(?:{_SPOKEN})")
_LOADED = _Limits(
    address=1500,
    query=240,
    opaque_value=24,
    opaque_part=48,
    spaced=4,
    words=8,
    names=re.compile(rf"(?i)(?:{_SPOKEN}|data|info|msg|stuff|user_?(?:name|data))"),
    templates=True,
    fragment=False,
)
"""For what is fetched without a click: an image, a frame, a style sheet."""
_REFERENCED = _Limits(
    address=1500,
    query=240,
    opaque_value=40,
    opaque_part=48,
    spaced=8,
    words=12,
    names=_NAMES,
    templates=True,
    fragment=False,
)
"""For a definition that images and links alike may refer to."""
_CLICKED = _Limits(
    address=2000,
    query=1200,
    opaque_value=64,
    opaque_part=96,
    spaced=14,
    words=24,
    names=_NAMES,
    templates=False,
    fragment=True,
)
"""For links that a person has to follow."""

_ADDRESS = re.compile(
    r"(?i)(?:[a-z][a-z0-9+.-]{0,20}:)?[/\\]{2}([^/\\?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?\Z", re.DOTALL
)
_PLACEHOLDER = re.compile(r"(?:<|%3C|&lt;)[A-Z][A-Z0-9_]{0,50}_[a-z2-7]{10}(?:>|%3E|&gt;)")
_TEMPLATE = re.compile(r"\{\{|\$\{|%7B%7B|%24%7B|\[(?:INSERT|DATA|SECRET|YOUR)\b", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]+")
_PLAIN = re.compile(r"[A-Za-z0-9+_=-]+")
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64}|[0-9A-Z]{26}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MIN_ENCODED = 16
"""Characters of an encoded text: 12 bytes that are all printable do not come by chance."""
_VALUE_CHARS = 4
_RANDOM = 0.25
"""Share of neighbours of different kinds (capital, small letter, digit): words have fewer, base32 has more."""


def carried_when_loaded(address: str) -> bool:
    """Say whether an address that is fetched by itself carries more than the name of what it fetches."""
    return _carries(address, _LOADED)


def carried_when_referenced(address: str) -> bool:
    """Say the same of an address that stands apart, for links and images to refer to."""
    return _carries(address, _REFERENCED)


def carried_when_clicked(address: str) -> bool:
    """Say whether a link carries what no ordinary link does."""
    return _carries(address, _CLICKED)


def _carries(address: str, limits: _Limits) -> bool:
    if len(address) > limits.address or _PLACEHOLDER.search(address):
        return True
    parts = _ADDRESS.match(address)
    if parts is None:
        return False
    host, path, query, fragment = (part or "" for part in parts.groups())
    if len(query) > limits.query or (limits.templates and _TEMPLATE.search(query)):
        return True
    labels = host.rpartition("@")[2].split(".")[:-1]
    if any(_encoded(part) or _opaque(part, limits.opaque_part) for part in (*labels, *_segments(path))):
        return True
    sent = f"{query}&{fragment}" if limits.fragment else query
    return any(_says(name, value, limits) for name, value in _members(sent))


def _segments(path: str) -> Iterator[str]:
    for part in path.split("/"):
        yield unquote_plus(part)


def _members(query: str) -> Iterator[tuple[str, str]]:
    for member in re.split("[&;]", query):
        name, equals, value = member.partition("=")
        yield (name, unquote_plus(value)) if equals else ("", unquote_plus(member))


def _says(name: str, value: str, limits: _Limits) -> bool:
    if len(value) >= _VALUE_CHARS and limits.names.fullmatch(name):
        return True
    if _ADDRESS.match(value):
        return _carries(value, limits)
    words = _WORD.findall(value)
    if len(words) >= limits.words or len(value.split()) >= limits.spaced <= len(words):
        return True
    return any(_encoded(part) or _opaque(part, limits.opaque_value) for part in (name, value))


def _encoded(part: str) -> bool:
    """Say whether a part is printable text in base64 or hex."""
    for match in _TOKEN.finditer(part):
        token = match.group().strip("=")
        if len(token) < _MIN_ENCODED:
            continue
        for raw in decoded(token):
            if len(raw) >= _MIN_ENCODED // 2 and _readable(raw):
                return True
    return False


def _readable(raw: bytes) -> bool:
    letters = sum(97 <= byte | 0x20 <= 122 for byte in raw)
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in raw) and letters * 2 >= len(raw)


def _opaque(part: str, limit: int) -> bool:
    """Say whether a part looks random: no digest, no words, letters and digits of all kinds mixed."""
    for match in _PLAIN.finditer(part):
        token = match.group()
        if len(token) < limit or _DIGEST.fullmatch(token) or _UUID.fullmatch(token):
            continue
        kinds = [_kind(char) for char in token if char.isalnum()]
        changes = sum(a != b for a, b in pairwise(kinds))
        if len(set(kinds)) > 1 and changes >= _RANDOM * len(kinds):
            return True
    return False


def _kind(char: str) -> int:
    return 0 if char.isdigit() else 1 if char.isupper() else 2


CHECKS: dict[str, Callable[[str], bool]] = {
    "carried_when_loaded": carried_when_loaded,
    "carried_when_referenced": carried_when_referenced,
    "carried_when_clicked": carried_when_clicked,
}
