"""`mitmdump -s addons/gateway.py` gives the same guarantees, whatever becomes of the script."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import rawclient
from gateways import OPEN_POLICY, lab_in_thread, python_env
from proxy.attempts import GROUPS
from proxy.door import AI, CHAT, UNLISTED, call, inside
from proxy.stock import Stock, reached, scripted_gateway, stock_mitmdump
from rawclient import Talk, post, read_answer
from sallyport.lab.server import Lab

DENYING = (
    OPEN_POLICY
    + "access:\n  rules: [{id: stop, effect: forbid, when: 'request.model == \"forbidden\"', message: no}]\n"
)
FORBIDDEN = json.dumps({"model": "forbidden", "messages": [{"role": "user", "content": "MARK"}]}).encode()

RAISES_EVERYWHERE = """
def _raise(data):
    raise RuntimeError("sk-live-should-not-be-logged")

requestheaders = request = server_connect = _raise
"""

LOOSENS = """
from mitmproxy import ctx

WANTED = {"ssl_insecure": True, "rawtcp": True, "ignore_hosts": [".*"], "stream_large_bodies": "1",
          "validate_inbound_headers": False, "connection_strategy": "eager"}

def running():
    for name, value in WANTED.items():
        try:
            ctx.options.update(**{name: value})
        except Exception:
            pass
"""

UNSAFE = (
    "rawtcp=true",
    "ssl_insecure=true",
    "ignore_hosts=.*",
    "validate_inbound_headers=false",
    "stream_large_bodies=1",
)
TRICKS = (
    "first-record-1-byte",
    "leading-crlf-in-tls",
    "host-other-than-sni",
    "cl-and-te",
    "unknown-endpoint",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    with scripted_gateway(tmp_path_factory.mktemp("scripted"), lab, policy=DENYING) as running:
        yield running


def sound(gateway: Stock, lab: Lab) -> Talk:
    lab.forget()
    return inside(call)(gateway.door, "SOUND")


def forbidden(gateway: Stock) -> Talk:
    return inside(lambda mark: post(CHAT, FORBIDDEN, AI))(gateway.door, "MARK")


def test_a_call_passes_and_a_forbidden_one_does_not(gateway: Stock, lab: Lab) -> None:
    assert settled(gateway, lab, 200).status == 200
    assert reached(lab, "SOUND")
    lab.forget()
    assert forbidden(gateway).status == 403
    assert lab.requests == []


def test_an_official_sdk_works_unchanged(gateway: Stock) -> None:
    pytest.importorskip("openai")
    script = (
        "import openai; c = openai.OpenAI(api_key='sk-test-EXAMPLE');"
        "print(c.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'Hello'}]).object)"
    )
    proxy = f"http://127.0.0.1:{gateway.door.port}"
    env = python_env(HTTPS_PROXY=proxy, SSL_CERT_FILE=str(gateway.door.ca), no_proxy="", NO_PROXY="")
    ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "chat.completion", ran.stderr[-1000:]


def test_a_host_that_is_no_ai_host_is_tunnelled(gateway: Stock) -> None:
    assert gateway.door.outside_ca is not None
    with rawclient.tls(gateway.door.tunnel(UNLISTED), UNLISTED, gateway.door.outside_ca) as sock:
        sock.sendall(post("/", b"x", UNLISTED))
        assert read_answer(sock).status == 200


@pytest.mark.parametrize("name", TRICKS)
def test_the_tricks_fail_here_too(gateway: Stock, lab: Lab, name: str) -> None:
    lab.forget()
    tried = next(a for group in GROUPS.values() for a in group if a.id == name)
    if name == "first-record-1-byte":
        # It hides no trick from a gateway that reads it: it has to be refused for what it says.
        answer = inside(lambda mark: (FORBIDDEN_CALL[:1], FORBIDDEN_CALL[1:]))(gateway.door, "MARK")
        assert answer.status == 403
    else:
        tried.run(gateway.door, "MARK")
    assert lab.requests == []
    assert sum(c.clear_bytes for c in lab.connections) == 0


FORBIDDEN_CALL = post(CHAT, FORBIDDEN, AI)


def test_a_script_that_is_spoilt_while_it_runs_leaves_a_gate_that_refuses(lab: Lab, tmp_path: Path) -> None:
    """Stock mitmproxy removes the script and lets everything through; test_must_do.py shows it."""
    with scripted_gateway(tmp_path, lab, policy=DENYING) as gateway:
        script = gateway.scripts["gateway"]
        whole = script.read_text()
        assert settled(gateway, lab, 200).status == 200
        with rawclient.tls(gateway.door.tunnel(), AI, gateway.door.ca) as kept:
            script.write_text("def broken(:\n")
            spoilt(gateway, lab)
            kept.sendall(call("MARK-kept"))
            assert read_answer(kept).status == 503
            assert lab.requests == []
        script.write_text(whole)
        assert settled(gateway, lab, 200).status == 200
        assert forbidden(gateway).status == 403
        script.unlink()
        spoilt(gateway, lab)
        assert gateway.process.poll() is None


def spoilt(gateway: Stock, lab: Lab) -> None:
    """Wait for mitmproxy's reload, and judge: until then it judges as before, and then it refuses everything."""
    deadline = time.monotonic() + 20
    while sound(gateway, lab).status == 200 and time.monotonic() < deadline:
        assert forbidden(gateway).status in (403, 503)
        time.sleep(0.1)
    lab.forget()
    assert sound(gateway, lab).status == 503
    assert forbidden(gateway).status == 503
    assert lab.requests == []
    assert sum(c.clear_bytes for c in lab.connections) == 0


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_neighbour_script_that_raises_lets_nothing_pass_unjudged(
    lab: Lab, tmp_path: Path, place: str
) -> None:
    scripts = {"raises": RAISES_EVERYWHERE}
    with scripted_gateway(
        tmp_path,
        lab,
        policy=DENYING,
        before=scripts if place == "before" else None,
        after=scripts if place == "after" else None,
    ) as gateway:
        answer = settled(gateway, lab, 503)
        assert answer.status == 503
        assert forbidden(gateway).status in (403, 503)
        assert lab.requests == []
        assert "should-not-be-logged" not in gateway.said()


