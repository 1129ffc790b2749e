"""What a browser asks ahead of a call, whether a page may make it (Fetch standard, CORS-preflight fetch)."""

from dataclasses import replace

from sallyport.exchange import Operation
from sallyport.policy.catalogue import Endpoint

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
"""Methods of calls about which a browser asks."""

METHOD = "access-control-request-method"
NAMES = "access-control-request-headers"
HEADERS = frozenset({"host", "origin", METHOD, NAMES})
"""All that leaves of the question."""


def ahead_of(called: Endpoint) -> Endpoint:
    """Return the question about a call: it goes where the call would go, and has nothing that a dialect reads."""
    return replace(called, dialect="opaque", operation=Operation.PREFLIGHT, stream=None, model=None)
