"""What a string that is not plain text is: a word of the protocol, a blob, a reference, JSON source.

A place that a caller can fill is never simply skipped. A word is left out only while it looks like
one; a blob is reported as an attachment, and as text too where it is not what it claims to be. A blob that is a text
file is a text like any other (inline.py).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from sallyport.exchange import Attachment, Surface
from sallyport.wire.inline import TEXT_MARK, is_whole, text_in
from sallyport.wire.jsontext import Json
from sallyport.wire.shape import FLOW, SOURCE, Leaf, Reading

OCTETS = "application/octet-stream"
FILE_REFERENCE = "application/x-file-reference"
PROMPT_REFERENCE = "application/x-prompt-reference"
PROVIDER_STATE = "application/x-provider-state"
"""Signatures and encrypted reasoning: every agent sends them back, so a policy can tell them from files."""

# No digits but a date and a version: a word has no room for a number, an address or a key.
_WORD = re.compile(
    r"[a-z]{1,20}[0-9]{0,2}(?:[_-][a-z]{1,20}){0,6}(?:[_-]20[0-9]{6})?(?:[_-]v?[0-9])?|[A-Z]{2,20}(?:_[A-Z]{1,20}){0,6}"
)
_MODEL = re.compile(r"[A-Za-z][A-Za-z0-9]{0,19}(?:[./:_-][A-Za-z0-9]{1,19}){0,12}")
_DATE = re.compile(r"20[0-9]{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])(?![0-9])")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n"
_DATA_URL = re.compile(r"data:([^,;]{0,127})((?:;[^,;]{0,127}){0,8}),", re.IGNORECASE)
# WHATWG's URL parser strips these; what only some readers take for a data URL is read as none, and is not fetched.
_IS_DATA_URL = re.compile(r"[\x00-\x20]*d[\t\n\r]*a[\t\n\r]*t[\t\n\r]*a[\t\n\r]*:", re.IGNORECASE)
_PLAIN_PARAMETERS = (";base64", ";charset=utf-8;base64")
_MEDIA_NAMES = ("media_type", "mimeType", "mime_type")
_MEDIA = re.compile(r"[A-Za-z]{1,16}/[A-Za-z0-9.+*-]{1,64}")
_MAX_WORD = 64
_MAX_MEDIA = 81
_MAX_MODEL_DIGITS = 8


def is_word(text: str) -> bool:
    """Say whether a string can only be a word of a protocol: json_schema, HARM_CATEGORY_HARASSMENT."""
    return len(text) <= _MAX_WORD and _matches_word(text)


def is_model(text: str) -> bool:
    """Say whether a string looks like a model's name: few digits besides a date, no long random run."""
    return len(text) <= _MAX_WORD and _matches_model(text)


def is_media(text: str) -> bool:
    """Say whether a string is a plain media type."""
    return len(text) <= _MAX_MEDIA and _MEDIA.fullmatch(text) is not None


# Only short strings come to these caches, so that no caller can fill memory through them.


@lru_cache(4096)
def _matches_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


@lru_cache(1024)
def _matches_model(text: str) -> bool:
    if _MODEL.fullmatch(text) is None:
        return False
    return sum(c.isdigit() for c in _DATE.sub("", text)) <= _MAX_MODEL_DIGITS


