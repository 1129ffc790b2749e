"""A client that follows a redirect sends its request once more, as it wrote it: what was masked would leave unmasked.

So a redirect of a request in which something was taken out, or of a WebSocket in which something would be, reaches the
client only where the next request comes through the gateway again and is read there. Readers of URLs differ on which
place a Location names (RFC 3986, WHATWG), so all but plain ones count as elsewhere.
"""

import re

from mitmproxy import http

from sallyport.policy.hosts import HostError
from sallyport.policy.providers import WEBSOCKET
from sallyport.proxy.covering import OPAQUE
from sallyport.proxy.passage import Passage

_SAME_PLACE = re.compile(r"/(?:[!-.0-\[\]-~][!-\[\]-~]*)?")
"""A path on the same host; neither `//` nor `/\\` begins it, which name another one."""

_ELSEWHERE = re.compile(r"(?:https|wss)://([A-Za-z0-9.-]+)(?::443)?(/[!-\[\]-~]*)")


def leads_away(flow: http.HTTPFlow, passage: Passage) -> bool:
    """Say whether an answer sends its client, with texts that were taken out, to where nobody here may read them."""
    response, verdict, target = flow.response, passage.verdict, passage.target
    if response is None or not 300 <= response.status_code < 400 or verdict is None or target is None:
        return False
    method = target.endpoint.method
    if not verdict.edits and not (method == WEBSOCKET and passage.live.restores):
        return False
    places = response.headers.get_all("location")
    return len(places) > 1 or any(not _is_read(place, method, passage) for place in places)


def _is_read(place: str, method: str, passage: Passage) -> bool:
    """Say whether a call to a place comes through here, to an endpoint that a dialect reads."""
    provider, target = passage.provider, place
    if _SAME_PLACE.fullmatch(place) is None:
        named = _ELSEWHERE.fullmatch(place)
        # A client that was given the gateway's own address as its base goes past it to any other.
        if named is None or passage.exchange.client.mode == "reverse":
            return False
        host, target = named.groups()
        try:
            provider = passage.live.catalogue.provider(host)
        except HostError:
            return False
    endpoint = provider.endpoint(method, target) if provider is not None else None
    return endpoint is not None and endpoint.dialect != OPAQUE
