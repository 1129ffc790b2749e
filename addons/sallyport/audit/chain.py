"""The hash chain of each writer: every event is bound to all that the same gateway wrote before it.

A writer is the `gateway` of an event. Its events are numbered from 1 without a gap, and

    hash = SHA-256(EVENT_TAG || hash of the event before, 32 bytes || canonical bytes of the row)

in lower-case hex. Before the first event of a writer stand 32 zero bytes. The canonical bytes are one JSON object
in UTF-8: all columns that are not NULL but `hash` and `period`, sorted by name, without white space, only what
JSON demands escaped, and `confidence` as a text that holds the shortest decimal which reads back as the same number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

EVENT_TAG = b"sallyport.audit.event.v1\n"


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a writer: its number and its hash in hex."""

    seq: int
    hash: str


START = Head(0, "00" * 32)
"""Where the chain of a writer begins."""


def canonical(row: Mapping[str, Any]) -> bytes:
    """Return the bytes of a row that its hash is made of. Raises TypeError for a text that is no Unicode."""
    kept = {name: value for name, value in row.items() if value is not None}
    kept.pop("hash", None)
    kept.pop("period", None)  # where PostgreSQL keeps the row: see audit/partitions.py
    kept["confidence"] = repr(kept["confidence"] + 0.0)  # databases do not keep the sign of a zero
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def linked(row: dict[str, Any], head: Head) -> Head:
    """Give a row its place behind the head of its writer, and return the new head."""
    row["seq"] = head.seq + 1
    row["hash"] = sha256(EVENT_TAG + bytes.fromhex(head.hash) + canonical(row)).hexdigest()
    return Head(head.seq + 1, row["hash"])
