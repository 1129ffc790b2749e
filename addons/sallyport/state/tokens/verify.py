"""What a token proves: its signature by the issuer's key, then issuer, audience, times and claims (RFC 7519, 8725).

The key is the one of the issuer that has the token's kid, and nothing in the token can bring another.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from sallyport.policy.tokens import Issuer
from sallyport.stages.stage import Subject
from sallyport.state.tokens.form import MAX_TOKEN_CHARS, Form, Json, TokenRefused, take_apart
from sallyport.state.tokens.jwks import KeySet, PublicKey

MAX_TEXT_CHARS = 1024
MAX_GROUPS = 1000
MAX_TIME = 2**53

_POINTER = re.compile(r"(?:/[^/]*)+")


class _Registry(jws.JWSRegistry):
    """Sizes as form.py bounds them; unknown header parameters are ignored, those that matter are refused there."""

    max_header_length = 2048
    max_payload_length = MAX_TOKEN_CHARS
    max_signature_length = 2048

    def get_alg(self, name: str) -> Any:
        """Return an algorithm the policy allows; joserfc would warn of the name EdDSA, which issuers still use."""
        if name not in (self.allowed or ()):
            raise UnsupportedAlgorithmError
        return self.algorithms[name]


@dataclass(frozen=True, slots=True)
class Proof:
    """Whom a token proves, with which key, and until when (seconds since 1970, leeway included)."""

    subject: Subject
    kid: str
    thumbprint: str
    algorithm: str
    until: float


class UnknownKey(TokenRefused):
    """The issuer's key set, as it is known here, has no key of that kid."""

    def __init__(self) -> None:
        super().__init__("unknown_key")


def verify(issuer: Issuer, token: str, keys: KeySet, now: float) -> Proof:
    """Check a token against one issuer. now: seconds since 1970. Raises TokenRefused."""
    form = take_apart(token)
    if form.claims.get("iss") != issuer.issuer:
        raise TokenRefused("issuer")
    if form.algorithm not in issuer.algorithms:
        raise TokenRefused("algorithm")
    key = keys.get(form.kid)
    if key is None:
        raise UnknownKey
    _check_signature(token, form, key)
    _check_audience(form.claims.get("aud"), issuer.audience)
    until = _check_times(form.claims, issuer, now)
    for required in issuer.claims.required:
        values = set(_texts(find_claim(form.claims, required.claim)))
        if not values or (required.one_of and values.isdisjoint(required.one_of)):
            raise TokenRefused("required_claim")
    return Proof(_subject(issuer, form.claims), key.kid, key.thumbprint, form.algorithm, until)


def find_claim(claims: dict[str, Json], name: str) -> Json:
    """Return a claim by name or pointer, None where it is not there.

    A name that stands in the token as it is comes first: there are names that begin with a slash.
    """
    if name in claims or not _POINTER.fullmatch(name):
        return claims.get(name)
    found: Json = claims
    for part in name[1:].split("/"):
        if not isinstance(found, dict):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _check_signature(token: str, form: Form, key: PublicKey) -> None:
    if form.algorithm not in key.algorithms:
        raise TokenRefused("algorithm")
    registry = _Registry(algorithms=[form.algorithm], strict_check_header=False)
    try:
        jws.deserialize_compact(token, key.key, registry=registry)
    except (JoseError, ValueError, TypeError):
        raise TokenRefused("signature") from None


def _check_audience(audience: Json, accepted: tuple[str, ...]) -> None:
    listed = audience if isinstance(audience, list) else [audience]
    if not all(isinstance(each, str) for each in listed) or not any(each in accepted for each in listed):
        raise TokenRefused("audience")


def _check_times(claims: dict[str, Json], issuer: Issuer, now: float) -> float:
    """Return until when the token counts, leeway included."""
    expires = _time(claims, "exp")
    begins, issued = _time(claims, "nbf"), _time(claims, "iat")
    leeway = issuer.leeway_s
    if expires is None:
        raise TokenRefused("no_expiry")
    if issuer.max_age_s is not None:
        if issued is None:
            raise TokenRefused("no_issue_time")
        expires = min(expires, issued + issuer.max_age_s)
    if now >= expires + leeway:
        raise TokenRefused("expired")
    if any(at is not None and at > now + leeway for at in (begins, issued)):
        raise TokenRefused("not_yet")
    return expires + leeway


def _time(claims: dict[str, Json], name: str) -> float | None:
    if name not in claims:
        return None
    at = claims[name]
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at <= MAX_TIME:
        raise TokenRefused("times")
    return float(at)


def _subject(issuer: Issuer, claims: dict[str, Json]) -> Subject:
    meaning = issuer.claims
    who = find_claim(claims, meaning.id)
    if not isinstance(who, str) or not who:
        raise TokenRefused("no_id")
    unverified = claims.get("email_verified") is not True and claims.get("email_verified") != "true"
    if meaning.name_kind == "email" and meaning.unverified_email == "deny" and unverified:
        raise TokenRefused("email_not_verified")
    tenant = issuer.tenant or ""
    if meaning.tenant is not None:
        named = find_claim(claims, meaning.tenant)
        if not isinstance(named, str) or not named:
            raise TokenRefused("no_tenant")
        tenant = named
    taken = ((name, find_claim(claims, claim)) for name, claim in meaning.attributes.items())
    attributes = tuple((name, ",".join(_texts(value))) for name, value in taken if value is not None)
    return Subject(issuer.issuer, who, attributes, _groups(issuer, claims), tenant)


def _groups(issuer: Issuer, claims: dict[str, Json]) -> tuple[str, ...]:
    if issuer.groups is None:
        return ()
    elsewhere = claims.get("_claim_names")
    if claims.get("hasgroups") or (isinstance(elsewhere, dict) and "groups" in elsewhere):
        raise TokenRefused("groups_left_out")
    listed = find_claim(claims, issuer.groups.claim)
    if listed is None and issuer.groups.missing == "deny":
        raise TokenRefused("no_groups")
    return tuple(_texts(listed))


def _texts(value: Json) -> Iterator[str]:
    """Yield a claim's values as text. Raises TokenRefused for objects, and for texts that no text should hold."""
    many = value if isinstance(value, list) else [] if value is None else [value]
    if len(many) > MAX_GROUPS:
        raise TokenRefused("claims")
    for each in many:
        if isinstance(each, bool):
            yield str(each).lower()
        elif isinstance(each, str):
            if len(each) > MAX_TEXT_CHARS or not each.isprintable():
                raise TokenRefused("claims")
            yield each
        elif isinstance(each, int | float):
            yield str(each)
        else:
            raise TokenRefused("claims")
