"""The last good copy of the directory: one file that only the gateway with the same key can read or write.

After a line that names the format come length-prefixed boxes of AES-256-GCM: first a manifest, then the parts
it lists with their digests, so that parts of two copies cannot be mixed. A part that has not changed is not
sealed again.
"""

import hashlib
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import TypeAdapter, ValidationError

from sallyport.files import PRIVATE, write_file
from sallyport.stages.directory import Approval, Key, Person, Stop, Tenant
from sallyport.state.directory.credentials import StoredCredential
from sallyport.state.directory.people import politely
from sallyport.state.directory.snapshot import People, Snapshot

FILE = "directory.copy"
"""Its name in the confdir of a gateway."""

_FORMAT = b"sallyport directory copy 1\n"
_NONCE_BYTES = 12
_LENGTH_BYTES = 8
_TOGETHER = 500
"""People in one JSON text: to write one holds the interpreter for about a millisecond."""


class Unreadable(Exception):
    """The file is not a copy made with this key, or not whole. The text says which."""


class LastGood:
    """A copy in a file. Not for use from two threads at once."""

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self._box = AESGCM(HKDF(SHA256(), 32, None, b"sallyport directory copy").derive(key))
        self._sealed: dict[str, tuple[object, bytes]] = {}

    def write(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the last; durable when this returns. Raises OSError.

        An empty snapshot removes the file: nobody needs a copy of nothing.
        """
        if snapshot.is_empty:
            self.path.unlink(missing_ok=True)
            return
        boxes = {name: self._seal(name, values, made) for name, values, made in _parts(snapshot)}
        manifest = {
            "revisions": dict(snapshot.revisions),
            "parts": {name: hashlib.sha256(box).hexdigest() for name, box in boxes.items()},
        }
        head = self._encrypt(orjson.dumps(manifest), "manifest")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = b"".join((_FORMAT, *(_prefixed(box) for box in (head, *boxes.values()))))
        write_file(self.path, whole, PRIVATE)

    def read(self) -> Snapshot | None:
        """Return the snapshot that was written last, None if there is no file. Raises Unreadable, OSError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        if not data.startswith(_FORMAT):
            raise Unreadable("it has another format")
        boxes = list(_boxes(memoryview(data)[len(_FORMAT) :]))
        if not boxes:
            raise Unreadable("it is cut off")
        manifest = orjson.loads(self._decrypt(boxes[0], "manifest"))
        wanted: dict[str, str] = manifest["parts"]
        if len(boxes) != len(wanted) + 1:
            raise Unreadable("it is cut off")
        values: dict[str, list[Any]] = {}
        for (name, digest), box in zip(wanted.items(), boxes[1:], strict=True):
            if hashlib.sha256(box).hexdigest() != digest:
                raise Unreadable("its parts do not belong together")
            values[name] = self._open(name, box)
        try:
            who = People.of(values["people"], values["tenants"])
            return Snapshot.of(
                manifest["revisions"],
                who,
                values["keys"],
                values["stops"],
                values["approvals"],
                values["credentials"],
            )
        except KeyError:
            raise Unreadable("a part is missing") from None

    def _seal(self, name: str, values: tuple[Any, ...], made: object) -> bytes:
        """Return the box of a part. made: what is the same object while the part has not changed."""
        known = self._sealed.get(name)
        if known is not None and known[0] is made:
            return known[1]
        adapter = _ADAPTERS[name]
        packer = zlib.compressobj(1)
        texts = []
        for at in politely(range(0, len(values), _TOGETHER), 1):
            text: bytes = adapter.dump_json(values[at : at + _TOGETHER])
            texts.append(packer.compress(text + b"\n"))
        box = self._encrypt(b"".join((*texts, packer.flush())), name)
        self._sealed[name] = made, box
        return box

    def _open(self, name: str, box: bytes) -> list[Any]:
        found: list[Any] = []
        try:
            for text in zlib.decompress(self._decrypt(box, name)).splitlines():
                found += _ADAPTERS[name].validate_json(text)
        except (zlib.error, ValidationError):
            raise Unreadable("another version of Sallyport wrote it") from None
        return found

    def _encrypt(self, data: bytes, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._box.encrypt(nonce, data, _FORMAT + name.encode())

    def _decrypt(self, box: bytes, name: str) -> bytes:
        try:
            return self._box.decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], _FORMAT + name.encode())
        except (InvalidTag, ValueError):
            raise Unreadable("it was changed, or made with another gateway.key") from None


_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "people": TypeAdapter(tuple[Person, ...]),
    "tenants": TypeAdapter(tuple[Tenant, ...]),
    "keys": TypeAdapter(tuple[Key, ...]),
    "stops": TypeAdapter(tuple[Stop, ...]),
    "approvals": TypeAdapter(tuple[Approval, ...]),
    "credentials": TypeAdapter(tuple[StoredCredential, ...]),
}


def _parts(snapshot: Snapshot) -> Iterator[tuple[str, tuple[Any, ...], object]]:
    """Yield the name of each part, its values, and the object that is replaced when it changes."""
    yield "people", snapshot.who.people, snapshot.who
    yield "tenants", snapshot.who.tenants, snapshot.who
    yield "keys", snapshot.keys, snapshot.keys
    yield "stops", snapshot.pulled, snapshot.pulled
    yield "approvals", snapshot.approved, snapshot.approved
    yield "credentials", snapshot.credentials, snapshot.credentials


def _prefixed(box: bytes) -> bytes:
    return len(box).to_bytes(_LENGTH_BYTES, "big") + box


def _boxes(data: memoryview) -> Iterator[bytes]:
    while data:
        length = int.from_bytes(data[:_LENGTH_BYTES], "big")
        box = bytes(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
        if len(box) != length:
            raise Unreadable("it is cut off")
        yield box
        data = data[_LENGTH_BYTES + length :]
