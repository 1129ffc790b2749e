"""What a gateway does for its store beside adding events: partitions ahead, and pruning where the policy says so."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from sallyport.audit.checkpoints import Unreadable
from sallyport.audit.events import Event, EventKind
from sallyport.audit.maintaining import LACKS_RIGHT, keep_ahead
from sallyport.audit.retention import prune
from sallyport.audit.signing import Signer
from sallyport.errors import OperatorError
from sallyport.sql.engines import database

logger = logging.getLogger("sallyport.audit")

EVERY_S = 3600.0
_FIRST_S = 60.0
"""After the start, for the first time."""

_PATIENCE_S = 60.0


class Upkeep:
    """Called as often as one likes, it acts once an hour. Belongs to one thread; never raises.

    retention_days: of the policy in force, None to keep everything. now: the time by which it counts. copied: the last
    checkpoint that all places for copies have, None where there are no such places: what is not copied yet is not
    pruned.
    """

    def __init__(
        self,
        url: str,
        confdir: Path,
        gateway: str,
        retention_days: Callable[[], int | None],
        now: Callable[[], datetime],
        copied: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._url = url
        self._confdir = confdir
        self._gateway = gateway
        self._retention_days = retention_days
        self._now = now
        self._copied = copied
        self._last = time.monotonic() - EVERY_S + _FIRST_S
        self._said = ""

    def __call__(self) -> None:
        now = time.monotonic()
        if now - self._last < EVERY_S:
            return
        self._last = now
        try:
            problem = self._act()
        except OperatorError as error:
            problem = f"the audit store could not be looked after ({error.what})"
        except Unreadable as error:
            problem = f"old events were not pruned ({error}): run sallyport audit verify"
        except Exception as error:
            # The border of the thread: without it no checkpoint would be made any more.
            state = getattr(getattr(error, "orig", None), "sqlstate", "") or type(error).__name__
            problem = f"the audit store could not be looked after ({state})"
        if problem and problem != self._said:
            logger.warning("%s", problem)
        self._said = problem

    def _act(self) -> str:
        """Do what is due; return what an operator must do instead, or "" for nothing."""
        at = database(self._url, None, _PATIENCE_S)
        try:
            if not at.is_there():
                return ""
            ahead = keep_ahead(at)
            days = self._retention_days()
            if days is not None:
                before = self._now() - timedelta(days=days)
                try:
                    prune(at, Signer.of(self._confdir), before, self._told, last=self._copied())
                except SQLAlchemyError as error:
                    if getattr(getattr(error, "orig", None), "sqlstate", "") != LACKS_RIGHT:
                        raise
                    return "this gateway's role may not prune: run sallyport audit prune as one that may"
            if ahead is not None and ahead.is_short:
                return "partitions of the audit end soon: run sallyport audit maintain as the owner of the tables"
            return ""
        finally:
            at.writer.dispose()
            at.reader.dispose()

    def _told(self) -> Event:
        return Event(kind=EventKind.PRUNED, gateway=self._gateway, source="policy")
