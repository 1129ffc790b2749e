"""The ids that providers give in answers: to which conversation each belongs, and who was given it first."""

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace

from sallyport.state.keyed import digest

MAX_LINKS = 100_000


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of an id that a provider has given. tokens: of the conversation, when it was given.

    maker: who was given it first, tenant and principal. grows: it is of the conversation itself, which keeps it.
    """

    conversation: str
    tokens: int
    maker: tuple[str, str]
    grows: bool = False


class Links:
    """Remembers ids by their keyed digests; those that nobody has used for longest are forgotten first.

    key: as of the gateway. known may be asked from any thread, remember from one alone.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._links: OrderedDict[str, Link] = OrderedDict()

    def known(self, provider: str, id: str) -> Link | None:
        """Return what is known of an id that is in use."""
        key = self._digest(provider, id)
        with suppress(KeyError):
            self._links.move_to_end(key)
        return self._links.get(key)

    def remember(self, provider: str, id: str, link: Link) -> None:
        """Take note of an id. Who was given it first stays so; what an answer said of its own id does, too."""
        key = self._digest(provider, id)
        known = self._links.get(key)
        if known is not None:
            if link.grows and not known.grows:
                return
            link = replace(link, maker=known.maker)
        self._links[key] = link
        self._links.move_to_end(key)
        while len(self._links) > MAX_LINKS:
            self._links.popitem(last=False)

    def _digest(self, provider: str, id: str) -> str:
        return digest(self._key, "answer", provider, id)
