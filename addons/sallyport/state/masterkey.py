"""The master key, under which credentials are sealed in the store: AES-256-GCM, one nonce and one name each.

It comes from a file, a variable, or a command such as a KMS client, one key to a line. The first seals, all
open: that is how a new one takes over from an old one without an interruption.
"""

import base64
import binascii
import hashlib
import os
import secrets
import shlex
import stat
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_new

VARIABLE = "SALLYPORT_MASTER_KEY"
FILE_VARIABLE = "SALLYPORT_MASTER_KEY_FILE"
COMMAND_VARIABLE = "SALLYPORT_MASTER_KEY_COMMAND"
COMMAND_TIMEOUT_S = 15
KEY_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
_MAX_KEYS_BYTES = 64 * 1024


class NotOpened(Exception):
    """What is sealed cannot be opened. The text is a fixed sentence."""


def read_private(path: Path, limit_bytes: int) -> bytes:
    """Return what a file holds, at most limit_bytes of it.

    Raises OperatorError where others than the owner and the group may read it, or change it; and for what is
    no file, such as a pipe, at which the reader would wait. What is checked is what is read, also behind a link.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise OperatorError(str(path), f"it cannot be read ({error.strerror})", _READABLE) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OperatorError(str(path), "it is no plain file", _READABLE)
        if found.st_uid not in (0, os.geteuid()):
            raise OperatorError(str(path), "it belongs to another user", _OWNED)
        if found.st_mode & 0o027:
            raise OperatorError(str(path), "others may read or change it", f"chmod 600 {path}")
        # Only now: of a folder no file object can be made.
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit_bytes)
    except OSError as error:
        raise OperatorError(str(path), f"it cannot be read ({error.strerror})", _READABLE) from None
    finally:
        os.close(handle)


_OWNED = "Run this as that user, or chown it to the gateway's user"
_READABLE = "Give a file the gateway's user may read"


class MasterKeys:
    """The master keys in force; read at first use, and again for what none of them opens. For any thread.

    variables: the environment. confdir: its master.key is used where no variable says otherwise.
    """

    def __init__(self, confdir: Path, variables: Mapping[str, str] = os.environ) -> None:
        self.default_file = confdir / "master.key"
        self.variables = variables
        self._lock = threading.Lock()
        self._boxes: dict[bytes, AESGCM] = {}

    @property
    def is_configured(self) -> bool:
        """Whether there is a place the master key comes from."""
        named = any(self.variables.get(name) for name in (VARIABLE, FILE_VARIABLE, COMMAND_VARIABLE))
        return named or self.default_file.exists()

    def make(self) -> Path:
        """Write a new master key into the default file, which must not exist yet. Raises OperatorError."""
        key, folder = base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n", self.default_file.parent
        try:
            if (
                folder.stat().st_uid != os.geteuid()
            ):  # what root makes there is that user's, and not read by root
                what, todo = "its folder belongs to another user", "Run this as that user: sudo -u USER"
                raise OperatorError(str(self.default_file), what, todo, exit_code=3)
            write_new(self.default_file, key, PRIVATE)
        except OSError as error:
            what = f"no master key can be made there ({error.strerror})"
            todo = f"See who owns the folder and whether there is room, or name a key in {FILE_VARIABLE}"
            raise OperatorError(str(self.default_file), what, todo, exit_code=3) from None
        return self.default_file

    def seal(self, value: str, *about: str) -> str:
        """Return a value encrypted under the first master key, in base64. Raises OperatorError.

        about: what it is, which must be said again to open it: so nobody can put it in another's place.
        """
        return self.sealer()(value, *about)

    def sealer(self) -> "Sealer":
        """Return what seals under the first master key as it is now: for many values. Raises OperatorError."""
        return Sealer(*next(iter(self._read().items())))

    def open(self, sealed: str, *about: str) -> str:
        """Return a sealed value. Raises NotOpened, and OperatorError where no master key can be had."""
        data = base64.b64decode(sealed)
        if data[:1] != _VERSION:
            raise NotOpened("It was sealed by a newer Sallyport.")
        id = data[1 : 1 + _ID_BYTES]
        with self._lock:
            if id not in self._boxes:
                self._boxes = self._read()
            box = self._boxes.get(id)
        if box is None:
            raise NotOpened("It was sealed under a master key that is not here.")
        nonce, rest = data[1 + _ID_BYTES :][:_NONCE_BYTES], data[1 + _ID_BYTES + _NONCE_BYTES :]
        try:
            return box.decrypt(nonce, rest, _bound(about)).decode()
        except (InvalidTag, ValueError):
            raise NotOpened("It, or what it is bound to, was changed in the store.") from None

    def is_under_first(self, sealed: str, first: bytes = b"") -> bool:
        """Say whether a value is sealed under the key that seals now. Raises OperatorError.

        first: id of that key, of who has a sealer; read again where it is not given.
        """
        return base64.b64decode(sealed)[1 : 1 + _ID_BYTES] == (first or next(iter(self._read())))

    def _read(self) -> dict[bytes, AESGCM]:
        where, text = self._text()
        keys = [_key(where, line.strip()) for line in text.splitlines() if line.strip()]
        if not keys:
            raise OperatorError(where, "it holds no master key", _HOW)
        return {
            hashlib.sha256(b"sallyport master key " + key).digest()[:_ID_BYTES]: _box(key) for key in keys
        }

    def _text(self) -> tuple[str, str]:
        named = [n for n in (VARIABLE, FILE_VARIABLE, COMMAND_VARIABLE) if self.variables.get(n)]
        if len(named) > 1:
            raise OperatorError(named[0], f"{named[1]} is set as well", "Set only one of them")
        if named == [VARIABLE]:
            return VARIABLE, self.variables[VARIABLE].replace(",", "\n")
        if named == [COMMAND_VARIABLE]:
            return COMMAND_VARIABLE, _run(self.variables[COMMAND_VARIABLE])
        path = Path(self.variables[FILE_VARIABLE]) if named else self.default_file
        if not named and not os.path.exists(path):
            raise OperatorError(str(path), "there is no master key", _NONE_HERE)
        try:
            return str(path), read_private(path, _MAX_KEYS_BYTES).decode("ascii")
        except UnicodeDecodeError:
            raise OperatorError(str(path), "it cannot be read as text", _HOW) from None


class Sealer:
    """Seals under one master key. id: of that key."""

    def __init__(self, id: bytes, box: AESGCM) -> None:
        self.id = id
        self._box = box

    def __call__(self, value: str, *about: str) -> str:
        """Return a value encrypted, in base64; as MasterKeys.seal."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        head = _VERSION + self.id + nonce
        return base64.b64encode(head + self._box.encrypt(nonce, value.encode(), _bound(about))).decode()


