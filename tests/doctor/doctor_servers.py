"""A small TLS server that plays a gateway or a provider."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOSTS = ("api.openai.com", "api.anthropic.com")


@contextmanager
def serving(listener: socket.socket, context: ssl.SSLContext) -> Iterator[None]:
    """Answer every TLS connection to a listener with an empty 403, in a thread, until the block ends."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(3)
                with context.wrap_socket(connection, server_side=True) as secured:
                    if secured.recv(4096):
                        secured.sendall(
                            b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                        )

    listener.settimeout(None)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
