"""What all endings share: events are written, texts that were rewritten are read back, counts are filled in."""

from collections.abc import Callable, Mapping
from copy import deepcopy

from sallyport.exchange import Request, Usage
from sallyport.wire.dialect import Answer, Stamp
from sallyport.wire.errors import WireError
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json, untoken

type Write = Callable[[str, dict[str, Json]], bytes]
"""Makes one event of its name ("" where it has none) and its payload."""

MAX_CHOICES = 128
"""Answers that are finished one by one; no provider gives as many."""

UNFINISHED = "{"
"""Put in for the arguments of a call of which nothing was sent: many clients take "" for a call without any."""


def unnamed(name: str, payload: dict[str, Json]) -> bytes:
    """Write a server-sent event that has data only."""
    return b"data: " + dump(payload) + b"\n\n"


def named(name: str, payload: dict[str, Json]) -> bytes:
    """Write a server-sent event whose name is told beside its data."""
    return b"event: " + name.encode() + b"\ndata: " + dump(payload) + b"\n\n"


def line(name: str, payload: dict[str, Json]) -> bytes:
    """Write a line of NDJSON."""
    return dump(payload) + b"\n"


def answer(body: bytes, stamp: Stamp, content_type: str) -> Answer:
    """Return an answer of the gateway's own; a stream is not to be kept by anyone on the way."""
    fixed = (("content-type", content_type), ("x-sallyport-decision", stamp.id))
    stream = content_type != "application/json"
    return Answer(200, (*fixed, ("cache-control", "no-cache")) if stream else fixed, body)


def input_tokens(usage: Usage | None) -> int:
    """Return the prompt tokens, 0 where nobody told."""
    return (usage.input if usage else None) or 0


def output_tokens(usage: Usage | None) -> int:
    """Return the tokens of the answer, 0 where nobody told."""
    return (usage.output if usage else None) or 0


def as_sent(payload: dict[str, Json], texts: Mapping[str, str]) -> dict[str, Json]:
    """Return a payload with the texts that took the place of its own; it is itself never changed.

    Raises WireError edit.pointer for a text at a place that is not there.
    """
    if not texts:
        return payload
    copy = deepcopy(payload)
    for at, text in texts.items():
        *way, last = (untoken(part) for part in at.split("/")[1:])
        here: Json = copy
        for part in way:
            here = _below(here, part)
        if type(here) is dict and last in here:
            here[last] = text
        elif type(here) is list and last.isdecimal() and int(last) < len(here):
            here[int(last)] = text
        else:
            raise WireError("edit.pointer")
    return copy


def _below(value: Json, part: str) -> Json:
    if type(value) is dict and part in value:
        return value[part]
    if type(value) is list and part.isdecimal() and int(part) < len(value):
        return value[int(part)]
    raise WireError("edit.pointer")


def model_of(request: Request) -> str:
    """Return the model as the client named it."""
    return request.model or ""
