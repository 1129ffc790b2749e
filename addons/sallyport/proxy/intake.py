"""From an HTTP request to an exchange, or to a decision that refuses it. No hook, no I/O, no policy mode.

One name rules: the name the client asked TLS for. Host, :authority and an absolute target must say the same.
"""

import re
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy.http import HTTPFlow, Request

from sallyport.decision import Action, Decision
from sallyport.exchange import Operation, Segment, Surface
from sallyport.policy import preflights
from sallyport.policy.catalogue import Credentials, Endpoint, Miss, Provider, Routes
from sallyport.policy.providers import WEBSOCKET
from sallyport.proxy.tls import normalise_name
from sallyport.stages.places import HEADER, TARGET
from sallyport.wire.coding import decode_body
from sallyport.wire.errors import WireError
from sallyport.wire.mediatype import require_utf8

TRANSPORT = "transport"
"""The stage name of decisions made before a body was read."""

WIRE = "wire"
"""The stage name of decisions on bodies that cannot be read whole."""

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

_STRUCTURAL = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "accept-encoding",
        "content-encoding", "expect", "te",
    }
)  # fmt: skip
"""Headers that are checked, set anew or dropped elsewhere: nothing a client writes into them leaves."""

_USUAL = {
    "accept": frozenset(
        {
            "*/*", "application/json", "text/event-stream", "application/json, text/event-stream",
            "application/json, text/plain, */*", "application/json,text/event-stream",
            "application/vnd.amazon.eventstream",
        }
    ),
    "accept-language": frozenset({"*", "en", "en-US", "en-US,en;q=0.9", "en-GB,en;q=0.9"}),
    "cache-control": frozenset({"no-cache", "no-store", "max-age=0"}),
    "pragma": frozenset({"no-cache"}),
    "content-type": frozenset(
        {"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"}
    ),
}  # fmt: skip
"""Values that nobody needs to scan, since no client chose more than which; any other value is a text."""

_CREDENTIAL = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9-]{0,15} +)?[A-Za-z0-9._~+/=:|-]{1,8192}|"
    r"AWS4-(?:HMAC-SHA256|ECDSA-P256-SHA256) Credential=[A-Za-z0-9/_-]{1,200}, ?SignedHeaders=[a-z0-9;-]{1,1000}, ?"
    r"Signature=[0-9a-f]{64,160}"
)
"""A scheme and one token (RFC 9110 section 11.4), or a signature of AWS; anything else is no credential."""

NEVER_FORWARDED = (
    "proxy-authorization", "proxy-connection", "proxy-authenticate", "te", "keep-alive", "forwarded", "via",
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "alt-used",
    "x-forwarded-server", "x-host", "x-original-host", "x-http-host-override", "x-original-url", "x-rewrite-url",
    "x-http-method", "x-http-method-override", "x-method-override",
)  # fmt: skip
"""Headers that would tell a provider about the inside, belong to this hop only, or ask for another host, path
or method than the one that was judged."""


_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]{0,30}://[a-z0-9.:\[\]-]{1,260}", re.IGNORECASE)
_NAMES = re.compile(r"[a-z0-9-]{1,64}(?:, ?[a-z0-9-]{1,64}){0,63}", re.IGNORECASE)
_OF_A_PREFLIGHT = frozenset(name.encode() for name in preflights.HEADERS)

_OF_THE_BODY = frozenset(
    (b"content-encoding", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"etag")
)
"""Headers that speak of the very bytes of a body: for another they are wrong, and tell of what was taken out."""

_DROPPED = frozenset(name.encode() for name in (*NEVER_FORWARDED, "expect", "transfer-encoding", "host"))


def refuse(reason: str, message: str, status: int = 400) -> Decision:
    """Return a refusal of the transport."""
    return Decision(TRANSPORT, Action.DENY, f"transport.{reason}", message=message, status=status)


PREFLIGHT_BODY = refuse("preflight_body", "A preflight request has no body.")
TOO_LARGE = refuse("body_too_large", "The request body is larger than the gateway reads.", 413)
"""The refusal of a body beyond transport.max_request_bytes."""


