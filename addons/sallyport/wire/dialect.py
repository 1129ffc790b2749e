"""The contract of a dialect: provider bytes to values and back, sans-io.

Laws (tests/wire): edit(body, []) == body; after an edit only the named strings differ, after a change only
the named settings; the raw bytes of a stream's events, joined, are the bytes that were fed; every cutting
of a stream gives the same events; reading raises nothing but WireError; what a client was sent of a stream, with
the conclusion of its ending behind it, reads as a finished stream.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from sallyport.decision import Change, Edit, Refusal
from sallyport.exchange import Attachment, Operation, Request, Response, Surface, Usage
from sallyport.wire.jsontext import Json


@dataclass(frozen=True, slots=True)
class Call:
    """What the target of a request already says: filled from the provider catalogue.

    model and stream: from the path or query where the dialect keeps them there, else None.
    """

    provider: str
    operation: Operation
    model: str | None = None
    stream: bool | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of answer text inside one stream event.

    channel: names the text it continues, for example choices/0/content or content/1.
    at: pointer into the event's JSON payload, the handle for rewriting.
    whole: the text is complete in itself (a repetition, a tool-argument leaf), not a continuation.
    json: the text is JSON source (tool arguments), so that what is put in must be JSON-escaped.
    part: where the stream says the text again, whole, the channel of that repetition; "" if it does not, or if
        nobody needs to know. Several parts may be one channel.
    behind: the channel that clients show this one behind, joined, though something else stands between; "" if none.
    """

    channel: str
    surface: Surface
    at: str
    text: str
    whole: bool = False
    json: bool = False
    part: str = ""
    behind: str = ""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream.

    raw: its exact bytes, terminator included.
    closes: channels that end with this event; their held text must be written before it, or,
        when the event itself carries a delta of that channel, together with it. "*" closes all.
    error: the provider's error code if the event reports one.
    terminal: the dialect's own end of the stream.
    payload: what was read, as parsed and never changed, for whoever follows what the stream has opened; of a
        dialect whose events have their name outside, {name: payload}. None for an event without one.
    attachments: what of it is no text. made: as of a Response.
    """

    raw: bytes
    deltas: tuple[Delta, ...] = ()
    closes: tuple[str, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    id: str | None = None
    error: str | None = None
    terminal: bool = False
    payload: dict[str, Json] | None = field(default=None, repr=False, compare=False)
    attachments: tuple[Attachment, ...] = ()
    made: tuple[str, ...] = ()


type Texts = Mapping[str, str | bytes | None]
"""What an event is told anew, by pointer: a text; bytes for JSON as it will stand; None for what is emptied."""


class StreamReader(Protocol):
    """Reads one streamed answer. Holds at most one unfinished event; raises WireError above its bound."""

    def feed(self, data: bytes) -> list[StreamEvent]: ...

    def end(self) -> list[StreamEvent]:
        """Finish at end of input. Raises WireError if the input stops inside an event."""
        ...

    def rewrite(self, event: StreamEvent, texts: Texts) -> bytes:
        """Return the event's bytes with what stands at these pointers replaced, all else untouched.

        None for a pointer empties what stands there: a list becomes an empty list, all else null.
        """
        ...


@runtime_checkable
class Enclosing(Protocol):
    """A reader of a stream that is one document, such as a JSON array, which whoever ends it has to close."""

    def enclose(self, error: bytes, *, begun: bool) -> bytes:
        """Return a dialect's error event as the document's last part. begun: the client has been sent some."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer the gateway gives itself. headers: lower-case names, content-length excluded."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an answer of the gateway's own bears where a provider puts an id and a date.

    id: of the decision. created_s: whole seconds since 1970.
    """

    id: str
    created_s: int


class Ending(Protocol):
    """Follows what a client has been sent of one stream, so that it can be ended well-formed at any place.

    A reader may be far ahead of what has left; an ending knows only what it is told.
    """

    def sent(self, event: StreamEvent, texts: Mapping[str, str]) -> None:
        """Note an event that the client has been sent. texts: as given to StreamReader.rewrite, {} for none."""
        ...

    def conclude(self, usage: Usage | None = None) -> bytes:
        """Return the bytes that end the stream as if the provider had stopped it for its contents.

        All that is open is closed, the answer is finished with the dialect's word for filtered contents, usage
        and the terminal event follow; b"" where the stream has ended already. A tool call that was sent in part
        is never completed: its arguments stay unfinished JSON, or the call is left out where the dialect
        repeats finished ones. usage: what is to be reported; None leaves out a report that need not stand, and
        counts as zero where one must.
        """
        ...


class Dialect(Protocol):
    """One provider wire format."""

    name: str

    def read_request(self, body: bytes, call: Call) -> Request: ...

    def read_response(self, body: bytes, status: int) -> Response:
        """Read a buffered answer, a success or an error."""
        ...

    def open_stream(self, content_type: str = "text/event-stream") -> StreamReader: ...

    def edit(self, body: bytes, edits: Sequence[Edit]) -> bytes:
        """Splice edits into the body. Edits of one pointer must not overlap; order is free.

        Serves requests and buffered answers alike. Raises WireError for a pointer that names no string.
        """
        ...

    def change(self, body: bytes, changes: Sequence[Change]) -> bytes:
        """Set scalars of a request, those of Request.parameters and Request.unset; all other bytes stay.

        Edits come first: they may give a place its final spelling. Raises WireError where it cannot be done.
        """
        ...

    def ask_usage(self, body: bytes) -> bytes | None:
        """Return the body of a streaming request so that its answer reports usage; None if it does anyway."""
        ...

    def refuse(self, refusal: Refusal, streaming: bool) -> Answer:
        """Say no in the provider's own error shape, with a status on which its SDK does not retry."""
        ...

    def stream_error(self, refusal: Refusal) -> bytes:
        """Bytes that end a started stream so that the provider's SDK raises."""
        ...

    def ending(
        self, request: Request, stamp: Stamp, content_type: str = "text/event-stream"
    ) -> Ending | None:
        """Return what can end a stream that answers this request; None where the dialect has no way to."""
        ...

    def say(self, text: str, request: Request, stamp: Stamp, *, sse: bool = True) -> Answer | None:
        """Return a finished answer, status 200, in which the assistant says this and nothing else.

        Streamed if the request asks for it. sse: where the dialect has streams of two kinds, which one.
        None where nobody speaks: embeddings, files, contents that are not read.
        """
        ...

    def unlinked(self, body: bytes) -> bytes:
        """Return a request's body without a link to an answer of the gateway's own, which no provider knows."""
        ...

    def shortened(self, body: bytes, at: str, start: int) -> bytes:
        """Return a buffered answer that ends where text[start] of the segment at a pointer was.

        What the model said after it goes as well, the finish reason becomes the dialect's word for filtered
        contents, and all other bytes stay. A tool call or signed reasoning is left out whole. Raises WireError.
        """
        ...


def newer(old: Usage | None, new: Usage | None) -> Usage | None:
    """Merge usage reports of one stream, which are totals so far: later numbers win, one not repeated stays."""
    if old is None or new is None:
        return new or old
    said = {name: value for name in Usage.__slots__ if (value := getattr(new, name)) not in (None, "")}
    return replace(old, **said)
