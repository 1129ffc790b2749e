"""What gateway and worker say to each other: length-prefixed frames of plain bytes, nothing that can run code.

A frame is a kind (one byte), the payload's length (four bytes, big endian) and the payload. Texts go one way,
spans the other, in the same order. A worker reads hostile text, so what it answers is checked like any input.
"""

import json
import math
import struct
from collections.abc import Sequence

from sallyport.detect.cache import Hit
from sallyport.detect.ner.engine import Span

HEAD = struct.Struct("!cI")
MAX_PAYLOAD = 16 << 20

TEXTS = b"T"
SPANS = b"S"
HELLO = b"H"
UNFIT = b"U"
"""The engine cannot be loaded; the payload says where, what and todo of an OperatorError."""

ENTITIES = ("PERSON", "LOCATION", "ORGANIZATION", "NRP")
"""Entities an engine may report, in Presidio's words; a Hit's rule is an index of this."""

_COUNT = struct.Struct("!I")
_SPAN = struct.Struct("!IIBd")
_FAILED = 0xFFFFFFFF


def put_texts(texts: Sequence[str]) -> bytes:
    """Encode texts; half a surrogate pair becomes one question mark, so that offsets stay."""
    parts = [_COUNT.pack(len(texts))]
    for text in texts:
        raw = text.encode("utf-8", "replace")
        parts += (_COUNT.pack(len(raw)), raw)
    return b"".join(parts)


def get_texts(payload: bytes) -> list[str]:
    texts, at = [], _COUNT.size
    for _ in range(_COUNT.unpack_from(payload)[0]):
        (length,) = _COUNT.unpack_from(payload, at)
        at += _COUNT.size
        texts.append(payload[at : at + length].decode("utf-8"))
        at += length
    return texts


def put_spans(answers: Sequence[Sequence[Span] | None]) -> bytes:
    """Encode the spans of each text; None where the engine failed on it. Unknown entities are left out."""
    parts = [_COUNT.pack(len(answers))]
    for spans in answers:
        if spans is None:
            parts.append(_COUNT.pack(_FAILED))
            continue
        known = [s for s in spans if s.entity in ENTITIES]
        parts.append(_COUNT.pack(len(known)))
        parts += [_SPAN.pack(s.start, s.end, ENTITIES.index(s.entity), s.score) for s in known]
    return b"".join(parts)


def get_spans(payload: bytes, texts: Sequence[str]) -> list[tuple[Hit, ...] | None]:
    """Read the answer to these texts. Raises ValueError for anything that cannot be one."""
    try:
        if _COUNT.unpack_from(payload)[0] != len(texts):
            raise ValueError("another number of texts")
        at = _COUNT.size
        answers: list[tuple[Hit, ...] | None] = []
        for text in texts:
            (count,) = _COUNT.unpack_from(payload, at)
            at += _COUNT.size
            if count == _FAILED:
                answers.append(None)
                continue
            if count > len(text):
                raise ValueError("more spans than characters")
            spans = _SPAN.iter_unpack(payload[at : at + count * _SPAN.size])
            hits = tuple(Hit(entity, start, end, score) for start, end, entity, score in spans)
            at += count * _SPAN.size
            if len(hits) != count or not _sound(hits, len(text)):
                raise ValueError("spans that cannot be")
            answers.append(hits)
    except struct.error:
        raise ValueError("cut short") from None
    if at != len(payload):
        raise ValueError("more than was asked")
    return answers


def _sound(hits: Sequence[Hit], length: int) -> bool:
    last = 0
    for hit in hits:
        if not last <= hit.start < hit.end <= length or hit.rule >= len(ENTITIES):
            return False
        if not (math.isfinite(hit.score) and 0.0 <= hit.score <= 1.0):
            return False
        last = hit.end
    return True


def put_words(**words: str) -> bytes:
    return json.dumps(words).encode("ascii")


def get_words(payload: bytes, *names: str) -> tuple[str, ...]:
    """Read named strings, each cut to 500 characters. Raises ValueError."""
    given = json.loads(payload)
    if not isinstance(given, dict) or not all(isinstance(given.get(name), str) for name in names):
        raise ValueError("not the words expected")
    return tuple(str(given[name])[:500] for name in names)
