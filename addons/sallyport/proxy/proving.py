"""The hooks' side of what connections prove: reading files again, challenges, and what handshakes came to."""

from collections.abc import Callable
from contextlib import suppress

from mitmproxy import tls
from mitmproxy.connection import Client
from mitmproxy.http import Headers, HTTPFlow, Response
from OpenSSL import SSL

from sallyport.audit.events import Event, EventKind
from sallyport.decision import Mode
from sallyport.pki.clients import Fault
from sallyport.policy.sections import mode_of
from sallyport.proxy.connections import address_of
from sallyport.proxy.gateway import Gateway
from sallyport.proxy.hello import digest_of
from sallyport.proxy.lastwords import send_last_words
from sallyport.proxy.proved import proved_by
from sallyport.proxy.proxyauth import Authenticator, Outcome

_ANSWERS = {
    Outcome.MISSING: (407, "The proxy needs a user name and password."),
    Outcome.MALFORMED: (407, "The proxy cannot read these credentials; it knows Basic."),
    Outcome.WRONG: (407, "The proxy does not accept these credentials."),
    Outcome.LIMITED: (429, "Too many wrong credentials came from this address. Wait, then try again."),
    Outcome.BUSY: (503, "The proxy checks as many credentials as it can. Try again."),
}


class Proving:
    """Takes proofs in, once per connection. refused: records a connection that was refused, with a reason."""

    def __init__(self, gateway: Gateway, refused: Callable[[Client, str, str], None]) -> None:
        self._gateway = gateway
        self._refused = refused
        self._authenticator = Authenticator()

    async def refresh(self) -> None:
        """Read lists and users that have changed; what cannot be read leaves the old in force, and an event."""
        live = self._gateway.live
        if live.client_trust is not None and not await live.client_trust.refresh():
            self._rejected("crl_unreadable")
        if live.proxy_users is not None and not await live.proxy_users.refresh():
            self._rejected("proxy_users_unreadable")

    def _rejected(self, detail: str) -> None:
        gateway, live = self._gateway, self._gateway.live
        gateway.record(
            Event(
                kind=EventKind.POLICY_REJECTED,
                gateway=gateway.id,
                policy_revision=live.policy.revision,
                rules_revision=live.rules_revision,
                detail=detail,
            )
        )

    @property
    def _enforced(self) -> bool:
        policy = self._gateway.live.policy
        return mode_of(policy, policy.identity) is Mode.ENFORCE

    # -- TLS -----------------------------------------------------------------------------------------

    def said_hello(self, client: Client, hello: tls.ClientHello) -> None:
        proved_by(client).hello = digest_of(hello)

    def established(self, client: Client) -> None:
        """Keep what a finished handshake has proved; record what it would have failed for, were it enforced."""
        proved = proved_by(client)
        handshake = proved.handshake
        if handshake is None:
            return
        proved.certificate = handshake.established()
        if handshake.fault is not None:
            self._refused(client, f"observed_certificate_{handshake.fault}", client.sni or "")
        elif proved.certificate is None and handshake.required:
            self._refused(client, f"observed_certificate_{Fault.MISSING}", client.sni or "")

    def failed(self, data: tls.TlsData) -> str:
        """Return why a handshake failed, and send the alert that tells the client; stock leaves it unsent."""
        client = data.context.client
        if data.ssl_conn is not None:
            with suppress(SSL.Error):
                send_last_words(client, data.ssl_conn.bio_read(65_535))
        handshake = proved_by(client).handshake
        return "tls_failed" if handshake is None else handshake.failed(client.error or "")

    # -- explicit mode -------------------------------------------------------------------------------

    async def challenge(self, flow: HTTPFlow) -> Response | None:
        """Judge the credentials of a CONNECT or of a plain proxy request; return the answer that refuses it.

        The header is taken out of the request, whatever it holds. Where identity only observes, nothing is
        refused, and credentials that are right still prove their user.
        """
        values = flow.request.headers.get_all("proxy-authorization")
        flow.request.headers.pop("proxy-authorization", None)
        known = self._gateway.live.proxy_users
        if known is None:
            return None
        client = flow.client_conn
        proved = proved_by(client)
        shown = self._authenticator.digest(values)
        if proved.user is not None and shown == proved.shown and known.holds(proved.user):
            return None
        proved.user = None
        found = await self._authenticator.prove(known, address_of(client), values)
        if not isinstance(found, Outcome):
            proved.user, proved.shown = found, shown
            return None
        if found is Outcome.MISSING and not known.section.required:
            return None
        self._refused(client, f"{'' if self._enforced else 'observed_'}proxy_auth_{found}", "")
        return self._refusal(found, known.section.realm) if self._enforced else None

    def _refusal(self, outcome: Outcome, realm: str) -> Response:
        status, message = _ANSWERS[outcome]
        headers = Headers(content_type="application/json", x_should_retry="false")
        if status == 407:
            headers["proxy-authenticate"] = f'Basic realm="{realm}", charset="UTF-8"'
        elif status == 429:
            section = self._gateway.live.policy.identity.proxy_auth
            headers["retry-after"] = str(int(section.failure_window_s) if section else 60)
        body = f'{{"error":{{"message":"{message}","type":"gateway","code":"proxy_auth_{outcome}"}}}}'
        return Response.make(status, body.encode(), headers)
