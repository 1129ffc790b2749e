"""Requests that AWS clients sign: a signature that is still good stays, one that is not is made anew or refused.

Nothing leaves with a signature that its own request has lost, and nothing leaves unmasked to save one. The gateway
cannot check what a client signed with a key it does not have; whom it signs for is said in the policy (`signing`).
"""

import re
from dataclasses import dataclass, field

from mitmproxy.http import Request

from sallyport.decision import Action, Decision
from sallyport.exchange import KeyForm, Operation
from sallyport.proxy import intake
from sallyport.proxy.broker import Exchanged, Lacking, misdirected, unavailable
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.passage import Passage
from sallyport.state.accesskeys import aws_key, is_access_key, own_access_key
from sallyport.state.credentials import CredentialUnavailable
from sallyport.wire import sigv4
from sallyport.wire.errors import WireError
from sallyport.wire.sigv4 import AwsKey, Fields, Head, Scope, Signature

_BEARER_DROPS = frozenset(
    (b"authorization", b"x-api-key", b"x-amz-date", b"x-amz-security-token", b"x-amz-content-sha256")
)
_CODINGS = b"accept-encoding"
_CODING = rb"(?:\*|identity|(?:x-)?gzip|deflate|compress|br|zstd)(?:; ?q=(?:0(?:\.[0-9])?|1(?:\.0)?))?"
_ONLY_CODINGS = re.compile(rb"(?:%b(?:, ?%b){0,7})?" % (_CODING, _CODING))
"""The one header that leaves without a scan where a client signed it: there is room for nothing else in it."""
_DO = (
    "Ask your security team to name a credential for it under `signing`, or use a bearer key of the provider."
)


@dataclass(frozen=True, slots=True)
class Signed:
    """Header lines to send for a signed request.

    shown: what of a credential of the gateway's the provider reads in them, and may quote; empty where the client's
    own signature stayed.
    """

    fields: Fields = field(repr=False)
    shown: tuple[str, ...] = field(repr=False)


def unproved(gateway: Gateway, request: Request, passage: Passage) -> Decision | None:
    """Return the refusal of a gateway's own access key whose secret the caller has not shown to have."""
    if passage.exchange.client.key_form is not KeyForm.GATEWAY or not is_access_key(passage.gateway_key):
        return None
    head = _as_it_came(request)
    try:
        signed = sigv4.read_signature(head.fields)
        key = own_access_key(gateway.key, signed.access_key_id)
        wrong = sigv4.verify(signed, key, head, request.raw_content or b"", gateway.now())
    except WireError as error:
        wrong = error.reason
    if not wrong:
        return None
    message = (
        f"The signature of this request does not fit its access key, which the gateway issued ({wrong}). Check the "
        "secret access key and the clock of your machine."
    )
    return Decision("identity", Action.DENY, "identity.key_signature", message=message, status=403)


async def signed_anew(
    gateway: Gateway,
    passage: Passage,
    request: Request,
    body: bytes,
    leaving: Fields,
    exchanged: Exchanged | None,
) -> Signed | Lacking | None:
    """Return the header lines to send, None where those that are leaving are good as they are.

    body, leaving: what leaves, the host apart. exchanged: what takes a gateway key's place.
    """
    before = _as_it_came(request)
    after = Head(request.method, request.path, ((b"host", passage.host.encode("ascii")), *leaving))
    try:
        if exchanged is not None:
            if aws_key(exchanged.real.value) is None and not is_access_key(exchanged.gateway_key):
                return None
            signs = is_access_key(exchanged.gateway_key)
            signed = sigv4.read_signature(before.fields) if signs else None
            return _with(gateway, passage, after, body, exchanged.real.value, signed)
        if not sigv4.is_signed(before.fields, before.path):
            return None
        return await _kept_or_anew(gateway, passage, before, request.raw_content or b"", after, body)
    except WireError as error:
        return _refused(f"its signature is of a kind that cannot be made anew ({error.reason})")


