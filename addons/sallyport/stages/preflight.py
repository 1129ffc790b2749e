"""What a browser asks ahead of a call is a request too, on the limits of which it tells whom they count."""

from sallyport.decision import Decision
from sallyport.exchange import Exchange
from sallyport.policy.limits import Ceilings, Dimension, Limit, Limits, Measure
from sallyport.stages.identity import ANONYMOUS
from sallyport.stages.limits import LimitsStage
from sallyport.stages.stage import Ports

_ALWAYS_TOLD = frozenset({Dimension.PROVIDER, Dimension.OPERATION, Dimension.NETWORK})
_TOLD_OF_PEOPLE = frozenset({Dimension.PRINCIPAL, Dimension.TENANT, Dimension.ROLE})
_COUNTED = (Measure.REQUESTS, Measure.CONCURRENT)


class PreflightLimitsStage:
    """Takes part in limits of requests. It has no key and no model, and a person only where the network is a proof.

    A limit per person is left to the call itself: on one counter of all who are not known yet, some would shut out all.
    """

    name = LimitsStage.name

    def __init__(self) -> None:
        self._stage = LimitsStage()

    async def decide(self, exchange: Exchange, section: Limits, ports: Ports) -> Decision:
        who = exchange.principal
        known = who is not None and who.source != ANONYMOUS.source
        rules = tuple(rule for rule in section.rules if counts_preflights(rule, known=known))
        counted = section.model_copy(update={"rules": rules, "ceilings": Ceilings()})
        return await self._stage.decide(exchange, counted, ports)


def counts_preflights(rule: Limit, *, known: bool) -> bool:
    """Say whether a limit counts what a browser asks ahead. known: it is known who asks."""
    told = _ALWAYS_TOLD | _TOLD_OF_PEOPLE if known else _ALWAYS_TOLD
    return rule.measure in _COUNTED and told.issuperset(rule.by)
