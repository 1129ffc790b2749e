"""Ending exchanges in flight that a kill switch stops: within a second, in the client's own dialect.

A streamed answer ends at its next piece; the connection to the provider is cut at once where nothing else
uses it, and after a moment in any case, so that a provider that says nothing is stopped as well.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from mitmproxy import http

from sallyport.decision import Refusal
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.passage import Passage
from sallyport.stages.directory import Directory
from sallyport.stages.stops import STOPPED, refusal_of, stopped_by

logger = logging.getLogger("sallyport.stops")

LOOK_S = 0.1
PATIENCE_S = 0.3
"""How long a stream whose connection others share may wait for its next piece."""

type Flights = Callable[[], Iterable[tuple[http.HTTPFlow, Passage]]]


class Stopping:
    """Looks at what is in flight whenever the directory has changed. Belongs to the event loop."""

    def __init__(self, directory: Callable[[], Directory], flights: Flights) -> None:
        self._directory = directory
        self._flights = flights
        self._seen: Directory | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as error:
                # The border of the task: without it no stream would be stopped any more.
                logger.warning("streams in flight could not be stopped (%s)", type(error).__name__)
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Cut what is stopped, if the directory is another one than at the last look."""
        directory = self._directory()
        if directory is self._seen:
            return
        self._seen = directory
        if not directory.stops():
            return
        flying = [(f, p) for f, p in self._flights() if p.admitted is not None and not p.ended]
        stopped = [(flow, p) for flow, p in flying if not p.cut and self._stop(p, directory)]
        for flow, passage in stopped:
            if _is_shared(flow, flying):
                loop = asyncio.get_running_loop()
                loop.call_later(PATIENCE_S, self._cut, flow, passage)
            else:
                self._cut(flow, passage)

    @staticmethod
    def _stop(passage: Passage, directory: Directory) -> bool:
        """Mark an exchange that is stopped: whatever comes of it now ends it."""
        stop = stopped_by(passage.exchange, directory)
        if stop is None:
            return False
        cause = refusal_of(stop)
        passage.cut, passage.cut_message = STOPPED, cause.message
        if passage.tap is not None:
            passage.tap.stop(Refusal(STOPPED, cause.message, passage.id, cause.status))
        return True

    @staticmethod
    def _cut(flow: http.HTTPFlow, passage: Passage) -> None:
        if not passage.ended and not abort_connection(flow.client_conn, flow.server_conn):
            abort_connection(flow.client_conn)


def _is_shared(flow: http.HTTPFlow, flying: Iterable[tuple[http.HTTPFlow, Any]]) -> bool:
    """Say whether an exchange that goes on uses the same connection, of the client or to the provider."""
    return any(
        other is not flow and not passage.cut and other.client_conn is flow.client_conn
        for other, passage in flying
    )
