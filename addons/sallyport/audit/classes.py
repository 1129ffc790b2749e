"""How much of what goes to an AI host was read, and the closed lists of words that tell of it.

Every exchange, and every connection to an AI host that never became one, ends in exactly one class. A content type is
told by names of these lists alone, since a client writes into it what it likes.
"""

from enum import StrEnum


class Coverage(StrEnum):
    """How one request, or one connection that never became a request, ended. From the best read to the least."""

    PARSED = "parsed"
    """A dialect read every text of it."""
    PARSED_IN_PART = "parsed_in_part"
    """Read, but for what `unread` names: images, files by reference, signed state, an answer."""
    OPAQUE = "opaque"
    """It left, and nobody read its body: the policy let it pass."""
    TUNNELLED = "tunnelled"
    """The connection passed as it came: where people sign in, which a vendor's restriction may concern."""
    DENIED = "denied"
    """It did not leave."""

    def least(self, other: "Coverage | None") -> "Coverage":
        """Return which of two was read less; None is unknown, and so is no better than this."""
        return self if other is None else max(self, other, key=_ORDER.index)


_ORDER = tuple(Coverage)

NO_BODY = "none"
"""The content type of a request without a body."""

_KINDS = frozenset(
    ("application", "audio", "font", "image", "message", "model", "multipart", "text", "video")
)
_NAMES = frozenset(
    (
        *("application/gzip", "application/grpc", "application/grpc-web", "application/grpc-web+proto"),
        *("application/grpc+proto", "application/connect+proto", "application/connect+json"),
        *("application/json", "application/jsonl", "application/msword", "application/octet-stream"),
        *("application/pdf", "application/proto", "application/protobuf", "application/rtf"),
        *("application/vnd.amazon.eventstream", "application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
        *(
            "application/x-amz-json-1.0",
            "application/x-amz-json-1.1",
            "application/x-file-reference",
            "application/x-prompt-reference",
        ),
        *("application/x-ndjson", "application/x-protobuf", "application/x-provider-state"),
        *("application/x-tar", "application/x-token-ids", "application/x-www-form-urlencoded"),
        *("application/xml", "application/yaml", "application/zip"),
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        *("audio/aac", "audio/flac", "audio/m4a", "audio/mp3", "audio/mp4", "audio/mpeg", "audio/ogg"),
        *("audio/opus", "audio/pcm", "audio/pcm16", "audio/wav", "audio/webm", "audio/x-wav"),
        *("image/gif", "image/heic", "image/jpeg", "image/png", "image/svg+xml", "image/webp"),
        *("multipart/form-data", "text/css", "text/csv", "text/html", "text/javascript", "text/markdown"),
        *("text/plain", "text/xml", "video/mp4", "video/mpeg", "video/quicktime", "video/webm"),
    )
)


def media_name(content_type: str) -> str:
    """Return a media type by a name of the list, else as its kind and `other`, such as `image/other`."""
    essence = content_type.partition(";")[0].strip().lower()
    if essence in _NAMES:
        return essence
    kind = essence.partition("/")[0]
    return f"{kind}/other" if kind in _KINDS and "/" in essence else "other"
