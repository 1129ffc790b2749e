"""Users of the explicit proxy, from the operator's files: Argon2id and bcrypt hashes, digests of tokens.

Kinds of hash that can be guessed at speed (plain, {SHA}, $apr1$, crypt) are refused when the file is read.
Nothing of a hash, a password or a token is in any message.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import argon2
import bcrypt
from argon2.low_level import Type, verify_secret

from sallyport.errors import OperatorError
from sallyport.files import read_file

MIN_TOKEN_CHARS = 32
MIN_ARGON2_KIB = 7 * 1024
MIN_BCRYPT_COST = 10
MAX_PASSWORD_BYTES = 1024
_USER = re.compile(r"[^\x00-\x20\x7f:]{1,200}")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_BCRYPT_READS_BYTES = 72


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a file. secret: hash of the password, or digest of the token."""

    user: str
    secret: str = field(repr=False)


class ProxyUsers:
    """The users in force. Reading again replaces all of them at once, or none. Safe to use from threads."""

    def __init__(self, passwords: Path | None, tokens: Path | None) -> None:
        self._files = (passwords, tokens)
        self._passwords: dict[str, Entry] = {}
        self._tokens: dict[str, Entry] = {}
        self._all: frozenset[Entry] = frozenset()
        self.read()

    def read(self) -> None:
        """Read the files anew. Raises OperatorError and changes nothing if a line is not sound."""
        passwords, tokens = self._files
        by_user = _read_passwords(passwords) if passwords is not None else {}
        by_digest = _read_tokens(tokens) if tokens is not None else {}
        self._passwords, self._tokens = by_user, by_digest
        self._all = frozenset((*by_user.values(), *by_digest.values()))

    def holds(self, entry: Entry) -> bool:
        """Say whether what proved a user once is still in the files."""
        return entry in self._all

    def by_token(self, user: str | None, token: bytes) -> Entry | None:
        """Return the owner of a token; fast. user: who it must be, None for anyone."""
        if len(token) < MIN_TOKEN_CHARS or len(token) > MAX_PASSWORD_BYTES:
            return None
        # Looking a digest up tells by its time nothing of a token that nobody has.
        entry = self._tokens.get(hashlib.sha256(token).hexdigest())
        return entry if entry is not None and user in (None, entry.user) else None

    def by_password(self, user: str, password: bytes) -> Entry | None:
        """Return a user's entry if the password is theirs. Slow on purpose; an unknown user takes as long."""
        entry = self._passwords.get(user)
        decoy = next(iter(self._passwords.values()), None)
        hashed = entry or decoy
        if hashed is None or len(password) > MAX_PASSWORD_BYTES:
            return None
        return entry if _matches(hashed.secret, password) and entry is not None else None


def _matches(secret: str, password: bytes) -> bool:
    if secret.startswith("$argon2id$"):
        try:
            return verify_secret(secret.encode(), password, Type.ID)
        except argon2.exceptions.VerificationError:
            return False
    # What bcrypt does not read of a password would be no part of it.
    if len(password) > _BCRYPT_READS_BYTES or b"\0" in password:
        return False
    return bcrypt.checkpw(password, secret.encode())


def _lines(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield place, user and secret of each line that is neither empty nor a comment."""
    try:
        text = read_file(path).decode("utf-8")
    except OSError as error:
        raise OperatorError(
            str(path), f"it cannot be read ({error.strerror})", "Give a file the gateway may read"
        ) from None
    except UnicodeDecodeError:
        raise OperatorError(str(path), "it is not UTF-8", "Save it as UTF-8") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, secret = line.strip().partition(":")
        where = f"{path}:{number}"
        if not colon or not _USER.fullmatch(user):
            raise OperatorError(where, "the line is not `user:hash`", "Write one user to a line")
        yield where, user, secret


def _read_passwords(path: Path) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for where, user, secret in _lines(path):
        _check_hash(where, secret)
        if user in found:
            raise OperatorError(where, "the user is there twice", "Keep one of the two lines")
        found[user] = Entry(user, secret)
    return found


def _check_hash(where: str, secret: str) -> None:
    blowfish = _BCRYPT.fullmatch(secret)
    if blowfish is not None:
        if int(blowfish[1]) < MIN_BCRYPT_COST:
            raise OperatorError(
                where, "the bcrypt cost is below 10", "Hash the password anew: htpasswd -B -C 12"
            )
        return
    if not secret.startswith("$argon2id$"):
        raise OperatorError(
            where,
            "this kind of hash can be guessed at speed, or is none",
            "Hash the password with Argon2id or bcrypt: docs/identity-connection.md",
        )
    try:
        memory_kib = argon2.extract_parameters(secret).memory_cost
    except argon2.exceptions.InvalidHashError:
        raise OperatorError(where, "the Argon2 hash is not whole", "Copy the whole line again") from None
    if memory_kib < MIN_ARGON2_KIB:
        raise OperatorError(where, "the Argon2 memory cost is below 7 MiB", "Hash the password anew")


def _read_tokens(path: Path) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for where, user, secret in _lines(path):
        if not _DIGEST.fullmatch(secret):
            raise OperatorError(
                where,
                "this is no SHA-256 digest; if it is a token, treat it as leaked",
                "Write the 64 hex digits that `sha256sum` gives for the token",
            )
        if secret.lower() in found:
            raise OperatorError(where, "the token is there twice", "Keep one of the two lines")
        found[secret.lower()] = Entry(user, secret.lower())
    return found
