"""Attempts to get more out of a provider than limits allow, or to make the counters lie, through a running gateway."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.counters import HEADER, INPUT_USD, OUTPUT_USD, POLICY, levels, sallyport, used
from e2e.traffic import (
    CHAT,
    OPENAI,
    Deed,
    Villain,
    Wire,
    eventually,
    of_kind,
    recorded,
    running,
    say,
    settled,
    villain,
)
from gateways import GatewayProcess
from rawclient import Talk, ask, post
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab

RULES = """    - {id: slots, measure: concurrent, limit: 20}
    - {id: patient, limit: 20, per: minute, burst: 1, wait_s: 10, when: 'principal.id.startsWith("patient")'}
transport: {max_response_bytes: 262144}
"""
WORDS = "word " * 200
MOST = 1000
HEAD = b"HTTP/1.1 %s\r\ncontent-type: %s\r\n%stransfer-encoding: chunked\r\n\r\n"


def answer(usage: object = None, text: str = WORDS) -> Deed:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    whole = json.dumps({"id": "x", "model": "m", "choices": [choice], "usage": usage}).encode()
    return say(head(kind=b"application/json") + chunk(whole) + chunk(b""))


def head(status: bytes = b"200 OK", kind: bytes = b"text/event-stream", more: bytes = b"") -> bytes:
    return HEAD % (status, kind, more)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text: str | None = None, usage: object = None) -> bytes:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    body = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": choices, "usage": usage}
    return chunk(b"data: " + json.dumps(body).encode() + b"\n\n")


def stream(*events: bytes) -> Deed:
    return say(head() + b"".join(events) + chunk(b"data: [DONE]\n\n") + chunk(b""))


def tokens(given: object, made: object) -> dict[str, object]:
    return {"prompt_tokens": given, "completion_tokens": made}


ODD = {"nothing": None, "zero": tokens(0, 0), "negative": tokens(-5, -300), "text": tokens("5", "300")}
ODD |= {"huge": tokens(2**52, 2**52), "list": [1, 2], "empty": {}}
DEEDS = {f"lab-whole-{name}": answer(usage) for name, usage in ODD.items()}
DEEDS |= {
    f"lab-stream-{name}": stream(event(WORDS), event(usage=usage or {"x": 1})) for name, usage in ODD.items()
}
DEEDS |= {
    "lab-stream-middle": stream(event("word"), event("word", tokens(7, 2)), event(WORDS)),
    "lab-unread-kind": say(head(kind=b"text/plain") + chunk(b"words " * 700) + chunk(b"")),
    "lab-unread-created": say(head(b"201 Created") + event(WORDS) + chunk(b"")),
    "lab-unread-coded": say(head(more=b"content-encoding: gzip\r\n") + chunk(b"\x1f\x8b") + chunk(b"")),
    "lab-unread-large": answer(text="a" * 300_000),
    "lab-plain-fine": stream(event(WORDS), event(usage=tokens(7, 300))),
}


@pytest.fixture(scope="module")
def provider(lab: Lab) -> Iterator[Villain]:
    with villain(lab.ca, DEEDS) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    lab: Lab, provider: Villain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("attacks")
    with running(folder, lab, policy=POLICY + RULES, to={OPENAI: provider.port}) as up:
        yield up


def request(model: str, user: str, **more: object) -> bytes:
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Hello there"}]}
    return post(CHAT, json.dumps(body | {"max_tokens": MOST} | more).encode(), OPENAI, f"{HEADER}: {user}")


def asked(gateway: GatewayProcess, model: str, **more: object) -> Talk:
    """Ask as a user of the model's own name."""
    return ask(gateway.port, gateway.confdir / "ca-cert.pem", OPENAI, request(model, model, **more))


@pytest.mark.parametrize("model", [m for m in DEEDS if "-whole-" in m or "-stream-" in m])
def test_a_report_that_cannot_be_true_leaves_what_was_seen(gateway: GatewayProcess, model: str) -> None:
    assert asked(gateway, model, stream="-stream-" in model).status == 200
    assert 200 <= used(gateway.confdir, "tokens", model) <= 300
    assert 200 * OUTPUT_USD <= used(gateway.confdir, "money", model) <= 300 * OUTPUT_USD


