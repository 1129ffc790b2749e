"""Answers that broke off, over HTTP/2 and WebSocket, are replayed from a capture as they ended, and cost there what they cost."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.http2client import CALL, Http2Client
from e2e.test_capture import replayed
from e2e.traffic import OPENAI, assert_clean, eventually, recorded, running, settled
from gateways import OPEN_POLICY, lab_in_thread
from http2provider import Asked, http2_provider
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from socketclient import RESPONSES, SocketClient

INTERNAL_ERROR = 2
POLICY = (
    OPEN_POLICY
    + """
prices: {contract: [{model: '*', provider: openai, input_usd: 1, output_usd: 10}]}
limits: {rules: [{id: day, measure: cost_usd, limit: 5, per: day, by: []}]}
masking: {entities: {EMAIL_ADDRESS: allow}}
output: {pii: mask}
"""
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as up:
        yield up


def whole(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.end()


def with_trailers(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.data(b"data: [DONE]\n\n")
    with asked.line.writing:
        asked.line.h2.send_headers(asked.stream, [("x-late", "odd")], end_stream=True)
        asked.line.flush()


def reset_between_events(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.reset(INTERNAL_ERROR)


def reset_in_an_event(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.data(b'data: {"id": "c", "choices": [{"index": 0, "del')
    asked.reset(INTERNAL_ERROR)


def ended_in_an_event(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.data(b'data: {"id": "c", "choices": [{"index": 0, "del', end=True)


def ended_in_an_address(asked: Asked) -> None:
    asked.headers()
    asked.say("write to odile.brandt@example.or")
    asked.reset(INTERNAL_ERROR)


def gone_before_the_head(asked: Asked) -> None:
    asked.line.hang_up()


def gone_in_an_event(asked: Asked) -> None:
    asked.headers()
    asked.say("two words")
    asked.data(b"data: {")
    asked.line.hang_up()


DEEDS: dict[str, Callable[[Asked], None]] = {
    deed.__name__: deed
    for deed in (
        *(whole, with_trailers, reset_between_events, reset_in_an_event, ended_in_an_event),
        *(ended_in_an_address, gone_before_the_head, gone_in_an_event),
    )
}


@pytest.mark.parametrize("content", ["masked", "original"])
def test_what_broke_off_is_replayed_as_it_ended(content: str, tmp_path: Path, ca: LabCa) -> None:
    policy = f"{POLICY}capture: {{share: 1, content: {content}}}\n"
    extra = ["--upstream-ca", str(ca.certificate)]
    left = threading.Event()
    with http2_provider(ca, OPENAI) as upstream:
        upstream.deeds |= DEEDS

        def half(asked: Asked) -> None:
            asked.headers()
            asked.say("two words")
            left.wait(20)

        upstream.deeds["half"] = half
        with running(tmp_path, None, policy=policy, extra=extra, to={OPENAI: upstream.port}) as gateway:
            for model in (*DEEDS, "half"):
                for more in ({}, {"reasoning_effort": "high"}):
                    client = Http2Client(gateway)
                    body = {
                        "model": model,
                        "messages": [{"role": "user", "content": "hello"}],
                        "stream": True,
                    }
                    number = client.send(CALL, json.dumps(body | more).encode())
                    if model == "half":
                        client.heard(number, "words")
                        client.give_up(number)
                        left.set()
                        continue
                    while number not in client.ended | client.reset:
                        client.read()
            count = 2 * len(DEEDS) + 2
            eventually(
                lambda: sum(e.is_end for e in recorded(gateway.confdir)) == count, 10, "all have ended"
            )
            assert_clean(gateway)
    ends = [event for event in recorded(gateway.confdir) if event.is_end]
    assert {end.kind for end in ends} == {EventKind.COMPLETED, EventKind.BROKEN}
    said = replayed(gateway.confdir, tmp_path, POLICY)
    assert said["changes"]["same"] == said["flows"] == count, (said["changes"], said["samples"])
    assert said["base"]["cost_micro_usd"] == sum(end.cost_micro_usd or 0 for end in ends)
    assert said["candidate"]["cost_micro_usd"] == said["base"]["cost_micro_usd"]


@pytest.mark.parametrize("content", ["masked", "original"])
def test_what_broke_off_on_a_websocket_is_replayed_as_it_ended(
    content: str, tmp_path: Path, lab: Lab
) -> None:
    policy = f"{POLICY}capture: {{share: 1, content: {content}}}\n"
    with running(tmp_path, lab, policy=policy) as gateway:
        for more in ({}, {"reasoning": {"effort": "high"}}):
            client = SocketClient.open(gateway.port, gateway.confdir, RESPONSES)
            client.say({"type": "response.create", "model": "slow-200", "input": "Tell me more."} | more)
            client.until("response.output_text.delta")
            client.reset()
        ends = [event for event in settled(gateway.confdir) if event.is_end and event.detail == "client.gone"]
    assert [end.usage_source for end in ends] == ["counted", "estimated"]
    said = replayed(gateway.confdir, tmp_path, POLICY)
    assert said["changes"]["same"] == said["flows"] == 2
    assert said["base"]["cost_micro_usd"] == sum(end.cost_micro_usd or 0 for end in ends)
    assert said["candidate"]["cost_micro_usd"] == said["base"]["cost_micro_usd"]
