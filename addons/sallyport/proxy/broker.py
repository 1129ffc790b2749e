"""Gateway keys on their way: told at sight, exchanged for the real credential, and never sent on themselves.

The real credential stands exactly where the gateway key stood, with the scheme the client's SDK wrote before it:
an SDK puts either in the same place. It exists in the request from the verdict on, and in nothing that is kept.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from mitmproxy.http import Request

from sallyport.decision import Action, Decision
from sallyport.exchange import Exchange, KeyForm
from sallyport.policy.catalogue import Catalogue, Credentials
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.intake import credentials_of
from sallyport.stages.keys import KeyRefusal, refused_gateway_key
from sallyport.state.accesskeys import is_access_key
from sallyport.state.credentials import CredentialUnavailable, Secret
from sallyport.state.directory.credentials import StoredCredential
from sallyport.state.gatewaykeys import form_of
from sallyport.state.keyed import fingerprint
from sallyport.wire.sigv4 import ALGORITHM, access_key_id

_PLACES = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "ocp-apim-subscription-key", "cookie")
"""Headers in which some provider's SDK sends a key; a gateway key in one that is not this provider's is misplaced."""


@dataclass(frozen=True, slots=True)
class Presented:
    """The credentials of a request. gateway_key: the one gateway key where there is nothing else, else "".

    key_ids: the fingerprints again, those of access key ids in place of signatures'.
    """

    fingerprints: tuple[str, ...] = ()
    key_ids: tuple[str, ...] = ()
    form: KeyForm = KeyForm.PROVIDER
    gateway_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A gateway key and what takes its place."""

    gateway_key: str = field(repr=False)
    real: Secret


@dataclass(frozen=True, slots=True)
class Lacking:
    """A refusal. credential: the name, which is no secret, of a real one that cannot be had; "" for another reason."""

    decision: Decision
    credential: str = ""

    @property
    def detail(self) -> str:
        """What the event of the refusal says: which credential, as events of `sallyport credentials` name it."""
        return f"credentials.{self.credential}" if self.credential else ""


def presented(request: Request, where: Credentials, key: bytes) -> Presented:
    """Say which credentials a request carries, and what they look like. key: the gateway's."""
    carried = credentials_of(request, where)
    found = {_told_apart(each) for each in carried}
    signing = access_key_id(request.headers.get("authorization", ""))
    prints = _fingerprints(key, found)
    key_ids = _fingerprints(key, {_signing(each) or each for each in carried})
    forms = {form_of(key, each) for each in found}
    # An access key id alone proves nothing: it counts where it signs, and its signature is checked with the body.
    bare = any(is_access_key(each) and each != signing for each in found)
    if KeyForm.FORGED in forms or bare or _is_elsewhere(request, where, key):
        return Presented(prints, key_ids, KeyForm.FORGED)
    if KeyForm.GATEWAY not in forms:
        return Presented(prints, key_ids)
    if len(found) > 1:
        return Presented(prints, key_ids, KeyForm.SEVERAL)
    return Presented(prints, key_ids, KeyForm.GATEWAY, next(iter(found)))


def _fingerprints(key: bytes, credentials: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(fingerprint(key, each) for each in credentials))


def _told_apart(credential: str) -> str:
    """Return the access key id of a signature that is made with one of the gateway's, else the credential."""
    signing = _signing(credential)
    return signing if is_access_key(signing) else credential


def _signing(credential: str) -> str:
    """Return the access key id of a credential that is a signature, "" of any other."""
    return access_key_id(credential) or access_key_id(f"{ALGORITHM} {credential}")


def _is_elsewhere(request: Request, where: Credentials, key: bytes) -> bool:
    """Say whether a gateway key stands where this provider has none, or inside another credential."""
    for name, value in request.headers.items(multi=True):
        name, value = name.lower(), value.strip()
        scheme, _, rest = value.partition(" ")
        if name in where.headers:
            if scheme.lower() == "basic" and form_of(key, _plain_basic(rest)) is not KeyForm.PROVIDER:
                return True
        elif name in _PLACES and form_of(key, rest or scheme) is not KeyForm.PROVIDER:
            return True
    return False