def word(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """A value of a closed set; anything that does not look like one is text."""
    if not is_word(text):
        reading.text(at, surface, text)


def caching(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """The type of a request to keep a prompt in the provider's cache; how long stands beside it."""
    if members.get("ttl") not in (None, "5m"):
        reading.cache_ttl = "1h"  # the longest that is known, and the dearest
    else:
        reading.cache_ttl = reading.cache_ttl or "5m"
    word(reading, at, text, members, surface)


def model(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """The name of a model; anything that does not look like one is text."""
    if not is_model(text):
        reading.text(at, surface, text)


def media_type(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """A media type; anything that does not look like one is text."""
    if not is_media(text) or sum(c.isdigit() for c in text) > _MAX_MODEL_DIGITS:
        reading.text(at, surface, text)


def skip(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """An id or a word that the provider made. For answers only: a caller could write into it."""


def opaque(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """A signature or an encrypted blob that the provider made and the caller sends back."""
    _blob(reading, at, text, PROVIDER_STATE, surface)


def base64(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """Inline content in base64; its media type stands beside it (audio: its format)."""
    _blob(reading, at, text, _told(members, sound=members.get("format")) or OCTETS, surface)


def file_data(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """Inline content, as a data URL or in bare base64."""
    if _IS_DATA_URL.match(text):
        _data_url(reading, at, text, surface)
    else:
        _blob(reading, at, text, OCTETS, surface)


def reference(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """The id of a file that lies at the provider: content that is not in this body."""
    reading.attachments.append(Attachment(at, FILE_REFERENCE, None))
    reading.text(at, surface, text)


def kept(media_type: str) -> Leaf:
    """Return a leaf for the id of content of this kind that lies at the provider."""

    def leaf(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
        reading.attachments.append(Attachment(at, media_type, None))
        reading.text(at, surface, text)

    return leaf


def url(media_type: str) -> Leaf:
    """Return a leaf for a URL that the provider fetches, or a data URL.

    media_type: what is told of a fetched URL where no media type stands beside it.
    """

    def leaf(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
        if _IS_DATA_URL.match(text):
            _data_url(reading, at, text, surface)
            return
        reading.attachments.append(Attachment(at, _media(_told(members) or media_type), None))
        reading.text(at, surface, text)

    return leaf


def source(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """JSON source, whole: tool arguments."""
    reading.marks[at] = SOURCE
    reading.text(at, surface, text)


def flow(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """A piece of text that continues its channel."""
    reading.marks[at] = FLOW
    reading.text(at, surface, text)


def source_flow(reading: Reading, at: str, text: str, members: Mapping[str, Json], surface: Surface) -> None:
    """A piece of JSON source that continues its channel."""
    reading.marks[at] = FLOW | SOURCE
    reading.text(at, surface, text)


def _data_url(reading: Reading, at: str, text: str, surface: Surface) -> None:
    head = _DATA_URL.match(text)
    if head is None:
        reading.attachments.append(Attachment(at, OCTETS, len(text)))
        reading.text(at, surface, text)
    elif "base64" in head[2].lower():
        if not (is_media(head[1]) and head[2].lower() in _PLAIN_PARAMETERS):
            reading.text(at, surface, text)  # parameters have room for text
            reading.attachments.append(Attachment(at, _media(head[1]), _size(text[head.end() :])))
        else:
            _blob(reading, at, text, head[1], surface, head.end())
    else:
        reading.attachments.append(Attachment(at, _media(head[1]), len(text) - head.end()))
        reading.text(at, surface, text)


def _blob(reading: Reading, at: str, text: str, media: str, surface: Surface, start: int = 0) -> None:
    data = text[start:]
    media = _media(media)
    content = text_in(data) if media != PROVIDER_STATE else None
    if content is not None:
        reading.text(at + TEXT_MARK, surface, content)
        if is_whole(content, media):
            return
    reading.attachments.append(Attachment(at, media, _size(data)))
    if not data.isascii() or data.encode().translate(None, _BASE64):
        reading.text(at, surface, text)


def _told(members: Mapping[str, Json], sound: Json = None) -> str | None:
    """Return the media type that stands beside content, None where there is none. sound: a format of audio.

    Where two differ, a provider may go by either: the content is of neither.
    """
    found = {media for name in _MEDIA_NAMES if type(media := members.get(name)) is str}
    if type(sound) is str and not any(media.endswith(f"/{sound}") for media in found):
        found.add(f"audio/{sound}")
    return OCTETS if len(found) > 1 else next(iter(found), None)


def _size(data: str) -> int:
    digits = len(data) - data.count("=") - data.count("\n") - data.count("\r")
    return digits * 3 // 4


def _media(text: str) -> str:
    """Return a media type fit for records; a caller's free text is not."""
    return text.lower() if is_media(text) else OCTETS
