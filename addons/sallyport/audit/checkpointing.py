"""The thread of a gateway that makes checkpoints at an interval, and the last one when the gateway ends."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit.checkpoints import Checkpoint, Unreadable, checkpoints_after, make_checkpoint
from sallyport.audit.copies import Copies
from sallyport.audit.signing import Signer
from sallyport.errors import OperatorError
from sallyport.sql.engines import database
from sallyport.sql.failures import cure_of, name_of

logger = logging.getLogger("sallyport.audit")

PATIENCE_S = 5.0
_CHECK = "Check that it is running, that you may write it, and that the gateway was started once"
_PATIENCE_AT_END_S = 30.0
"""How long the end waits for what goes on; a pruning that is cut off then is whole as far as it got."""

_LOOKS_AGAIN_S = 60.0
"""How soon an interval is noticed that a new policy gives where there was none."""


def checkpoint_now(url: str, confdir: Path, copies: Copies) -> Checkpoint | None:
    """Make a checkpoint where there is something new, and copy what is not copied yet.

    Raises OperatorError: the store cannot be used, or a place for copies does not take them.
    """
    at = database(url, None, PATIENCE_S, reader_patience_s=None)
    try:
        if not at.is_there():
            raise OperatorError(f"audit store {at.name}", "is not there", "Give the right one with --store.")
        made = make_checkpoint(at, Signer.of(confdir))
        if copies.wanted:
            with at.reader.connect() as connection:
                missing = list(checkpoints_after(connection, copies.after()))
            copies.send(missing)
        return made
    except Unreadable as error:
        raise OperatorError(
            f"audit store {at.name}", str(error), "Look closer: sallyport audit verify", exit_code=3
        ) from None
    except SQLAlchemyError as error:
        raise OperatorError(
            f"audit store {at.name}",
            f"cannot be used ({name_of(error)})",
            f"{cure_of(error, _CHECK)}.",
            exit_code=3,
        ) from None
    finally:
        at.writer.dispose()
        at.reader.dispose()


class Checkpointer:
    """Runs `make` every interval_s() seconds until close(), which runs it a last time. 0 runs it at the end only.

    beside: called as often, and every minute where the interval is 0, also while `make` fails; it must not raise.
    """

    def __init__(
        self,
        make: Callable[[], object],
        interval_s: Callable[[], float],
        beside: Callable[[], object] = lambda: None,
    ) -> None:
        self._make = make
        self._interval_s = interval_s
        self._beside = beside
        self._closing = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="sallyport-checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and make the last checkpoint; call it when the last event is stored."""
        self._closing.set()
        self._thread.join(_PATIENCE_AT_END_S)
        self._try()

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s() or _LOOKS_AGAIN_S):
            if self._interval_s():
                self._try()
            self._beside()

    def _try(self) -> None:
        try:
            self._make()
            if self._told:
                logger.warning("checkpoints of the audit are made and copied again")
            self._told = ""
        except Exception as error:
            # The border of the thread: without it no checkpoint would be made any more.
            why = str(error) if isinstance(error, OperatorError) else type(error).__name__
            if why != self._told:
                logger.warning("no checkpoint of the audit could be made or copied: %s", why)
            self._told = why