def _plain_basic(token: str) -> str:
    try:
        return base64.b64decode(token.strip() + "==").decode("latin-1")
    except (ValueError, binascii.Error):
        return ""


async def exchange_key(
    gateway: Gateway,
    catalogue: Catalogue,
    exchange: Exchange,
    request: Request,
    body: bytes,
    where: Credentials,
    gateway_key: str,
) -> Exchanged | Decision | Lacking | None:
    """Fetch the real credential of a call, None where it needs none; what refuses the call where it gets none.

    body: what leaves. where: the places of credentials. gateway_key: of Presented.
    """
    if exchange.client.key_form is KeyForm.PROVIDER:
        return None
    directory = gateway.directory()
    refusal = refused_gateway_key(exchange, directory)
    key = directory.key(exchange.client.credential or "")
    if refusal is not None or key is None or not gateway_key:
        return _refused(refusal or KeyRefusal("identity.key_unknown", "This gateway key is not valid."))
    stored = gateway.credentials.stored(key.credential) if gateway.credentials is not None else None
    if stored is None or gateway.credentials is None:
        return Lacking(unavailable("missing"), key.credential)
    wrong_host = misdirected(catalogue, exchange, stored)
    if wrong_host is not None:
        return _refused(wrong_host)
    try:
        exchanged = Exchanged(gateway_key, await gateway.credentials.secret(stored))
    except CredentialUnavailable as problem:
        return Lacking(unavailable(problem.reason), stored.name)
    if gateway_key.encode() in body or _remains(request, where, exchanged):
        return _refused(
            KeyRefusal(
                "identity.key_misplaced",
                "The request carries its gateway key in another place than the provider's. Take it out there.",
            )
        )
    return exchanged


def put_real(request: Request, where: Credentials, exchanged: Exchanged) -> None:
    """Put the real credential into the gateway key's place."""
    request.headers.fields = _fields(request, where, exchanged)
    request.path = _path(request, where, exchanged)


def misdirected(catalogue: Catalogue, exchange: Exchange, stored: StoredCredential) -> KeyRefusal | None:
    """Return why a credential must not go to this host.

    Under a wildcard of the catalogue anybody may own a host, so that a thief of a gateway key could have the
    real one sent to himself: to such hosts a credential goes only where it names them.
    """
    if stored.provider != exchange.request.provider:
        return KeyRefusal("identity.key_provider", "This key was not issued for this provider.")
    is_meant = exchange.host in (stored.hosts or catalogue.fixed_hosts)
    return None if is_meant else KeyRefusal("identity.key_host", "This key was not issued for this host.")


def _fields(request: Request, where: Credentials, exchanged: Exchanged) -> tuple[tuple[bytes, bytes], ...]:
    old, new = exchanged.gateway_key.encode(), exchanged.real.value.encode()
    return tuple(
        (name, value.replace(old, new) if name.lower().decode("latin-1") in where.headers else value)
        for name, value in request.headers.fields
    )


def _path(request: Request, where: Credentials, exchanged: Exchanged) -> str:
    path, mark, query = request.path.partition("?")
    pairs = []
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        if unquote(name) in where.query and unquote(value) == exchanged.gateway_key:
            pair = f"{name}{equals}{quote(exchanged.real.value, safe='')}"
        pairs.append(pair)
    return path + mark + "&".join(pairs)


def _remains(request: Request, where: Credentials, exchanged: Exchanged) -> bool:
    """Say whether the gateway key would still be in the head after the exchange."""
    old = exchanged.gateway_key.encode()
    fields = _fields(request, where, exchanged)
    path = _path(request, where, exchanged)
    return any(old in value or old in name for name, value in fields) or old in unquote(path).encode()


def _refused(refusal: KeyRefusal) -> Decision:
    return Decision("identity", Action.DENY, refusal.reason, message=refusal.message)


def unavailable(reason: str) -> Decision:
    """Return the refusal of a call whose credential cannot be had."""
    return Decision(
        "credentials",
        Action.DENY,
        f"credentials.{reason}",
        message="The gateway cannot get the credential that this key stands for, so the request was not sent. Try "
        "again later; if it stays, tell your security team.",
        status=503,
    )
