"""What deciding costs, over many flows: a fold whose memory does not grow with them."""

import math
from collections import Counter
from dataclasses import dataclass, field

_STEP = math.log(1.02)
"""Amounts that are told apart differ by 2 %."""


@dataclass(slots=True)
class Costs:
    """Microseconds of a processor, one amount for each flow."""

    flows: int = 0
    total_us: int = 0
    _buckets: Counter[int] = field(default_factory=Counter)

    def add(self, us: int) -> None:
        """Take one flow in."""
        self.flows += 1
        self.total_us += us
        self._buckets[round(math.log(us) / _STEP) if us > 0 else 0] += 1

    @property
    def mean_us(self) -> float:
        return self.total_us / self.flows if self.flows else 0.0

    def quantile_us(self, share: float) -> float:
        """Return the amount that this share of the flows does not exceed, within 1 %; 0 where there was none."""
        left = math.ceil(share * self.flows)
        for bucket, count in sorted(self._buckets.items()):
            left -= count
            if left <= 0:
                return math.exp(bucket * _STEP)
        return 0.0


def latency(base: Costs, candidate: Costs) -> dict[str, dict[str, float]]:
    """Return both as JSON values, and what the candidate adds. In a file of its own: no two runs take the same time."""
    sides = {
        name: _side(costs) for name, costs in (("base", base), ("candidate", candidate)) if costs.total_us
    }
    if len(sides) == 2:
        sides["delta"] = {key: round(us - sides["base"][key], 1) for key, us in sides["candidate"].items()}
    return sides


def _side(costs: Costs) -> dict[str, float]:
    quantiles = {f"p{share * 100:g}_us": round(costs.quantile_us(share), 1) for share in (0.5, 0.95, 0.99)}
    return {"mean_us": round(costs.mean_us, 1), **quantiles}


def latency_line(base: Costs, candidate: Costs) -> str:
    """Return the same in one line for people, "" where no flow was judged."""
    if not candidate.total_us:
        return ""
    told = f"{candidate.mean_us / 1000:.2f} ms (99 %: {candidate.quantile_us(0.99) / 1000:.1f} ms)"
    line = f"Processor time of the candidate per flow: {told}"
    if base.total_us:
        added_us = candidate.mean_us - base.mean_us
        line += f", of the base {base.mean_us / 1000:.2f} ms: {added_us / 1000:+.2f} ms"
    return f"{line}."
