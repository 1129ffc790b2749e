"""Directories to test against: a new SQLite file, and a new schema of one real PostgreSQL server."""

from collections.abc import Callable, Iterator

import pytest

from audit.conftest import postgres, postgres_url, sqlite_url, url  # noqa: F401
from sallyport.state.directory.store import DirectoryStore

type Open = Callable[[], DirectoryStore]


@pytest.fixture
def open_directory(url: str) -> Iterator[Open]:  # noqa: F811
    opened: list[DirectoryStore] = []

    def open_one() -> DirectoryStore:
        opened.append(DirectoryStore.open(url))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_directory: Open) -> DirectoryStore:
    return open_directory()
