"""Access rules, indexed: which of them speak of a call is found by a few look-ups, however many there are.

Each list of a rule is a bit by its place among the rules; what a call is gives, for every kind of list, the
bits of the rules whose list it fits, and a rule speaks where all of them agree. Conditions are asked only of
rules that speak, and together.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from sallyport.bits import places
from sallyport.decision import Mode
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.condition import MAX_JOINED, ConditionError, Joined
from sallyport.policy.globs import GlobLists
from sallyport.policy.inputs import UNKNOWN_SERVER, ConditionInput
from sallyport.policy.models import ancestors, spellings

_JOIN_AFTER = 3
_MAX_KNOWN = 256
_MAX_KEPT = 4096
_MAX_KEPT_CHARS = 2000

RECURRING = frozenset(
    (
        *("principal.id", "principal.tenant", "principal.roles", "principal.source", "principal.confidence"),
        *("principal.attributes", "request.provider", "request.host", "request.dialect", "request.operation"),
        *(
            "request.model",
            "request.models",
            "request.tools",
            "request.functions",
            "request.hosted_tools",
            "request.mcp_servers",
        ),
        *("request.stream", "request.region", "request.endpoint", "request.purpose", "request.consents"),
        *("request.max_output_tokens", "request.continued", "request.attachments", "data.classes"),
        *("client.address", "client.mode", "client.networks", "time.hour", "time.weekday", "time.date"),
    )
)
"""What comes again from call to call, each of one type: answers to what reads nothing else are kept."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What of a call the lists of rules speak of. Roles and networks fit by any; the last five see its class."""

    tenant: str
    principal: str
    provider: str
    operation: str
    region: str
    purpose: str
    arrived: datetime
    roles: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    hosted_tools: tuple[str, ...] = ()
    mcp_servers: tuple[str, ...] = ()
    data_classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rules that speak of a call come to.

    forbids: those that hold and those whose condition gave no answer, the ones in force first, then in order.
    approves: the same of the rules that ask for an approval. permit: the first permit in force that holds.
    """

    forbids: tuple[AccessRule, ...] = ()
    permit: AccessRule | None = None
    approves: tuple[AccessRule, ...] = ()


IN_FORCE = {Mode.ENFORCE: 0, Mode.CANARY: 0, None: 1, Mode.OBSERVE: 2, Mode.SHADOW: 3}
"""Which rule is heard first, by how it stands; of a rule in a canary it is not known before the call is."""


class Rulebook:
    """Rules and their index. Thread-safe as far as dicts are: what it remembers it could work out again."""

    def __init__(self, rules: Sequence[AccessRule]) -> None:
        self.rules = tuple(rules)
        self.all = (1 << len(self.rules)) - 1
        self._permits = self._bits(rule.effect == "permit" for rule in rules)
        self._approves = self._bits(rule.effect == "approve" for rule in rules)
        self._conditions = self._bits(rule.when is not None for rule in rules)
        self._timed = self._bits(rule.hours is not None for rule in rules)
        self.enforces_itself = any(rule.mode is not None and rule.mode.acts for rule in rules)
        self.tries = any(rule.mode in (Mode.SHADOW, Mode.CANARY) for rule in rules)

        def lists(name: str, *, fold: bool = True) -> GlobLists | None:
            written = [getattr(rule, name) for rule in rules]
            return GlobLists(written, fold=fold) if any(w is not None for w in written) else None

        self._one = tuple(
            (name, found)
            for name, key, fold in (
                *(("tenant", "tenants", True), ("principal", "principals", False)),
                *(("provider", "providers", True), ("operation", "operations", True)),
                *(("region", "regions", True), ("purpose", "purposes", False)),
            )
            if (found := lists(key, fold=fold)) is not None
        )
        self._any = tuple(
            (name, found) for name in ("roles", "networks") if (found := lists(name, fold=False)) is not None
        )
        self._all = tuple(
            (name, found)
            for name in ("tools", "hosted_tools", "mcp_servers", "data_classes")
            if (found := lists(name)) is not None
        )
        self._models = lists("models")
        self._known: OrderedDict[int, _Parts] = OrderedDict()
        self._kept: dict[tuple[object, ...], tuple[int, int]] = {}
        self._numbers = count()

    @staticmethod
    def _bits(facts: Iterable[bool]) -> int:
        return sum(1 << place for place, fact in enumerate(facts) if fact)

    def speaking(self, of: Subjects) -> int:
        """Return the bits of the rules whose lists and hours a call fits."""
        bits = self.all
        for name, lists in self._one:
            bits &= lists.holding(getattr(of, name)) | lists.unsaid
        for name, lists in self._any:
            fitting = lists.unsaid
            for value in getattr(of, name):
                fitting |= lists.holding(value)
            bits &= fitting
        if self._models is not None and bits:
            bits &= self._of_models(self._models, of.models)
        for name, lists in self._all:
            if bits & ~lists.unsaid:
                fits = self._of_servers(lists) if name == "mcp_servers" else lists.holding
                bits &= lists.unsaid | self._each([fits(value) for value in getattr(of, name)])
        timed = bits & self._timed
        for place in places(timed):
            hours = self.rules[place].hours
            if hours is not None and not hours.holds(of.arrived):
                bits ^= 1 << place
        return bits

    def _of_servers(self, lists: GlobLists) -> Callable[[str], int]:
        """A server whose address nobody could read is on every list that forbids, and on none that permits."""
        unread = self.all & ~self._permits
        return lambda server: unread if server == UNKNOWN_SERVER else lists.holding(server)

    def _of_models(self, lists: GlobLists, models: Sequence[str]) -> int:
        """A forbid knows a model by what it was tuned from as well; a call without a model fits no list."""
        fitting = []
        for model in models:
            named = tuned = 0
            for name in spellings(model):
                named |= lists.holding(name)
            for name in ancestors(model):
                tuned |= lists.holding(name)
            fitting.append(named & self._permits | tuned & ~self._permits)
        return lists.unsaid | (self._each(fitting) if fitting else 0)

    def _each(self, fitting: Sequence[int]) -> int:
        """Return the forbids that one of these fits, and the permits that all of them fit."""
        one, every = 0, self.all
        for bits in fitting:
            one |= bits
            every &= bits
        return one & ~self._permits | every & self._permits

    def reads(self, bits: int) -> frozenset[str] | None:
        """Return the names of INPUTS that the conditions of these rules read, None if they have no conditions."""
        asked = bits & self._conditions
        return self._parts(asked).names if asked else None

    def outcome(self, bits: int, given: ConditionInput | None) -> Outcome:
        """Ask the conditions of the rules that speak. given: None where there is nothing to ask."""
        failed = 0
        asked = bits & self._conditions
        if asked:
            if given is None:
                raise ValueError("conditions and nothing to ask them about")
            holding, failed = self._holding(asked, given)
            bits = bits & ~asked | holding
        approving = (bits | failed) & self._approves
        refusing = (bits & ~self._permits | failed) & ~approving
        granted = (self.rules[place] for place in places(bits & self._permits & ~failed))
        permit = next((rule for rule in granted if rule.mode is not Mode.OBSERVE), None)
        return Outcome(self._in_force(refusing), permit, self._in_force(approving))

    def _in_force(self, bits: int) -> tuple[AccessRule, ...]:
        """Return the rules of these bits, the ones that are in force first, then in order."""
        if not bits:
            return ()
        return tuple(sorted((self.rules[p] for p in places(bits)), key=lambda rule: IN_FORCE[rule.mode]))

    def _holding(self, asked: int, given: ConditionInput) -> tuple[int, int]:
        """Return the bits of the conditions that hold, and of those that gave no answer."""
        known = self._parts(asked)
        known.times += 1
        if known.times == _JOIN_AFTER:
            known.parts = self._joined(known.parts[0].places)
        holding = failed = 0
        for part in known.parts:
            held, none = self._of_part(part, given)
            holding |= held
            failed |= none
        return holding, failed

    def _of_part(self, part: "_Part", given: ConditionInput) -> tuple[int, int]:
        key = part.key(given)
        found = self._kept.get(key) if key is not None else None
        if found is None:
            found = self._answers(part, given)
            if key is not None:
                if len(self._kept) >= _MAX_KEPT:
                    self._kept.clear()  # callers choose much of what is in them: they must not fill the memory
                self._kept[key] = found
        return found

    def _answers(self, part: "_Part", given: ConditionInput) -> tuple[int, int]:
        together = part.joined.hold(given) if part.joined is not None else None
        holding = failed = 0
        for index, place in enumerate(part.places):
            when = self.rules[place].when
            try:
                held = together[index] if together is not None else when is not None and when.holds(given)
            except ConditionError:
                failed |= 1 << place
            else:
                holding |= held << place
        return holding, failed

    def _parts(self, asked: int) -> "_Parts":
        """Return how to ask the conditions of these rules: as one expression once they have come a few times.

        To compile takes longer than to ask one by one, and which rules speak is partly up to callers: so sets
        that come seldom are not compiled, and few are kept.
        """
        known = self._known.get(asked)
        if known is None:
            listed = places(asked)
            known = self._known[asked] = _Parts(self._read(listed), [_Part(listed)])
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return known

    def _read(self, listed: Sequence[int]) -> frozenset[str]:
        conditions = (self.rules[place].when for place in listed)
        return frozenset[str]().union(*(when.names for when in conditions if when is not None))

    def _joined(self, listed: Sequence[int]) -> "list[_Part]":
        """Return rules in parts that are asked together: those that ask only what comes again, and the others."""
        again = [place for place in listed if self._read([place]) <= RECURRING]
        others = [place for place in listed if place not in again]
        parts = []
        for group in (again, others):
            for start in range(0, len(group), MAX_JOINED):
                part = group[start : start + MAX_JOINED]
                names = tuple(sorted(self._read(part))) if group is again else None
                parts.append(_Part(part, self._join(part), names, next(self._numbers)))
        return parts

    def _join(self, part: Sequence[int]) -> Joined | None:
        conditions = [when for place in part if (when := self.rules[place].when) is not None]
        if len(conditions) < 2:
            return None
        try:
            return Joined.of(conditions)
        except ConditionError:
            return None  # each compiles, all together do not: they are asked one by one


@dataclass(slots=True)
class _Part:
    """Rules whose conditions are asked together.

    names: what they read, where their answers are kept by it; number: tells their answers from those of others.
    """

    places: list[int]
    joined: Joined | None = None
    names: tuple[str, ...] | None = None
    number: int = -1

    def key(self, given: ConditionInput) -> tuple[object, ...] | None:
        """Return what the answers depend on; None where they are not kept, or it is too much to keep."""
        if self.names is None:
            return None
        found: list[object] = [self.number]
        chars = 0
        for name in self.names:
            value = given.values[name]
            if isinstance(value, list):
                value = tuple(value)
                chars += len(value) + sum(map(len, value))
            elif isinstance(value, dict):
                value = tuple(value.items())
                chars += sum(len(key) + len(text) for key, text in value)
            elif isinstance(value, str):
                chars += len(value)
            found.append(value)
        return tuple(found) if chars <= _MAX_KEPT_CHARS else None


@dataclass(slots=True)
class _Parts:
    """How to ask the conditions of some rules. names: what all of them read. times: how often they were asked."""

    names: frozenset[str]
    parts: list[_Part]
    times: int = 0
