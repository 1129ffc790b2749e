"""Answers without the real credential: what a provider quotes of it is starred out before the client reads it.

Looked for is the credential itself, however it is spelt: as it is, percent-encoded, escaped as in JSON; in
errors also any eight characters of it in a row. Replacements are as long as what they replace, so that
no length and no frame changes.
"""

import re
from urllib.parse import quote

from mitmproxy import http

from sallyport.proxy.stream import Step, Tap
from sallyport.wire.coding import decode_answer

FRAGMENT_CHARS = 8
"""A row this long of a credential in an error is no accident."""

MAX_FRAGMENT_BYTES = 64 * 1024


_JSON_ESCAPES = (
    str.maketrans({"/": "\\/"}),
    str.maketrans({"=": "\\u003d"}),
    str.maketrans({"=": "\\u003d", "/": "\\/"}),
    str.maketrans({"+": "\\u002B"}),
    str.maketrans({"+": "\\u002b"}),
    str.maketrans({"+": "\\u002B", "=": "\\u003D", "/": "\\u002F"}),
    str.maketrans({"+": "\\u002b", "=": "\\u003d", "/": "\\u002f"}),
)
"""What common writers of JSON make of the characters of base64: of PHP, of Java, of .NET; then everything."""


def _escaped(credential: str) -> set[bytes]:
    return {credential.translate(escapes).encode() for escapes in _JSON_ESCAPES}


def _percent_encoded(credential: str) -> set[bytes]:
    upper = quote(credential, safe="")
    lower = re.sub("%..", lambda found: found[0].lower(), upper)
    return {upper.encode(), lower.encode()}


class Cleaner:
    """Takes credentials out of one answer, given whole or in pieces."""

    def __init__(self, *credentials: str) -> None:
        spellings: set[bytes] = set()
        pieces: set[bytes] = set()
        for credential in credentials:
            raw = credential.encode("ascii")
            spellings |= {raw, *_percent_encoded(credential), *_escaped(credential)}
            starts = range(len(raw) - FRAGMENT_CHARS + 1)
            pieces.update(raw[start : start + FRAGMENT_CHARS] for start in starts)
        self._spellings = tuple(sorted(spellings, key=len, reverse=True))
        self._pieces = frozenset(pieces)
        self._held = b""
        self.found = 0

    def whole(self, data: bytes) -> bytes:
        """Return the data without the credential."""
        for spelling in self._spellings:
            if spelling in data:
                self.found += data.count(spelling)
                data = data.replace(spelling, b"*" * len(spelling))
        return data

    def error(self, data: bytes) -> bytes:
        """Return the body of an error without the credential and without pieces of it."""
        data = self.whole(data)
        if len(data) > MAX_FRAGMENT_BYTES:
            return data
        covered = bytearray(data)
        for piece in self._pieces:
            at = data.find(piece)
            while at >= 0:
                self.found += 1
                covered[at : at + FRAGMENT_CHARS] = b"*" * FRAGMENT_CHARS
                at = data.find(piece, at + 1)
        return bytes(covered)

    def feed(self, data: bytes) -> bytes:
        """Return what of a stream is clean; an end that may be the beginning of the credential waits."""
        data = self.whole(self._held + data)
        keep = self._beginning(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def end(self) -> bytes:
        """Return what waited, which was not the credential after all."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, data: bytes) -> int:
        """Return how many bytes at the end of the data a spelling begins with."""
        kept = 0
        for spelling in self._spellings:
            at = data.find(spelling[:1], max(0, len(data) - len(spelling) + 1))
            while at >= 0:
                if spelling.startswith(data[at:]):
                    kept = max(kept, len(data) - at)
                    break
                at = data.find(spelling[:1], at + 1)
        return kept


class CleanTap:
    """A tap behind which nothing of the credential comes out."""

    def __init__(self, tap: Tap, cleaner: Cleaner) -> None:
        self._tap = tap
        self._cleaner = cleaner

    def feed(self, data: bytes) -> Step:
        return self._cleaned(self._tap.feed(data))

    def end(self) -> Step:
        step = self._cleaned(self._tap.end())
        return Step([*step.out, self._cleaner.end()], step.finish)

    def wake(self) -> Step:
        return self._cleaned(self._tap.wake())

    def broken(self) -> Step:
        """What waited may be half of the credential; it stays here."""
        return Step([self._cleaner.whole(b"".join(self._tap.broken().out))], finish=True)

    def _cleaned(self, step: Step) -> Step:
        out = [self._cleaner.feed(b"".join(step.out))]
        return Step([*out, self._cleaner.end()] if step.finish else out, step.finish, step.wake_s)


def clean_head(response: http.Response, cleaner: Cleaner) -> None:
    """Take the credential out of headers, trailers and the reason phrase."""
    for fields in (response.headers, response.trailers):
        if fields is not None:
            fields.fields = tuple((cleaner.whole(k), cleaner.whole(v)) for k, v in fields.fields)
    response.data.reason = cleaner.whole(response.data.reason)


def clean_body(response: http.Response, cleaner: Cleaner, limit_bytes: int) -> None:
    """Take the credential out of a whole body. Raises WireError for one whose coding cannot be undone."""
    raw = response.raw_content or b""
    body, alike = decode_answer(raw, response.headers.get("content-encoding"), limit_bytes=limit_bytes)
    clean = cleaner.error(body) if response.status_code >= 400 else cleaner.whole(body)
    if clean == body and alike:
        return
    response.headers.pop("content-encoding", None)
    response.raw_content = clean
    response.headers["content-length"] = str(len(clean))
