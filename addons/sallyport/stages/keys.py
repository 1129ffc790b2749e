"""Whether the credentials of a call may be used: by the directory, by the policy, by the scope of a gateway key."""

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from sallyport.exchange import Client, Exchange, KeyForm, Operation
from sallyport.policy.globs import Globs
from sallyport.policy.identity import Identity
from sallyport.policy.inputs import models_of
from sallyport.stages.directory import Directory, Key, KeyKind

_ASK = "Ask your security team for another."


@dataclass(frozen=True, slots=True)
class KeyRefusal:
    """Why a credential may not be used. reason: id of the refusal; message: what the caller may read."""

    reason: str
    message: str


def refused_key(exchange: Exchange, section: Identity, directory: Directory) -> KeyRefusal | None:
    """Return why a credential of the call may not be used, None where all of them may."""
    client = exchange.client
    misshapen = _misshapen(client.key_form)
    if misshapen is not None:
        return misshapen
    for fingerprint in client.credentials or ((client.credential,) if client.credential else ()):
        key = directory.key(fingerprint)
        refusal = _unlisted(client, fingerprint, section) if key is None else _listed(exchange, key, section)
        if refusal is not None:
            return refusal
    return None


def refused_gateway_key(exchange: Exchange, directory: Directory) -> KeyRefusal | None:
    """Return why a call with a gateway key may not have the real credential, whatever the policy's mode.

    What the policy only observes is passed on; a gateway key is not: it is worth nothing outside its scope.
    """
    misshapen = _misshapen(exchange.client.key_form)
    if misshapen is not None:
        return misshapen
    key = directory.key(exchange.client.credential or "")
    if key is None or key.kind is not KeyKind.GATEWAY:
        return KeyRefusal("identity.key_unknown", f"This gateway key is not valid any more. {_ASK}")
    refusal = _over(exchange, key) or outside_scope(exchange, key)
    if refusal is not None:
        return refusal
    if exchange.request.operation is Operation.OPAQUE and Operation.OPAQUE.value not in key.operations:
        # There a provider may make keys of its own, which would be worth something elsewhere.
        return _not_for("operation", key, "kind of call")
    if exchange.principal is not None and exchange.principal.tenant != key.tenant:
        return KeyRefusal("identity.key_tenant", f"This key ({key.id}) belongs to another tenant. {_ASK}")
    person, tenant = directory.person(key.tenant, key.owner), directory.tenant(key.tenant)
    if (person is not None and not person.active) or (tenant is not None and not tenant.active):
        return KeyRefusal(
            "identity.inactive_person", f"The owner of this key ({key.id}) is not active any more."
        )
    return None


def _misshapen(form: KeyForm) -> KeyRefusal | None:
    match form:
        case KeyForm.FORGED:
            return KeyRefusal(
                "identity.key_forged",
                "The key of this request looks like a gateway key, and this gateway did not issue it: it is "
                "mistyped, forged, or belongs to another gateway. Check it, or ask your security team.",
            )
        case KeyForm.SEVERAL:
            return KeyRefusal(
                "identity.key_several",
                "The request carries a gateway key and another credential. Send the gateway key alone, once.",
            )
        case _:
            return None


def _unlisted(client: Client, fingerprint: str, section: Identity) -> KeyRefusal | None:
    rules = section.key_rules
    if client.key_form is KeyForm.GATEWAY:
        return KeyRefusal("identity.key_unknown", f"This gateway key is not valid any more. {_ASK}")
    if rules.brokered == "require":
        return _not_brokered()
    if rules.known == "require" and all(known.fingerprint != fingerprint for known in section.keys):
        return KeyRefusal(
            "identity.key_unknown",
            f"This API key is not registered (fingerprint {fingerprint}). Ask your security team to register it.",
        )
    return None


def _not_brokered() -> KeyRefusal:
    return KeyRefusal(
        "identity.key_not_brokered",
        "Only keys issued by the gateway are accepted here. Ask your security team for one.",
    )


def _listed(exchange: Exchange, key: Key, section: Identity) -> KeyRefusal | None:
    rules, shown = section.key_rules, f"This key ({key.id})"
    over = _over(exchange, key)
    if over is not None:
        return over
    if key.kind is KeyKind.GATEWAY:
        return outside_scope(exchange, key)
    if rules.brokered == "require":
        return _not_brokered()
    if key.personal and rules.personal == "deny":
        return KeyRefusal(
            "identity.key_personal", f"{shown} belongs to a personal account. Use the company's instead."
        )
    if not key.owner and rules.unclaimed == "deny":
        return KeyRefusal(
            "identity.key_unclaimed", f"{shown} has no owner. Ask your security team to add one."
        )
    return None


def _over(exchange: Exchange, key: Key) -> KeyRefusal | None:
    """Return why nobody may use a key any more, None where its time is not over."""
    if key.retired:
        return KeyRefusal("identity.key_retired", f"This key ({key.id}) has been retired. {_ASK}")
    if key.expires_at is not None and key.expires_at <= exchange.received_at:
        return KeyRefusal("identity.key_expired", f"This key ({key.id}) has expired. {_ASK}")
    return None


def outside_scope(exchange: Exchange, key: Key) -> KeyRefusal | None:
    """Return why a gateway key is not for this call, None where it is."""
    request = exchange.request
    if key.providers and request.provider not in key.providers:
        return _not_for("provider", key, "provider")
    if key.operations and request.operation.value not in key.operations:
        return _not_for("operation", key, "kind of call")
    if key.models and not _has_models(exchange, key.models):
        return _not_for("model", key, "model")
    if key.networks and not _is_in(exchange.client.address, key.networks):
        return _not_for("network", key, "network")
    return None


def _not_for(what: str, key: Key, named: str) -> KeyRefusal:
    return KeyRefusal(
        f"identity.key_{what}",
        f"This key ({key.id}) was not issued for this {named}. Ask your security team.",
    )


def _has_models(exchange: Exchange, patterns: tuple[str, ...]) -> bool:
    """Say whether every model that may answer is in scope: the one that is named, and those behind it."""
    named = models_of(exchange)
    return bool(exchange.request.model) and all(model in _globs(patterns) for model in named)


@lru_cache(1024)
def _globs(patterns: tuple[str, ...]) -> Globs:
    return Globs(patterns)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in ip_network(network) for network in networks)
