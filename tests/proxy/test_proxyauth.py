"""Proxy authentication without a network: what headers hold, how failures and right credentials are remembered."""

import asyncio
import base64
import hashlib
import secrets
import threading
from pathlib import Path

import argon2
import pytest

from sallyport.errors import OperatorError
from sallyport.policy.connections import ProxyAuth
from sallyport.proxy import proxyauth
from sallyport.proxy.proxyauth import Authenticator, Credentials, KnownUsers, Outcome, read_credentials
from sallyport.state.proxyusers import Entry, ProxyUsers

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def known(tmp_path: Path, **more: object) -> KnownUsers:
    file = tmp_path / "passwords"
    if not file.exists():
        file.write_text(f"anna:{CHEAP.hash('right')}\n")
    return KnownUsers(ProxyAuth(passwords="passwords", **more), file, None)  # type: ignore[arg-type]


def basic(user: str, password: str) -> list[str]:
    return ["Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()]


def test_a_header_is_read_as_rfc_7617_writes_it() -> None:
    assert read_credentials(["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]) == Credentials("Aladdin", b"open sesame")
    assert read_credentials(["bAsIc  dGVzdDoxMjPCow=="]) == Credentials("test", b"123\xc2\xa3")
    assert read_credentials(basic("a", "b:c")) == Credentials("a", b"b:c")
    assert read_credentials(["Bearer abc"]) == Credentials(None, b"abc")


@pytest.mark.parametrize(
    "values", [[], [""], ["Basic"], ["Basic x"], ["Basic YQ=="], ["Bearer"], ["a", "b"], ["NTLM x"]]
)
def test_what_cannot_be_read_holds_no_credentials(values: list[str]) -> None:
    assert read_credentials(values) is None


def test_credentials_do_not_show_in_what_is_printed() -> None:
    assert "sesame" not in repr(Credentials("Aladdin", b"open sesame"))
    assert "argon2id" not in repr(Entry("anna", "$argon2id$v=19$..."))


async def test_right_credentials_are_hashed_once_and_remembered_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, hashed = Clock(), []
    stock = ProxyUsers.by_password
    monkeypatch.setattr(ProxyUsers, "by_password", lambda s, u, p: hashed.append(u) or stock(s, u, p))
    users, authenticator = known(tmp_path, cache_s=60.0), Authenticator(clock)
    answers = await asyncio.gather(
        *(authenticator.prove(users, "10.0.0.1", basic("anna", "right")) for _ in range(20))
    )
    assert {getattr(a, "user", a) for a in answers} == {"anna"}
    assert len(hashed) == 1, "those that come together wait for one hash"
    clock.now += 59
    await authenticator.prove(users, "10.0.0.2", basic("anna", "right"))
    assert len(hashed) == 1
    clock.now += 2
    await authenticator.prove(users, "10.0.0.1", basic("anna", "right"))
    assert len(hashed) == 2
    (tmp_path / "passwords").write_text(f"anna:{CHEAP.hash('other')}\n")
    users.users.read()
    assert await authenticator.prove(users, "10.0.0.1", basic("anna", "right")) is Outcome.WRONG


async def test_failures_are_counted_per_address_and_forgotten_with_time(tmp_path: Path) -> None:
    clock = Clock()
    users, authenticator = known(tmp_path, max_failures=2, failure_window_s=60.0), Authenticator(clock)

    async def prove(address: str, password: str) -> object:
        found = await authenticator.prove(users, address, basic("anna", password))
        return getattr(found, "user", found)

    assert [await prove("10.0.0.1", "wrong") for _ in range(3)] == [
        Outcome.WRONG,
        Outcome.WRONG,
        Outcome.LIMITED,
    ]
    assert await prove("10.0.0.1", "right") is Outcome.LIMITED
    assert await prove("10.0.0.2", "right") == "anna"
    clock.now += 61
    assert await prove("10.0.0.1", "right") == "anna"


async def test_who_sends_no_header_is_not_counted(tmp_path: Path) -> None:
    users, authenticator = known(tmp_path, max_failures=1), Authenticator(Clock())
    for _ in range(5):
        assert await authenticator.prove(users, "10.0.0.1", []) is Outcome.MISSING
    assert (
        getattr(await authenticator.prove(users, "10.0.0.1", basic("anna", "right")), "user", None) == "anna"
    )


async def test_the_memory_for_failures_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxyauth, "MAX_ADDRESSES", 10)
    users, authenticator = known(tmp_path), Authenticator(Clock())
    for n in range(50):
        await authenticator.prove(users, f"10.0.0.{n}", ["Basic %%%"])
    assert len(authenticator._failures) == 10


def test_an_unknown_user_is_hashed_as_long_as_a_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sallyport.state import proxyusers

    looked: list[str] = []
    monkeypatch.setattr(proxyusers, "_matches", lambda secret, password: looked.append(secret) or True)
    users = known(tmp_path).users
    assert users.by_password("eve", b"x") is None
    assert len(looked) == 1


def test_a_short_token_is_none(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"robot:{hashlib.sha256(b'short').hexdigest()}\n")
    assert ProxyUsers(None, tmp_path / "tokens").by_token("robot", b"short") is None


def test_mistakes_in_a_file_are_told_by_line_and_without_their_content(tmp_path: Path) -> None:
    for line in (
        "eve:plain-word",
        "no-colon-here",
        "bad user:x",
        "anna:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$YWFhYWFhYWE",
    ):
        (tmp_path / "passwords").write_text(f"# people\n{line}\n")
        with pytest.raises(OperatorError, match=r"passwords:2: ") as told:
            ProxyUsers(tmp_path / "passwords", None)
        assert line.partition(":")[2] not in str(told.value) or ":" not in line


async def test_who_has_a_whole_ipv6_network_guesses_no_more_often(tmp_path: Path) -> None:
    users, authenticator = known(tmp_path, max_failures=2), Authenticator(Clock())
    for n in range(2):
        assert await authenticator.prove(users, f"2001:db8::{n}", basic("anna", "no")) is Outcome.WRONG
    assert await authenticator.prove(users, "2001:db8::99", basic("anna", "right")) is Outcome.LIMITED
    neighbour = await authenticator.prove(users, "2001:db8:0:1::1", basic("anna", "right"))
    assert getattr(neighbour, "user", neighbour) == "anna"


async def test_who_guesses_behind_an_address_locks_no_program_with_a_token_out(tmp_path: Path) -> None:
    """A token cannot be guessed, so that to take it tells a guesser nothing."""
    token = secrets.token_hex(32)
    (tmp_path / "passwords").write_text(f"anna:{CHEAP.hash('right')}\n")
    (tmp_path / "tokens").write_text(f"robot:{hashlib.sha256(token.encode()).hexdigest()}\n")
    section = ProxyAuth(passwords="passwords", tokens="tokens", max_failures=1)
    users = KnownUsers(section, tmp_path / "passwords", tmp_path / "tokens")
    authenticator = Authenticator(Clock())
    assert await authenticator.prove(users, "10.0.0.1", basic("anna", "wrong")) is Outcome.WRONG
    for values in ([f"Bearer {token}"], basic("robot", token)):
        found = await authenticator.prove(users, "10.0.0.1", values)
        assert getattr(found, "user", found) == "robot"
    for values in (basic("anna", "right"), basic("anna", token), [f"Bearer {token}x"]):
        assert await authenticator.prove(users, "10.0.0.1", values) is Outcome.LIMITED


async def test_one_address_cannot_keep_everybody_else_s_passwords_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    monkeypatch.setattr(ProxyUsers, "by_password", lambda s, u, p: held.wait(20) and None)
    users, authenticator = known(tmp_path, max_failures=1000), Authenticator(Clock())
    flood = [
        asyncio.create_task(authenticator.prove(users, "10.0.0.1", basic("anna", f"guess-{n}")))
        for n in range(200)
    ]
    await asyncio.sleep(0.05)
    other = asyncio.create_task(authenticator.prove(users, "10.0.0.2", basic("anna", "mine")))
    await asyncio.sleep(0.05)
    held.set()
    assert await other is Outcome.WRONG, "it was looked at"
    assert (await asyncio.gather(*flood)).count(Outcome.BUSY) >= 100
    assert not authenticator._hashing
