"""Parts of text of one answer that clients show joined, where a stream numbers its items and their parts."""

from sallyport.wire.errors import WireError

SHOWN_ON = ("message", "reasoning")
"""Types of items behind which a text goes on for whoever is shown it."""


class JoinedParts:
    """Parts of text that follow one another are one channel, named by the first, until an item of another kind begins.

    Clients put a text where its part stands, so that one which goes on behind a later part stands elsewhere than it was
    read, perhaps in the middle of a link: it is refused. run: the name of the channel, "" where none is open; behind:
    that of the one before.
    """

    def __init__(self) -> None:
        self.run = self.behind = ""
        self._last = (-1, 0)
        self._last_run = ""
        self._unfinished = ""

    def channel(self, own: str, index: int, part: int) -> str:
        """Return the channel of a piece of a part of an item. own: the part's name. Raises WireError stream.order."""
        if (index, part) < self._last:
            raise WireError("stream.order")
        if (index, part) == self._last:
            self.run = self._last_run  # it goes on, though something else may have begun behind it
        elif not self.run:
            self.behind = self._last_run
        self.run, self._last, self._unfinished = self.run or own, (index, part), own
        self._last_run = self.run
        return self.run

    def goes_on(self, own: str) -> str:
        """Return the channel of a piece that does not say where it stands: where the one before did."""
        return self.channel(own, *self._last)

    def anew(self) -> "JoinedParts":
        """Return what follows another answer, behind this one: who is only shown pieces sees no border.

        The channel that is open has to end before.
        """
        following = JoinedParts()
        following._last_run = self._last_run
        return following

    def done(self, place: str) -> None:
        """Note that a part, or what it is in, is finished."""
        if f"{self._unfinished}/".startswith(f"{place}/"):
            self._unfinished = ""

    def over(self) -> str:
        """Something else than text begins: return the channel that ends, "" for none."""
        if self._unfinished:
            return ""  # what is written at the same time does not end it
        run, self.run = self.run, ""
        return run
