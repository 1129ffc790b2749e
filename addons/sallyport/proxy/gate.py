"""The lock at the core: nothing leaves unless it was admitted here, whatever addons did or failed to do.

Two facts are kept, both absent by default. A flow is admitted when its verdict is final and its event is
durable. A destination is open for a client when an admitted flow, or a decided tunnel, goes there.
The guards in stream.py and dial.py ask; only dispatch, what relays
or decides on tunnels, and the stream tell.
"""

from weakref import WeakKeyDictionary, WeakSet

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow, Request

type Address = tuple[str, int]


class Gate:
    """Remembers what was admitted; forgets with the flow or client itself."""

    def __init__(self) -> None:
        self._flows: WeakSet[HTTPFlow] = WeakSet()
        self._revoked: WeakSet[HTTPFlow] = WeakSet()
        self._leaving: WeakSet[Request] = WeakSet()
        self._destinations: WeakKeyDictionary[Client, set[Address]] = WeakKeyDictionary()

    def admit(self, flow: HTTPFlow) -> None:
        """Let this flow's request go upstream, unless a hook failed on it before."""
        self._flows.add(flow)
        if flow not in self._revoked:
            self._leaving.add(flow.request)

    def revoke(self, flow: HTTPFlow) -> None:
        """Refuse this flow for good, whether it was admitted or will be; used when a hook fails on it."""
        self._revoked.add(flow)
        self._leaving.discard(flow.request)

    def revoked(self, flow: HTTPFlow) -> bool:
        return flow in self._revoked

    def admitted(self, flow: HTTPFlow) -> bool:
        return flow in self._flows and flow not in self._revoked

    def lets_out(self, request: Request) -> bool:
        """Say the same of a request where its flow is not known."""
        return request in self._leaving

    def open(self, client: Client, address: Address) -> None:
        """Let this client's traffic reach one destination."""
        self._destinations.setdefault(client, set()).add((address[0], address[1]))

    def is_open(self, client: Client, address: Address | None) -> bool:
        return address is not None and (address[0], address[1]) in self._destinations.get(client, ())


gate = Gate()
"""One per process, as mitmproxy's own context is."""
