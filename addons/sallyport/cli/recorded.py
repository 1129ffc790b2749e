"""What the audit recorded of reservations that nobody settled: the ledger's recovery books it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.errors import OperatorError
from sallyport.exchange import Usage
from sallyport.policy.limits import Dimension, Limit
from sallyport.proxy.gateway import Live
from sallyport.stages.ledger import Expired, Ledger, limit_of
from sallyport.stages.limits import counts_model
from sallyport.state.ledger.ids import exchange_of
from sallyport.state.ledger.recovery import Reconciled, reconcile
from sallyport.state.meter import used_of

_USED = (EventKind.COMPLETED, EventKind.BROKEN)


@dataclass(frozen=True, slots=True)
class RecordedUse:
    """Amounts by counter of exchanges whose reservation expired, as their events add up.

    live: the policy in force, which knows what a counter measures. A counter that no limit knows any more
    keeps its estimate. ends: of exchanges, by id, that the store may not have yet.
    """

    store: Store
    ledger: Ledger
    live: Callable[[], Live]
    ends: Mapping[str, Event] = field(default_factory=dict)

    async def recover(self) -> Reconciled:
        """Book what dead gateways left. One that was admitted and has no end yet waits, and is then charged.

        Raises LedgerUnavailable.
        """
        return await reconcile(self.ledger, self)

    async def used(self, reservation_ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Return what was used, nothing for an exchange that never left; one without an end is left out."""
        held = {e.reservation_id: e for e in await self.ledger.expired(len(reservation_ids))}
        live = self.live()
        rules = {rule.id: rule for rule in live.policy.limits.rules}
        found: dict[str, Mapping[str, int]] = {}
        for reservation in reservation_ids:
            exchange = exchange_of(reservation)
            end = self.ends.get(exchange)
            try:
                events = [end] if end else await asyncio.to_thread(self.store.exchange, exchange)
            except OperatorError:
                return found
            end = next((event for event in events if event.is_end), None)
            if end is not None and end.kind in _USED:
                if (
                    reservation in held
                ):  # else others expired before it meanwhile, and it waits for the next time
                    found[reservation] = _amounts(held[reservation], end, rules, live)
            elif end is not None or not events:
                found[reservation] = {}
        return found


def _amounts(held: Expired, end: Event, rules: Mapping[str, Limit], live: Live) -> dict[str, int]:
    amounts = {}
    size = (end.request_bytes or 0) + (end.response_bytes or 0)
    model = live.tariff.prices.name_of(end.provider, end.host, end.model)
    answered = {limit_of(key) for key in held.amounts if counts_model(key, model)}
    for key, estimate in held.amounts.items():
        rule = rules.get(limit_of(key))
        if rule is None:
            amounts[key] = estimate
        elif Dimension.MODEL in rule.by and limit_of(key) in answered and not counts_model(key, model):
            amounts[key] = 0  # of a model that might have answered, and did not
        else:
            usage = end.usage or Usage()
            amounts[key] = used_of(rule.measure, usage, end.cost_micro_usd, size, live.tariff, estimate)
    return amounts
