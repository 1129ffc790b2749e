"""Hosts that are intercepted only to set a vendor's tenant restriction: everything else passes unread.

People sign in there. Neither paths nor headers nor bodies are looked at, stored or logged; the audit knows
that a connection to the host was opened.
"""

from mitmproxy.http import HTTPFlow, Response

from sallyport.proxy import intake
from sallyport.proxy.gate import gate
from sallyport.proxy.gateway import Live


def is_relayed(live: Live, host: str | None) -> bool:
    """Say whether a normalised host is no AI host, and a restriction must be set on what goes there."""
    if host is None or not live.restricted.concerns(host):
        return False
    return live.catalogue.provider(host) is None


def relay(live: Live, flow: HTTPFlow, host: str) -> bool:
    """Send a request on with the restrictions of its host in place; False where it is refused instead."""
    request, limits = flow.request, live.policy.transport
    unsound = intake.check_request(flow, host, limits.max_header_bytes, limits.max_headers)
    if unsound is not None:
        flow.response = Response.make(unsound.status, unsound.message, {"content-type": "text/plain"})
        return False
    fields = intake.relayed_fields(request.headers.fields, live.identity_headers)
    request.headers.fields = live.restricted.apply(host, fields)
    intake.readdress(request, host)
    request.stream = True
    gate.admit(flow)
    return True
