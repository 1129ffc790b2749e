"""About how many tokens content has that is no text: reserved, and charged where the provider says nothing.

Token ids are exact; the rest is on the high side of what providers document for their own models.
"""

from collections.abc import Iterable

from sallyport.exchange import Attachment

BYTES_PER_ID = 4
"""As the dialects give the size of an array of token ids."""

PER_IMAGE = 1600
"""Anthropic's most for one image; OpenAI's high detail and Gemini's tiles of a usual image are below it."""

BYTES_PER_TOKEN = 64
"""Of sound, film and documents that come inline."""

UNREAD_BYTES_PER_TOKEN = 4
"""Of a whole body that no dialect reads."""

BY_REFERENCE = 1600
"""Of content that the provider fetches."""


def attached_tokens(attachments: Iterable[Attachment]) -> int:
    """Return the tokens of attachments together."""
    return sum(map(_tokens, attachments))


def _tokens(attachment: Attachment) -> int:
    if attachment.media_type == "application/x-token-ids":
        return (attachment.size or 0) // BYTES_PER_ID
    if attachment.media_type.startswith("image/"):
        return PER_IMAGE
    if attachment.size is None:
        return BY_REFERENCE
    unread = attachment.at == ""
    return -(-attachment.size // (UNREAD_BYTES_PER_TOKEN if unread else BYTES_PER_TOKEN))
