"""Ending exchanges in flight: by a kill switch, since their caller is not active any more, or since what their client
had proved was taken away.

It takes less than a second, and the client is told in its own dialect.

A streamed answer ends at its next piece; the connection to the provider is cut at once where nothing else
uses it, and after a moment in any case, so that a provider that says nothing is stopped as well. What waits for a
connection, beside others of its client, does not leave on it, and is told so once that stands or has failed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from mitmproxy import http

from sallyport.decision import Decision, Refusal
from sallyport.exchange import Exchange
from sallyport.proxy.gate import gate
from sallyport.proxy.layers import abort_connection
from sallyport.proxy.passage import Passage
from sallyport.stages.directory import Directory

logger = logging.getLogger("sallyport.stops")

LOOK_S = 0.1
PATIENCE_S = 0.3
"""How long a stream whose connection others share may wait for its next piece."""

type Flights = Callable[[], Iterable[tuple[http.HTTPFlow, Passage]]]


class Stopping:
    """Looks at what is in flight, ten times a second. Belongs to the event loop.

    unread: cuts the connections whose bytes nobody reads and a kill switch stops. withdrawn: returns why the
    proof behind an exchange was taken away, None if it was not. refresh: reads what that is judged by; kill
    switches do not wait for it. barred: returns why a directory lets an exchange go on no more.
    """

    def __init__(
        self,
        directory: Callable[[], Directory],
        flights: Flights,
        unread: Callable[[], None],
        withdrawn: Callable[[http.HTTPFlow], Decision | None],
        refresh: Callable[[], Awaitable[None]],
        barred: Callable[[Exchange, Directory], Decision | None],
    ) -> None:
        self._directory = directory
        self._flights = flights
        self._unread = unread
        self._withdrawn = withdrawn
        self._refresh = refresh
        self._barred = barred
        self._seen: Directory | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = (
            loop.create_task(_repeat(self.look_at_stops)),
            loop.create_task(_repeat(self.look_at_proofs)),
        )

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def look_at_stops(self) -> None:
        """Cut what must not go on, if the directory is another one than before."""
        directory = self._directory()
        if directory is self._seen:
            return
        self._end_where(lambda _, passage: self._barred(passage.exchange, directory))
        if directory.stops():
            self._unread()
        self._seen = directory  # not before: what raised is looked at again

    async def look_at_proofs(self) -> None:
        """Cut those whose proof is gone."""
        if self._flying():
            await self._refresh()
        self._end_where(lambda flow, _: self._withdrawn(flow))

    def _end_where(self, cause_of: Callable[[http.HTTPFlow, Passage], Decision | None]) -> None:
        flying = self._flying()
        ended = []
        try:
            for flow, passage in flying:
                cause = None if passage.cut else cause_of(flow, passage)
                if cause is not None:
                    ended.append((flow, passage))
                    self._end(flow, passage, cause)
        finally:
            for flow, passage in ended:
                if _is_shared(flow, flying):
                    asyncio.get_running_loop().call_later(PATIENCE_S, _cut, flow, passage)
                elif not _cut(flow, passage):
                    abort_connection(flow.client_conn)

    def _flying(self) -> list[tuple[http.HTTPFlow, Passage]]:
        return [(f, p) for f, p in self._flights() if p.admitted is not None and not p.ended]

    @staticmethod
    def _end(flow: http.HTTPFlow, passage: Passage, cause: Decision) -> None:
        """Mark an exchange that is stopped: whatever comes of it now ends it, and it does not leave again."""
        passage.cut, passage.cut_message = cause.reason, cause.message
        gate.revoke(flow)
        if passage.tap is not None:
            passage.tap.stop(Refusal(cause.reason, cause.message, passage.id, cause.status))


def _cut(flow: http.HTTPFlow, passage: Passage) -> bool:
    """Cut the connection to the provider; False where there is none yet.

    The gate lets nothing leave on one that comes to stand later: who asked is told then.
    """
    return passage.ended or abort_connection(flow.client_conn, flow.server_conn)


async def _repeat(look: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await look()
        except Exception as error:
            # The border of the task: without it no stream would be stopped any more.
            logger.warning("streams in flight could not be stopped (%s)", type(error).__name__)
        await asyncio.sleep(LOOK_S)


def _is_shared(flow: http.HTTPFlow, flying: Iterable[tuple[http.HTTPFlow, Any]]) -> bool:
    """Say whether an exchange that goes on uses the same connection, of the client or to the provider."""
    return any(
        other is not flow and not passage.cut and other.client_conn is flow.client_conn
        for other, passage in flying
    )
