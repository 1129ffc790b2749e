"""The servers that the ledger's tests talk to."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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