_NONE_HERE = f"Name the gateway's folder with --confdir, or the key's file in {FILE_VARIABLE}"
_HOW = "Write 32 random bytes in base64 to a line: head -c 32 /dev/urandom | base64"


def _key(where: str, line: str) -> bytes:
    try:
        key = bytes.fromhex(line) if len(line) == 2 * KEY_BYTES else base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise OperatorError(where, "a line of it is no master key", _HOW)
    return key


def _box(key: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, None, b"sallyport credentials 1").derive(key))


def _bound(about: tuple[str, ...]) -> bytes:
    parts = [part.encode() for part in about]
    return b"sallyport credential" + b"".join(len(p).to_bytes(4, "big") + p for p in parts)


def _run(command: str) -> str:
    """Return what a command prints. It runs without a shell; nothing it prints is shown."""
    try:
        ran = subprocess.run(
            shlex.split(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT_S
        )
        text = ran.stdout.decode("ascii")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise OperatorError(
            COMMAND_VARIABLE,
            f"the command failed ({type(error).__name__})",
            "Run it by hand as the gateway's user",
            exit_code=3,
        ) from None
    if ran.returncode != 0:
        raise OperatorError(
            COMMAND_VARIABLE,
            f"the command ended with code {ran.returncode}",
            "Run it by hand as the gateway's user",
            exit_code=3,
        )
    return text
