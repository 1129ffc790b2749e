"""Notifications reach a real receiver once, signed, or are counted as lost; whoever tells never waits."""

import asyncio
import hashlib
import hmac
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from receiver import Receiver, receiving
from sallyport.state import webhook
from sallyport.state.webhook import MAX_WAITING, SIGNATURE, Notification, Webhook

AT = datetime(2026, 11, 2, tzinfo=UTC)
SECRET = "a test's own secret"


@dataclass(frozen=True)
class Where:
    url: str
    secret_env: str = "TEST_HOOK_SECRET"
    min_interval_s: float = 0.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    monkeypatch.setattr(webhook, "WAITS_S", (0.01, 0.01))
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(webhook, "CLOSE_WITHIN_S", 0.3)


def note(number: int) -> Notification:
    return Notification("limit.soft", f"money/{number}", AT, {"counter": f"money/{number}", "used": 1.5})


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


def counters(receiver: Receiver) -> list[str]:
    return [each["counter"] for each in receiver.told]


async def test_a_notification_arrives_signed_and_only_once() -> None:
    lost: list[int] = []
    with receiving() as receiver:
        hook = Webhook("gw-1", lost.append)
        for number in (1, 2, 1, 1):
            hook.tell(Where(receiver.url), note(number))
        await until(lambda: len(receiver.told) == 2)
        hook.tell(Where(receiver.url), note(2))
        hook.tell(Where(receiver.url), note(3))
        await until(lambda: len(receiver.told) == 3)
        await hook.close()
    assert counters(receiver) == ["money/1", "money/2", "money/3"]
    assert lost == []
    for headers, body in receiver.calls:
        found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", headers[SIGNATURE])
        assert found
        expected = hmac.new(SECRET.encode(), f"{found[1]}.".encode() + body, hashlib.sha256).hexdigest()
        assert found[2] == expected
        assert headers["content-type"] == "application/json"
        assert SECRET.encode() not in body
    assert receiver.told[0] == {
        "kind": "limit.soft",
        "at": "2026-11-02T00:00:00+00:00",
        "counter": "money/1",
        "used": 1.5,
    }


async def test_what_comes_within_an_interval_goes_together() -> None:
    with receiving() as receiver:
        hook = Webhook("gw-1", lambda _: None)
        where = Where(receiver.url, min_interval_s=0.4)
        hook.tell(where, note(0))
        await until(lambda: receiver.calls)
        for number in range(1, 20):
            hook.tell(where, note(number))
        await until(lambda: len(receiver.told) == 20)
        await hook.close()
    assert len(receiver.calls) == 2


async def test_an_error_is_tried_again_and_taken_once() -> None:
    with receiving([503, 429]) as receiver:
        lost: list[int] = []
        hook = Webhook("gw-1", lost.append)
        hook.tell(Where(receiver.url), note(1))
        await until(lambda: len(receiver.calls) == 3)
        await hook.close()
    assert lost == []
    assert not receiver.statuses


@pytest.mark.parametrize("status", [400, 404, 302, 307], ids=str)
async def test_what_a_receiver_refuses_or_sends_elsewhere_is_lost_at_once(status: int) -> None:
    with receiving([status]) as receiver:
        lost: list[int] = []
        hook = Webhook("gw-1", lost.append)
        hook.tell(Where(receiver.url), note(1))
        await until(lambda: lost)
        await hook.close()
    assert lost == [1]
    assert len(receiver.calls) == 1


async def test_a_receiver_that_is_down_loses_what_was_told_and_is_asked_again_later() -> None:
    lost: list[int] = []
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = Where(f"http://127.0.0.1:{closed.getsockname()[1]}/")
        hook = Webhook("gw-1", lost.append)
        hook.tell(nowhere, note(1))
        await until(lambda: lost)
    with receiving() as receiver:
        hook.tell(Where(receiver.url), note(2))
        await until(lambda: receiver.told)
        await hook.close()
    assert lost == [1]
    assert counters(receiver) == ["money/2"]


async def test_without_its_secret_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_HOOK_SECRET")
    lost: list[int] = []
    with receiving() as receiver:
        hook = Webhook("gw-1", lost.append)
        hook.tell(Where(receiver.url), note(1))
        await until(lambda: lost)
    assert not receiver.calls


async def test_a_slow_receiver_holds_nobody_up_and_the_queue_is_bounded() -> None:
    lost: list[int] = []
    with receiving(slow=True) as receiver:
        hook = Webhook("gw-1", lost.append)
        hook.tell(Where(receiver.url), note(0))
        await until(receiver.arrived.is_set)
        for number in range(1, 3 * MAX_WAITING):
            hook.tell(Where(receiver.url), note(number))
        assert not receiver.hold.is_set()
        assert len(receiver.calls) == 1
        receiver.hold.set()
        await until(lambda: sum(lost) == 2 * MAX_WAITING)
        await until(lambda: len(set(counters(receiver))) == MAX_WAITING)
        await hook.close()
    assert sum(lost) == 2 * MAX_WAITING


async def test_closing_sends_what_is_quick_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[int] = []
    monkeypatch.setattr(webhook, "CLOSE_WITHIN_S", 30.0)  # quick is what a busy machine manages
    monkeypatch.setattr(webhook, "TIMEOUT_S", 20.0)
    with receiving() as receiver:
        hook = Webhook("gw-1", lost.append)
        where = Where(receiver.url, min_interval_s=600)
        hook.tell(where, note(1))
        await until(lambda: receiver.told)
        hook.tell(where, note(2))
        await hook.close()
    assert counters(receiver) == ["money/1", "money/2"]
    assert lost == []
    monkeypatch.setattr(webhook, "CLOSE_WITHIN_S", 0.3)
    with receiving(slow=True) as receiver:
        hook = Webhook("gw-1", lost.append)
        hook.tell(Where(receiver.url), note(3))
        await until(receiver.arrived.is_set)
        hook.tell(Where(receiver.url), note(4))
        await hook.close()
    assert lost == [2]


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        hook = Webhook("gw-1", lambda _: None)
        hook.tell(Where(receiver.url), note(1))
        await until(lambda: receiver.told)
        await hook.close()
    assert not proxy.calls
