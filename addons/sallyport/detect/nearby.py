"""Whether words stand near a place, asked for many places in order: one pass over the text for all of them."""

from sallyport.detect import linear


class Nearby:
    """Where a pattern occurs in a text. Ask with places that ascend; it goes forward only."""

    def __init__(self, pattern: linear.Pattern, subject: str | bytes) -> None:
        self._found = pattern.finditer(subject)
        self._start, self._end = -1, -1
        self._go_on()

    def between(self, low: int, high: int) -> bool:
        """Say whether an occurrence reaches into [low, high)."""
        while 0 <= self._end <= low:
            self._go_on()
        return 0 <= self._start < high

    def _go_on(self) -> None:
        match = next(self._found, None)
        self._start, self._end = match.span() if match is not None else (-1, -1)
