"""Ports for servers that a test starts and that cannot tell which one they took."""

import itertools
import os
import socket

_FIRST, _COUNT = 12_000, 10_000
"""Below those that a system gives to connections that go out (from 32768 on Linux, 49152 elsewhere): such a one would take
a port between the moment it was found free and the start of the server. Redis needs the port 10,000 above as well.
"""

_turns = itertools.count()


def free_port() -> int:
    """Return a loopback port that nobody listens on, another each time; workers of one run begin far from each other."""
    while True:
        port = _FIRST + (os.getpid() * 1_009 + next(_turns)) % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
