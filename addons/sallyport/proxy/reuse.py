"""Whether a connection to a provider may serve another request of the same client connection."""

from weakref import WeakSet

from mitmproxy.connection import Connection
from mitmproxy.proxy.layers.http import GetHttpConnection

_stock = GetHttpConnection.connection_spec_matches

retired: WeakSet[Connection] = WeakSet()
"""Connections that a provider has said it takes no more requests on, while it still answers some."""


def connection_spec_matches(self: GetHttpConnection, connection: Connection) -> bool:
    """Replace mitmproxy's: one that failed or is retired is no match, so that the next request opens one of its own.

    Stock answers every later request on a client's connection with the failure of the first, though the provider is
    well again; clients keep their connections for as long as they ask. Who waits for it while it fails is told.
    """
    return not connection.error and connection not in retired and _stock(self, connection)
