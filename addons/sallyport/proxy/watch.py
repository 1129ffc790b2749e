"""What the gateway keeps an eye on: how its principals behave, and what its operator wants to be told."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from sallyport.audit.events import END_KINDS, Event, EventKind
from sallyport.exchange import Circumstances, Exchange
from sallyport.policy.keys import KeyRules
from sallyport.policy.limits import Limit, Limits
from sallyport.stages.ledger import Denied, Level, Reserved
from sallyport.state.behaviour import Behaviour, Seen, Standing
from sallyport.state.keysharing import PROVED, KeySharing
from sallyport.state.webhook import Fact, Notification, Webhook

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def seen_of(event: Event) -> Seen:
    """Return what an end says of its principal's behaviour.

    A refusal by a limit is none of the principal's doing: it would keep up the score that tightened the limit.
    """
    usage = event.usage
    return Seen(
        tenant=event.tenant,
        principal=event.principal,
        at=event.at,
        spend=event.cost_micro_usd or 0,
        tokens=((usage.input or 0) + (usage.output or 0)) if usage else 0,
        refused=event.kind is EventKind.REFUSED and event.stage != "limits",
        model=event.model,
        host=event.host,
    )


class Watch:
    """Hears every end and every answer of the counters. Belongs to the event loop of the gateway.

    record: where events of its own go.
    """

    def __init__(self, gateway: str, record: Callable[[Event], None]) -> None:
        self._gateway = gateway
        self._record = record
        self._behaviour = Behaviour()
        self._sharing = KeySharing()
        self._webhook = Webhook(gateway, self._lost)

    def warm(self, ends: Iterable[Event]) -> None:
        """Learn what is usual from the past, oldest first."""
        for event in ends:
            self._behaviour.hear(seen_of(event))

    def circumstances(self, exchange: Exchange, in_flight: int) -> Circumstances:
        """Return what surrounds an exchange at the moment it was received."""
        who = exchange.principal
        standing = (
            Standing() if who is None else self._behaviour.standing(who.tenant, who.id, exchange.received_at)
        )
        return Circumstances(standing.score, tuple(r.feature.value for r in standing.reasons), in_flight)

    def hear(self, event: Event, limits: Limits, keys: KeyRules | None = None) -> None:
        """Take in an end of an exchange; write an event where an unusual episode begins, or a key is shared."""
        if event.kind not in END_KINDS:
            return
        if keys is not None and keys.shared == "alert":
            self._hear_key(event, limits, keys)
        self._behaviour.hear(seen_of(event))
        if limits.anomaly_score is None:
            return
        standing = self._behaviour.begins(event.tenant, event.principal, event.at, limits.anomaly_score)
        if standing is None:
            return
        main = standing.reasons[0].feature
        self._record_anomaly(event, "behaviour", f"behaviour.{main}", main.value)
        self._tell_of(event, standing, limits)

    def _hear_key(self, event: Event, limits: Limits, keys: KeyRules) -> None:
        """Tell where people who were proved by something else use the same credential."""
        if not event.credential or event.source not in PROVED:
            return
        window = timedelta(hours=keys.shared_window_h)
        people = self._sharing.hear(event.credential, event.tenant, event.principal, event.at, window)
        if not people:
            return
        self._record_anomaly(event, "identity", "identity.key_shared", "key_shared")
        if limits.webhook is not None:
            facts: dict[str, Fact] = {
                "credential": event.credential,
                "provider": event.provider,
                "principals": [{"tenant": tenant, "principal": principal} for tenant, principal in people],
            }
            about = f"{event.credential} {event.at.isoformat()}"
            self._webhook.tell(limits.webhook, Notification("anomaly.key_shared", about, event.at, facts))

    def _record_anomaly(self, event: Event, stage: str, reason: str, detail: str) -> None:
        self._record(
            Event(
                kind=EventKind.ANOMALY,
                gateway=self._gateway,
                exchange=event.exchange,
                principal=event.principal,
                tenant=event.tenant,
                source=event.source,
                confidence=event.confidence,
                client=event.client,
                credential=event.credential,
                host=event.host,
                provider=event.provider,
                model=event.model,
                stage=stage,
                reason=reason,
                policy_revision=event.policy_revision,
                rules_revision=event.rules_revision,
                detail=detail,
                alias=event.alias,
            )
        )

    def counted(self, answer: Reserved | Denied | None, limits: Limits, at: datetime) -> None:
        """Take in what the counters said to an exchange; tell of limits that are passed."""
        if limits.webhook is None or answer is None:
            return
        rules = {rule.id: rule for rule in limits.rules}
        denied = {d.claim.key for d in answer.denials} if isinstance(answer, Denied) else frozenset[str]()
        for level in answer.levels:
            rule = rules.get(level.key.partition("/")[0])
            kind = None if rule is None else _passed(rule, level, level.key in denied)
            if rule is None or kind is None:
                continue
            facts: dict[str, Fact] = {
                "limit": rule.id,
                "counter": level.key,
                "measure": rule.measure.value,
                "used": level.used / rule.unit,
                "under_way": level.reserved / rule.unit,
                "allowed": (level.limit + level.granted) / rule.unit,
                "until": None if level.end_ms is None else _instant(level.end_ms).isoformat(),
            }
            about = f"{level.key} {_window(rule, level, at)}"
            self._webhook.tell(limits.webhook, Notification(kind, about, at, facts))

    def tell(self, limits: Limits, notification: Notification) -> None:
        """Tell the operator's receiver of something, where the policy names one."""
        if limits.webhook is not None:
            self._webhook.tell(limits.webhook, notification)

    async def close(self) -> None:
        await self._webhook.close()

    def _tell_of(self, event: Event, standing: Standing, limits: Limits) -> None:
        if limits.webhook is None:
            return
        reasons: list[dict[str, str | float]] = [
            {"feature": r.feature.value, "value": round(r.value, 6), "usual": round(r.usual, 6)}
            for r in standing.reasons
        ]
        about = f"{event.tenant} {event.principal} {event.at.isoformat()}"
        facts: dict[str, Fact] = {
            "principal": event.principal,
            "tenant": event.tenant,
            "score": round(standing.score, 3),
            "reasons": reasons,
        }
        self._webhook.tell(limits.webhook, Notification("anomaly", about, event.at, facts))

    def _lost(self, count: int) -> None:
        self._record(Event(kind=EventKind.NOTIFICATIONS_LOST, gateway=self._gateway, detail=f"lost_{count}"))


def _passed(rule: Limit, level: Level, denied: bool) -> str | None:
    """Return what has happened to a limit: limit.hard, limit.soft, or None."""
    taken = level.used + level.reserved
    if denied or taken > level.limit + level.granted:
        return "limit.hard"
    base = level.limit / (1 + rule.grace) + level.granted
    return "limit.soft" if rule.soft is not None and taken >= base * rule.soft else None


def _window(rule: Limit, level: Level, at: datetime) -> int:
    """Return which window it is, so that each is told of once; what has none goes by its period."""
    if level.end_ms is not None:
        return level.end_ms
    return int((at - _EPOCH) / (rule.per.length if rule.per else _HOUR))


def _instant(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
