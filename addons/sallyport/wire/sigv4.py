"""AWS Signature Version 4 for requests of HTTP: read what a client signed, and sign anew. Sans-io, no clock.

Source: AWS, "Create a signed AWS API request" (read November 2026): the path is percent-encoded a second time, as
everywhere but S3. Checked against botocore in tests/wire/test_sigv4.py. What cannot be signed without guessing what
the service will read (a "+" in the query, a broken escape) is a WireError, and such a request must not be changed.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from sallyport.wire.errors import WireError

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = b"UNSIGNED-PAYLOAD"
MAX_SKEW_S = 900
"""How far the date of a signature may be from the clock; AWS takes five to fifteen minutes, by service."""

type Fields = tuple[tuple[bytes, bytes], ...]

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<id>[A-Za-z0-9_]{16,128})/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,40})/"
    r"(?P<service>[a-z0-9-]{1,60})/aws4_request, *SignedHeaders=(?P<names>[a-z0-9_.;-]{1,2000}), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)
_ACCESS_KEY_ID = re.compile(r"(?i:AWS4-HMAC-SHA256)\s.*?Credential=([^/,\s]+)/")
_STAMP = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DATE, _TOKEN, _HASH = b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256"


@dataclass(frozen=True, slots=True)
class AwsKey:
    """What signs. session_token: of temporary credentials, else ""."""

    access_key_id: str
    secret: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signature is good for."""

    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Head:
    """What of a request's head is signed. path: as on the wire, with its query; fields: header lines with the host."""

    method: str
    path: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Signature:
    """What a client's Authorization header says. names: of the signed headers, in lower case."""

    access_key_id: str
    day: str
    scope: Scope
    names: tuple[bytes, ...]
    signature: str


def values_of(fields: Fields, name: bytes) -> tuple[bytes, ...]:
    """Return the values of a header, by its name in lower case."""
    return tuple(value for key, value in fields if key.lower() == name)


def is_signed(fields: Fields, path: str) -> bool:
    """Say whether a request carries any AWS signature, in a header or in its query; of version 4, 4a or another."""
    if any(value.strip()[:4].upper() in (b"AWS4", b"AWS ") for value in values_of(fields, b"authorization")):
        return True
    query = unquote_to_bytes(_raw(path.partition("?")[2])).lower()
    return b"x-amz-signature=" in query or b"x-amz-algorithm=" in query


def access_key_id(authorization: str) -> str:
    """Return the access key id in an Authorization header, "" if it holds no signature of version 4."""
    found = _ACCESS_KEY_ID.match(authorization.strip())
    return found[1] if found else ""


def read_signature(fields: Fields) -> Signature:
    """Read the one signature in a request's headers.

    Raises WireError: sigv4.none, sigv4.several, sigv4.algorithm (4a, presigned), sigv4.form.
    """
    given = values_of(fields, b"authorization")
    if len(given) != 1:
        raise WireError("sigv4.several" if given else "sigv4.none")
    text = given[0].decode("latin-1").strip()
    if not text.startswith(ALGORITHM + " "):
        raise WireError("sigv4.algorithm")
    found = _AUTHORIZATION.fullmatch(text)
    if found is None:
        raise WireError("sigv4.form")
    names = tuple(found["names"].encode().split(b";"))
    if list(names) != sorted(set(names)) or b"host" not in names:
        raise WireError("sigv4.form")
    scope = Scope(found["region"], found["service"])
    return Signature(found["id"], found["day"], scope, names, found["signature"])


def payload_hash(body: bytes, fields: Fields) -> bytes:
    """Return what a client's signature says of a body: its hash, or that it is unsigned.

    Raises WireError sigv4.payload for bodies signed piece by piece, and for a header that is repeated.
    """
    said = values_of(fields, _HASH)
    if said in ((), (UNSIGNED,)):
        return said[0] if said else _sha256(body)
    if len(said) > 1 or said[0].startswith(b"STREAMING-"):
        raise WireError("sigv4.payload")
    return said[0]


def is_intact(signed: Signature, before: Head, body_before: bytes, after: Head, body: bytes) -> bool:
    """Say whether a client's signature is still that of the request that leaves. Raises WireError."""
    same_target = before.method == after.method and before.path == after.path
    same_body = body == body_before or payload_hash(body_before, before.fields) == UNSIGNED
    return (
        same_target
        and same_body
        and all(_joined(before.fields, name) == _joined(after.fields, name) for name in signed.names)
    )


