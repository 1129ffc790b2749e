"""Flows that stock mitmdump reads from a file: judged as `sallyport replay` does, and marked with what is said of them.

Nothing of them is sent, recorded or counted: the hooks of the gateway see only what comes over the wire.
"""

import logging

from mitmproxy import http

from sallyport.cli.benches import Setup, benches
from sallyport.proxy.recorded import Ruling, read_record
from sallyport.replay.flows import completed
from sallyport.replay.pages import said

logger = logging.getLogger("sallyport.loaded")

REFUSED, ENDED, CHANGED = ":no_entry:", ":scissors:", ":pencil:"
"""Marks that mitmproxy shows beside a flow, and filters by (`~marker`)."""


class Loaded:
    """Judges flows one after the other. The policy is made ready for the first of them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.judged = 0

    async def judge(self, flow: http.HTTPFlow) -> None:
        """Write into a flow's mark and comment what would be decided on it, and say so in the log."""
        shared, _, bench = benches(self._setup)
        copy = completed(flow.copy())
        record = read_record(copy)
        word = await bench.judge(copy, record, shared.scans(record))
        ruling = word.asked.ruling
        flow.comment = f"sallyport: {said(ruling)}"
        flow.marked = _mark(ruling) or flow.marked
        self.judged += 1
        logger.info("flow %s: %s", flow.id, said(ruling))


def _mark(ruling: Ruling) -> str:
    if ruling.action.name == "DENY":
        return REFUSED
    if ruling.answer is not None and ruling.answer.ends:
        return ENDED
    edited = ruling.answer is not None and ruling.answer.action.alters
    return CHANGED if ruling.action.name == "MODIFY" or edited else ""
