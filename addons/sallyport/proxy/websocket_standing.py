"""Whether the caller of a WebSocket may still send what no stage reads: sound, and events that are names alone.

What asks for an answer, or holds something to read, passes identity with all other stages. Sound comes fifty times a
second and would go on leaving for hours, for somebody who is not active any more or whose token has run out.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from sallyport.decision import Action, Decision
from sallyport.pipeline import Step
from sallyport.proxy.gateway import Gateway, Live
from sallyport.proxy.passage import Passage
from sallyport.proxy.websocket_verdict import judge, lapsed_key, passage_of
from sallyport.stages.directory import Directory

IDENTITY = "identity"
EVERY_S = 1.0
"""So often identity is asked; at once where the directory or the policy is another one."""


class Standing:
    """What identity said of the caller of one session last."""

    def __init__(self, gateway: Gateway, stages: Sequence[Step]) -> None:
        self._gateway = gateway
        self._stages = tuple(step for step in stages if step.stage.name == IDENTITY)
        self._under: tuple[Live, Directory] | None = None
        self._again_at = 0.0

    async def lapsed(self, live: Live, passage: Passage) -> Decision | None:
        """Return why the caller may not go on now, None where it may. passage: of the upgrade."""
        lapsed = lapsed_key(self._gateway, passage)
        if lapsed is not None or not self._stages:
            return lapsed
        directory, now = self._gateway.directory(), asyncio.get_running_loop().time()
        seen = self._under
        if seen is not None and seen[0] is live and seen[1] is directory and now < self._again_at:
            return None
        nothing = replace(passage.exchange.request, segments=(), attachments=())
        asking = passage_of(self._gateway, live, passage, nothing, passage.exchange.conversation, 0)
        verdict, _ = await judge(self._gateway, asking, self._stages, counted=False)
        if verdict.action is Action.DENY:
            return verdict.cause
        self._under, self._again_at = (live, directory), now + EVERY_S
        return None