def test_unsafe_options_are_taken_back(tmp_path: Path) -> None:
    """Given at the start and set by other scripts; an upstream with a bad certificate tells."""
    bad = Lab(fault="self-signed")
    with (
        bad.in_thread() as lab,
        scripted_gateway(
            tmp_path,
            lab,
            policy=DENYING,
            options=UNSAFE,
            before={"loosens_first": LOOSENS},
            after={"loosens_last": LOOSENS},
        ) as gateway,
    ):
        assert settled(gateway, lab, 502).status == 502
        assert lab.requests == []
        assert forbidden(gateway).status == 403
        for name in TRICKS:
            tried = next(a for group in GROUPS.values() for a in group if a.id == name)
            tried.run(gateway.door, "MARK")
        assert sum(c.clear_bytes for c in lab.connections) == 0


def settled(gateway: Stock, lab: Lab, status: int, within_s: float = 15) -> Talk:
    """Call until the answer is the one that must come once all scripts have been loaded."""
    deadline = time.monotonic() + within_s
    while True:
        answer = sound(gateway, lab)
        if answer.status == status or time.monotonic() > deadline:
            return answer
        time.sleep(0.1)


def test_a_policy_that_cannot_be_read_stops_mitmdump_at_its_start(lab: Lab, tmp_path: Path) -> None:
    lab.forget()
    with (
        suppress(RuntimeError),
        scripted_gateway(tmp_path, lab, policy="version: 1\nnonsense: 1\n") as gateway,
    ):
        # It may listen for a moment.
        assert sound(gateway, lab).status != 200
        gateway.process.wait(20)
    assert lab.requests == []
    log = (tmp_path / "gateway.log").read_text()
    assert "nonsense" in log
    assert "exiting" in log


def test_the_control_passes_what_ours_takes_back(tmp_path: Path) -> None:
    """Stock mitmdump with the same options sends the call to an upstream with a bad certificate."""
    bad = Lab(fault="self-signed")
    with bad.in_thread() as lab, stock_mitmdump(tmp_path, lab, options=["ssl_insecure=true"]) as gateway:
        assert inside(call)(gateway.door, "SOUND").status == 200
        assert reached(lab, "SOUND")
