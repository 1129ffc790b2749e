"""How much may be used: every limit that applies must have room, and all are taken at once or none.

What is reserved here is an estimate; it is settled from what the provider reports once the answer is there.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal
from hashlib import blake2b
from ipaddress import IPv6Address, IPv6Network
from urllib.parse import quote

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Exchange, Principal
from sallyport.policy.condition import Condition, ConditionError
from sallyport.policy.inputs import ConditionInput
from sallyport.policy.limits import Ceilings, Dimension, Limit, Limits, Measure
from sallyport.policy.states import STRENGTH, standing_of
from sallyport.stages.asking import input_for
from sallyport.stages.ledger import (
    MAX_AMOUNT,
    MAX_KEY_CHARS,
    SHADOWED,
    Calendar,
    Claim,
    Concurrent,
    Denied,
    LedgerUnavailable,
    Level,
    RollingWindow,
    TokenBucket,
    Unit,
    Window,
)
from sallyport.stages.stage import Estimate, Ports

RETRY_WITHIN_MS = 60_000
"""A client is told to wait and try again if its request fits within this; beyond, that it is over."""

_SHARE = "The counters cannot be reached, and until they can only a part of each limit may be used."
_NO_CEILINGS = Ceilings()
_SAFE = " :@+,;()[]!*'$&"
_SAFE_TENANT = _SAFE.replace(":", "")
_MONEY = {Measure.COST, Measure.CREDITS}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One limit as it applies to one exchange.

    base: without its grace, in counted units. mode: its own state for this exchange, None for the section's.
    """

    rule: Limit
    claim: Claim
    base: int
    mode: Mode | None


