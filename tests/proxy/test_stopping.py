"""Ending what is in flight: a kill switch waits for nothing else, and one bad exchange keeps none of the others."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import http

from sallyport.decision import Decision, Mode
from sallyport.exchange import Exchange, Principal
from sallyport.policy.identity import Identity
from sallyport.policy.sections import Policy
from sallyport.proxy import stopping
from sallyport.proxy.barred import barred
from sallyport.proxy.gate import gate
from sallyport.proxy.stopping import Stopping
from sallyport.stages.directory import Directory, NoDirectory, Person, Stop, StopKind, Tenant
from samples import exchange, segment


class Pulled(NoDirectory):
    def stops(self) -> tuple[Stop, ...]:
        return (Stop("stop-1", StopKind.EVERYTHING),)


@dataclass(frozen=True)
class Left(NoDirectory):
    """Knows of ada of acme, and acme; either may not be active any more."""

    ada_active: bool = True
    acme_active: bool = True

    def person(self, tenant: str, id: str) -> Person | None:
        return Person(id, tenant, active=self.ada_active) if (tenant, id) == ("acme", "ada") else None

    def tenant(self, id: str) -> Tenant | None:
        return Tenant(id, active=self.acme_active) if id == "acme" else None


def by_stops(exchange: Exchange, directory: Directory) -> Decision | None:
    return barred(exchange, directory, Policy(version=1))


ADA = Principal("ada", "acme", source="key")
BOB = Principal("bob", "acme", source="key")
ELSEWHERE = Principal("ada", "zenith", source="key")
NOBODY = Principal("ada", "acme")
OBSERVES = Policy(version=1, identity=Identity(mode=Mode.OBSERVE))


@pytest.mark.parametrize(
    ("who", "directory", "policy", "reason"),
    [
        pytest.param(ADA, Left(), Policy(version=1), "", id="active"),
        pytest.param(ADA, Left(ada_active=False), Policy(version=1), "identity.inactive_person", id="person"),
        pytest.param(
            ADA, Left(acme_active=False), Policy(version=1), "identity.inactive_tenant", id="tenant"
        ),
        pytest.param(BOB, Left(ada_active=False), Policy(version=1), "", id="a colleague"),
        pytest.param(
            BOB,
            Left(acme_active=False),
            Policy(version=1),
            "identity.inactive_tenant",
            id="a colleague's tenant",
        ),
        pytest.param(ELSEWHERE, Left(False, False), Policy(version=1), "", id="the same name elsewhere"),
        pytest.param(NOBODY, Left(False, False), Policy(version=1), "", id="anonymous"),
        pytest.param(ADA, Left(False, False), OBSERVES, "", id="observed"),
        pytest.param(ADA, Pulled(), OBSERVES, "access.stopped", id="a kill switch, observed"),
    ],
)
async def test_what_is_in_flight_ends_with_its_caller(
    who: Principal, directory: Directory, policy: Policy, reason: str, aborted: list[object]
) -> None:
    flow, passage = flying()
    passage.exchange = replace(passage.exchange, principal=who)
    now: list[Directory] = [NoDirectory()]
    looking = Stopping(
        lambda: now[0],
        lambda: [(flow, passage)],
        lambda: None,
        lambda _: None,
        at_once,
        lambda exchange, directory: barred(exchange, directory, policy),
    )
    await looking.look_at_stops()
    assert not passage.cut
    now[0] = directory
    await looking.look_at_stops()
    assert passage.cut == reason
    assert bool(aborted) == bool(reason)


class Tap:
    """A stream that may fail to be told that it ends."""

    def __init__(self, fails: bool) -> None:
        self.fails = fails

    def stop(self, refusal: object) -> None:
        if self.fails:
            raise ValueError("a tap that is broken")


@dataclass(eq=False)
class Flow:
    client_conn: object
    server_conn: object
    request: http.Request = field(default_factory=lambda: http.Request.make("GET", "https://example.com/"))


def flying(*, fails: bool = False, client: object = None, server: object = None) -> tuple[Any, Any]:
    flow = Flow(client or object(), server or object())
    passage = SimpleNamespace(
        exchange=exchange(segment("x")), admitted=object(), ended=False, cut="", cut_message="", id="e",
        tap=Tap(fails),
    )  # fmt: skip
    return flow, passage


@pytest.fixture
def aborted(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    found: list[object] = []
    monkeypatch.setattr(
        stopping, "abort_connection", lambda client, server=None: found.append(server or client) or True
    )
    return found


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_kill_switch_does_not_wait_for_lists_of_revoked_certificates(aborted: list[object]) -> None:
    flow, passage = flying()
    looking = Stopping(Pulled, lambda: [(flow, passage)], lambda: None, lambda _: None, never, by_stops)
    looking.start()
    await until(lambda: passage.cut == "access.stopped" and flow.server_conn in aborted)
    looking.close()


async def test_one_exchange_that_cannot_be_ended_keeps_none_of_the_others(aborted: list[object]) -> None:
    pairs = [flying(fails=True), flying()]
    directory = Pulled()
    looking = Stopping(lambda: directory, lambda: pairs, lambda: None, lambda _: None, at_once, by_stops)
    looking.start()
    await until(lambda: {flow.server_conn for flow, _ in pairs} <= set(aborted))
    assert [passage.cut for _, passage in pairs] == ["access.stopped"] * 2
    looking.close()


async def test_what_was_stopped_is_not_sent_again(aborted: list[object]) -> None:
    """A provider may say that it has not looked at a request yet: it goes to another connection, if it still may."""
    flow, passage = flying()
    gate.admit(flow)
    looking = Stopping(Pulled, lambda: [(flow, passage)], lambda: None, lambda _: None, at_once, by_stops)
    looking.start()
    await until(lambda: bool(passage.cut))
    assert not gate.admitted(flow)
    assert not gate.lets_out(flow.request), "nor where it waits for its turn"
    looking.close()
