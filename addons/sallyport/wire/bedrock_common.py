"""What the Bedrock dialects share: refusals that botocore raises once and does not retry, error bodies."""

from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.wire.dialect import Answer
from sallyport.wire.eventstream import json_frame
from sallyport.wire.jsondialect import dump, headers, message
from sallyport.wire.jsontext import Json
from sallyport.wire.shape import Shape
from sallyport.wire.shapes import made

PROBLEM = Shape(Surface.DOCUMENT, made("__type code type"), names=False)
CODES = ("__type", "code", "type")

# botocore retries 429 and 5xx whatever the headers say: such a refusal goes out as 403, unless the provider failed.
_TYPES = {400: "ValidationException", 403: "AccessDeniedException", 404: "ResourceNotFoundException"}


def error(refusal: Refusal) -> dict[str, Json]:
    """Return the body of a refusal."""
    return {"message": message(refusal)}


def refuse(refusal: Refusal) -> Answer:
    """Return {"message"} with the error's name in x-amzn-errortype, where AWS SDKs look for it."""
    status = 400 if refusal.status in (413, 422) else refusal.status
    if refusal.failed:
        name = "ServiceUnavailableException"
    else:
        status = status if status in _TYPES else 403
        name = _TYPES[status]
    return Answer(status, (*headers(refusal), ("x-amzn-errortype", name)), dump(error(refusal)))


def stream_error(refusal: Refusal) -> bytes:
    """Return an exception frame; validationException is modelled in every stream, others lose their text."""
    return json_frame("exception", "validationException", dump(error(refusal)))
