"""Events from the store to a receiver: a batch, its acknowledgement, the cursor, and so on.

At least once: the cursor moves when the receiver has the batch. While it takes nothing, nothing is read; the store
keeps everything.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from sallyport.audit.forwarding.cursor import Cursor, Positions, behind, is_behind
from sallyport.audit.forwarding.receivers import NotTaken, Receiver
from sallyport.audit.store import Store
from sallyport.audit.text import printable
from sallyport.errors import OperatorError

BATCH = 500
POLL_S = 1.0
MAX_PAUSE_S = 60.0


@dataclass(slots=True)
class Forwarder:
    """Forwards until it is stopped.

    tenant: whose events alone are sent, "" for all. tell: gets a sentence when a receiver or the store stops
    working, and when it works again. sent: events that were taken.
    """

    store: Callable[[], Store]
    receiver: Receiver
    cursor: Cursor
    tenant: str = ""
    tell: Callable[[str], None] = lambda text: None
    batch: int = BATCH
    stopping: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    is_unnoted: bool = False
    """Whether the receiver has more than the cursor says: that is noted before anything else is sent."""

    def run(self, *, once: bool = False) -> None:
        """Forward. once: only what is there now. Raises OperatorError; where once is set, also for a receiver."""
        positions: Positions = self.cursor.read() or {}
        pause_s = 0.0
        store: Store | None = None
        try:
            while not self.stopping.is_set():
                try:
                    store = store or self._opened(positions)
                    moved = self._forward(store, positions)
                except (NotTaken, OperatorError) as error:
                    if once:
                        raise _told(error) from None
                    if not pause_s:
                        self.tell(f"{error}; trying again, nothing is lost")
                    pause_s = min(MAX_PAUSE_S, 2 * pause_s or 1.0)
                    if isinstance(error, OperatorError) and store is not None:
                        store.close()
                        store = None
                    self.stopping.wait(pause_s)
                    continue
                if pause_s:
                    self.tell("it works again")
                    pause_s = 0.0
                if not moved:
                    if once:
                        return
                    self.stopping.wait(POLL_S)
        finally:
            if store is not None:
                store.close()
            self.receiver.close()

    def _opened(self, positions: Positions) -> Store:
        """Open the store. Raises OperatorError, also where it ends before what was forwarded."""
        store = self.store()
        try:
            name = is_behind(store, positions)
            if name:
                raise OperatorError(
                    str(self.cursor.path),
                    f"more events of {printable(name)} were forwarded than the store has: it is another, or older",
                    "Forward it under another NAME",
                )
        except OperatorError:
            store.close()
            raise
        return store

    def _forward(self, store: Store, positions: Positions) -> bool:
        """Send one batch and move the cursor; False if there was nothing."""
        if self.is_unnoted:
            self._note(positions)
        found = behind(store, positions, self.batch)
        if not found:
            return False
        wanted = [event for event, _ in found if not self.tenant or event.tenant == self.tenant]
        if wanted:
            self.receiver.send(wanted)
        self.sent += len(wanted)
        for name, first in {event.gateway: seq for event, seq in reversed(found)}.items():
            gone = first - positions.get(name, 0) - 1
            if gone > 0:
                self.tell(f"{gone} events of {printable(name)} were pruned before they could be sent")
        positions.update({event.gateway: seq for event, seq in found})
        self.is_unnoted = True
        self._note(positions)
        return True

    def _note(self, positions: Positions) -> None:
        self.cursor.write(positions)
        self.is_unnoted = False


def _told(error: NotTaken | OperatorError) -> OperatorError:
    if isinstance(error, OperatorError):
        return error
    return OperatorError("--to", f"the receiver did not take all: {error}", "See that it runs", exit_code=3)
