"""What AWS checks before it answers: the signature of a request, with secrets that follow from their access key ids.

Written apart from `wire/sigv4.py`, which signs for the gateway, so that the two can be held against each other.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from sallyport.lab.values import Incoming

MAX_SKEW_S = 300


def secret_of(access_key_id: str) -> str:
    """Return the secret that belongs to an access key id here: 40 characters, as AWS's have."""
    return base64.b64encode(hashlib.sha256(f"lab secret {access_key_id}".encode()).digest()).decode()[:40]


def token_of(access_key_id: str) -> str:
    """Return the session token that must come with a temporary key (ASIA...)."""
    return base64.b64encode(hashlib.sha512(f"lab token {access_key_id}".encode()).digest()).decode()


def trouble_with(request: Incoming, service: str) -> str:
    """Return "" for a call that may be answered, else the name of AWS's error. Bearer keys are taken as they are."""
    given = request.headers.get("authorization", "")
    if given.startswith("Bearer "):
        return "UnrecognizedClientException" if "invalid" in given else ""
    algorithm, _, rest = given.partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        return "MissingAuthenticationTokenException"
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    scope = parts.get("Credential", "").split("/")
    names = parts.get("SignedHeaders", "").split(";")
    if len(scope) != 5 or "INVALID" in scope[0]:
        return "UnrecognizedClientException"
    known, day, region, asked, ending = scope
    stamp = request.headers.get("x-amz-date", "")
    if (asked, ending, day) != (service, "aws4_request", stamp[:8]) or f".{region}." not in request.host:
        return "InvalidSignatureException"
    if abs((datetime.now(UTC) - _moment(stamp)).total_seconds()) > MAX_SKEW_S:
        return "InvalidSignatureException"
    token = request.headers.get("x-amz-security-token", "")
    if token != (token_of(known) if known.startswith("ASIA") else ""):
        return "UnrecognizedClientException"
    unsigned = {n for n in request.headers if n.startswith("x-amz-")} | {"host"}
    if unsigned - set(names):
        return "InvalidSignatureException"
    wanted = _signature(secret_of(known), stamp, region, service, _canonical(request, names))
    return "" if hmac.compare_digest(wanted, parts.get("Signature", "")) else "InvalidSignatureException"


def _moment(stamp: str) -> datetime:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)


def _canonical(request: Incoming, names: list[str]) -> str:
    pairs = sorted((quote(k, safe=""), quote(v, safe="")) for k, v in parse_qsl(request.query, True))
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in sorted(names))
    hashed = request.headers.get("x-amz-content-sha256") or hashlib.sha256(request.body).hexdigest()
    return "\n".join(
        (
            request.method,
            quote(request.path, safe="/"),
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            ";".join(sorted(names)),
            hashed,
        )
    )


def _signature(secret: str, stamp: str, region: str, service: str, canonical: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
