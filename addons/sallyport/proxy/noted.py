"""What is held of one exchange until it is over, where its content may be kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sallyport.decision import Finding

MAX_HELD_BYTES = 32 * 1024 * 1024
"""Of one streamed answer; of a longer one its beginning is kept."""

MAX_RESTORED = 20_000
"""Originals that are noted of one exchange; an answer with more is not kept masked."""


@dataclass(slots=True)
class Noted:
    """search: gives all findings of the request, also of what no stage asked for; it may take its time.

    It raises where a text was not searched whole. pieces: of a streamed answer, as the client was sent it. restored:
    originals that came back into the answer, by whichever request they were masked, with what stood for each.
    """

    search: Callable[[], Sequence[Finding]] = field(repr=False)
    pieces: list[bytes] = field(default_factory=list, repr=False)
    size: int = 0
    restored: dict[str, str] = field(default_factory=dict, repr=False)

    def keep(self, data: bytes) -> None:
        """Hold a piece of the answer."""
        if self.size < MAX_HELD_BYTES:
            self.pieces.append(data)
            self.size += len(data)

    @property
    def is_told_whole(self) -> bool:
        """Whether all originals that came back are known."""
        return len(self.restored) <= MAX_RESTORED

    def noting(self, lookup: Callable[[str], str | None]) -> Callable[[str], str | None]:
        """Return a lookup of originals that takes note of those it gives."""

        def noted(placeholder: str) -> str | None:
            original = lookup(placeholder)
            if original is not None and len(self.restored) <= MAX_RESTORED:
                self.restored[original] = placeholder
            return original

        return noted


def is_chosen(conversation: str, share: float) -> bool:
    """Say whether a conversation belongs to a share of them: always the same for all its turns."""
    if not share or not conversation:
        return share >= 1
    return int(conversation[:8], 16) < share * 2**32
