"""Whether a connection to a provider may serve another request of the same client connection."""

from mitmproxy.connection import Connection
from mitmproxy.proxy.layers.http import GetHttpConnection

_stock = GetHttpConnection.connection_spec_matches


def connection_spec_matches(self: GetHttpConnection, connection: Connection) -> bool:
    """Replace mitmproxy's: a connection that failed is no match, so that the next request opens one of its own.

    Stock answers every later request on a client's connection with the failure of the first, though the provider is
    well again; clients keep their connections for as long as they ask. Who waits for it while it fails is told.
    """
    return not connection.error and _stock(self, connection)
