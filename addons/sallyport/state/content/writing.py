"""Content on its way into the store: sealed and written by a thread, which sweeps as well and never stops traffic.

What a request waits for has a thread of its own: who sends much that is refused must not hold up who may ask.
"""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sallyport.errors import OperatorError
from sallyport.state.background import Background
from sallyport.state.content.keys import SubjectKeys
from sallyport.state.content.sealing import Part, Text, normalised, seal
from sallyport.state.content.store import ContentStore, Sealed
from sallyport.state.content.subjects import Subject, SubjectKey
from sallyport.state.directory.times import microseconds
from sallyport.state.masterkey import NotOpened

logger = logging.getLogger("sallyport.content")

LOOK_S = 1.0
"""How often keys that were destroyed are looked for, when nothing is written."""

SWEEP_S = 600.0
AT_ONCE = 64
"""Exchanges that are written in one transaction, where as many wait."""

_MAX_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """One part of an exchange in clear. values: found by rules; kind: its class; form: masked or original.

    days: how long it is kept. began_us: when the exchange began, in microseconds since 1970; of who was forgotten
    since nothing is kept.
    """

    exchange: str
    part: Part
    subject: Subject
    texts: tuple[Text, ...] = field(repr=False)
    values: frozenset[str] = field(repr=False)
    kind: str
    form: str
    days: float
    began_us: int | None = None


type Made = Callable[[], tuple[Page, ...]]
"""Gives what is to be kept, in the writer's thread."""


@dataclass(slots=True)
class _Task:
    made: Made
    done: "Future[None] | None" = None

    def failed(self, error: Exception) -> None:
        """Tell who waits, without the error's own words."""
        if self.done is not None:
            with contextlib.suppress(InvalidStateError):  # who waited has given up
                self.done.set_exception(RuntimeError(type(error).__name__))

    def is_done(self) -> None:
        """Tell who waits that it is durable."""
        if self.done is not None:
            with contextlib.suppress(InvalidStateError):
                self.done.set_result(None)


class ContentWriter:
    """Keeps content. put() and kept() never wait; what cannot be kept is counted and told."""

    def __init__(
        self, store: ContentStore, keys: SubjectKeys, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """now: the time by which what was kept long enough goes."""
        self._now = now
        self._store = store
        self._keys = keys
        self._swept_s = -math.inf
        self._failing = False
        said = "the content of %d exchanges was not kept so far (%s)"
        self._lane: Background[_Task] = Background(
            "content",
            logger,
            said,
            lambda tasks: self._take(tasks, self._lane.lose),
            at_once=AT_ONCE,
            idle=self._rest,
            idle_s=LOOK_S,
        )
        self._awaited: Background[_Task] = Background(
            "content-first",
            logger,
            said,
            lambda tasks: self._take(tasks, self._awaited.lose),
            at_once=AT_ONCE,
        )

    @property
    def lost(self) -> int:
        """Parts of exchanges that were to be kept and were not."""
        return self._lane.lost + self._awaited.lost

    def start(self) -> None:
        """Begin to sweep and to follow what is destroyed, before anything is written."""
        self._lane.start()

    def put(self, made: Made, size: int = 0) -> None:
        """Have pages kept. size: bytes that are held for them until then."""
        self._lane.put(_Task(made), size)

    def kept(self, made: Made, size: int = 0) -> "Future[None]":
        """Have pages kept, and return what is done when they are durable, and fails where they are not."""
        done: Future[None] = Future()
        if not self._awaited.put(_Task(made, done), size):
            done.set_exception(TimeoutError("no room"))
        return done

    def close(self, within_s: float = 10.0) -> None:
        """Write what is waiting, and end."""
        self._awaited.close(within_s)
        self._lane.close(within_s)
        self._store.close()

    def _take(self, tasks: Sequence[_Task], lose: Callable[..., None]) -> None:
        """Keep the pages of some exchanges in one transaction; one that cannot be made costs itself alone."""
        parts: list[Sealed] = []
        made: list[_Task] = []
        for task in tasks:
            try:
                parts += [self._sealed(page) for page in task.made()]
                made.append(task)
            except Exception as error:
                # The border to what makes a page: its texts must not be in a message.
                why = str(error) if isinstance(error, OperatorError) else type(error).__name__
                lose(why)
                task.failed(error)
        try:
            self._store.put(parts)
        except OperatorError as error:
            for task in made:
                task.failed(error)
            lose(str(error), len(made))
            return
        for task in made:
            task.is_done()

    def _sealed(self, page: Page) -> Sealed:
        key = self._keys.key_of(page.subject, page.began_us)
        now_us = time.time_ns() // 1000
        return Sealed(
            page.exchange,
            page.part,
            key.id,
            page.subject.tenant,
            now_us,
            now_us + int(page.days * 86_400 * 1_000_000),
            page.kind,
            page.form,
            seal(page.texts, key, page.exchange, page.part),
            tokens_of(page.values, key),
        )

    def _rest(self) -> None:
        try:
            self._keys.refresh()
            if time.monotonic() - self._swept_s >= SWEEP_S:
                self._swept_s = time.monotonic()
                sweep(self._store, self._keys, self._now())
            self._failing = False
        except (OperatorError, NotOpened) as error:
            if not self._failing:
                logger.warning("kept content is not looked after: %s", error)
            self._failing = True


def tokens_of(values: frozenset[str], key: SubjectKey) -> frozenset[bytes]:
    """Return the tokens of values for the index, of very many some."""
    return frozenset(
        key.token(plain) for plain in sorted({normalised(v) for v in values} - {""})[:_MAX_TOKENS]
    )


def sweep(store: ContentStore, keys: SubjectKeys, now: datetime | None = None) -> int:
    """Remove what was kept long enough, and what is left of people who were forgotten; return how many rows went.

    Raises OperatorError.
    """
    gone = store.sweep(microseconds(now or datetime.now(UTC)), keys.erased_ids())
    return gone.records + gone.tokens