class LimitsStage:
    """Reserves what a request will use; denies where something is used up."""

    name = "limits"

    async def decide(self, exchange: Exchange, section: Limits, ports: Ports) -> Decision:
        if not section.rules and section.ceilings == _NO_CEILINGS:
            return Decision(self.name, Action.ALLOW, "limits.none")
        meter = ports.meter
        if meter is None:
            raise RuntimeError("limits without counters")
        estimate = meter.estimate(section.assumed_output_tokens)
        unfit = None
        over = _over_ceiling(exchange, section, estimate)
        if over:
            unfit = Decision(self.name, Action.DENY, "limits.ceiling", message=over, status=400)
            if ports.limiting.acts:
                return unfit
        given = await input_for(_conditions(section), exchange, ports)
        tenant = exchange.principal.tenant if exchange.principal else ""
        rules = [
            rule
            for rule in section.rules
            if rule.is_for(tenant) and (rule.when is None or _holds(rule.when, given))
        ]
        unpriced = self._unpriced(rules, exchange, section, ports) if estimate.cost is None else None
        if unpriced is not None and (unpriced.rule_mode or ports.limiting).acts:
            return unpriced
        counted = _Counted(exchange, section, meter.models, estimate, given, ports)
        asked = [a for rule in rules for a in _asked(rule, counted)]
        if not asked:
            return unfit or unpriced or Decision(self.name, Action.ALLOW, "limits.none")
        waits_s = {a.claim.key: a.rule.wait_s for a in asked}
        try:
            answer = await meter.reserve([(a.rule.measure, a.claim) for a in asked], waits_s)
        except LedgerUnavailable:
            return Decision(
                self.name,
                Action.DENY,
                "limits.unavailable",
                message="The gateway cannot count this request, so it was not sent. Try again in a few seconds.",
                rule_mode=_strongest((a.mode for a in asked), ports.limiting),
                status=503,
            )
        if isinstance(answer, Denied):
            refused = {d.claim.key: d.fits_in_ms for d in answer.denials}
            first = max(
                (a for a in asked if a.claim.key in refused),
                key=lambda a: (refused[a.claim.key] is None, refused[a.claim.key] or 0),
            )
            level = answer.levels[asked.index(first)]
            decision = self._used_up(first, level, refused[first.claim.key], section)
            if answer.local:
                return replace(decision, message=f"{_SHARE} {decision.message}")
            return decision
        within = self._within(asked, answer.levels, section)
        if unpriced is not None and unpriced.rule_mode is Mode.SHADOW:
            within = replace(within, tried=(*within.tried, unpriced))
        else:
            unfit = unfit or unpriced
        return within if unfit is None else replace(unfit, tried=within.tried)

    def _unpriced(
        self, rules: Sequence[Limit], exchange: Exchange, section: Limits, ports: Ports
    ) -> Decision | None:
        """Return the refusal of a model without a price where rules count money, as the strongest of them stands."""
        modes = [_own_mode(rule, exchange) for rule in rules if rule.measure in _MONEY]
        if not modes:
            return None
        return Decision(
            self.name,
            Action.DENY,
            "limits.no_price",
            message="This model, or the service tier the request asks for, has no known price, and a budget applies. "
            f"Use another one, or ask {section.ask} to give it a price.",
            rule_mode=_strongest(modes, ports.limiting),
        )

    def _within(self, asked: Sequence[_Asked], levels: Sequence[Level], section: Limits) -> Decision:
        """Say that there is room; or, where a limit only observes, that there would not be."""
        warnings = []
        over: Decision | None = None
        tried: list[Decision] = []
        for each, level in zip(asked, levels, strict=True):
            taken = level.used + level.reserved
            # What needs nothing always fits, also where more was used than was reserved for it.
            if each.claim.amount and taken > each.claim.limit + level.granted:
                if each.claim.tried:
                    tried.append(Decision(self.name, Action.DENY, f"limits.{each.rule.id}", status=429))
                elif over is None:
                    over = self._used_up(each, level, level.resets_in_ms, section)
                continue
            share = None if each.claim.tried else each.rule.soft
            if share is not None and taken >= (each.base + level.granted) * share:
                warnings.append(
                    f"{each.rule.id}: {_percent(taken, each.base + level.granted)} used{_resets(level)}"
                )
        if over is not None:
            return replace(over, tried=tuple(tried))
        if warnings:
            said = "; ".join(warnings)
            return Decision(self.name, Action.ALLOW, "limits.soft", message=said, tried=tuple(tried))
        return Decision(self.name, Action.ALLOW, "limits.reserved", tried=tuple(tried))

    def _used_up(self, asked: _Asked, level: Level, fits_in_ms: int | None, section: Limits) -> Decision:
        rule = asked.rule
        soon = fits_in_ms is not None and fits_in_ms <= RETRY_WITHIN_MS
        amount = f"{_shown(rule, asked.base + level.granted)} {_UNITS[rule.measure]}"
        period = f" per {rule.per}" if rule.per else " at once"
        whose = f" for this {' and '.join(rule.by)}" if rule.by else " for everybody together"
        message = (
            f"The limit `{rule.id}` of {amount}{period}{whose} has no room for this request: "
            f"{_shown(rule, level.used)} used, {_shown(rule, level.reserved)} under way, "
            f"{_shown(rule, asked.claim.amount)} needed{_resets(level)}. Ask {rule.ask or section.ask} for more."
        )
        return Decision(
            self.name,
            Action.DENY,
            f"limits.{rule.id}",
            message=message,
            rule_mode=asked.mode,
            status=429,
            retry_after_s=max(1, -(-(fits_in_ms or 0) // 1000)) if soon else None,
        )


def _over_ceiling(exchange: Exchange, section: Limits, estimate: Estimate) -> str:
    """Return what a caller reads whose request is too large in itself; empty if it is not."""
    ceilings, request = section.ceilings, exchange.request
    asked = request.max_output_tokens
    if ceilings.texts is not None and len(request.segments) > ceilings.texts:
        return f"The request holds {len(request.segments)} texts; at most {ceilings.texts} are allowed."
    if ceilings.input_tokens is not None and estimate.input_tokens > ceilings.input_tokens:
        return (
            f"The request holds about {estimate.input_tokens} tokens; at most {ceilings.input_tokens} are "
            "allowed. Send less text."
        )
    if ceilings.max_output_tokens is not None and asked is not None and asked > ceilings.max_output_tokens:
        return f"The request asks for {asked} tokens of output; at most {ceilings.max_output_tokens} are allowed."
    return ""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What every limit of one exchange is asked about. models: that may answer, as prices know them."""

    exchange: Exchange
    section: Limits
    models: tuple[str, ...]
    estimate: Estimate
    given: ConditionInput
    ports: Ports


def _asked(rule: Limit, of: _Counted) -> Iterator[_Asked]:
    exchange = of.exchange
    who = exchange.principal or Principal(id="", tenant="", source="none")
    base = size = _counted(_limit_of(rule, who, of.given) * rule.unit)
    amount = min(_amount(rule.measure, of.estimate), MAX_AMOUNT)
    mode = _own_mode(rule, exchange)
    stands = mode or of.ports.limiting
    apart = of.ports.limits_apart if rule.mode is None else rule.mode is Mode.SHADOW
    window: Window
    if rule.kind == "bucket":
        assert rule.per is not None
        size = base if rule.burst is None else _counted(rule.burst * rule.unit)
        window = TokenBucket(max(1, base), int(rule.per.length.total_seconds() * 1000))
    else:
        window = _window(rule, of.section)
    most = _counted(Decimal(size) * (Decimal(str(rule.grace)) + 1))
    for key, model in _keys(rule, exchange, who, of.models):
        named = f"{SHADOWED}{key}" if apart else key
        claim = Claim(named, most, amount, window, stands.acts, stands is Mode.SHADOW, model)
        yield _Asked(rule, claim, size, mode)


def _own_mode(rule: Limit, exchange: Exchange) -> Mode | None:
    """Return a limit's own state for an exchange, None for the section's."""
    return standing_of(f"limits.{rule.id}", rule, exchange)


def _strongest(modes: Iterable[Mode | None], limiting: Mode) -> Mode | None:
    """Return the state of what several rules say together: of the one that does most; None for the section's."""
    return max(modes, key=lambda mode: STRENGTH[mode or limiting])


def _window(rule: Limit, section: Limits) -> Window:
    if rule.kind == "concurrent":
        return Concurrent()
    assert rule.per is not None
    if rule.kind == "calendar":
        return Calendar(Unit(rule.per.value), section.time_zone)
    return RollingWindow(int(rule.per.length.total_seconds() * 1000))


def _limit_of(rule: Limit, who: Principal, given: ConditionInput) -> Decimal:
    """Return the limit for somebody, now: the largest tier that fits, times every factor that holds."""
    fitting = [
        tier.limit
        for tier in rule.tiers
        if (tier.role is None or tier.role in who.roles)
        and (tier.tenant is None or tier.tenant.lower() == who.tenant.lower())
    ]
    limit = max(fitting, default=rule.limit)
    for factor in rule.factors:
        try:
            holds = factor.when.holds(given)
        except ConditionError:
            holds = factor.times < 1
        if holds:
            limit *= Decimal(str(factor.times))
    return limit


def _amount(measure: Measure, estimate: Estimate) -> int:
    match measure:
        case Measure.INPUT_TOKENS:
            return estimate.input_tokens
        case Measure.OUTPUT_TOKENS:
            return estimate.output_tokens
        case Measure.TOTAL_TOKENS:
            return estimate.input_tokens + estimate.output_tokens
        case Measure.BYTES:
            return estimate.request_bytes
        case Measure.COST:
            return estimate.cost or 0
        case Measure.CREDITS:
            return estimate.credits or 0
        case _:
            return 1


def _keys(
    rule: Limit, exchange: Exchange, who: Principal, models: Sequence[str]
) -> Iterator[tuple[str, str | None]]:
    """Return the counters of a rule that an exchange falls under: one, or one per role and model that may answer.

    With each its model, None where models are not counted apart.
    """
    request, client = exchange.request, exchange.client
    values = {
        Dimension.PRINCIPAL: who.id,
        Dimension.TENANT: who.tenant,
        Dimension.KEY: client.credential or "",
        Dimension.PROVIDER: request.provider,
        Dimension.OPERATION: request.operation.value,
        Dimension.NETWORK: client.address,
    }
    apart = models if Dimension.MODEL in rule.by else (None,)
    for role in dict.fromkeys(who.roles or ("",)) if Dimension.ROLE in rule.by else ("",):
        for model in apart:
            whose = {**values, Dimension.ROLE: role, Dimension.MODEL: model or ""}
            yield counter_key(rule, whose, who.tenant), model


def counter_key(rule: Limit, values: Mapping[Dimension, str], tenant: str) -> str:
    """Return the name of a counter: the limit, then what it counts apart; never the same for two.

    The same name in two tenants is two people, and two roles. A tenant has one counter however it is spelt: who chooses
    its case must not choose a fresh one. A name that is too long ends in its digest.
    """
    parts = [rule.id]
    tenant = tenant.lower()
    for dimension in rule.by:
        value = values[dimension]
        if dimension is Dimension.NETWORK:
            value = network_of(value)
        elif dimension is Dimension.TENANT:
            value = value.lower()
        shown = quote(value, safe=_SAFE)
        if dimension in (Dimension.PRINCIPAL, Dimension.ROLE):
            shown = f"{quote(tenant, safe=_SAFE_TENANT)}:{shown}"
        parts.append(f"{dimension}={shown}")
    key = "/".join(parts)
    most = MAX_KEY_CHARS - len(SHADOWED)
    if len(key) <= most:
        return key
    digest = blake2b(key.encode(), digest_size=16).hexdigest()
    return f"{key[: most - len(digest) - 1]}#{digest}"


def counts_model(key: str, model: str) -> bool:
    """Say whether a counter is of this model, as prices know it; unknown of a key that is too long to show it."""
    return f"{Dimension.MODEL}={quote(model, safe=_SAFE)}" in key.split("/")


def network_of(address: str) -> str:
    """Return whom an address stands for: of IPv6 a /64, in which every host makes up addresses as it likes."""
    if ":" not in address:
        return address
    try:
        ip = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip.ipv4_mapped or IPv6Network((ip, 64), strict=False))


def _conditions(section: Limits) -> Iterator[Condition]:
    for rule in section.rules:
        if rule.when is not None:
            yield rule.when
        yield from (factor.when for factor in rule.factors)


def _holds(condition: Condition, given: ConditionInput) -> bool:
    try:
        return condition.holds(given)
    except ConditionError:
        return True


def _counted(amount: Decimal) -> int:
    return min(int(amount.to_integral_value(ROUND_FLOOR)), MAX_AMOUNT)


_UNITS = {
    Measure.REQUESTS: "requests",
    Measure.INPUT_TOKENS: "input tokens",
    Measure.OUTPUT_TOKENS: "output tokens",
    Measure.TOTAL_TOKENS: "tokens",
    Measure.BYTES: "bytes",
    Measure.COST: "US dollars",
    Measure.CREDITS: "credits",
    Measure.CONCURRENT: "requests",
}


def _shown(rule: Limit, counted: int) -> str:
    if rule.unit == 1:
        return str(counted)
    return f"{Decimal(counted) / rule.unit:.4f}".rstrip("0").rstrip(".")


def _percent(taken: int, limit: int) -> str:
    return f"{taken * 100 // limit} %" if limit else "all"


def _resets(level: Level) -> str:
    """Return when a limit has room again, in the unit a reader thinks in."""
    if not level.resets_in_ms:
        return ""
    seconds = -(-level.resets_in_ms // 1000)
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f", full again in {-(-seconds // size)} {unit}"
    return f", full again in {seconds} seconds"
