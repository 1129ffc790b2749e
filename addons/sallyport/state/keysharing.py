"""Which people use the same credential: told once, when a second one comes within a window. Memory is bounded."""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MAX_KEYS = 20_000
MAX_PEOPLE = 16
"""Of one credential; of more, the ones seen last are kept."""

PROVED = frozenset({"certificate", "token", "proxy", "header"})
"""Sources that say who uses a credential without asking the credential."""

type Person = tuple[str, str]


@dataclass(slots=True)
class _Use:
    people: OrderedDict[Person, datetime] = field(default_factory=OrderedDict)
    told_at: datetime | None = None


class KeySharing:
    """Remembers who was proved beside each credential. Belongs to one event loop."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, _Use] = OrderedDict()

    def hear(
        self, fingerprint: str, tenant: str, principal: str, at: datetime, window: timedelta
    ) -> tuple[Person, ...]:
        """Take in a use; return all the people of the window where it must be told that there are several.

        It is told of one credential once in a window.
        """
        use = self._keys.setdefault(fingerprint, _Use())
        self._keys.move_to_end(fingerprint)
        if len(self._keys) > MAX_KEYS:
            self._keys.popitem(last=False)
        use.people[tenant, principal] = at
        use.people.move_to_end((tenant, principal))
        if len(use.people) > MAX_PEOPLE:
            use.people.popitem(last=False)
        recent = tuple(person for person, seen in use.people.items() if abs(at - seen) < window)
        told = (
            use.told_at is not None and abs(at - use.told_at) < window
        )  # told while the clock was ahead is not now
        if len(recent) < 2 or told:
            return ()
        use.told_at = at
        return recent
