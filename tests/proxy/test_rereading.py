"""Files that an operator replaces under a running gateway: read again once, off the event loop, and none is missed."""

import hashlib
import threading
from pathlib import Path

import pytest

from sallyport.errors import OperatorError
from sallyport.policy.connections import ProxyAuth
from sallyport.proxy import proxyauth, rereading
from sallyport.proxy.proxyauth import KnownUsers
from sallyport.proxy.rereading import Rereading
from sallyport.state.proxyusers import ProxyUsers

OLD, NEW = b"o" * 32, b"n" * 48


@pytest.fixture
def every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at whenever somebody asks."""
    monkeypatch.setattr(rereading, "LOOK_EVERY_S", 0.0)


class Reads:
    """Notes who reads a file. fails: whether nothing can be read of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.threads: list[int] = []
        self.fails = False

    def __call__(self) -> None:
        self.threads.append(threading.get_ident())
        if self.fails:
            raise OperatorError(str(self.path), "it cannot be read", "Mend it")


@pytest.mark.usefixtures("every_time")
async def test_a_file_that_changed_is_read_once_and_in_a_thread(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    reads = Reads(path)
    files = Rereading([path], reads, "lists")
    assert await files.refresh()
    assert reads.threads == []
    path.write_text("other")
    assert await files.refresh()
    assert await files.refresh()
    assert len(reads.threads) == 1
    assert threading.get_ident() not in reads.threads


@pytest.mark.usefixtures("every_time")
async def test_what_cannot_be_read_is_told_once_and_read_when_it_has_changed_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a"
    reads = Reads(path)
    files = Rereading([path], reads, "lists")
    reads.fails = True
    path.write_text("bad")
    assert not await files.refresh()
    assert await files.refresh()
    assert [record.getMessage() for record in caplog.records] == [
        f"lists not read, the old ones stay in force: {path}: it cannot be read. Mend it"
    ]
    reads.fails = False
    path.write_text("good again")
    assert await files.refresh()
    assert len(reads.threads) == 2


async def test_files_are_not_looked_at_for_every_request(tmp_path: Path) -> None:
    path = tmp_path / "a"
    reads = Reads(path)
    files = Rereading([path], reads, "lists")
    path.write_text("new")
    assert await files.refresh()
    assert reads.threads == []


@pytest.mark.usefixtures("every_time")
async def test_users_that_change_while_they_are_first_read_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"

    def write(token: bytes) -> None:
        tokens.write_text(f"robot:{hashlib.sha256(token).hexdigest()}\n# {token.decode()}\n")

    class Overtaken(ProxyUsers):
        """The operator writes the file as soon as it has been read."""

        def read(self) -> None:
            super().read()
            write(NEW)

    write(OLD)
    monkeypatch.setattr(proxyauth, "ProxyUsers", Overtaken)
    known = KnownUsers(ProxyAuth(tokens="tokens"), None, tokens)
    assert known.users.by_token("robot", OLD)
    assert await known.refresh()
    assert known.users.by_token("robot", NEW)
