"""Telling an operator's own receiver what happened: signed JSON by POST, never in anybody's way.

What is told waits in a bounded queue and goes out from a task of its own, together with what came meanwhile,
at least an interval apart. A receiver that is down is asked again a few times, later and later; what it does
not take, and what finds the queue full, is counted and reported once as lost. Nothing is told twice: each
notification names what it is about, and the latest of those names are remembered.

The address is the operator's: redirects are not followed, no proxy of the environment is used, and the answer
is not read.
"""

import asyncio
import hashlib
import hmac
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import orjson

MAX_WAITING = 256
MAX_TOGETHER = 100
MAX_REMEMBERED = 10_000
TIMEOUT_S = 5.0
WAITS_S = (1.0, 2.0, 4.0, 8.0)
"""Between one try and the next; after the last the notifications are lost."""

CLOSE_WITHIN_S = 2.0
SIGNATURE = "x-sallyport-signature"

type Fact = str | int | float | list[dict[str, str | float]] | None


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell. about: what makes it the same thing, told once. facts: no text of any request."""

    kind: str
    about: str
    at: datetime
    facts: Mapping[str, Fact]

    def plain(self) -> dict[str, Fact]:
        return {"kind": self.kind, "at": self.at.isoformat(timespec="seconds"), **self.facts}


class Receiver(Protocol):
    """Where to send, as a policy names it. secret_env: the environment variable with the secret."""

    @property
    def url(self) -> str: ...
    @property
    def secret_env(self) -> str: ...
    @property
    def min_interval_s(self) -> float: ...


def sign(secret: bytes, at_s: int, body: bytes) -> str:
    """Return the value of the signature's header: HMAC-SHA256 over the time, a full stop and the body."""
    digest = hmac.new(secret, f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class Webhook:
    """The notifications of one gateway. Belongs to one event loop.

    sender: name of the gateway. lost: told how many were lost since it was told last.
    """

    def __init__(self, sender: str, lost: Callable[[int], None]) -> None:
        self._sender = sender
        self._lost = lost
        self._receiver: Receiver | None = None
        self._waiting: deque[Notification] = deque()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._missed = 0
        self._task: asyncio.Task[None] | None = None
        self._sent_at = -1e9
        self._hurry = asyncio.Event()

    def tell(self, receiver: Receiver, notification: Notification) -> None:
        """Queue a notification, unless the same was told before. Returns at once."""
        name = f"{notification.kind} {notification.about}"
        if name in self._told:
            return
        self._told[name] = None
        if len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        self._receiver = receiver
        if len(self._waiting) >= MAX_WAITING:
            self._missed += 1
            return
        self._waiting.append(notification)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._deliver())

    async def close(self) -> None:
        """Send what waits if that is quick, and report the rest as lost."""
        self._hurry.set()
        if self._task is not None and not self._task.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._task
        self._missed += len(self._waiting)
        self._waiting.clear()
        self._report()

    async def _deliver(self) -> None:
        while self._waiting:
            receiver = self._receiver
            assert receiver is not None
            await self._pause(self._sent_at + receiver.min_interval_s - time.monotonic())
            batch = [self._waiting[place] for place in range(min(MAX_TOGETHER, len(self._waiting)))]
            self._sent_at = time.monotonic()
            taken = await self._try(receiver, batch)
            # Only now, so that what was under way when the gateway stops counts as lost.
            for _ in batch:
                self._waiting.popleft()
            self._missed += 0 if taken else len(batch)
            self._report()

    async def _try(self, receiver: Receiver, batch: list[Notification]) -> bool:
        told = {"gateway": self._sender, "notifications": [each.plain() for each in batch]}
        body = orjson.dumps(told)
        for wait_s in (*WAITS_S, None):
            again = await post(receiver, body)
            if again is None:
                return True
            if not again or wait_s is None:
                return False
            await self._pause(wait_s)
        return False

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the gateway stops."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()

    def _report(self) -> None:
        missed, self._missed = self._missed, 0
        if missed:
            self._lost(missed)


async def post(receiver: Receiver, body: bytes) -> bool | None:
    """Send a body once. Returns None once it was taken, else whether it is worth another try."""
    import httpx2

    secret = os.environ.get(receiver.secret_env, "").encode()
    if not secret:
        return False  # without a secret nobody could tell it from a forged one
    headers = {"content-type": "application/json", SIGNATURE: sign(secret, int(time.time()), body)}
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=TIMEOUT_S) as client,
            client.stream("POST", receiver.url, content=body, headers=headers) as answer,
        ):
            status = int(answer.status_code)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
        return True
    return None if 200 <= status < 300 else status == 429 or status >= 500
