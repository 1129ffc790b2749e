"""Ending exchanges in flight: by a kill switch, or since what their client had proved was taken away.

It takes less than a second, and the client is told in its own dialect.

A streamed answer ends at its next piece; the connection to the provider is cut at once where nothing else
uses it, and after a moment in any case, so that a provider that says nothing is stopped as well.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from mitmproxy import http

from sallyport.decision import Decision, Refusal
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.passage import Passage
from sallyport.stages.directory import Directory
from sallyport.stages.stops import refusal_of, stopped_by

logger = logging.getLogger("sallyport.stops")

LOOK_S = 0.1
PATIENCE_S = 0.3
"""How long a stream whose connection others share may wait for its next piece."""

type Flights = Callable[[], Iterable[tuple[http.HTTPFlow, Passage]]]


class Stopping:
    """Looks at what is in flight, ten times a second. Belongs to the event loop.

    withdrawn: returns why the proof behind an exchange was taken away, None if it was not. refresh: reads what
    that is judged by.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        flights: Flights,
        withdrawn: Callable[[http.HTTPFlow], Decision | None],
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._directory = directory
        self._flights = flights
        self._withdrawn = withdrawn
        self._refresh = refresh
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
                if self._flying():
                    await self._refresh()
                self.look()
            except Exception as error:
                # The border of the task: without it no stream would be stopped any more.
                logger.warning("streams in flight could not be stopped (%s)", type(error).__name__)
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Cut what a kill switch stops, if the directory is another one than before, and whose proof is gone."""
        directory = self._directory()
        changed, self._seen = directory is not self._seen, directory
        stops = changed and bool(directory.stops())
        flying = self._flying()
        stopped = []
        for flow, passage in flying:
            stop = stopped_by(passage.exchange, directory) if stops else None
            cause = refusal_of(stop) if stop is not None else self._withdrawn(flow)
            if cause is not None and not passage.cut:
                self._end(passage, cause)
                stopped.append((flow, passage))
        for flow, passage in stopped:
            if _is_shared(flow, flying):
                loop = asyncio.get_running_loop()
                loop.call_later(PATIENCE_S, self._cut, flow, passage)
            else:
                self._cut(flow, passage)

    def _flying(self) -> list[tuple[http.HTTPFlow, Passage]]:
        return [(f, p) for f, p in self._flights() if p.admitted is not None and not p.ended]

    @staticmethod
    def _end(passage: Passage, cause: Decision) -> None:
        """Mark an exchange that is stopped: whatever comes of it now ends it."""
        passage.cut, passage.cut_message = cause.reason, cause.message
        if passage.tap is not None:
            passage.tap.stop(Refusal(cause.reason, cause.message, passage.id, cause.status))

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
