"""Long tokens of base64 or hex in a text that comes in pieces, and what they say."""

import re
from collections.abc import Callable, Iterator

from sallyport.detect.watching.encoded import decoded

SHOWN = 32
"""Characters of a token that pass before it is held; what is found begins behind them."""

MAX_TOKEN = 4096
"""Characters after which a token is decided, and what follows is another."""

_LEAST = 40
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_=-"
_LONG = re.compile(rf"[A-Za-z0-9+/_=-]{{{_LEAST},}}")


class EncodedTokens:
    """Follows one channel. tells: whether a decoded text is one to report.

    held_from: the first character that must wait.
    """

    def __init__(self, tells: Callable[[str], bool]) -> None:
        self._tells = tells
        self._token = ""
        self._total = 0

    @property
    def held_from(self) -> int:
        return self._total - max(len(self._token) - SHOWN, 0)

    @staticmethod
    def may_be_in(text: str) -> bool:
        """Say whether a whole text has a token that is long enough."""
        return _LONG.search(text) is not None

    def skip(self, length: int) -> None:
        """Let text pass without a look at it."""
        self._total += length

    def feed(self, text: str) -> Iterator[tuple[int, int]]:
        """Take the next piece; yield start and end of what is found."""
        first = text.lstrip(_ALPHABET)
        if not first:
            yield from self._goes_on(text)
            return
        yield from self._goes_on(text[: len(text) - len(first)])
        yield from self._close()
        inner = first.rstrip(_ALPHABET)
        if len(inner) >= _LEAST:
            yield from self._within(inner)
        else:
            self._total += len(inner)
        yield from self._goes_on(first[len(inner) :])

    def _within(self, text: str) -> Iterator[tuple[int, int]]:
        """Look at the long tokens of a text that neither begins nor ends with one."""
        base = self._total
        for match in _LONG.finditer(text):
            self._total = base + match.start()
            yield from self._goes_on(match.group())
            yield from self._close()
        self._total = base + len(text)

    def _goes_on(self, part: str) -> Iterator[tuple[int, int]]:
        """Take a part of one token."""
        while part:
            taken = part[: MAX_TOKEN - len(self._token)]
            self._token += taken
            self._total += len(taken)
            part = part[len(taken) :]
            if len(self._token) == MAX_TOKEN:
                yield from self._close()

    def end(self) -> Iterator[tuple[int, int]]:
        """The text is over; yield what is found in the last token."""
        yield from self._close()

    def _close(self) -> Iterator[tuple[int, int]]:
        token, self._token = self._token, ""
        if len(token) < _LEAST:
            return
        core = max(token.split("="), key=len)
        if any(self._tells(raw.decode("utf-8", "ignore")) for raw in decoded(core)):
            yield self._total - len(token) + SHOWN, self._total
