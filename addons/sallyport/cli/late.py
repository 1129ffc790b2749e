"""What a gateway that started without its store does once the store is back."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from sallyport.audit.events import interrupted
from sallyport.audit.log import AuditLog, AuditUnavailable
from sallyport.audit.store import Store
from sallyport.errors import OperatorError

logger = logging.getLogger("sallyport.audit")

ASK_EVERY_S = 1.0


class Latecomer:
    """Closes, as soon as the store answers, the exchanges that an earlier process left open.

    is_known: whether the store has all that the earlier process wrote.
    """

    def __init__(
        self, store: Store, log: AuditLog, gateway: str, is_known: Callable[[], bool] = lambda: True
    ) -> None:
        self._is_known = is_known
        self._store = store
        self._log = log
        self._gateway = gateway
        self._started = datetime.now(UTC)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="sallyport-late", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop waiting."""
        self._closing.set()
        self._thread.join(timeout=5)

    def _wait(self) -> None:
        while not self._closing.wait(ASK_EVERY_S):
            if not self._is_known():
                continue
            try:
                left_open = self._store.open_exchanges(self._gateway, before=self._started)
                for admitted in left_open:
                    self._log.append_nowait(interrupted(admitted))
            except (OperatorError, AuditUnavailable):
                continue  # an end that was queued already is left out by the store
            logger.warning("the audit store answers; %d exchanges of an earlier run closed", len(left_open))
            return
