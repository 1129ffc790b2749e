"""Whose content it is, and the key of one person: what is derived from it, and how it can be missing."""

import hmac
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class Forgotten(Exception):
    """The key was destroyed: what was sealed under it is gone."""


class UnknownKey(Exception):
    """There is no such key, and there never was in this database."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose content it is: a principal of a tenant."""

    tenant: str
    principal: str


NOBODY = Subject("", "")


@dataclass(frozen=True)
class SubjectKey:
    """The key of one subject. id: of the key, random. forgotten_us: when the subject was forgotten last, or 0."""

    id: str
    tenant: str
    secret: bytes = field(repr=False)
    forgotten_us: int = 0

    def derived(self, purpose: str, salt: bytes = b"") -> bytes:
        """Return 32 bytes for one purpose."""
        return HKDF(SHA256(), 32, salt or None, b"sallyport content 1 " + purpose.encode()).derive(
            self.secret
        )

    @cached_property
    def sealing(self) -> bytes:
        """The key of records."""
        return self.derived("records")

    @cached_property
    def index(self) -> bytes:
        """The key under which values are looked up."""
        return self.derived("index")

    def token(self, value: str) -> bytes:
        """Return what stands for a value of this subject in the index: equal for equal values, else nothing."""
        return hmac.digest(self.index, value.encode("utf-8", "surrogatepass"), "sha256")
