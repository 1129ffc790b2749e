"""Callers whom nothing names are one principal: what was masked for one of them comes back to no other."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from e2e.traffic import CHAT, OPENAI, assert_clean, model_of, running, settled
from gateways import OPEN_POLICY, GatewayProcess
from rawclient import post, read_answer, tls, tunnel
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab

MAIL = "marta.quill@quill-prints.pt"
MARK = re.compile(r"<EMAIL_ADDRESS_[a-z2-7]{10}>")
NUMBERS = count()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: from where, and with which key."""

    address: str
    key: str


ANN = Caller("127.0.0.1", "sk-of-ann")
OTHERS = [
    pytest.param(Caller("127.0.0.2", "sk-of-bob"), id="another"),
    pytest.param(Caller("127.0.0.2", "sk-of-ann"), id="who-shares-the-key"),
    pytest.param(Caller("127.0.0.1", "sk-of-bob"), id="who-shares-the-address"),
]


@pytest.fixture(
    scope="module",
    params=[OPEN_POLICY, "version: 1\nidentity: {mode: observe}\n"],
    ids=["anonymous", "unknown-and-observed"],
)
def gateway(
    request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("anonymous"), lab, policy=request.param) as up:
        yield up
        assert {e.principal for e in settled(up.confdir) if e.kind is EventKind.ADMITTED} <= {"anonymous", ""}
    assert_clean(up, MAIL)


def told(gateway: GatewayProcess, lab: Lab, who: Caller, *turns: str) -> tuple[str, str]:
    """Say "Hello" and what follows; return the text that the provider was sent last, and what came back of it."""
    model = f"anonymous-{next(NUMBERS)}"
    messages = [{"role": "user", "content": "Hello"}]
    for turn in turns:
        messages += [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": turn}]
    asked = post(CHAT, json.dumps({"model": model, "messages": messages}).encode(), OPENAI)
    raw = tunnel(gateway.port, OPENAI, source=who.address)
    with tls(raw, OPENAI, gateway.confdir / "ca-cert.pem") as sock:
        sock.sendall(asked.replace(b"sk-test-EXAMPLE", who.key.encode()))
        talk = read_answer(sock)
    assert talk.status == 200
    (sent,) = [r.json() for r in lab.requests if model_of(r) == model]
    return sent["messages"][-1]["content"], json.loads(talk.body)["choices"][0]["message"]["content"]


def test_a_conversation_keeps_its_placeholders_over_its_turns(gateway: GatewayProcess, lab: Lab) -> None:
    first, answer = told(gateway, lab, ANN, f"Write to {MAIL}.")
    assert MAIL in answer
    again, answer = told(gateway, lab, ANN, f"Write to {MAIL}.", f"To {MAIL}, I said.")
    assert MAIL in answer
    assert MARK.findall(first) == MARK.findall(again) != []


@pytest.mark.parametrize("other", OTHERS)
def test_a_value_comes_back_to_no_other_caller(gateway: GatewayProcess, lab: Lab, other: Caller) -> None:
    """The provider repeats what it was told by another, whose conversation began with the same words."""
    (mark,) = MARK.findall(told(gateway, lab, ANN, f"Write to {MAIL}.")[0])
    _, answer = told(gateway, lab, other, mark)
    assert mark in answer
    assert MAIL not in answer
    assert MAIL in told(gateway, lab, ANN, mark)[1], "it still comes back to its owner"


@pytest.mark.parametrize("other", OTHERS)
def test_one_value_of_two_callers_has_two_placeholders(
    gateway: GatewayProcess, lab: Lab, other: Caller
) -> None:
    mine, theirs = (MARK.findall(told(gateway, lab, who, f"Write to {MAIL}.")[0]) for who in (ANN, other))
    assert mine != theirs
    assert len(mine) == len(theirs) == 1
