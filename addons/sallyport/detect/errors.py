"""What detection raises; no text of a segment is ever in it."""


class ScanIncomplete(Exception):
    """Something could not be scanned whole, so nothing may be concluded from what was found.

    why: a sentence without any text of the segment.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class ScanLate(ScanIncomplete):
    """Nobody had the time: the machine is busy, or an engine is away. The same text may be scanned another time."""