@pytest.mark.parametrize("model", [m for m in DEEDS if "-unread-" in m])
def test_an_answer_that_nobody_could_read_is_charged_as_it_was_reserved(
    gateway: GatewayProcess, model: str
) -> None:
    asked(gateway, model, stream=model != "lab-unread-large")
    assert MOST * OUTPUT_USD < used(gateway.confdir, "money", model) < MOST * OUTPUT_USD + 100 * INPUT_USD


def test_who_goes_away_while_a_request_is_held_back_has_sent_and_used_nothing(
    gateway: GatewayProcess, provider: Villain
) -> None:
    first = Wire.open(gateway)
    first.send(request("lab-plain-fine", "patient-one", stream=True))
    first.read_all()
    spent = used(gateway.confdir, "money", "patient-one")
    gone = Wire.open(gateway)
    gone.send(request("lab-stream-nothing", "patient-one", stream=True))
    time.sleep(0.3)
    gone.reset()
    ended = (EventKind.REFUSED, EventKind.COMPLETED, EventKind.BROKEN)

    def ends() -> list[EventKind]:
        return [e.kind for e in of_kind(recorded(gateway.confdir), *ended) if e.principal == "patient-one"]

    eventually(lambda: len(ends()) == 2, 8, "both exchanges have ended")
    assert ends() == [EventKind.COMPLETED, EventKind.REFUSED]
    assert used(gateway.confdir, "money", "patient-one") == spent
    assert used(gateway.confdir, "calls", "patient-one") == 1
    assert "slots/principal=default:patient-one" not in levels(gateway.confdir, "slots/")


@pytest.mark.parametrize(
    ("options", "sees"),
    [
        ({}, False),
        ({"stream_options": None}, False),
        ({"stream_options": {}}, False),
        ({"stream_options": {"include_usage": False}}, False),
        ({"stream_options": {"include_usage": None, "include_obfuscation": False}}, False),
        ({"stream_options": {"include_usage": True}}, True),
    ],
    ids=["absent", "null", "empty", "false", "null-inside", "true"],
)
def test_only_a_client_that_asks_for_usage_sees_it_and_it_is_counted_all_the_same(
    gateway: GatewayProcess, options: dict[str, Any], sees: bool
) -> None:
    before = used(gateway.confdir, "money", "lab-plain-fine")
    talk = asked(gateway, "lab-plain-fine", stream=True, **options)
    assert (b"prompt_tokens" in talk.body) is sees
    assert b"[DONE]" in talk.body
    assert used(gateway.confdir, "money", "lab-plain-fine") == before + 7 * INPUT_USD + 300 * OUTPUT_USD


@pytest.mark.parametrize("n", [128, 2**53 - 1])
def test_numbers_beyond_all_measure_break_no_counter_and_no_bill(gateway: GatewayProcess, n: int) -> None:
    user = f"greedy-{n}"
    wire = Wire.open(gateway)
    wire.send(request("lab-plain-fine", user, max_tokens=2**53 - 1, n=n))
    wire.read_all()
    assert wire.status == 429
    assert used(gateway.confdir, "money", user) == 0
    assert all((e.cost_micro_usd or 0) < 2**50 for e in settled(gateway.confdir))


@pytest.mark.parametrize("amount", ["NaN", "0.0000001", "999999999999999"])
def test_a_grant_of_something_that_is_no_amount_is_an_error_of_the_operator(
    gateway: GatewayProcess, amount: str
) -> None:
    policy = str(gateway.confdir.parent / "policy.yaml")
    where = ("--policy", policy, "--confdir", str(gateway.confdir))
    ran = sallyport("limits", "grant", "money/principal=default:ann", amount, *where)
    assert (ran.returncode, ran.stderr.partition(":")[0]) == (2, "AMOUNT"), ran.stderr
