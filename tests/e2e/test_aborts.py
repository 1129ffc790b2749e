"""Answers that break off: what was seen of them is charged, nothing stays reserved, killed gateways included.

Expected tokens come from the gateway's own counter over the texts that really came; without ranks on disk it is
the estimate from byte classes, so these figures tell what was counted, not how well a tokeniser was guessed.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.counters import HEADER, POLICY, levels, reconciled
from e2e.traffic import (
    ANTHROPIC,
    GEMINI,
    OPENAI,
    Load,
    Villain,
    Wire,
    eventually,
    hang,
    models_seen,
    of_kind,
    recorded,
    running,
    say,
    settled,
    villain,
)
from gateways import GatewayProcess
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from sallyport.metering.tokens import TokenCounter

POSITIONS = range(31)
WITHIN = 0.02
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SAID = (
    "The harbour master reads the tide tables twice each morning, writes 14:35 or 03:10 beside the names of "
    "the boats, and hangs the list under the clock. Nobody asks why. Fischer, Lotsen und Händler kommen vorbei, "
    "lesen, nicken; at noon the list is changed, and for the rest of the day everybody knows when to leave."
)
PIECES = [SAID[at : at + 10] for at in range(0, 310, 10)]


def sse(body: object, event: str = "") -> bytes:
    data = (f"event: {event}\n" if event else "").encode() + b"data: " + json.dumps(body).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def openai_event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return sse({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


def anthropic_event(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return sse({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta")


def gemini_event(text: str) -> bytes:
    return sse({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]})


STARTED = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [],
    "stop_reason": None,
    "usage": {"input_tokens": 37, "output_tokens": 1},
}
ANTHROPIC_START = [
    sse({"type": "message_start", "message": STARTED}, "message_start"),
    sse(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        "content_block_start",
    ),
]


@dataclass(frozen=True)
class Dialect:
    """How one provider is asked and how it streams. start: events before the first text."""

    host: str
    path: str
    event: Callable[[str], bytes]
    body: dict[str, object]
    start: tuple[bytes, ...] = ()


USER = [{"role": "user", "content": "Tell me about the harbour, please, and take your time."}]
DIALECTS = {
    "chat": Dialect(OPENAI, "/v1/chat/completions", openai_event, {"messages": USER, "stream": True}),
    "messages": Dialect(
        ANTHROPIC,
        "/v1/messages",
        anthropic_event,
        {"messages": USER, "stream": True, "max_tokens": 900},
        tuple(ANTHROPIC_START),
    ),
    "gemini": Dialect(
        GEMINI,
        "/v1beta/models/{model}:streamGenerateContent?alt=sse",
        gemini_event,
        {"contents": [{"parts": [{"text": USER[0]["content"]}]}]},
    ),
}


@pytest.fixture(scope="module")
def upstream(ca: LabCa) -> Iterator[Villain]:
    for host in (OPENAI, ANTHROPIC, GEMINI):
        ca.server_context(host)  # made once, before many threads want it
    with villain(ca, {}) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(
    ca: LabCa, upstream: Villain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    to = dict.fromkeys((OPENAI, ANTHROPIC, GEMINI), upstream.port)
    extra = ["--upstream-ca", str(ca.certificate)]
    with running(tmp_path_factory.mktemp("aborts"), None, policy=POLICY, extra=extra, to=to) as up:
        yield up


def begun(gateway: GatewayProcess, dialect: Dialect, model: str, user: str) -> Wire:
    """Ask for a stream, and leave it to the test to read."""
    body = dialect.body if "{model}" in dialect.path else {"model": model, **dialect.body}
    path = dialect.path.format(model=model)
    wire = Wire.open(gateway, dialect.host)
    wire.send(post(path, json.dumps(body).encode(), dialect.host, f"{HEADER}: {user}"))
    return wire


def read_until_said(wire: Wire, text: str) -> None:
    """Read until a client could have put this text together; what waits in the gateway may come in another event."""
    wire.read_until(b"\r\n\r\n")
    while (said := "".join(json.loads(found) for found in _TEXTS.findall(wire.data))) != text:
        assert text.startswith(said)
        piece = wire.sock.recv(65536)
        assert piece, "closed before all was said"
        wire.data += piece


_TEXTS = re.compile(rb'"(?:content|text)": ("(?:[^"\\]|\\.)*")(?=\}|, "role")')


def letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


@pytest.mark.parametrize("who", ["client", "upstream"])
@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_a_stream_cut_after_any_event_is_charged_for_what_was_seen(
    gateway: GatewayProcess, upstream: Villain, name: str, who: str
) -> None:
    dialect = DIALECTS[name]
    user = f"{who}-{name}"
    wires: dict[str, tuple[Wire, int]] = {}
    for k in POSITIONS:
        model = f"lab-{user}-{letters(k)}"
        events = [*dialect.start, *map(dialect.event, PIECES[:k])]
        deed = hang if who == "client" else say
        upstream.deeds[model] = deed(HEAD, *events)
        wires[model] = begun(gateway, dialect, model, user), k
    for wire, k in wires.values():
        if who == "client":
            read_until_said(wire, "".join(PIECES[:k]))
            wire.reset()
        else:
            wire.read_all()
    eventually(
        lambda: (
            len({e.exchange for e in recorded(gateway.confdir) if e.principal == user and e.is_end})
            == len(POSITIONS)
        ),
        10,
        "all have ended",
    )
    ends = {e.model: e for e in recorded(gateway.confdir) if e.principal == user and e.is_end}
    counter = TokenCounter()
    reported = 1 if name == "messages" else 0  # what Anthropic says at the start, and charges
    worst = 0.0
    for model, (_, k) in wires.items():
        end = ends[model]
        assert end.kind is EventKind.BROKEN
        assert end.usage is not None
        expected = counter.count(["".join(PIECES[:k])], model).tokens if k else reported
        assert end.usage.output is not None
        assert end.usage.input == (37 if name == "messages" else end.usage.input)
        assert end.usage.input
        worst = max(worst, abs(end.usage.output - expected) / max(1, expected))
    assert worst <= WITHIN
    total = sum((e.usage.input or 0) + (e.usage.output or 0) for e in ends.values() if e.usage)
    key = f"tokens/principal=default:{user}"

    def is_booked() -> bool:
        level = levels(gateway.confdir, key)[key]
        return (level.used, level.reserved) == (total, 0)

    eventually(is_booked, 5, "all is booked, nothing is reserved")
    print(f"{len(POSITIONS)} cuts of {name} by the {who}: {worst:.1%} at most")


def test_running_totals_of_the_provider_count_for_what_came_before_them(
    gateway: GatewayProcess, upstream: Villain
) -> None:
    model, user = "lab-totals", "totals"
    chunk = {"candidates": [{"content": {"parts": [{"text": PIECES[1]}], "role": "model"}, "index": 0}]}
    reported = sse({**chunk, "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1000}})
    events = [gemini_event(PIECES[0]), reported, gemini_event(PIECES[2]), gemini_event(PIECES[3])]
    upstream.deeds[model] = say(HEAD, *events)
    begun(gateway, DIALECTS["gemini"], model, user).read_all()
    (end,) = [e for e in settled(gateway.confdir) if e.principal == user and e.is_end]
    after = TokenCounter().count([PIECES[2] + PIECES[3]], model).tokens
    assert end.usage is not None
    assert (end.usage.input, end.usage.output, end.usage_source) == (9, 1000 + after, "counted")


def test_all_of_this_agrees_with_the_audit(gateway: GatewayProcess, upstream: Villain) -> None:
    whole, cut = [gemini_event(piece) for piece in PIECES[:4]], [gemini_event(PIECES[0])]
    for number, events in enumerate((whole, cut, cut)):
        upstream.deeds[f"lab-books-{number}"] = say(HEAD, *events)
        begun(gateway, DIALECTS["gemini"], f"lab-books-{number}", f"books-{number}").read_all()
    settled(gateway.confdir)
    assert len(reconciled(gateway.confdir)) >= 3
    assert not [level for level in levels(gateway.confdir).values() if level.reserved]


# -- gateways that are killed --------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_after_any_number_of_kills_the_ledger_agrees_with_the_audit(
    tmp_path: Path, lab: Lab, rounds: int
) -> None:
    moments = random.Random(rounds)
    prefix = f"lab-killed-{letters(rounds)}"
    for number in range(rounds):
        words = {"clients": 4, "stream": number % 2 == 0, "timeout": 3}
        with (
            running(tmp_path, lab, policy=POLICY) as gateway,
            Load(gateway, f"{prefix}-{letters(number)}", **words) as load,  # type: ignore[arg-type]
        ):
            eventually(lambda load=load: load.answered > 3, 15, "requests are answered")  # type: ignore[misc]
            time.sleep(moments.uniform(0.0, 0.3))  # the moment is the test
            gateway.process.kill()
            gateway.process.wait(5)
    with running(tmp_path, lab, policy=POLICY) as gateway:
        eventually(
            lambda: not [level for level in levels(gateway.confdir).values() if level.reserved],
            15,
            "nothing is reserved",
        )
        events = settled(gateway.confdir)
        seen = models_seen(lab, prefix)
        admitted = {e.model for e in of_kind(events, EventKind.ADMITTED)}
        assert seen.keys() <= admitted
        ended = [e for e in events if e.is_end and e.kind is not EventKind.REFUSED]
        # The ledger is swept and recovered every few hundred milliseconds of this policy's lease.
        key = "calls/principal=default:anonymous"
        eventually(lambda: levels(gateway.confdir, key)[key].used == len(ended), 10, "all calls are booked")
        compared = reconciled(gateway.confdir)
    cut_off = sum(e.detail == "interrupted" for e in ended)
    print(f"{rounds} kills, {len(seen)} requests upstream, {cut_off} cut off, {len(compared)} counters agree")
