"""The policy of connections: sizes and times, beyond which a request is refused or an answer ended."""

from pydantic import Field

from sallyport.policy.vocabulary import KIB, MIB, Section


class Transport(Section):
    """Sizes and times of connections. Beyond each of them a request is refused or an answer is ended."""

    max_request_bytes: int = Field(
        default=8 * MIB,
        ge=KIB,
        le=256 * MIB,
        description="Body of a request, decoded; in observe four times as much passes, unread.",
    )
    max_response_bytes: int = Field(
        default=32 * MIB,
        ge=KIB,
        le=1024 * MIB,
        description="Body of a buffered answer, decoded; streams, and what nobody reads, are not limited.",
    )
    max_event_bytes: int = Field(
        default=8 * MIB,
        ge=KIB,
        le=8 * MIB,
        description="One event of a streamed answer; an image that is streamed is one event.",
    )
    max_header_bytes: int = Field(
        default=64 * KIB, ge=KIB, le=MIB, description="All header lines of a request together."
    )
    max_headers: int = Field(default=100, ge=10, le=1000, description="Header lines of a request.")
    header_timeout_s: float = Field(
        default=10.0, gt=0, le=300, description="Time for a client to send its headers."
    )
    connect_timeout_s: float = Field(default=10.0, gt=0, le=300, description="Time to connect to a provider.")
    idle_timeout_s: float = Field(
        default=900.0,
        ge=1,
        le=7200,
        description="Silence after which a connection is closed; a model may think ten minutes.",
    )
    drain_s: float = Field(
        default=30.0, ge=0, le=3600, description="Time for open streams to finish at shutdown."
    )
    max_connections_per_client: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Open connections of one client address, tunnelled ones too; further ones are reset.",
    )
    hold_chars: int = Field(
        default=4096,
        ge=64,
        le=64 * KIB,
        description="Most characters of an answer held back while a match may be unfinished.",
    )
    hold_s: float = Field(
        default=2.0, gt=0, le=60, description="Longest time a piece of an answer is held back."
    )
