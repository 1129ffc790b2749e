"""What is usual for each principal, and how far from it they are now: statistics that a person can check.

Per principal and hour, seven things are counted. Each has a mean and a mean deviation over the hours in which
the principal was active, both forgetting slowly. How far the last hour lies above its mean, in deviations, is
the surprise of that thing, 0 to 1; the score is one minus the product of what each leaves (noisy or), so that
every part of it can be named with its value and what is usual.

No clock: times come with what is heard and asked. Not thread-safe: one event loop hears and asks.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

HOUR_S = 3600.0

MIN_HOURS = 16
"""Active hours before anything is surprising: two working days. Until then the score is 0."""

KEPT_HOURS = 120
"""Hours that a mean remembers: the newest hour weighs 1/120, never more than that of one among so many."""

MOST_DEVIATIONS = 3.0
"""An hour above the mean by more than this many deviations counts as this many, and as one of KEPT_HOURS.

A flood then moves no baseline far: it takes some sixty hours of them until the mean has doubled.
"""

SURPRISING, CERTAIN = 2.0, 8.0
"""Deviations above the mean at which surprise begins, and at which it is whole."""

MAX_PRINCIPALS = 10_000
"""Each takes some 4 KB."""

MAX_NAMES = 64
"""Models, and hosts, that are remembered of a principal; the one not used for longest makes way."""

MAX_REASONS = 4

_OFF_HOURS_SHARE = 0.02
_HOURS_OF_DAY = 24
_DAY_KINDS = 2
_FORGET_HOUR = 0.5 ** (1 / 240)
"""What an active hour leaves of the weight of those before it, for the hours of the day: half in 240."""


class Feature(StrEnum):
    """What is watched."""

    SPEND = "spend"
    TOKENS = "tokens"
    REQUESTS = "requests"
    REFUSALS = "refusals"
    NEW_MODELS = "new_models"
    NEW_HOSTS = "new_hosts"
    OFF_HOURS = "off_hours"


@dataclass(frozen=True, slots=True)
class _Weight:
    """most: what the feature can bring to the score alone. floor: smallest deviation, in its own unit.

    The deviation is never taken for less than half of the mean: of the steadiest principal, twice as much as
    usual is not surprising yet, and five times as much is for certain.
    """

    most: float
    floor: float


COUNTED: Mapping[Feature, _Weight] = {
    Feature.SPEND: _Weight(0.9, 10_000),  # a cent
    Feature.TOKENS: _Weight(0.9, 2_000),
    Feature.REQUESTS: _Weight(0.8, 5),
    Feature.REFUSALS: _Weight(0.7, 1),
    Feature.NEW_MODELS: _Weight(0.4, 0.25),
    Feature.NEW_HOSTS: _Weight(0.5, 0.25),
}
_OFF_HOURS_MOST = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange that has ended. spend: millionths of a US dollar. refused: not by a limit."""

    tenant: str
    principal: str
    at: datetime
    spend: int = 0
    tokens: int = 0
    refused: bool = False
    model: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Reason:
    """One part of a score. value: of the last hour; usual: the mean of an active hour, in the same unit.

    For off_hours both are shares of activity: at this hour of the day, and the least that counts as usual.
    share: what the feature brought, 0 to 1.
    """

    feature: Feature
    value: float
    usual: float
    share: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How unusual a principal is now. score: 0 to 1. reasons: greatest share first. hours: of the baseline."""

    score: float = 0.0
    reasons: tuple[Reason, ...] = ()
    hours: int = 0


@dataclass(slots=True)
class _Usual:
    """A mean and a mean absolute deviation over hours."""

    mean: float = 0.0
    deviation: float = 0.0

    def learn(self, value: float, hours: int, floor: float) -> None:
        """Take in an hour, after so many others; one far above what is usual counts as less than it was."""
        most = self.mean + MOST_DEVIATIONS * self.spread(floor)
        wild = hours >= MIN_HOURS and value > most
        weight = 1 / KEPT_HOURS if wild else 1 / min(hours + 1, KEPT_HOURS)
        value = min(value, most) if wild else value
        away = abs(value - self.mean) if hours else 0.0
        self.mean += (value - self.mean) * weight
        self.deviation += (away - self.deviation) * weight

    def spread(self, floor: float) -> float:
        return max(self.deviation, self.mean / 2, floor)

    def surprise(self, value: float, floor: float) -> float:
        deviations = (value - self.mean) / self.spread(floor)
        return min(1.0, max(0.0, (deviations - SURPRISING) / (CERTAIN - SURPRISING)))


type _Counts = dict[Feature, float]


def _nothing() -> _Counts:
    return dict.fromkeys(COUNTED, 0.0)


@dataclass(slots=True)
class _Profile:
    """A principal: what is usual, the hour under way, and the one before it where they touch."""

    usual: dict[Feature, _Usual] = field(default_factory=lambda: {name: _Usual() for name in COUNTED})
    hours: int = 0
    by_hour: "array[float]" = field(default_factory=lambda: array("d", bytes(8 * _HOURS_OF_DAY * _DAY_KINDS)))
    models: OrderedDict[str, None] = field(default_factory=OrderedDict)
    hosts: OrderedDict[str, None] = field(default_factory=OrderedDict)
    hour: int = -1
    now: _Counts = field(default_factory=_nothing)
    before: _Counts = field(default_factory=_nothing)
    unusual: bool = False

    def hear(self, seen: Seen) -> None:
        self.turn(int(seen.at.timestamp() // HOUR_S))
        now = self.now
        now[Feature.SPEND] += max(0, seen.spend)
        now[Feature.TOKENS] += max(0, seen.tokens)
        now[Feature.REQUESTS] += 1
        now[Feature.REFUSALS] += seen.refused
        now[Feature.NEW_MODELS] += _is_new(self.models, seen.model)
        now[Feature.NEW_HOSTS] += _is_new(self.hosts, seen.host)

    def turn(self, hour: int) -> None:
        """Close the hour under way once a later one has begun. What comes late counts for the hour under way.

        By more than an hour nothing comes late: the clock was ahead, and its hour, which would not end for as long, is
        none.
        """
        if hour < self.hour - 1:
            self.hour, self.now, self.before = hour, _nothing(), _nothing()
        if hour <= self.hour:
            return
        if self.hour >= 0:
            for name, usual in self.usual.items():
                usual.learn(self.now[name], self.hours, COUNTED[name].floor)
            for place in range(len(self.by_hour)):
                self.by_hour[place] *= _FORGET_HOUR
            self.by_hour[_place(self.hour)] += 1
            self.hours += 1
        touching = hour == self.hour + 1
        self.before = self.now if touching else _nothing()
        self.now = _nothing()
        self.hour = hour

    def standing(self, at: datetime) -> Standing:
        if self.hours < MIN_HOURS:
            return Standing(hours=self.hours)
        counts = self._last_hour(at)
        reasons = []
        for name, weight in COUNTED.items():
            usual = self.usual[name]
            share = weight.most * usual.surprise(counts[name], weight.floor)
            if share > 0:
                reasons.append(Reason(name, counts[name], usual.mean, share))
        if counts[Feature.REQUESTS] > 0 and (off := self._off_hours(at)) is not None:
            reasons.append(off)
        left = 1.0
        for reason in reasons:
            left *= 1 - reason.share
        reasons.sort(key=lambda reason: -reason.share)
        return Standing(1 - left, tuple(reasons[:MAX_REASONS]), self.hours)

    def _last_hour(self, at: datetime) -> _Counts:
        """Return the counts of the hour that ends now: of the clock hour before, the part that reaches into it."""
        seconds = at.timestamp()
        hour, gone = int(seconds // HOUR_S), seconds % HOUR_S / HOUR_S
        if hour <= self.hour:
            part = max(0.0, 1 - gone) if hour == self.hour else 1.0
            return {name: value + self.before[name] * part for name, value in self.now.items()}
        part = 1 - gone if hour == self.hour + 1 else 0.0
        return {name: value * part for name, value in self.now.items()}

    def _off_hours(self, at: datetime) -> Reason | None:
        """Return a reason where the principal was hardly ever active at this hour of such a day."""
        here = _place(int(at.timestamp() // HOUR_S))
        day, hour = divmod(here, _HOURS_OF_DAY)
        near = (self.by_hour[day * _HOURS_OF_DAY + (hour + d) % _HOURS_OF_DAY] for d in (-1, 0, 1))
        share = sum(near) / (sum(self.by_hour) or 1.0)
        if share >= _OFF_HOURS_SHARE:
            return None
        strength = _OFF_HOURS_MOST * (1 - share / _OFF_HOURS_SHARE)
        return Reason(Feature.OFF_HOURS, share, _OFF_HOURS_SHARE, strength)


class Behaviour:
    """The profiles of all principals, the most recently active MAX_PRINCIPALS of them."""

    def __init__(self, most: int = MAX_PRINCIPALS) -> None:
        self._most = most
        self._profiles: OrderedDict[tuple[str, str], _Profile] = OrderedDict()

    def hear(self, seen: Seen) -> None:
        """Take in an exchange that has ended; one that nobody made is left out."""
        if not seen.principal:
            return
        key = (seen.tenant, seen.principal)
        profile = self._profiles.get(key)
        if profile is None:
            profile = self._profiles[key] = _Profile()
            if len(self._profiles) > self._most:
                self._profiles.popitem(last=False)
        else:
            self._profiles.move_to_end(key)
        profile.hear(seen)

    def standing(self, tenant: str, principal: str, at: datetime) -> Standing:
        """Return how unusual a principal is; of one nobody heard of, nothing is known and the score is 0."""
        profile = self._profiles.get((tenant, principal))
        return Standing() if profile is None else profile.standing(at)

    def begins(self, tenant: str, principal: str, at: datetime, threshold: float) -> Standing | None:
        """Return the standing if an episode begins now, None if none does or one goes on.

        An episode ends once the score is below half of the threshold.
        """
        profile = self._profiles.get((tenant, principal))
        if profile is None:
            return None
        standing = profile.standing(at)
        if profile.unusual:
            profile.unusual = standing.score >= threshold / 2
            return None
        profile.unusual = standing.score >= threshold
        return standing if profile.unusual else None

    def all(self, at: datetime) -> tuple[tuple[str, str, Standing], ...]:
        """Return tenant, principal and standing of all, the most unusual first."""
        found = [(*key, profile.standing(at)) for key, profile in self._profiles.items()]
        return tuple(sorted(found, key=lambda each: (-each[2].score, each[0], each[1])))


def _is_new(known: OrderedDict[str, None], name: str) -> bool:
    if not name:
        return False
    new = name not in known
    known[name] = None
    known.move_to_end(name)
    if len(known) > MAX_NAMES:
        known.popitem(last=False)
    return new


def _place(hour: int) -> int:
    """Return the place of an hour since 1970 among the hours of working days and of weekend days, UTC."""
    day, hour_of_day = divmod(hour, _HOURS_OF_DAY)
    weekend = (day + 3) % 7 >= 5  # 1970-01-01 was a Thursday
    return weekend * _HOURS_OF_DAY + hour_of_day
