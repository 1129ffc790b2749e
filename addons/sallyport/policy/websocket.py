"""Which WebSockets are read, and how far: the section `websocket` of a policy."""

from functools import cached_property
from typing import Literal

from pydantic import Field

from sallyport.policy.globs import Globs
from sallyport.policy.vocabulary import KIB, MIB, Name, Section


class WebSocket(Section):
    """Calls that leave HTTP for a WebSocket: OpenAI Realtime, and Responses over WebSocket."""

    inspect: tuple[Name, ...] = Field(
        default=("*",),
        description="Endpoints that are read, as `PROVIDER WS /path` or globs of it. Of those the catalogue knows; "
        "any other upgrade is refused with 426, on which clients go on over HTTPS.",
    )
    refuse: tuple[Name, ...] = Field(
        default=(), description="Endpoints that are refused with 426 although `inspect` names them."
    )
    opaque: tuple[Name, ...] = Field(
        default=(),
        description="Providers whose unknown WebSockets pass unread, where `access.unknown_endpoint` is `opaque` too.",
    )
    audio: Literal["refuse", "answers", "allow"] = Field(
        default="refuse",
        description="Sound, which nothing here reads: refused both ways, passed from the provider only, or both ways.",
    )
    binary: Literal["refuse", "allow"] = Field(
        default="refuse", description="Binary messages, which none of these APIs defines."
    )
    unknown_events: Literal["refuse", "read"] = Field(
        default="refuse",
        description="Client events that the dialect does not know: refused, or passed once every string is scanned.",
    )
    on_refusal: Literal["event", "close"] = Field(
        default="event",
        description="After a refused event: an error event and the session goes on, or it is closed with 1008.",
    )
    max_message_bytes: int = Field(
        default=4 * MIB, ge=KIB, le=64 * MIB, description="One message, all its fragments together."
    )
    max_messages_per_s: int = Field(
        default=500, ge=1, le=100_000, description="Messages a client may send in one second."
    )

    @cached_property
    def inspected(self) -> Globs:
        """What `inspect` names."""
        return Globs(self.inspect)

    @cached_property
    def refused(self) -> Globs:
        """What `refuse` names."""
        return Globs(self.refuse)

    def reads(self, endpoint: str) -> bool:
        """Say whether an endpoint of the catalogue is read. endpoint: `openai WS /v1/realtime`."""
        return endpoint in self.inspected and endpoint not in self.refused

    def passes_unread(self, provider: str) -> bool:
        """Say whether unknown WebSockets of a provider may pass unread."""
        return provider in self.opaque