def verify(signed: Signature, key: AwsKey, head: Head, body: bytes, now: datetime) -> str:
    """Return "" for a good and fresh signature, else why it is none: header, body, date or signature.

    head, body: as the client sent them. Raises WireError where the signature cannot be computed.
    """
    stamps = values_of(head.fields, _DATE)
    if len(stamps) != 1 or _DATE not in signed.names or not _STAMP.fullmatch(stamps[0]):
        return "date"
    made_at = datetime.strptime(stamps[0].decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if signed.day != f"{made_at:%Y%m%d}" or abs((now - made_at).total_seconds()) > MAX_SKEW_S:
        return "date"
    present = {name.lower() for name, _ in head.fields}
    own = {name for name in present if name.startswith(b"x-amz-")}
    if not own <= set(signed.names) or not present >= set(signed.names):
        return "header"
    hashed = payload_hash(body, head.fields)
    if hashed not in (_sha256(body), UNSIGNED):
        return "body"
    wanted = _signature(key, signed.scope, stamps[0].decode(), canonical_request(head, signed.names, hashed))
    return "" if hmac.compare_digest(wanted, signed.signature) else "signature"


def sign(
    head: Head, body: bytes, key: AwsKey, scope: Scope, at: datetime, names: Iterable[bytes] = ()
) -> Fields:
    """Return the header lines of a request with a signature of this key in place of any other credential.

    names: headers to sign, as a client did; host, every x-amz header, and nothing that is not there. The body's
    hash goes into the signature always, and into x-amz-content-sha256 where the client sent that header.
    Raises WireError for a target that has no one canonical form.
    """
    hashed = _sha256(body)
    stamp = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    own = {_DATE: stamp.encode()}
    if values_of(head.fields, _HASH):
        own[_HASH] = hashed
    if key.session_token:
        own[_TOKEN] = key.session_token.encode("ascii")
    dropped = {b"authorization", _DATE, _TOKEN, _HASH}
    fields = (*((n, v) for n, v in head.fields if n.lower() not in dropped), *own.items())
    present = {name.lower() for name, _ in fields}
    wanted = {name for name in present if name.startswith(b"x-amz-")} | {b"host", *names}
    signed = tuple(sorted(wanted & present))
    if b"host" not in signed:
        raise WireError("sigv4.host")
    canonical = canonical_request(Head(head.method, head.path, fields), signed, hashed)
    written = (
        f"{ALGORITHM} Credential={key.access_key_id}/{_credential_scope(stamp, scope)}, "
        f"SignedHeaders={b';'.join(signed).decode('ascii')}, Signature={_signature(key, scope, stamp, canonical)}"
    )
    return (*fields, (b"authorization", written.encode("ascii")))


def canonical_request(head: Head, names: Iterable[bytes], hashed: bytes) -> bytes:
    """Return the text whose hash is signed. Raises WireError."""
    path, _, query = head.path.partition("?")
    ordered = sorted(names)
    lines = [
        head.method.encode("ascii"),
        canonical_path(path).encode("ascii"),
        canonical_query(query).encode("ascii"),
        *(name + b":" + _joined(head.fields, name) for name in ordered),
        b"",
        b";".join(ordered),
        hashed,
    ]
    return b"\n".join(lines)


def canonical_path(path: str) -> str:
    """Return a path as it is signed: dots and doubled slashes resolved, everything encoded once more."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    ending = "/" if path.endswith("/") and kept else ""
    whole = "/" + "/".join(kept) + ending
    return quote(_raw(whole), safe="/")


def canonical_query(query: str) -> str:
    """Return a query as it is signed: each name and value encoded one way, sorted. Raises WireError sigv4.query."""
    if not query:
        return ""
    pairs = [pair.partition("=") for pair in query.split("&")]
    if "+" in query or _ESCAPE.search(query) or any(not name for name, _, _ in pairs):
        raise WireError("sigv4.query")
    return "&".join(
        f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, _, v in pairs)
    )


def _encoded(text: str) -> str:
    return quote_from_bytes(unquote_to_bytes(_raw(text)), safe="")


def _raw(target: str) -> bytes:
    return target.encode("utf-8", "surrogateescape")


def _joined(fields: Fields, name: bytes) -> bytes:
    return b",".join(b" ".join(value.split()) for value in values_of(fields, name))


def _credential_scope(stamp: str, scope: Scope) -> str:
    return f"{stamp[:8]}/{scope.region}/{scope.service}/aws4_request"


def _signature(key: AwsKey, scope: Scope, stamp: str, canonical: bytes) -> str:
    digest = hashlib.sha256(canonical).hexdigest()
    text = "\n".join((ALGORITHM, stamp, _credential_scope(stamp, scope), digest))
    return _hmac(_signing_key(key.secret, stamp[:8], scope), text).hex()


def _signing_key(secret: str, day: str, scope: Scope) -> bytes:
    made = _hmac(f"AWS4{secret}".encode(), day)
    for part in (scope.region, scope.service, "aws4_request"):
        made = _hmac(made, part)
    return made


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _sha256(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()
