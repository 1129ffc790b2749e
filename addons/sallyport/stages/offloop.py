"""Where many findings are worked on: in a thread, so that other connections go on meanwhile."""

import asyncio
from collections.abc import Callable, Sequence

from sallyport.decision import Finding

INLINE_FINDINGS = 200
"""Up to this many findings cost the event loop less (4 ms) than a thread is worth."""


async def off_loop[**P, T](
    findings: Sequence[Finding], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what pure work over findings returns, done here where they are few."""
    if len(findings) <= INLINE_FINDINGS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
