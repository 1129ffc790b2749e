"""The stages are asked about a call or an event of a WebSocket, and who watches hears what they said."""

from collections.abc import Sequence

from sallyport.decision import Verdict
from sallyport.pipeline import Step, decide
from sallyport.proxy.gateway import Gateway, ports_for
from sallyport.proxy.passage import Passage
from sallyport.proxy.scanning import ScanOnce

LIMITS = "limits"


async def judged(
    gateway: Gateway, passage: Passage, stages: Sequence[Step], *, counted: bool = True
) -> tuple[Verdict, ScanOnce]:
    """Return the verdict on a passage, whose exchange has its principal then, and what its texts were scanned with.

    counted: limits count it as a call; what is not counted is paid for with the answer that builds on it, as the
    provider reports it. Raises RuntimeError where no stage decided.
    """
    live, exchange = passage.live, passage.exchange
    scanner = ScanOnce(
        live.detector,
        exchange.request.segments,
        live.policy.detection.max_text_bytes,
        live.names,
        live.policy.masking.min_score,
    )
    if counted:
        passage.meter = gateway.meter(live, exchange, passage.request_bytes)
    asked = stages if counted else tuple(step for step in stages if step.stage.name != LIMITS)
    ports = ports_for(gateway, live, scanner, passage.meter)
    passage.exchange, verdict = await decide(exchange, live.policy, ports, stages=asked)
    if not verdict.decisions:
        raise RuntimeError("no stage decided")
    gateway.asked(live, passage.exchange, verdict)
    if passage.meter is not None:
        gateway.watch.counted(passage.meter.answer, live.policy.limits, exchange.received_at)
    return verdict, scanner
