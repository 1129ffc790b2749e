"""Formats in which nobody speaks: vectors, files, contents that are not read."""

from sallyport.exchange import Request
from sallyport.wire.dialect import Answer, Ending, Stamp
from sallyport.wire.errors import WireError


class Mute:
    """What a dialect does unless it says more: no stream ends well-formed early, no answer can be made up."""

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "text/event-stream"
    ) -> Ending | None:
        return None

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer | None:
        return None

    def unlinked(self, body: bytes) -> bytes:
        """Return the body: most formats send the whole conversation and link to nothing."""
        return body

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        """Raises WireError shorten.dialect: there is nothing of which a part is an answer."""
        raise WireError("shorten.dialect")
