"""What conditions are asked about: detection and circumstances are looked at only where a condition reads them."""

from collections.abc import Iterable
from functools import lru_cache

from sallyport.decision import Finding
from sallyport.exchange import Circumstances, Exchange
from sallyport.policy.condition import Condition, ConditionInput, condition_input
from sallyport.stages.stage import Ports

_CIRCUMSTANCES = ("behaviour.score", "behaviour.reasons", "gateway.in_flight")


async def input_for(conditions: Iterable[Condition], exchange: Exchange, ports: Ports) -> ConditionInput:
    """Return what these conditions are asked about. Raises where findings are read and not all were found."""
    read = frozenset[str]().union(*map(_read_by, conditions))
    findings: tuple[Finding, ...] = tuple(await ports.scanner.with_names()) if "findings" in read else ()
    circumstances = ports.circumstances() if read - {"findings"} else Circumstances()
    return condition_input(exchange, findings, circumstances)


@lru_cache(4096)
def _read_by(condition: Condition) -> frozenset[str]:
    """Return which of the costly names a condition mentions."""
    return frozenset(name for name in ("findings", *_CIRCUMSTANCES) if condition.reads(name))
