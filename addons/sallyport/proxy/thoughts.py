"""Reasoning of a streamed answer, remembered whole: it is signed, and must go back as it came."""

from collections.abc import Callable

from sallyport.exchange import Surface
from sallyport.wire.dialect import StreamEvent


class Thoughts:
    """The reasoning of one stream. remember: told each text once it is whole.

    max_chars: of those that are not whole yet; where they are more, none of them is remembered.
    """

    def __init__(self, remember: Callable[[str], None], max_chars: int) -> None:
        self._remember = remember
        self._max_chars = max_chars
        self._pieces: dict[str, list[str]] = {}
        self._chars = 0

    def note(self, event: StreamEvent) -> None:
        """Take the reasoning of an event, and what it ends."""
        for delta in event.deltas:
            if delta.surface is Surface.REASONING:
                if delta.whole:
                    self._remember(delta.text)
                else:
                    self._keep(delta.channel, delta.text)
        for channel in event.closes:
            if channel == "*":
                self.finish()
            elif pieces := self._pieces.pop(channel, None):
                self._say(pieces)

    def finish(self) -> None:
        """The answer has ended: what there is, is whole."""
        while self._pieces:
            self._say(self._pieces.popitem()[1])

    def _keep(self, channel: str, text: str) -> None:
        self._chars += len(text)
        if self._chars > self._max_chars:
            self._pieces.clear()
            return
        self._pieces.setdefault(channel, []).append(text)

    def _say(self, pieces: list[str]) -> None:
        whole = "".join(pieces)
        self._chars -= len(whole)
        self._remember(whole)
