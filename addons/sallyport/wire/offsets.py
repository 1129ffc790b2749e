"""Places of an answer's text by number: who changes the length of the text must move what is counted behind it.

OpenAI and those who speak like it: `annotations` with `start_index` and `end_index` (chat, Responses); Cohere:
`citations` with `start` and `end`; Gemini: `groundingSupports` and `citationSources` with `startIndex` and `endIndex`,
in bytes of UTF-8.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.wire import fields
from sallyport.wire.jsontext import Json

_MARKS = (b'd_index"', b'dIndex"', b'"citations"')


@dataclass(frozen=True, slots=True)
class Offset:
    """A number of an answer that counts characters of one of its texts.

    at: pointer to it. beside: pointer to the text, if it stands in the same payload. channel: of the text in a stream.
    """

    at: str
    value: int
    beside: str
    channel: str
    in_bytes: bool = False


def may_count(data: bytes) -> bool:
    """Say whether an answer, or an event of one, may hold offsets."""
    return any(mark in data for mark in _MARKS)


def offsets(payload: Json) -> Iterator[Offset]:
    """Yield the offsets of an answer, or of one event of it."""
    if type(payload) is not dict:
        return
    yield from _of_chat(payload)
    yield from _of_responses(payload)
    yield from _of_gemini(payload)
    yield from _of_cohere(payload)


def _pair(
    found: Json, at: str, names: tuple[str, str], beside: str, channel: str, *, in_bytes: bool = False
) -> Iterator[Offset]:
    for name in names:
        if (value := fields.count(found, name)) is not None:
            yield Offset(f"{at}/{name}", value, beside, channel, in_bytes)


_INDEXES = ("start_index", "end_index")


def _annotations(holder: Json, at: str, beside: str, channel: str) -> Iterator[Offset]:
    for place, one in _each(fields.get(holder, "annotations")):
        yield from _pair(one, f"{at}/annotations/{place}", _INDEXES, beside, channel)
        inner = fields.get(one, "url_citation")
        yield from _pair(inner, f"{at}/annotations/{place}/url_citation", _INDEXES, beside, channel)


def _of_chat(payload: dict[str, Json]) -> Iterator[Offset]:
    for place, choice in _each(payload.get("choices")):
        channel = f"choices/{_number(choice, 'index', place)}/content"
        for name in ("message", "delta"):
            at = f"/choices/{place}/{name}"
            yield from _annotations(fields.get(choice, name), at, f"{at}/content", channel)


def _of_responses(payload: dict[str, Json]) -> Iterator[Offset]:
    item, part = _number(payload, "output_index", 0), _number(payload, "content_index", 0)
    channel = f"output/{item}/content/{part}/text"
    yield from _pair(payload.get("annotation"), "/annotation", _INDEXES, "", channel)
    yield from _annotations(payload.get("part"), "/part", "/part/text", channel)
    yield from _parts(payload.get("item"), "/item")
    for holder, at in ((payload, ""), (payload.get("response"), "/response")):
        for place, one in _each(fields.get(holder, "output")):
            yield from _parts(one, f"{at}/output/{place}")


def _parts(item: Json, at: str) -> Iterator[Offset]:
    for place, part in _each(fields.get(item, "content")):
        here = f"{at}/content/{place}"
        yield from _annotations(part, here, f"{here}/text", "")


def _of_gemini(payload: dict[str, Json]) -> Iterator[Offset]:
    for place, candidate in _each(payload.get("candidates")):
        at, channel = f"/candidates/{place}", f"candidates/{_number(candidate, 'index', place)}/text"
        names = ("startIndex", "endIndex")
        for number, support in _each(fields.get(candidate, "groundingMetadata", "groundingSupports")):
            segment = fields.get(support, "segment")
            beside = f"{at}/content/parts/{_number(segment, 'partIndex', 0)}/text"
            here = f"{at}/groundingMetadata/groundingSupports/{number}/segment"
            yield from _pair(segment, here, names, beside, channel, in_bytes=True)
        for name in ("citationSources", "citations"):
            for number, source in _each(fields.get(candidate, "citationMetadata", name)):
                here, beside = f"{at}/citationMetadata/{name}/{number}", f"{at}/content/parts/0/text"
                yield from _pair(source, here, names, beside, channel, in_bytes=True)


def _of_cohere(payload: dict[str, Json]) -> Iterator[Offset]:
    names = ("start", "end")
    for place, one in _each(fields.get(payload, "message", "citations")):
        beside = f"/message/content/{_number(one, 'content_index', 0)}/text"
        yield from _pair(one, f"/message/citations/{place}", names, beside, "")
    said = fields.get(payload, "delta", "message", "citations")
    yield from _pair(said, "/delta/message/citations", names, "", "content/text")


def _each(values: Json) -> Iterator[tuple[int, Json]]:
    return enumerate(values) if type(values) is list else iter(())


def _number(holder: Json, name: str, otherwise: int) -> int:
    found = fields.count(holder, name)
    return otherwise if found is None else found
