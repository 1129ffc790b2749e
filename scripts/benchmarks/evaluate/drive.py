"""Rows through the scanner of `sallyport scan`, in worker processes, answers in the order of the rows."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import batched

from evaluate.data import Row
from sallyport.cli.scanning.crew import Crew, cores
from sallyport.cli.scanning.scanner import Answer, Choice, Scanner

_BATCH = 32


class _Batches:
    """Rows as tasks. See sallyport.cli.scanning.crew.Source."""

    waits_on = None

    def __init__(self, rows: Iterable[Row]) -> None:
        self._batches = batched(rows, _BATCH)
        self._next = next(self._batches, None)

    @property
    def ended(self) -> bool:
        return self._next is None

    def take(self) -> tuple[Row, ...] | None:
        taken, self._next = self._next, next(self._batches, None)
        return taken


def answers(choice: Choice, rows: Sequence[Row]) -> Iterator[tuple[Row, Answer]]:
    """Yield every row with what a scan says of it. Raises OperatorError."""
    scanner = Scanner(choice)

    def work(batch: tuple[Row, ...]) -> list[Answer]:
        return [scanner.answer(row.text, row.surface) for row in batch]

    if not scanner.forks_well:
        yield from ((row, scanner.answer(row.text, row.surface)) for row in rows)
        return
    with Crew(work, cores()) as crew:
        found = (answer for some in crew.answers(_Batches(rows)) for answer in some)
        yield from zip(rows, found, strict=True)
