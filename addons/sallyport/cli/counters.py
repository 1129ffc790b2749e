"""What a counter says to a person: amounts in its own unit, when it will be used up, whether the audit agrees."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sallyport.audit.spend import Booked
from sallyport.decision import Mode
from sallyport.exchange import Operation
from sallyport.metering.prices import PriceList
from sallyport.policy.limits import Dimension, Limit, Measure
from sallyport.policy.sections import Policy, mode_of
from sallyport.stages.identity import ANONYMOUS
from sallyport.stages.ledger import Calendar, Level, Unit, limit_of
from sallyport.stages.limits import counter_key
from sallyport.stages.preflight import counts_preflights

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def shown(rule: Limit | None, counted: int) -> str:
    """Return an amount in the unit its limit is written in."""
    if rule is None or rule.unit == 1:
        return str(counted)
    return f"{Decimal(counted) / rule.unit:.6f}"


def exhausted(level: Level, now: datetime) -> datetime | None:
    """Return when a calendar window is used up if use goes on as it did in it; None if it is not, or is a bucket."""
    if level.start_ms is None or level.end_ms is None or level.used <= 0:
        return None
    start, end = (_EPOCH + timedelta(milliseconds=ms) for ms in (level.start_ms, level.end_ms))
    gone = now - start
    whole = level.limit + level.granted
    if gone <= timedelta() or now >= end:
        return None
    if level.used >= whole:
        return now
    share = whole / level.used
    # Compared before it is added up: of a limit hardly touched the day lies beyond all calendars.
    return start + gone * share if share < (end - start) / gone else None


@dataclass(frozen=True, slots=True)
class Compared:
    """One counter as the ledger has it and as the events add up, in counted units."""

    key: str
    rule: Limit
    ledger: int
    events: int

    @property
    def agrees(self) -> bool:
        return self.ledger == self.events

    def plain(self) -> dict[str, object]:
        return {
            "key": self.key,
            "ledger": shown(self.rule, self.ledger),
            "events": shown(self.rule, self.events),
        }


def compare(
    levels: Sequence[Level],
    rules: Mapping[str, Limit],
    booked: Callable[[datetime, datetime], tuple[Booked, ...]],
    prices: PriceList,
) -> list[Compared]:
    """Return every calendar counter that the events can be compared with. prices: of the policy in force."""
    found = []
    windows: dict[tuple[int, int], tuple[Booked, ...]] = {}
    for level in levels:
        rule = rules.get(limit_of(level.key))
        if rule is None or level.start_ms is None or level.end_ms is None:
            continue
        if not _is_told(rule):
            continue
        window = level.start_ms, level.end_ms
        if window not in windows:
            start, end = (_EPOCH + timedelta(milliseconds=ms) for ms in window)
            windows[window] = booked(start, end)
        counted = (b for b in windows[window] if _counts(rule, b) and _key(rule, b, prices) == level.key)
        total = sum(map(_AMOUNTS[rule.measure], counted))
        found.append(Compared(level.key, rule, level.used, total))
    return found


def forgotten(
    levels: Sequence[Level],
    policy: Policy,
    booked: Callable[[datetime, datetime], tuple[Booked, ...]],
    prices: PriceList,
    now: datetime,
) -> list[Compared]:
    """Return the counters of calendar windows under way that only the events know of: a store that lost its counts
    has none of those that nobody has used since.
    """
    there = {(level.key, level.start_ms) for level in levels}
    found = []
    for rule in policy.limits.rules:
        is_shadow = mode_of(policy, policy.limits, rule) is Mode.SHADOW  # counted apart, and not compared
        if rule.kind != "calendar" or rule.per is None or is_shadow or not _is_told(rule):
            continue
        window = Calendar(Unit(rule.per.value), policy.limits.time_zone).at(int(now.timestamp() * 1000))
        start, end = (_EPOCH + timedelta(milliseconds=ms) for ms in (window.start_ms, window.end_ms))
        totals: Counter[str] = Counter()
        for each in booked(start, end):
            if rule.is_for(each.tenant) and _counts(rule, each):
                totals[_key(rule, each, prices)] += _AMOUNTS[rule.measure](each)
        found += [
            Compared(key, rule, 0, total)
            for key, total in sorted(totals.items())
            if total and (key, window.start_ms) not in there
        ]
    return found


def _is_told(rule: Limit) -> bool:
    """Say whether events hold all that a limit counts by."""
    return rule.when is None and Dimension.ROLE not in rule.by and rule.measure in _AMOUNTS


_AMOUNTS: Mapping[Measure, Callable[[Booked], int]] = {
    Measure.REQUESTS: lambda b: b.requests,
    Measure.INPUT_TOKENS: lambda b: b.input_tokens,
    Measure.OUTPUT_TOKENS: lambda b: b.output_tokens,
    Measure.TOTAL_TOKENS: lambda b: b.input_tokens + b.output_tokens,
    Measure.BYTES: lambda b: b.request_bytes + b.response_bytes,
    Measure.COST: lambda b: b.cost_micro_usd,
}


def _counts(rule: Limit, booked: Booked) -> bool:
    """Say whether a limit counts what events tell of: preflights are on some alone."""
    known = booked.principal not in ("", ANONYMOUS.id)
    return booked.operation != Operation.PREFLIGHT or counts_preflights(rule, known=known)


def _key(rule: Limit, booked: Booked, prices: PriceList) -> str:
    values = {
        Dimension.PRINCIPAL: booked.principal,
        Dimension.TENANT: booked.tenant,
        Dimension.KEY: booked.credential,
        Dimension.MODEL: prices.name_of(booked.provider, booked.host, booked.model),
        Dimension.PROVIDER: booked.provider,
        Dimension.OPERATION: booked.operation,
        Dimension.NETWORK: booked.client,
    }
    return counter_key(rule, values, booked.tenant)
