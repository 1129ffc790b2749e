"""How much of a request was read, from what its passage knows: one class, and codes for what was not.

Codes: `body.<media>` a body that no dialect reads; `attachment.<media>` content beside the texts; `endpoint.<why>` a
call that the catalogue does not have; `wire.<why>` a body that could not be read and passed in observe mode;
`answer.<media>` content of the answer; `answer.unread` an answer that could not be read.
"""

from collections.abc import Sequence

from sallyport.audit.classes import NO_BODY, Coverage, media_name
from sallyport.decision import Decision
from sallyport.exchange import Attachment, Operation, Request, Response
from sallyport.wire.leaves import PROVIDER_STATE

_MAX_TOLD = 4
"""Kinds of content that are named of one request; the rest is `more`."""

CONTINUED = "continued"
"""The conversation that a call goes on with lies at the provider, and did not pass here."""

OPAQUE = "opaque"
"""The dialect of calls that no dialect reads."""


def request_coverage(request: Request, refused: Decision | None, miss: str) -> tuple[Coverage, str]:
    """Return the class of a request that leaves, and what of it was not read.

    refused: why it could not be read, where it left all the same. miss: why the catalogue has no such endpoint.
    """
    if refused is not None:
        return Coverage.OPAQUE, refused.reason
    if miss or (request.dialect == OPAQUE and request.operation is Operation.OPAQUE):
        return Coverage.OPAQUE, f"endpoint.{miss or 'unknown'}"
    if request.dialect == OPAQUE and request.attachments:
        return Coverage.OPAQUE, _codes("body", request.attachments)
    unread = _codes("attachment", request.attachments)
    if request.goes_on and not request.kept_tokens:
        unread = f"{unread} {CONTINUED}".lstrip()
    return (Coverage.PARSED_IN_PART, unread) if unread else (Coverage.PARSED, "")


def answer_unread(answer: Response | None, *, unread: bool) -> str:
    """Return what of an answer was not read, "" where nothing was left out. unread: none of it could be."""
    if unread:
        return "answer.unread"
    if answer is None:
        return ""
    # What is signed or encrypted for the provider itself says nothing to whoever reads the answer.
    return _codes("answer", [one for one in answer.attachments if one.media_type != PROVIDER_STATE])


def content_name(content_type: str, size: int) -> str:
    """Return the content type of a request as the audit tells it. size: bytes of its body."""
    return media_name(content_type) if size else NO_BODY


def _codes(what: str, attachments: Sequence[Attachment]) -> str:
    names = sorted({media_name(attachment.media_type) for attachment in attachments})
    more = ["more"] if len(names) > _MAX_TOLD else []
    return " ".join(f"{what}.{name}" for name in [*names[:_MAX_TOLD], *more])
