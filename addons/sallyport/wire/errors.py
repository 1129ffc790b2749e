"""What readers and writers of provider bytes raise."""


class WireError(ValueError):
    """Bytes that a dialect cannot read whole.

    reason: stable id such as json.duplicate_key; place: a pointer or byte offset, never content.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{reason} at {place}" if place else reason)
        self.reason = reason
        self.place = place
