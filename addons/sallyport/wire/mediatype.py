"""A Content-Type is one media type with parameters that occur once, or it is refused.

Sources: RFC 9110 sections 5.6 and 8.3, RFC 8259 section 8.1 (JSON is UTF-8).
"""

import re
from dataclasses import dataclass

from sallyport.wire.errors import WireError

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE = re.compile(rf"[ \t]*({_WORD}/{_WORD})[ \t]*")
# No backslash in a quoted value: parsers disagree on what it escapes, and no honest boundary needs one.
_PARAMETER = re.compile(rf';[ \t]*({_WORD})=(?:({_WORD})|"([^"\\\x00-\x08\x0a-\x1f\x7f]*)")[ \t]*')
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii"})


@dataclass(frozen=True, slots=True)
class MediaType:
    """A parsed Content-Type. essence: "type/subtype" in lower case; parameter names are in lower case."""

    essence: str
    parameters: tuple[tuple[str, str], ...] = ()

    def parameter(self, name: str) -> str | None:
        return next((value for key, value in self.parameters if key == name), None)


def parse_media_type(content_type: str) -> MediaType:
    """Parse a Content-Type header.

    Raises WireError content_type.malformed (two joined headers are that too) or content_type.duplicate.
    """
    essence = _ESSENCE.match(content_type)
    if not essence:
        raise WireError("content_type.malformed", "character 0")
    parameters: dict[str, str] = {}
    at = essence.end()
    while at < len(content_type):
        parameter = _PARAMETER.match(content_type, at)
        if not parameter:
            raise WireError("content_type.malformed", f"character {at}")
        name = parameter[1].lower()
        if "*" in name:
            # RFC 8187 spells a parameter a second way; readers differ on which one wins.
            raise WireError("content_type.malformed", f"character {at}")
        if name in parameters:
            raise WireError("content_type.duplicate", f"character {at}")
        parameters[name] = parameter[2] if parameter[3] is None else parameter[3]
        at = parameter.end()
    return MediaType(essence[1].lower(), tuple(parameters.items()))


def require_json(content_type: str) -> None:
    """Check that a body is labelled as the JSON it is read as: one that obeys another label reads other text.

    Raises WireError content_type.other, or what parse_media_type raises.
    """
    if not content_type:
        raise WireError("content_type.other")
    if parse_media_type(content_type).essence != "application/json":
        raise WireError("content_type.other")


def require_utf8(content_type: str | None) -> None:
    """Check that a Content-Type leaves UTF-8 as the only reading of the body; None is an absent header.

    Raises WireError charset.other, or what parse_media_type raises.
    """
    if content_type is None:
        return
    charset = parse_media_type(content_type).parameter("charset")
    if charset is not None and charset.lower() not in _UTF8:
        raise WireError("charset.other")
