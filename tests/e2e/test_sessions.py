"""Long agent sessions through a real gateway with the balanced preset, history resent on every turn.

The provider's prompt cache must stay warm (what was sent before is sent again, byte for byte), the client must
not notice, and nothing but the values themselves may change.
"""

import base64
import itertools
import json
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sessions import script
from sessions.compare import align, by_model, history, items, members, said

from gateways import GatewayProcess, gateway_process
from rawclient import read_answer, tls, tunnel
from sallyport.data import policies_dir
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab
from sallyport.stages.placeholder import PLACEHOLDER

CLIENT = Path(__file__).parent / "sessions" / "client.py"
SESSIONS = ("openai_chat", "openai_responses", "openai_kept", "anthropic_messages", "gemini_generate")
RESENT = tuple(s for s in SESSIONS if s != "openai_kept")


@pytest.fixture(scope="module")
def balanced(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    policy = (policies_dir() / "balanced.yaml").read_text("utf-8")
    with gateway_process(tmp_path_factory.mktemp("balanced"), lab, policy=policy) as running:
        yield running


@dataclass(frozen=True)
class Session:
    """sent: bodies as the SDK wrote them; seen: the same as they reached the provider; got: per turn."""

    name: str
    sent: list[str]
    seen: list[SeenRequest]
    got: list[dict[str, Any]]

    @property
    def arrived(self) -> list[str]:
        return [request.body.decode() for request in self.seen]


def run_session(gateway: GatewayProcess, lab: Lab, name: str) -> Session:
    model = f"think-session-{name.replace('_', '-')}"
    before = len(lab.requests)  # a worker that comes back to this file runs the sessions again
    ran = subprocess.run(
        [sys.executable, str(CLIENT), name, model],
        capture_output=True,
        env=gateway.env,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()[-1500:]
    answer = json.loads(ran.stdout)
    assert answer["raised"] == "", answer["raised"]
    seen = [r for r in lab.requests[before:] if model in r.path or f'"{model}"' in r.body.decode()]
    return Session(name, [base64.b64decode(s).decode() for s in answer["sent"]], seen, answer["got"])


@pytest.fixture(scope="module")
def sessions(balanced: GatewayProcess, lab: Lab) -> dict[str, Session]:
    with ThreadPoolExecutor(2) as pool:
        ran = pool.map(lambda name: run_session(balanced, lab, name), SESSIONS)
    return {session.name: session for session in ran}


@pytest.fixture(params=SESSIONS)
def session(sessions: dict[str, Session], request: pytest.FixtureRequest) -> Session:
    return sessions[request.param]


def test_every_turn_is_answered_and_none_is_refused(session: Session) -> None:
    assert len(session.got) == len(script.TURNS)
    assert len(session.sent) == len(session.seen) == 2 * len(script.TURNS)


def test_no_value_reaches_the_provider(session: Session) -> None:
    for body in session.arrived:
        for value in script.VALUES:
            assert value not in body
            assert json.dumps(value)[1:-1] not in body


def test_the_client_gets_its_values_back_in_texts_and_in_arguments(session: Session) -> None:
    for (text, result), got in zip(script.TURNS, session.got, strict=True):
        assert set(got["arguments"].values()) == {text}
        assert got["text"] == f"The tool said: {result}"


def test_only_values_are_changed_and_each_has_one_placeholder(session: Session) -> None:
    masks: defaultdict[str, set[str]] = defaultdict(set)
    for sent, arrived in zip(session.sent, session.arrived, strict=True):
        for value, marks in align(sent, arrived, script.VALUES).masks.items():
            masks[value] |= marks
    assert {value: len(marks) for value, marks in masks.items()} == dict.fromkeys(script.VALUES, 1)
    assert len(set.union(*masks.values())) == len(script.VALUES)


@pytest.mark.parametrize("name", RESENT)
def test_what_was_sent_before_is_sent_again_byte_for_byte(sessions: dict[str, Session], name: str) -> None:
    session = sessions[name]
    turns = [(history(name, s), history(name, a)) for s, a in zip(session.sent, session.arrived, strict=True)]
    compared = 0
    for (sent, arrived), (sent_next, arrived_next) in itertools.pairwise(turns):
        assert len(sent_next) > len(sent)
        for number, source in enumerate(sent):
            # Anthropic's cache marker moves to the newest block; else an old item never changes.
            if source == sent_next[number]:
                assert arrived[number] == arrived_next[number]
                compared += 1
            else:
                assert name == "anthropic_messages"
                assert number == len(sent) - 1
    assert compared > 400


def test_instructions_and_tools_are_the_same_on_every_turn(session: Session) -> None:
    fixed = ("system", "systemInstruction", "instructions", "tools", "metadata", "user", "seed", "include")
    heads = [{k: v for k, v in members(body).items() if k in fixed} for body in session.arrived]
    assert len(heads[0]) >= 2
    assert all(head == heads[0] for head in heads)
    assert heads[0]["tools"] == members(session.sent[0])["tools"]


@pytest.mark.parametrize("name", RESENT)
def test_what_the_model_said_comes_back_to_it_as_it_said_it(sessions: dict[str, Session], name: str) -> None:
    """Its own words stand in its cache too; thinking and signatures would be refused if they differed."""
    session = sessions[name]
    spoken: set[str] = {script.SEALED, *_KINDS}
    checked = 0
    for request in session.seen:
        for text in by_model(name, request.body.decode()):
            assert text in spoken, text[:300]
            checked += 1
        spoken |= said(request)
    assert checked > 300


_KINDS = (
    "text",
    "thinking",
    "tool_use",
    "function_call",
    "reasoning",
    "message",
    "summary_text",
    "output_text",
)


def test_thinking_reaches_the_client_as_the_provider_signed_it(sessions: dict[str, Session]) -> None:
    thoughts = [t for got in sessions["anthropic_messages"].got for t in got["thought"]]
    assert len(thoughts) == len(script.TURNS)
    assert any(PLACEHOLDER.search(thought) for thought in thoughts)
    bodies = sessions["anthropic_messages"].arrived
    assert bodies[-1].count('"signature":"SIGNED+') == 2 * len(script.TURNS) - 1


def test_a_kept_conversation_sends_only_what_is_new(sessions: dict[str, Session]) -> None:
    """The sessions prove the link by ids: without it each turn would have other placeholders."""
    bodies = sessions["openai_kept"].arrived
    assert all(len(items(members(body)["input"])) == 1 for body in bodies)
    assert all("previous_response_id" in body for body in bodies[1:])


def post(port: int | None, lab: Lab, ca: Path, host: str, path: str, body: bytes) -> tuple[int, bytes]:
    """Send bytes as they are: through a gateway, or straight to the lab where port is None."""
    raw = tunnel(port, host) if port else tunnel_to_lab(lab)
    with tls(raw, host, ca) as sock:
        sock.sendall(head(host, path, len(body)) + body)
        talk = read_answer(sock, timeout=10)
    return talk.status, talk.body


def tunnel_to_lab(lab: Lab) -> Any:
    return socket.create_connection(("127.0.0.1", lab.port), timeout=10)


def head(host: str, path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
        "Authorization: Bearer sk-test-EXAMPLE\r\nx-api-key: sk-ant-test-EXAMPLE\r\n"
        "x-goog-api-key: AIza-test-EXAMPLE\r\nanthropic-version: 2026-10-21\r\n\r\n"
    ).encode()


ODD = """\t{ "model" : "odd-spelling",\r
  "x_unknown": {"z": 1.0, "a": 1.50e+03, "m": -0.0, "n": 1E40, "deep": [ [ ], {} , null,true ]},
  "messages": [
    {"content": "Mail MAIL \\u0026 \\/ \\u00e9 \\ud83d\\udea2 caf\u00e9 \\t \\"quoted\\" MAIL", "role":"user" , "zz":[1 , 2]} ,
    {"role": "assistant", "content":"Plain \\u003cb\\u003e of MAIL."},
    {   "role":"user","content":[{"text":"a\\\\b","type":"text"},{"type":"text","text":"MAIL"}]}
  ],
  "temperature": 0.70, "top_p": 1, "max_tokens": 9007199254740991,
  "metadata": {"b": "2", "a": "1"}
}\n\n"""


def test_order_space_numbers_and_escapes_stay_as_the_client_spelled_them(
    balanced: GatewayProcess, lab: Lab
) -> None:
    body = ODD.replace("MAIL", script.MAIL)
    ca = balanced.confdir / "ca-cert.pem"
    status, answer = post(balanced.port, lab, ca, "api.openai.com", "/v1/chat/completions", body.encode())
    assert status == 200, answer[:300]
    arrived = next(r for r in lab.requests if b"odd-spelling" in r.body).body.decode()
    found = align(body, arrived, [script.MAIL])
    assert len(found.masks[script.MAIL]) == 1
    assert arrived.count(min(found.masks[script.MAIL])) == body.count(script.MAIL) == 4


def test_how_much_time_a_turn_costs(
    sessions: dict[str, Session], balanced: GatewayProcess, lab: Lab, record_property: Any
) -> None:
    """Replay the bodies of a session straight to the lab and through the gateway; printed, not judged."""
    host, path, ca = "api.anthropic.com", "/v1/messages", balanced.confdir / "ca-cert.pem"
    # Another house name: its texts are new to the cache of findings, as in a session that just began.
    bodies = [b.encode().replace(b"arbour", b"avenue") for b in sessions["anthropic_messages"].sent]
    times: dict[str, list[float]] = {}
    for way, port, trust in (("direct", None, lab.ca.certificate), ("gateway", balanced.port, ca)):
        raw = tunnel(port, host) if port else tunnel_to_lab(lab)
        with tls(raw, host, trust) as sock:
            times[way] = []
            for fresh in bodies:
                started = time.perf_counter()
                sock.sendall(head(host, path, len(fresh)) + fresh)
                assert read_answer(sock, timeout=10).status == 200
                times[way].append((time.perf_counter() - started) * 1000)
    added = [g - d for g, d in zip(times["gateway"], times["direct"], strict=True)]
    shown = (
        f"added per request of a {len(bodies)}-request session ({len(bodies[0])} to {len(bodies[-1])} bytes): "
        f"median {statistics.median(added):.1f} ms, worst {max(added):.1f} ms, first {added[0]:.1f} ms"
    )
    record_property("latency", shown)
    print(shown)
