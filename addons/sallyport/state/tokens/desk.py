"""The port of tokens: each token is verified once, then known by a keyed digest until it expires.

No token is kept, and the digest's key is of this process alone. A proof counts only as long as the key that
verified it is still the issuer's: a key that is removed takes its tokens with it.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sallyport.policy.tokens import Issuer
from sallyport.stages.stage import Subject
from sallyport.state.tokens.form import MAX_TOKEN_CHARS, TokenRefused
from sallyport.state.tokens.jwks import KeySet
from sallyport.state.tokens.sources import KeySources, Place
from sallyport.state.tokens.verify import Proof, UnknownKey, verify

MAX_PROOFS = 20_000


@dataclass(frozen=True, slots=True)
class Believed:
    """An issuer and where its keys are."""

    issuer: Issuer
    place: Place


def believed(issuers: Iterable[Issuer], beside: Callable[[str], Path]) -> tuple[Believed, ...]:
    """Return the issuers of a policy. beside: gives the path of a file that the policy names."""

    def at(name: str | None) -> Path | None:
        return None if name is None else beside(name).absolute()

    return tuple(
        Believed(
            issuer,
            Place(
                url=issuer.keys.url or "",
                file=at(issuer.keys.file),
                ca_file=at(issuer.keys.ca_file),
                refresh_s=issuer.keys.refresh_s,
                max_stale_s=issuer.keys.max_stale_s,
            ),
        )
        for issuer in issuers
    )


class TokenDesk:
    """Implements the port Tokens for the issuers of one policy.

    sources: where keys are; waits for those of new addresses as KeySources.use does, and raises as it does.
    now: seconds since 1970. max_proofs: tokens remembered; beyond, the one that was verified first is forgotten
    and would be verified again.
    """

    def __init__(
        self,
        issuers: Iterable[Believed],
        sources: KeySources,
        *,
        now: Callable[[], float] = time.time,
        max_proofs: int = MAX_PROOFS,
    ) -> None:
        trusted = tuple(issuers)
        held = sources.use(each.place for each in trusted)
        self._issuers = {each.issuer.id: (each.issuer, at) for each, at in zip(trusted, held, strict=True)}
        self._sources = sources
        self._now = now
        self._max = max_proofs
        self._secret = secrets.token_bytes(32)
        self._proofs: dict[tuple[str, bytes], Proof] = {}
        self._lock = Lock()

    def subject(self, issuer: str, token: str) -> Subject | None:
        """Return whom a token of a configured issuer proves, None if it proves nothing."""
        found = self._proof(issuer, token)
        return found.subject if isinstance(found, Proof) else None

    def why_not(self, issuer: str, token: str) -> str:
        """Return why a token proves nothing, in one fixed word; "" where it proves somebody."""
        found = self._proof(issuer, token)
        return "" if isinstance(found, Proof) else found

    def _proof(self, issuer: str, token: str) -> Proof | str:
        if issuer not in self._issuers:
            return "no_issuer"
        trusted, held = self._issuers[issuer]
        if len(token) > MAX_TOKEN_CHARS:
            return "too_long"
        try:
            name = (issuer, hashlib.blake2b(token.encode("ascii"), key=self._secret, digest_size=16).digest())
        except UnicodeEncodeError:
            return "form"
        keys, now = self._sources.keys(held), self._now()
        known = self._proofs.get(name)
        if known is not None and now < known.until and _still_there(known, keys):
            return known
        try:
            proof = verify(trusted, token, keys, now)
        except TokenRefused as refused:
            if isinstance(refused, UnknownKey):
                self._sources.hurry(held)
            if known is not None:
                self._forget(name)
            return refused.reason
        self._remember(name, proof)
        return proof

    def _remember(self, name: tuple[str, bytes], proof: Proof) -> None:
        with self._lock:
            self._proofs.pop(name, None)
            while len(self._proofs) >= self._max:
                del self._proofs[next(iter(self._proofs))]
            self._proofs[name] = proof

    def _forget(self, name: tuple[str, bytes]) -> None:
        with self._lock:
            self._proofs.pop(name, None)


def _still_there(proof: Proof, keys: KeySet) -> bool:
    key = keys.get(proof.kid)
    return key is not None and key.thumbprint == proof.thumbprint and proof.algorithm in key.algorithms
