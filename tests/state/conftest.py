"""The servers that the ledger's tests talk to, and counters in memory."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sallyport.metering.tokens import TokenCounter
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from state.redisserver import RedisServer


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Return the URL of a server that all tests of this process share, each in its own namespace."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder / "shared")
    yield server.url
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Return a server of the test's own, to be frozen and killed."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder / "own")
    yield server
    server.kill()
    shutil.rmtree(folder)


@pytest.fixture
async def metering() -> AsyncIterator[Metering]:
    built = Metering(MemoryLedger(), TokenCounter())
    yield built
    await built.close()
