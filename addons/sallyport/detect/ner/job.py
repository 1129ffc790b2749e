"""What one caller asks of the workers, while it is under way."""

import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from sallyport.detect.cache import Hit
from sallyport.detect.errors import ScanIncomplete, ScanLate

type Answer = Future[list[tuple[Hit, ...]]]


@dataclass(eq=False, slots=True)
class Job:
    """The texts of one caller that were not known. waiting: indexes of those not yet sent to a worker."""

    texts: list[str]
    keys: list[bytes]
    waiting: deque[int]
    deadline_s: float
    future: Answer
    hits: list[tuple[Hit, ...] | None]
    places: list[int]
    alone: bool = False
    left: int = field(init=False)
    deadline: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.texts)
        self.deadline = time.monotonic() + self.deadline_s

    @property
    def over(self) -> bool:
        return self.future.done() or time.monotonic() >= self.deadline

    def fail(self, why: str, error: type[ScanIncomplete] = ScanLate) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error(why))

    def finish(self) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result([hits or () for hits in self.hits])


type Batch = list[tuple[Job, int]]
"""Jobs and the index of a text in each."""
