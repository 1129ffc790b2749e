"""What conditions are asked about: detection and circumstances are looked at only where a condition reads them."""

from collections.abc import Iterable

from sallyport.decision import Finding
from sallyport.exchange import Circumstances, Exchange
from sallyport.policy.condition import Condition
from sallyport.policy.inputs import NO_FACTS, ConditionInput, Facts, condition_input
from sallyport.stages.stage import Ports

_CIRCUMSTANCES = ("behaviour.score", "behaviour.reasons", "gateway.in_flight")


async def input_for(
    conditions: Iterable[Condition], exchange: Exchange, ports: Ports, facts: Facts = NO_FACTS
) -> ConditionInput:
    """Return what these conditions are asked about. Raises where findings are read and not all were found."""
    return await input_of(frozenset[str]().union(*(c.names for c in conditions)), exchange, ports, facts)


async def input_of(
    read: frozenset[str], exchange: Exchange, ports: Ports, facts: Facts = NO_FACTS
) -> ConditionInput:
    """Return what conditions are asked about that read these names. Raises as input_for does."""
    findings: tuple[Finding, ...] = tuple(await ports.scanner.with_names()) if "findings" in read else ()
    circumstances = ports.circumstances() if not read.isdisjoint(_CIRCUMSTANCES) else Circumstances()
    return condition_input(exchange, findings, circumstances, facts)