async def _kept_or_anew(
    gateway: Gateway, passage: Passage, before: Head, came: bytes, after: Head, body: bytes
) -> Signed | Lacking | None:
    try:
        signed = sigv4.read_signature(before.fields)
        # Some SDKs sign which codings they read; what is never signed is asked for as of any provider.
        same = Head(after.method, after.path, _with_codings(after.fields, before.fields, signed))
        if sigv4.is_intact(signed, before, came, same, body):
            return Signed(_but_host(same.fields), ())
        sigv4.payload_hash(came, before.fields)
    except WireError:
        # In query, of version 4a, in pieces: what nobody changed is the provider's to judge.
        if body == came:
            return None
        raise
    if passage.exchange.request.operation is Operation.OPAQUE:
        # There a provider may make keys of its own; see stages/keys.py.
        return _refused("nobody here can read what it asks for")
    who = passage.exchange.principal
    rules = passage.live.policy.signing
    name = rules.credential(who, passage.host) if who is not None else None
    if name is None:
        return _refused("the gateway has no credential to sign it anew")
    stored = gateway.credentials.stored(name) if gateway.credentials is not None else None
    if stored is None or gateway.credentials is None:
        return Lacking(unavailable("missing"), name)
    if misdirected(passage.live.catalogue, passage.exchange, stored) is not None:
        return _refused("the credential to sign it anew is not for this host", name)
    try:
        secret = await gateway.credentials.secret(stored)
    except CredentialUnavailable as problem:
        return Lacking(unavailable(problem.reason), name)
    return _with(gateway, passage, after, body, secret.value, signed)


def _with(
    gateway: Gateway, passage: Passage, head: Head, body: bytes, value: str, signed: Signature | None
) -> Signed | Lacking:
    """Put a credential into a request: an access key signs it, a bearer key takes the signature's place."""
    key = aws_key(value)
    if key is None:
        kept = tuple(line for line in _but_host(head.fields) if line[0].lower() not in _BEARER_DROPS)
        return Signed((*kept, (b"authorization", b"Bearer " + value.encode("ascii"))), (value,))
    own = _scope_of(passage)
    scope = own if signed is None else signed.scope
    if own is None or scope is None or scope != own:
        return _refused("its signature is for another service or region than its host")
    unkeyed = tuple(line for line in head.fields if line[0].lower() != b"x-api-key")
    names = signed.names if signed is not None else (b"content-type",)
    fields = sigv4.sign(Head(head.method, head.path, unkeyed), body, key, scope, gateway.now(), names)
    return Signed(_but_host(fields), _shown(key))


def _scope_of(passage: Passage) -> Scope | None:
    """Return what signatures for the host of a call must say, None where the catalogue does not know."""
    provider = passage.provider
    service = provider.credentials.signing_service if provider is not None else ""
    region = provider.regions.of_host(passage.host) if provider is not None else ""
    return Scope(region, service) if region and service else None


def _shown(key: AwsKey) -> tuple[str, ...]:
    return (key.access_key_id, key.session_token) if key.session_token else (key.access_key_id,)


def _with_codings(leaving: Fields, came: Fields, signed: Signature) -> Fields:
    """Return the header lines with the client's own Accept-Encoding, where its signature covers that.

    One that says anything but codings stays out: nobody has scanned it.
    """
    own = tuple(line for line in came if line[0].lower() == _CODINGS)
    if _CODINGS not in signed.names or len(own) > 1 or not all(_ONLY_CODINGS.fullmatch(v) for _, v in own):
        return leaving
    return (*(line for line in leaving if line[0].lower() != _CODINGS), *own)


def _but_host(fields: Fields) -> Fields:
    return tuple(line for line in fields if line[0].lower() != b"host")


def _as_it_came(request: Request) -> Head:
    """Return the head as the client signed it: over HTTP/2 the host stands in :authority alone."""
    fields = request.headers.fields
    if not sigv4.values_of(fields, b"host"):
        fields = ((b"host", request.authority.encode("ascii", "replace")), *fields)
    return Head(request.method, request.path, fields)


def _refused(why: str, credential: str = "") -> Lacking:
    message = f"The request is signed and had to be changed, and {why}, so it was not sent. {_DO}"
    return Lacking(intake.refuse("signed_body", message, 403), credential)
