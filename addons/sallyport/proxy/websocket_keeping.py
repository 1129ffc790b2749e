"""What the policy keeps of a WebSocket: of each exchange on it as of any, and what belongs to none with the upgrade's.

An exchange is an event of the client's with its answer. What of it is kept is handed on when it ends, so that a session
holds the answers that are under way and no more: one budget of bytes for all of them.
"""

from collections.abc import Callable, Sequence

from sallyport.decision import Decision, Finding
from sallyport.proxy.capturing import Captures
from sallyport.proxy.contents import UNAVAILABLE, Contents
from sallyport.proxy.passage import Passage

MAX_HELD_BYTES = 32 * 1024 * 1024
"""Of all exchanges under way on one connection. What comes beyond is not held: their beginnings are kept."""

MAX_LOOSE_BYTES = 1024 * 1024
"""Of what a provider says that belongs to no answer, over the whole session: transcripts of speech, repeated items."""


class Keeping:
    """Keeps what the policy wants of one connection. session: the passage of the upgrade, admitted."""

    def __init__(self, contents: Contents, captures: Captures, session: Passage) -> None:
        self._contents = contents
        self._captures = captures
        self._session = session
        self._held: dict[str, int] = {}
        self._full: set[str] = set()

    def open(self) -> None:
        """Take note of the session, once it is known to which conversation it belongs. Its head is no content."""
        self._contents.begin(self._session, tuple)

    def begin(self, passage: Passage, event: bytes, search: Callable[[], Sequence[Finding]]) -> None:
        """Take note of an event that is decided, before anything of it is changed. search: as in Kept.

        event: as the client sent it, empty where the provider began the answer by itself.
        """
        self._contents.begin(passage, search)
        if self._fits(passage, len(event)):
            self._captures.begin_event(passage, event, search)

    async def refused(self, passage: Passage) -> Decision | None:
        """Make durable what must be kept before the event leaves; return its refusal where that cannot be done."""
        unkept = await self._contents.refused(passage)
        return None if unkept is None else UNAVAILABLE

    def heard(self, passage: Passage, event: bytes) -> None:
        """Hold an event of an answer as the provider wrote it, for a capture of originals."""
        kept = passage.kept
        if kept is not None and kept.original and self._fits(passage, len(event)):
            kept.pieces.append(event if (cleaner := self._session.cleaner) is None else cleaner.whole(event))

    def said(self, passage: Passage | None, events: Sequence[bytes], *, error: bool = False) -> None:
        """Hold events as the client is sent them. passage: None for what belongs to no answer."""
        owner = self._session if passage is None else passage
        noted, cleaner = owner.noted, self._session.cleaner
        if noted is None:
            return
        for event in events:
            if event and self._fits(owner, len(event)):
                clean = event if cleaner is None else cleaner.error(event) if error else cleaner.whole(event)
                noted.pieces.append(clean)

    def end(self, passage: Passage) -> None:
        """Hand what an exchange that is over has left to those who write it; what never was one is forgotten."""
        if passage.over is not None and passage.verdict is not None:
            self._captures.end_event(passage)
            if passage is not self._session or (passage.noted is not None and passage.noted.pieces):
                self._contents.end_event(passage)
        passage.kept = passage.noted = None
        self._held.pop(passage.id, None)
        self._full.discard(passage.id)

    def _fits(self, passage: Passage, size: int) -> bool:
        """Count bytes that are to be held; False for whoever has had no room once, so that nothing has a hole."""
        held = self._held.get(passage.id, 0)
        loose = passage is self._session and held + size > MAX_LOOSE_BYTES
        if loose or passage.id in self._full or sum(self._held.values()) + size > MAX_HELD_BYTES:
            self._full.add(passage.id)
            return False
        self._held[passage.id] = held + size
        return True
