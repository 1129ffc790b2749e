"""Every store behind one face, with a clock that a test moves."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sallyport.stages.ledger import Ledger
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.ledger.redis import RedisLedger
from sallyport.state.ledger.sqlite import SqliteLedger

START_MS = 1_790_000_000_000
numbers = count()

TEST_CLOCK = """local function server_ms()
  return tonumber(call('GET', tag .. 'test'))
end"""


@dataclass
class FakeClock:
    """wall and uptime move as a test says; step sets the wall only."""

    wall: int = START_MS
    uptime: int = 5_000_000
    booted: str = "first"

    def wall_ms(self) -> int:
        return self.wall

    def uptime_ms(self) -> int:
        return self.uptime

    def boot(self) -> str:
        return self.booted

    def pass_ms(self, ms: int) -> None:
        self.wall += ms
        self.uptime += ms

    def step(self, ms: int) -> None:
        self.wall += ms


class MemoryStore:
    name = "memory"

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.ledger: Ledger = MemoryLedger(self.clock)

    async def pass_ms(self, ms: int) -> None:
        self.clock.pass_ms(ms)

    async def close(self) -> None:
        await self.ledger.close()


class SqliteStore(MemoryStore):
    name = "sqlite"

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.ledger = SqliteLedger(self.folder / "ledger.db", clock=self.clock, patience_s=20)

    async def close(self) -> None:
        await self.ledger.close()
        await asyncio.to_thread(shutil.rmtree, self.folder)


class RedisStore(MemoryStore):
    """The real server and the real script, but for the one function that asks the server's time."""

    name = "redis"

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.server_ms = START_MS
        self.namespace = f"test-{next(numbers)}"
        self.ledger: RedisLedger = RedisLedger(url, namespace=self.namespace, clock=self.clock, patience_s=20)
        before, rest = self.ledger._script.split("local function server_ms()", 1)
        after = rest.split("\nend", 1)[1]
        self.ledger._use_script(f"{before}{TEST_CLOCK}{after}")

    async def start(self) -> None:
        await self._set()

    async def pass_ms(self, ms: int) -> None:
        self.clock.pass_ms(ms)
        self.server_ms += ms
        await self._set()

    async def step_server(self, ms: int) -> None:
        """Set the server's clock, as an operator or a failover would."""
        self.server_ms += ms
        await self._set()

    async def _set(self) -> None:
        await self.ledger._client.set(f"{{{self.namespace}}}:test", self.server_ms)
