"""Files that are read again when they have changed, while the gateway runs: in a thread, and not at every request."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.pki.watched import WatchedFiles

logger = logging.getLogger("sallyport.proxy")

LOOK_EVERY_S = 0.5
"""How often, at most, files are looked at for changes."""


class Rereading:
    """Files that are read first when this has been made: one that changes meanwhile is read again.

    read: reads them anew; where it raises OperatorError, what it read before stays in force. what: as messages call
    them, `proxy users`.
    """

    def __init__(self, paths: Iterable[Path], read: Callable[[], object], what: str) -> None:
        self._watched = WatchedFiles(paths)
        self._read = read
        self._what = what
        self._looked_at = time.monotonic()

    async def refresh(self) -> bool:
        """Read files that have changed; False if they cannot be read."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return True
        self._looked_at = time.monotonic()
        if not self._watched.changed():
            return True
        try:
            await asyncio.to_thread(self._read)
        except OperatorError as error:
            logger.error("%s not read, the old ones stay in force: %s", self._what, error)
            return False
        return True