def check_request(flow: HTTPFlow, name: str, max_header_bytes: int, max_headers: int) -> Decision | None:
    """Return why the head of a request is refused, None if it is sound.

    name: the host the connection was opened for, normalised.
    """
    request = flow.request
    fields = request.headers.fields
    together = b"".join(part for field in fields for part in field)
    if len(fields) > max_headers or len(together) > max_header_bytes:
        return refuse("head_too_large", "The request has too many or too long headers.", 431)
    if _CONTROL.search(together):
        return refuse("header_control", "A header holds control characters.")
    hosts = request.headers.get_all("host")
    named = [*hosts, *([request.authority] if request.authority else [])]
    if len(hosts) > 1 or not named:
        return refuse("host_count", "The request must name exactly one host.")
    if any(_host_of(given) != name for given in named):
        return refuse("host_mismatch", "The request names another host than the connection.", 421)
    names = [name.lower() for name, _ in fields]
    if any(names.count(once) > 1 for once in (b"content-length", b"transfer-encoding", b"content-type")):
        return refuse("repeated_header", "A header that may be there once is repeated.")
    if request.headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
        return refuse("transfer_encoding", "The only transfer coding accepted is chunked.")
    if b"upgrade" in names and not is_websocket(request):
        return refuse("upgrade", "Protocol upgrades are not accepted here; use HTTPS requests.", 403)
    return None


def is_websocket(request: Request) -> bool:
    """Say whether a request wants to become a WebSocket. HTTP/2 has another way (RFC 8441), which is not offered."""
    return "websocket" in request.headers.get("upgrade", "").lower()


def _host_of(given: str) -> str | None:
    name, colon, port = given.strip().rpartition(":")
    if not colon:
        name, port = port, "443"
    return normalise_name(name) if port == "443" else None


@dataclass(frozen=True, slots=True)
class Target:
    """What the target of a call says. miss: why the catalogue has no such endpoint, empty if it has."""

    endpoint: Endpoint
    miss: str = ""


def find_target(provider: Provider, request: Request) -> Target:
    """Look the call up; an unknown one becomes an opaque endpoint, which the access stage judges."""
    if request.method == "OPTIONS" and is_preflight(request, provider.credentials):
        called = provider.resolve(request.headers[preflights.METHOD], request.path)
        if isinstance(called, Endpoint):
            return Target(preflights.ahead_of(called))
    asked = (WEBSOCKET if is_websocket(request) else request.method, request.path)
    fixed = _fixed.setdefault(provider.routes, {})
    if asked in fixed:
        return fixed[asked]
    found = provider.resolve(*asked)
    if isinstance(found, Miss):
        unknown = Endpoint("opaque", Operation.OPAQUE, None, None, "(unknown)")
        return Target(unknown, found.reason)
    target = Target(found)
    if "?" not in request.path and not found.captured:
        fixed[asked] = target
    return target


def is_preflight(request: Request, where: Credentials) -> bool:
    """Say whether a browser asks ahead of a call whether a page may make it (Fetch standard, CORS-preflight fetch).

    It has neither body nor credential; with one it is a call like any other.
    """
    headers = request.headers
    origin, method = headers.get_all("origin"), headers.get_all(preflights.METHOD)
    names = headers.get_all(preflights.NAMES)
    if len(origin) != 1 or len(method) != 1 or len(names) > 1 or method[0] not in preflights.METHODS:
        return False
    if not _ORIGIN.fullmatch(origin[0]) or not all(_NAMES.fullmatch(each) for each in names):
        return False
    if "cookie" in headers or "authorization" in headers or credentials_of(request, where):
        return False
    return "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"


def bound_preflight(request: Request) -> None:
    """Leave of a browser's question what it is about: who calls need not be known, and answers for no more."""
    request.headers.fields = tuple(f for f in request.headers.fields if f[0].lower() in _OF_A_PREFLIGHT)


_fixed: WeakKeyDictionary[Routes, dict[tuple[str, str], Target]] = WeakKeyDictionary()
"""Targets in which a client chooses nothing: as many as the catalogue has endpoints, and nothing of a client."""


def credentials_of(request: Request, where: Credentials) -> frozenset[str]:
    """Return the distinct credentials a request carries, without their scheme word, whichever that is."""
    found: set[str] = set()
    for name in where.headers:
        for value in request.headers.get_all(name):
            words = value.split()
            key = words[1] if len(words) == 2 else value.strip()
            if key:
                found.add(key)
    for name in where.query:
        found.update(value for value in request.query.get_all(name) if value)
    return frozenset(found)


def open_headers(request: Request, where: Credentials) -> tuple[tuple[str, str], ...]:
    """Return the headers without credentials, names in lower case, in order."""
    hidden = {*where.headers, "proxy-authorization", "cookie"}
    return tuple((k.lower(), v) for k, v in request.headers.items(multi=True) if k.lower() not in hidden)


