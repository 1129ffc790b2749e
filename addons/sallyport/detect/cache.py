"""Results of earlier scans under a keyed digest; neither the text nor anything that gives it away is kept."""

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hit:
    """A match in one text: index of its rule, offsets in code points of the original."""

    rule: int
    start: int
    end: int
    score: float


_ENTRY_BYTES = 200
_HIT_BYTES = 120
_HEADS = 64
"""Beginnings of keys that are kept hashed; there are as many as kinds of results."""


class Cache:
    """Least recently used results, bounded by entries and by (estimated) bytes. Thread-safe.

    The digest key is random per instance, so that a memory dump cannot be searched for known texts.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._keyed = hashlib.blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._heads: dict[tuple[str, ...], hashlib.blake2b] = {}
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[bytes, tuple[Hit, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def digest(self, *parts: str) -> bytes:
        """Return the key under which a result for these parts is kept; the last may be long."""
        head, text = parts[:-1], parts[-1]
        begun = self._heads.get(head)
        digest = (self._begun(head) if begun is None else begun).copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()

    def _begun(self, head: tuple[str, ...]) -> hashlib.blake2b:
        digest = self._keyed.copy()
        digest.update(b"".join([_sized(part) for part in head]))
        if len(self._heads) < _HEADS:
            self._heads[head] = digest
        return digest

    def get(self, digest: bytes) -> tuple[Hit, ...] | None:
        with self._lock:
            hits = self._entries.get(digest)
            if hits is not None:
                self._entries.move_to_end(digest)
            return hits

    def put(self, digest: bytes, hits: tuple[Hit, ...]) -> None:
        size = _size(hits)
        if size > self._max_bytes or self._max_entries < 1:
            return
        with self._lock:
            old = self._entries.pop(digest, None)
            self._bytes += size - (_size(old) if old is not None else 0)
            self._entries[digest] = hits
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _size(dropped)

    def __len__(self) -> int:
        return len(self._entries)


def _sized(part: str) -> bytes:
    raw = part.encode("utf-8", "surrogatepass")
    return len(raw).to_bytes(8) + raw


def _size(hits: tuple[Hit, ...]) -> int:
    return _ENTRY_BYTES + _HIT_BYTES * len(hits)
