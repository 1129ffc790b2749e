"""No request to an AI host escapes the count, and no class says more than was read."""

from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy.test import tflow

from audit.samples import event
from sallyport.audit.classes import Coverage
from sallyport.audit.events import Event, EventKind
from sallyport.data import rules_dir
from sallyport.decision import Refusal
from sallyport.exchange import Response
from sallyport.policy.catalogue import load_catalogue
from sallyport.policy.load import parse_policy
from sallyport.policy.restrictions import Restricted
from sallyport.proxy import connections
from sallyport.proxy.addon import GatewayAddon
from sallyport.proxy.connections import Connections
from sallyport.proxy.ending import end_exchange
from sallyport.proxy.tap import AnswerTap
from sallyport.proxy.websocket_session import Session
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.sockets import MANNERS

HOST = "api.openai.com"


def tap_of(*, lenient: bool) -> AnswerTap:
    dialect = DIALECTS["openai_chat"]
    said = Refusal("upstream.unreadable", "Ended.", "id", status=502)
    return AnswerTap(
        dialect, dialect.open_stream(), said, lookup=None, remember=lambda _: None, lenient=lenient
    )


def end_of(tap: AnswerTap) -> Event:
    """The end of an exchange whose answer went through this tap."""
    recorded: list[Event] = []
    gateway: Any = SimpleNamespace(record=recorded.append, link=lambda *_: None)
    exchange = SimpleNamespace(request=SimpleNamespace(provider="openai"), conversation="c")
    passage: Any = SimpleNamespace(
        ended=False,
        admitted=event(EventKind.ADMITTED, "x", coverage=Coverage.PARSED),
        meter=None,
        over=None,
        output=None,
        unread=False,
        withheld=None,
        live=SimpleNamespace(shown_model=lambda model: model),
        exchange=exchange,
        tap=tap,
        started_ns=0,
    )
    end_exchange(gateway, passage, EventKind.COMPLETED, Response(200), 1)
    return recorded[0]


@pytest.mark.parametrize("lenient", [True, False])
def test_a_stream_that_could_not_be_read_is_not_counted_as_read(lenient: bool) -> None:
    tap = tap_of(lenient=lenient)
    tap.feed(b"data: {oops\n\n")
    end = end_of(tap)
    assert (end.coverage, end.unread) == (Coverage.PARSED_IN_PART, "answer.unread")
    cut = tap_of(lenient=lenient)
    cut.feed(b'data: {"choices":[]}\n\n')
    assert end_of(cut).coverage is Coverage.PARSED


async def test_a_session_whose_provider_could_not_be_read_is_not_counted_as_read() -> None:
    session = object.__new__(Session)
    exchange = SimpleNamespace(principal=None)
    passage = SimpleNamespace(cut="", cleaner=None, unread=False, exchange=exchange)
    session.passage = passage  # type: ignore[assignment]
    policy = parse_policy("version: 1\nmode: observe\n")
    session._gateway = SimpleNamespace(live=SimpleNamespace(policy=policy))  # type: ignore[assignment]
    session._manners = MANNERS["openai_realtime"]
    message: Any = SimpleNamespace(is_text=True, content=b"{oops")
    assert (await session.from_provider(message)).onward == [b"{oops"]
    assert passage.unread


def connections_of(recorded: list[Event]) -> Connections:
    live = SimpleNamespace(
        catalogue=load_catalogue(rules_dir() / "providers"),
        policy=SimpleNamespace(revision="r", hosts=SimpleNamespace(unlisted="tunnel")),
        restricted=Restricted(),
        rules_revision="r",
    )
    gateway: Any = SimpleNamespace(id="g", live=live, record=recorded.append, connected_to=lambda _: "")
    return Connections(gateway)


@pytest.mark.parametrize(("name", "coverage"), [(HOST, Coverage.DENIED), (None, None)])
def test_a_connection_that_says_nothing_is_counted_where_it_went_to_an_ai_host(
    monkeypatch: pytest.MonkeyPatch, name: str | None, coverage: Coverage | None
) -> None:
    monkeypatch.setattr(connections, "abort_connection", lambda *_: None)
    recorded: list[Event] = []
    client = tflow.tclient_conn()
    client.sni = name
    connections_of(recorded)._too_slow(client)
    assert [(e.detail, e.host, e.coverage) for e in recorded] == [("too_slow", name or "", coverage)]


def test_a_request_that_never_became_an_exchange_is_counted() -> None:
    recorded: list[Event] = []
    addon = object.__new__(GatewayAddon)
    addon.connections, addon._passages = connections_of(recorded), {}  # type: ignore[assignment]
    flow = tflow.tflow()
    flow.client_conn.sni = HOST
    addon._answer(flow, 503, "gateway.no_verdict")
    assert [(e.detail, e.host, e.coverage) for e in recorded] == [("no_verdict", HOST, Coverage.DENIED)]
