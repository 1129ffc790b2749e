"""What the gateway knows of ids that providers have given: in memory, by keyed digest, those that were named last."""

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
    """Links by provider and id. What is named stays known, however long ago it was made. For any thread.

    key: the gateway's secret key, given with each call.
    """

    def __init__(self, most: int = MAX_LINKS) -> None:
        self._most = most
        self._links: OrderedDict[str, Link] = OrderedDict()

    def of(self, key: bytes, provider: str, id: str) -> Link | None:
        """Return what is known of an id."""
        named = digest(key, "answer", provider, id)
        with suppress(KeyError):
            self._links.move_to_end(named)
        return self._links.get(named)

    def put(self, key: bytes, provider: str, id: str, link: Link) -> None:
        """Take note of an id. Who made it stays who made it first."""
        known = self.of(key, provider, id)
        if known is not None:
            if link.grows and not known.grows:
                return
            link = replace(link, maker=known.maker)
        self._links[digest(key, "answer", provider, id)] = link
        while len(self._links) > self._most:
            self._links.popitem(last=False)
