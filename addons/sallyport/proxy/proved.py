"""What each client connection has proved, and what of it still holds at a request.

Facts are kept with the connection they were proved on and die with it. Nothing is proved by default.
"""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Certificate
from sallyport.pki.clients import Fault
from sallyport.policy.sections import mode_of
from sallyport.proxy.clientcerts import Handshake, Proof
from sallyport.proxy.gateway import Live
from sallyport.state.proxyusers import Entry


@dataclass(slots=True)
class Proved:
    """Of one connection. user: by proxy authentication, with the header whose digest is shown.

    hello: digest of the client hello. tunnelled: a CONNECT was accepted on it.
    """

    hello: str = ""
    handshake: Handshake | None = None
    certificate: Proof | None = None
    user: Entry | None = None
    shown: bytes = b""
    tunnelled: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds at one request. refused: why nothing may follow from it."""

    certificate: Certificate | None = None
    proxy_user: str = ""
    refused: Decision | None = None


_proved: WeakKeyDictionary[Client, Proved] = WeakKeyDictionary()


def proved_by(client: Client) -> Proved:
    found = _proved.get(client)
    if found is None:
        found = _proved[client] = Proved()
    return found


def standing(client: Client, live: Live, address: str, mode: str) -> Standing:
    """Judge what a connection has proved by the policy and the lists in force now.

    Where identity only observes, what does not hold proves nothing and refuses nothing.
    """
    proved = proved_by(client)
    enforced = mode_of(live.policy, live.policy.identity) is Mode.ENFORCE
    certificate, refused = _certificate(proved, live, address)
    user, unproved = _user(proved, live, mode)
    cause = (refused or unproved) if enforced else None
    return Standing(certificate, user, cause)


def withdrawn(client: Client, live: Live) -> Decision | None:
    """Return why a proof was taken away since it was made; None if it stands, or has only run out.

    By it a stream under way is ended. What began in time may end in time; what was revoked may not go on.
    """
    proved = proved_by(client)
    if mode_of(live.policy, live.policy.identity) is not Mode.ENFORCE:
        return None
    if proved.certificate is not None and live.client_trust is not None:
        found = live.client_trust.standing(proved.certificate)
        if isinstance(found, Fault) and found not in _RUN_OUT:
            return _certificate_refused(found)
    users = live.proxy_users
    if proved.user is not None and users is not None and not users.holds(proved.user):
        return _user_refused(gone=True)
    return None


_RUN_OUT = (Fault.EXPIRED, Fault.NOT_YET_VALID, Fault.CRL_EXPIRED, Fault.CRL_MISSING)


def _certificate(proved: Proved, live: Live, address: str) -> tuple[Certificate | None, Decision | None]:
    trust = live.client_trust
    if trust is None:
        asked = live.policy.identity.certificates is not None
        return None, _certificate_refused(Fault.MISSING) if asked else None
    if proved.certificate is None:
        return None, _certificate_refused(Fault.MISSING) if trust.required_of(address) else None
    found = trust.standing(proved.certificate)
    if isinstance(found, Fault):
        return None, _certificate_refused(found)
    proved.certificate = found
    return found.certificate, None


def _certificate_refused(fault: Fault) -> Decision:
    what = {
        Fault.MISSING: "This gateway needs a client certificate, and the connection has shown none.",
        Fault.EXPIRED: "The client certificate of this connection has expired.",
        Fault.REVOKED: "The client certificate of this connection has been revoked.",
        Fault.CRL_EXPIRED: "Whether the client certificate was revoked cannot be told: the list is out of date.",
        Fault.CRL_MISSING: "Whether the client certificate was revoked cannot be told: there is no list.",
    }.get(fault, "The client certificate of this connection is not accepted any more.")
    return Decision(
        "identity",
        Action.DENY,
        f"identity.certificate_{fault}",
        message=f"{what} Connect again with a valid one, or ask your security team.",
    )


def _user(proved: Proved, live: Live, mode: str) -> tuple[str, Decision | None]:
    section = live.policy.identity.proxy_auth
    if section is None or mode != "explicit":
        return "", None
    entry, users = proved.user, live.proxy_users
    if entry is not None and users is not None and users.holds(entry):
        return entry.user, None
    if entry is None and not section.required:
        return "", None
    return "", _user_refused(gone=entry is not None)


def _user_refused(*, gone: bool) -> Decision:
    what = (
        "The proxy user of this connection is not accepted any more."
        if gone
        else "The proxy needs a user name and password."
    )
    return Decision(
        "identity",
        Action.DENY,
        "identity.proxy_user_gone" if gone else "identity.proxy_auth_missing",
        message=f"{what} Connect again with credentials for the proxy, or ask your security team.",
    )