def scanned_headers(request: Request, where: Credentials) -> tuple[tuple[str, str], ...]:
    """Return the headers that are texts, names as they are spelt: HTTP/1 carries their case to the provider.

    A credential is none, as long as it has the form of one; cookies are, unless they sign in at this provider.
    """
    return tuple(
        (name, value)
        for name, value in request.headers.items(multi=True)
        if name.lower() not in where.headers or not _is_credential(name.lower(), value.strip())
    )


def _is_credential(name: str, value: str) -> bool:
    return name == "cookie" or _CREDENTIAL.fullmatch(value) is not None


def extra_segments(
    headers: tuple[tuple[str, str], ...], endpoint: Endpoint, own: frozenset[str]
) -> tuple[Segment, ...]:
    """Return the texts outside the body: headers and what the client chose in path and query.

    own: headers that never leave, which nobody needs to scan.
    """
    segments = [
        Segment(f"{HEADER}{position}", Surface.DOCUMENT, f"{name}: {value}")
        for position, (name, value) in enumerate(headers)
        if _is_text(name.lower(), value) and name.lower() not in own
    ]
    segments += [Segment(f"{TARGET}{name}", Surface.DOCUMENT, value) for name, value in endpoint.captured]
    return tuple(segments)


def _is_text(name: str, value: str) -> bool:
    return name not in _STRUCTURAL and name not in NEVER_FORWARDED and value not in _USUAL.get(name, ())


def outgoing_fields(
    fields: tuple[tuple[bytes, bytes], ...], own: frozenset[str], length: int, *, changed: bool
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header lines that leave, in their order, without the host: what is this hop's alone is gone.

    own: further names that never leave. length: bytes of the body. changed: the body is no longer the bytes the
    client sent, be it without its coding. No coding is asked for, since an answer in one could not be read.
    """
    dropped = _DROPPED if not own else _DROPPED.union(name.encode() for name in own)
    wanted = {b"accept-encoding": b"identity", b"content-length": b"%d" % length}
    left = []
    for name, value in fields:
        key = name.lower()
        if key in dropped or (changed and (key in _OF_THE_BODY or key.startswith(b"x-amz-checksum-"))):
            continue
        if key == b"accept-encoding" or key == b"content-length":
            if key in wanted:
                left.append((name, wanted.pop(key)))
            continue
        left.append((name, _of_this_hop(value) if key == b"connection" else value))
    if not length:
        wanted.pop(b"content-length", None)
    return (*left, *wanted.items())


def relayed_fields(
    fields: tuple[tuple[bytes, bytes], ...], own: frozenset[str]
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header lines of a request that passes unread, without the host and what speaks of identity."""
    dropped = {b"host", b"proxy-authorization", b"proxy-connection", *(name.encode() for name in own)}
    return tuple(
        (name, _of_this_hop(value) if name.lower() == b"connection" else value)
        for name, value in fields
        if name.lower() not in dropped
    )


def _of_this_hop(value: bytes) -> bytes:
    """Return what may go on of a Connection header: whether the connection ends.

    A header named in it would be taken out at the next hop.
    """
    return b"close" if b"close" in value.lower() else b"keep-alive"


def readdress(request: Request, host: str) -> None:
    """Name the one host everywhere, and go there by name, whatever address the client chose.

    The method is spelt as it was judged: over HTTP/2 a client can write it in small letters.
    """
    data = request.data
    data.method = data.method.upper()
    data.host, data.port, data.scheme = host, 443, b"https"
    if request.is_http2:
        data.authority = host.encode("ascii")
    else:
        data.authority = b""
        request.headers.fields = ((b"Host", host.encode("ascii")), *request.headers.fields)


def decoded_body(request: Request, limit_bytes: int) -> bytes:
    """Return the body as it will be scanned and forwarded. Raises WireError."""
    require_utf8(request.headers.get("content-type"))
    codings = request.headers.get_all("content-encoding")
    if len(codings) > 1:
        raise WireError("coding.duplicate")
    return decode_body(request.raw_content or b"", codings[0] if codings else None, limit_bytes=limit_bytes)


def unreadable(error: WireError) -> Decision:
    """Return the refusal of a body that cannot be read whole. The reason names the trick, not the content."""
    status = 413 if error.reason in {"coding.bomb", "coding.too_large"} else 400
    return Decision(
        WIRE,
        Action.DENY,
        f"wire.{error.reason}",
        message=f"The gateway cannot read this request whole ({error.reason}), so it was not sent.",
        status=status,
    )
