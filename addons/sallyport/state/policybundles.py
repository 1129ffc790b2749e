"""Policies in one signed file: what was reviewed is what runs, wherever the file was carried through.

A bundle is JSON: `bundle` with the texts of all files, and `signature`, Ed25519 over a fixed prefix and the canonical
JSON of `bundle`. The same files, serial and key give the same bytes. Serials only go up: an old bundle is signed as
well as a new one.
"""

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, make_folder, read_file, write_file

FORMAT = "sallyport.policy-bundle/1"
MAX_BYTES = 32 * 1024 * 1024
_PREFIX = b"sallyport policy bundle\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One policy with all its files. name: of the main one. revision: of the policy when the bundle was made.

    files: text by path relative to the main file's folder, that one included. digest: SHA-256 of what is signed.
    """

    serial: int
    revision: str
    name: str
    files: Mapping[str, str]

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        members = {
            "format": FORMAT,
            "serial": self.serial,
            "revision": self.revision,
            "name": self.name,
            "files": dict(self.files),
        }
        return (
            _PREFIX + json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.signed).hexdigest()

    def sealed(self, key: Ed25519PrivateKey) -> str:
        """Return the text of the bundle's file."""
        signature = base64.b64encode(key.sign(self.signed)).decode()
        members = json.loads(self.signed.removeprefix(_PREFIX))
        return json.dumps({"bundle": members, "signature": signature}, sort_keys=True, indent=1) + "\n"


def read_bundle(path: Path) -> tuple[Bundle, bytes]:
    """Return a bundle and its signature, which nobody has checked. Raises OperatorError."""
    todo = "Make one: sallyport policy bundle FILE -o policy.bundle --key KEY --serial N"
    try:
        content = read_file(path, MAX_BYTES)
    except OSError as error:
        raise OperatorError(str(path), f"it cannot be read ({error.strerror})", todo) from None
    try:
        if len(content) > MAX_BYTES:
            raise ValueError
        said: Any = json.loads(content)
        members, signature = said["bundle"], base64.b64decode(said["signature"], validate=True)
        serial, files = members["serial"], members["files"]
        if members["format"] != FORMAT or type(serial) is not int or not files:
            raise ValueError
        texts = {_inside(name): text for name, text in files.items()}
        if members["name"] not in texts or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError
        return Bundle(serial, str(members["revision"]), members["name"], texts), signature
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise OperatorError(str(path), "it is no policy bundle", todo) from None


def verified(path: Path, key: Ed25519PublicKey) -> Bundle:
    """Return a bundle that is signed with a key. Raises OperatorError for any other file."""
    bundle, signature = read_bundle(path)
    try:
        key.verify(signature, bundle.signed)
    except InvalidSignature:
        what = "it is not signed with this key, or was changed since"
        raise OperatorError(str(path), what, "Get it anew from who signs your policies") from None
    return bundle


def _inside(name: str) -> str:
    """Return a path of a bundle. Raises ValueError for one that would lie outside of its folder."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(name)
    return name


def unpack(bundle: Bundle, beside: Path, folder: Path) -> Path:
    """Write the files of a bundle into a folder of their own, made anew; return the main one's path.

    beside: folder of the bundle, where passwords and revocation lists lie, which it does not hold. Raises OSError.
    """
    home = folder / f"bundle-{bundle.digest[:16]}"
    draft = folder / f".{home.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft.mkdir(mode=0o700)
    for name, text in bundle.files.items():
        path = draft / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    _link(beside.resolve(), draft)
    shutil.rmtree(home, ignore_errors=True)
    draft.replace(home)
    return home / bundle.name


def remove_others(home: Path) -> None:
    """Remove what was unpacked beside a folder of unpack, of bundles that are in force no more."""
    for path in home.parent.glob("bundle-*"):
        if path != home and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _link(there: Path, here: Path) -> None:
    for path in there.iterdir():
        if (here / path.name).is_dir() and path.is_dir():
            _link(path, here / path.name)
        elif not (here / path.name).exists():
            (here / path.name).symlink_to(path)


# -- serials -------------------------------------------------------------------------------------------


class Serials:
    """The newest bundle that was in force, in a file of a gateway's folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "bundle.serial"

    def check(self, bundle: Bundle) -> None:
        """Raise OperatorError for a bundle that is older than the newest, or another one of its serial."""
        newest = self._newest()
        if newest is None:
            return
        serial, digest = newest
        if bundle.serial < serial or (bundle.serial == serial and bundle.digest != digest):
            what = f"its serial is {bundle.serial}, and a bundle of serial {serial} was in force here"
            todo = "Sign a new one with a higher serial; or, to go back: sallyport policy bundle --accept"
            raise OperatorError("--policy", what, todo)

    def keep(self, bundle: Bundle) -> None:
        """Note a bundle as the newest. Raises OSError."""
        make_folder(self._path.parent)
        newest = {"serial": bundle.serial, "digest": bundle.digest}
        write_file(self._path, json.dumps(newest).encode(), PUBLIC)

    def _newest(self) -> tuple[int, str] | None:
        try:
            said = json.loads(self._path.read_text("ascii"))
            return int(said["serial"]), str(said["digest"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise OperatorError(
                str(self._path),
                "it cannot be read",
                "Restore it, or accept a bundle: sallyport policy bundle --accept",
            ) from None


# -- keys ----------------------------------------------------------------------------------------------


def private_key(path: Path) -> Ed25519PrivateKey:
    """Read the key that signs. Raises OperatorError."""
    todo = "Make one: openssl genpkey -algorithm ed25519 -out policy.key; chmod 600 policy.key"
    try:
        if path.stat().st_mode & 0o077:
            raise OperatorError(str(path), "others may read or change it", f"chmod 600 {path}")
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise OperatorError(str(path), f"it cannot be read ({error.strerror})", todo) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError(str(path), "it holds no Ed25519 key without a passphrase", todo)
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read the key that signatures are checked with. Raises OperatorError."""
    todo = "Write it: openssl pkey -in policy.key -pubout -out policy.pub"
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise OperatorError(str(path), f"it cannot be read ({error.strerror})", todo) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise OperatorError(str(path), "it holds no public Ed25519 key", todo)
    return key
