"""What an operator does to a running gateway: stop it, reload it, start it with something wrong."""

import json
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.traffic import (
    CANARY,
    CHAT,
    OPENAI,
    Load,
    Wire,
    ask,
    assert_clean,
    assert_sound,
    by_model,
    chat,
    eventually,
    of_kind,
    recorded,
    running,
    say,
    settled,
    villain,
)
from e2e.zygote import Forked, command
from gateways import OPEN_POLICY, GatewayProcess
from rawclient import post
from sallyport.audit.events import EventKind
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from sallyport.pki import load_ca

FAREWELL = b"data: [DONE]"


# -- stopping ------------------------------------------------------------------------------------------


class Streams:
    """Slow streams in flight, each read to its end by a thread of its own."""

    def __init__(self, gateway: GatewayProcess, models: list[str], text: str) -> None:
        self.wires = {model: Wire.open(gateway) for model in models}
        for model, wire in self.wires.items():
            wire.send(post(CHAT, chat(model, text, stream=True), OPENAI))
        for wire in self.wires.values():
            wire.read_until(b"data: ")
        self._threads = [threading.Thread(target=w.read_all, daemon=True) for w in self.wires.values()]
        for thread in self._threads:
            thread.start()

    def finish(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not any(t.is_alive() for t in self._threads), "a stream did not end"


def stop(gateway: GatewayProcess, within_s: float) -> float:
    """Wait for a gateway that was told to stop; return how long it took."""
    began = time.monotonic()
    assert gateway.process.wait(within_s) == 0
    return time.monotonic() - began


def refuses_connections(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as sock:
            sock.settimeout(2)
            sock.sendall(f"CONNECT {OPENAI}:443 HTTP/1.1\r\nHost: {OPENAI}:443\r\n\r\n".encode())
            return sock.recv(100) == b""
    except OSError:
        return True


def test_streams_in_flight_end_whole_when_the_gateway_is_told_to_stop(tmp_path: Path, lab: Lab) -> None:
    models = [f"slow-{n}0-term-{name}" for n, name in zip(range(4, 10), "abcdef", strict=True)]
    with running(tmp_path, lab, policy=OPEN_POLICY + "transport:\n  drain_s: 20\n") as gateway:
        idle = Wire.open(gateway)  # a kept connection with nothing on it must not delay the end
        kept = Wire.open(gateway)
        kept.send(post(CHAT, chat("kept-before"), OPENAI))
        kept.read_all()
        kept.data.clear()
        text = " ".join(["word"] * 30)
        streams = Streams(gateway, models, text)
        half = Wire.open(gateway)
        request = post(CHAT, chat("uploaded-during-drain"), OPENAI)
        half.send(request[:-20])
        gateway.signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(gateway.port), 2, "new connections are refused")
        half.send(request[-20:])
        half.read_all()
        assert half.status == 200
        kept.send(post(CHAT, chat("kept-during-drain"), OPENAI))
        kept.read_all()
        assert kept.status == 200
        assert kept.sock.recv(1) == b"", "a kept connection goes on and on"
        streams.finish(20)
        took = stop(gateway, 5)
        idle.reset()
    for wire in streams.wires.values():
        assert wire.status == 200
        assert wire.whole
        assert FAREWELL in wire.data
        assert wire.said == f"You wrote: {CANARY} {text}".strip()
    events = recorded(gateway.confdir)
    assert_sound(events)
    for model in [*models, "uploaded-during-drain", "kept-during-drain"]:
        assert by_model(events, model) == [EventKind.ADMITTED, EventKind.COMPLETED]
    assert events[-1].kind is EventKind.STOPPED
    assert_clean(gateway)
    print(f"gone {took:.2f} s after the last of {len(models)} streams")
    assert took < 10


def test_what_outlives_the_drain_time_is_cut_with_the_dialects_error_and_recorded(
    tmp_path: Path, lab: Lab
) -> None:
    models = ["slow-300-late-a", "slow-300-late-b", "hang-late"]
    with running(tmp_path, lab, policy=OPEN_POLICY + "transport:\n  drain_s: 0.5\n") as gateway:
        streams = Streams(gateway, models[:2], "word " * 100)
        silent = Wire.open(gateway)
        silent.send(post(CHAT, chat(models[2]), OPENAI))
        eventually(lambda: any(models[2] in r.text for r in lab.requests), 5, "the lab has it")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        streams.finish(5)
        silent.read_all()
        assert gateway.process.wait(5) == 0
        took = time.monotonic() - began
    for wire in streams.wires.values():
        assert b'"error"' in wire.data
        assert wire.whole
    assert silent.status == 503
    events = recorded(gateway.confdir)
    assert_sound(events)
    for model in models:
        assert by_model(events, model) == [EventKind.ADMITTED, EventKind.BROKEN]
    assert events[-1].kind is EventKind.STOPPED
    assert_clean(gateway)
    print(f"gone {took:.2f} s after SIGTERM, with 0.5 s to drain")
    assert 0.5 <= took < 10


def more_than_sockets_hold() -> int:
    """Return a size in bytes of which some stays with the sender, whatever a peer that reads nothing is sent."""
    limits = (Path("/proc/sys/net/ipv4", name).read_text().split() for name in ("tcp_wmem", "tcp_rmem"))
    (_, _, most_sent), (_, received, _) = limits  # the buffer of who receives grows only while it is read
    return int(most_sent) + 2 * int(received) + 1_000_000


def test_an_answer_that_a_slow_client_is_still_reading_is_not_cut(tmp_path: Path) -> None:
    answer = json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop",
         "message": {"role": "assistant", "content": "word " * (more_than_sockets_hold() // 5)}}
    ]}).encode()  # fmt: skip
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)
    ca = LabCa(tmp_path / "ca")
    with villain(ca, {"huge": say(head, answer)}) as upstream:
        extra = ["--upstream-ca", str(ca.certificate)]
        with running(tmp_path / "gw", None, extra=extra, to={OPENAI: upstream.port}) as gateway:
            wire = Wire.open(gateway, timeout=60)  # an answer is scanned whole before its first byte
            wire.send(post(CHAT, chat("huge"), OPENAI))
            wire.read_until(b"\r\n\r\n")
            gateway.signal(signal.SIGTERM)
            eventually(lambda: refuses_connections(gateway.port), 3, "the drain has begun")
            time.sleep(0.3)  # the client is slow: that is the test
            assert gateway.process.poll() is None, "the gateway did not wait for its client"
            wire.read_all()
            assert wire.whole
            assert wire.data.endswith(answer)
            stop(gateway, 5)
    events = recorded(gateway.confdir)
    assert by_model(events, "huge") == [EventKind.ADMITTED, EventKind.COMPLETED]
    assert events[-1].kind is EventKind.STOPPED


# -- reloading -----------------------------------------------------------------------------------------

CLOSED_POLICY = "version: 1\n"
"""Nobody is known, so nobody may speak."""

BROKEN = {
    "not YAML": f"version: 1\nidentity:\n\tunknown: {CANARY}\n",
    "unknown key": f"version: 1\nidentity:\n  unkown: {CANARY}\n",
    "wrong type": f"version: {CANARY}\n",
    "half written": OPEN_POLICY[:-10],
    "empty": "",
    "no policy": f"- {CANARY}\n",
    "binary": "\0\1\2\ufffe",
}


def reload(gateway: GatewayProcess, policy: str | None) -> EventKind:
    """Put a policy in place, ask for it, and return whether it was taken."""
    file = gateway.confdir.parent / "policy.yaml"
    kinds = (EventKind.POLICY_CHANGED, EventKind.POLICY_REJECTED)
    before = len(of_kind(recorded(gateway.confdir), *kinds))
    if policy is None:
        file.unlink()
    else:
        file.write_text(policy)
    gateway.signal(signal.SIGHUP)
    eventually(lambda: len(of_kind(recorded(gateway.confdir), *kinds)) > before, 20, "the policy was judged")
    return of_kind(recorded(gateway.confdir), *kinds)[-1].kind


def test_a_new_policy_serves_new_requests_and_the_old_one_ends_what_it_began(
    tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab) as gateway:
        streams = Streams(gateway, ["slow-200-begun-before"], "word " * 15)
        assert reload(gateway, CLOSED_POLICY) is EventKind.POLICY_CHANGED
        assert ask(gateway, "asked-after").status == 403
        assert not streams.wires["slow-200-begun-before"].ended, "the stream was too short for this test"
        streams.finish(30)
        assert FAREWELL in streams.wires["slow-200-begun-before"].data
        events = settled(gateway.confdir)
        old = of_kind(events, EventKind.STARTED)[0].policy_revision
        new = of_kind(events, EventKind.POLICY_CHANGED)[0].policy_revision
        assert old != new
        assert {e.policy_revision for e in events if e.model == "slow-200-begun-before"} == {old}
        assert {e.policy_revision for e in events if e.model == "asked-after"} == {new}
        assert_sound(events)


def test_a_limit_that_counts_something_else_under_its_old_id_is_told_at_reload_and_at_start(
    tmp_path: Path, lab: Lab
) -> None:
    """Its counters hold tokens: as requests they are far too many, and everybody is refused for a month."""
    limit = "limits:\n  rules:\n    - {{id: month, measure: {}, limit: 100000, per: month}}\n"
    told = b"the limit month counts something else than in the policy before"

    def policy(measure: str) -> str:
        return f"{OPEN_POLICY}\n{limit.format(measure)}"

    with running(tmp_path, lab, policy=policy("total_tokens")) as gateway:
        assert reload(gateway, policy("total_tokens") + "mode: enforce\n") is EventKind.POLICY_CHANGED
        assert reload(gateway, policy("bytes").replace("month, m", "day, m")) is EventKind.POLICY_CHANGED
        assert reload(gateway, policy("total_tokens")) is EventKind.POLICY_CHANGED
        assert told not in gateway.log.read_bytes()
        assert reload(gateway, policy("requests")) is EventKind.POLICY_CHANGED
        assert gateway.log.read_bytes().count(told) == 1
    with running(tmp_path, lab, policy=policy("bytes")) as gateway:
        assert told in gateway.log.read_bytes()


def test_a_broken_policy_leaves_the_old_one_in_force_and_says_where_it_is_broken(
    tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab) as gateway:
        for name, text in BROKEN.items():
            said = gateway.log.stat().st_size
            assert reload(gateway, text) is EventKind.POLICY_REJECTED, name
            message = gateway.log.read_text()[said:]
            assert "the old policy stays in force" in message, name
            assert str(tmp_path / "policy.yaml") in message, name
            assert "internal" not in message, name
            if name not in {"binary", "empty"}:
                assert f"{tmp_path / 'policy.yaml'}:" in message, name
        assert reload(gateway, None) is EventKind.POLICY_REJECTED
        os.mkfifo(tmp_path / "policy.yaml")
        gateway.signal(signal.SIGHUP)
        eventually(lambda: "a pipe or a device, and no file" in gateway.log.read_text(), 10, "it is refused")
        (tmp_path / "policy.yaml").unlink()
        assert ask(gateway, "still-open").status == 200
        assert reload(gateway, OPEN_POLICY) is EventKind.POLICY_CHANGED
        events = settled(gateway.confdir)
        assert len({e.policy_revision for e in events}) == 1
        assert_clean(gateway)


def test_no_request_fails_or_lacks_a_policy_while_policies_come_and_go(tmp_path: Path, lab: Lab) -> None:
    policies = [OPEN_POLICY + f"transport:\n  drain_s: {seconds}\n" for seconds in (20, 21)]
    with running(tmp_path, lab) as gateway, Load(gateway, "reloaded", clients=2) as load:
        for number in range(20):
            if number % 4 == 0:
                assert reload(gateway, policies[number // 4 % 2]) is EventKind.POLICY_CHANGED
            else:
                assert reload(gateway, [*BROKEN.values()][number % len(BROKEN)]) is EventKind.POLICY_REJECTED
        eventually(lambda: load.answered > 20, 20, "requests were answered")
    assert {talk.status for talk in load.talks.values()} == {200}
    events = settled(gateway.confdir)
    assert_sound(events)
    changed = [e.policy_revision for e in of_kind(events, EventKind.POLICY_CHANGED)]
    assert len(changed) == 5
    assert len(set(changed)) == 2
    known = {*changed, of_kind(events, EventKind.STARTED)[0].policy_revision}
    assert {e.policy_revision for e in events} == known
    seen = [r for r in lab.requests if '"model": "reloaded-' in r.text]
    assert len(seen) == len(load.talks)


def test_the_last_of_several_policies_asked_for_at_once_is_in_force(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab) as gateway:
        file = tmp_path / "policy.yaml"
        for text in (OPEN_POLICY, OPEN_POLICY + "transport:\n  drain_s: 5\n", CLOSED_POLICY):
            file.write_text(text)
            gateway.signal(signal.SIGHUP)
        eventually(lambda: ask(gateway, "closed-yet").status == 403, 20, "the last policy is in force")
        for _ in range(20):
            assert ask(gateway, "closed-still").status == 403
        eventually(
            lambda: len(by_model(recorded(gateway.confdir), "closed-still")) == 20, 5, "all is recorded"
        )
        events = recorded(gateway.confdir)
        changed = of_kind(events, EventKind.POLICY_CHANGED)
        assert 0 < len(changed) <= 3
        assert {e.policy_revision for e in events if e.model == "closed-still"} == {
            changed[-1].policy_revision
        }


# -- starting with something wrong ---------------------------------------------------------------------


def run(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run `sallyport run` with arguments that must not work; return its exit code and what it said."""
    given = {a.partition("=")[0] for a in arguments}
    defaults = {"--policy": str(tmp_path / "good.yaml"), "--confdir": str(tmp_path / "conf"),
                "--listen": "explicit@127.0.0.1:0"}  # fmt: skip
    (tmp_path / "good.yaml").write_text(OPEN_POLICY)
    words = [*arguments, *(f"{k}={v}" for k, v in defaults.items() if k not in given)]
    process = Forked(["run", *words], tmp_path / "said")
    try:
        return process.wait(30), (tmp_path / "said").read_text()
    finally:
        process.kill()


def file_of(folder: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def taken_port(folder: Path) -> str:
    sock = socket.create_server(("127.0.0.1", 0))
    _HELD.append(sock)
    return f"--listen=explicit@127.0.0.1:{sock.getsockname()[1]}"


_HELD: list[socket.socket] = []

type Make = Callable[[Path], str]


def client_ca(folder: Path, content: str | None) -> Path:
    """A policy that names a file of client authorities, and the file."""
    if content is not None:
        file_of(folder, "clients.pem", content)
    return file_of(folder, "c.yaml", "version: 1\nidentity:\n  certificates: {ca: clients.pem}\n")


MISTAKES: list[tuple[str, Make, int, str]] = [
    ("no policy file", lambda t: f"--policy={t}/none.yaml", 2, "none.yaml"),
    ("policy is a folder", lambda t: f"--policy={t}", 2, ""),
    ("bad yaml", lambda t: f"--policy={file_of(t, 'p.yaml', BROKEN['not YAML'])}", 2, "p.yaml:3"),
    ("unknown key", lambda t: f"--policy={file_of(t, 'p.yaml', BROKEN['unknown key'])}", 2, "p.yaml:3"),
    ("binary policy", lambda t: f"--policy={file_of(t, 'p.yaml', bytes(range(256)))}", 2, "p.yaml"),
    ("unknown mode", lambda t: "--mode=lenient", 2, "--mode"),
    ("unknown option", lambda t: "--no-guards", 2, "--no-guards"),
    ("bad connect-to", lambda t: "--connect-to=api.openai.com:443", 2, "--connect-to"),
    ("connect-to with a bad port", lambda t: "--connect-to=a.example:443:b.example:99999", 2, "--connect-to"),
    ("raw mode", lambda t: "--listen=socks5@1080", 2, "--listen"),
    ("listen without a port", lambda t: "--listen=explicit@web", 2, "--listen"),
    ("listen beyond the ports", lambda t: "--listen=explicit@99999", 2, "--listen"),
    ("port taken", taken_port, 3, "--listen explicit@"),
    ("foreign address", lambda t: "--listen=explicit@192.0.2.1:3128", 3, "--listen"),
    ("no upstream ca", lambda t: f"--upstream-ca={t}/none.pem", 2, "--upstream-ca"),
    ("upstream ca is none", lambda t: f"--upstream-ca={file_of(t, 'c.pem', CANARY)}", 2, "--upstream-ca"),
    ("empty upstream ca", lambda t: f"--upstream-ca={file_of(t, 'c.pem', '')}", 2, "--upstream-ca"),
    ("client ca is none", lambda t: f"--policy={client_ca(t, CANARY)}", 2, "clients.pem"),
    ("client ca is not there", lambda t: f"--policy={client_ca(t, None)}", 2, "c.yaml:3"),
    ("confdir under a file", lambda t: f"--confdir={file_of(t, 'f', 'x')}/conf", 3, "/f"),
    ("confdir in proc", lambda t: "--confdir=/proc/none/conf", 3, "/proc/none"),
    ("confdir is a file", lambda t: f"--confdir={file_of(t, 'f', 'x')}", 3, "/f"),
    ("store of no kind", lambda t: "--store=oracle://someone@there/x", 2, "audit store"),
    ("store is no url", lambda t: "--store=://", 2, "audit store"),
    ("store in memory", lambda t: "--store=sqlite:///:memory:", 2, "audit store"),
    ("store not reachable", lambda t: f"--store=postgresql://u@/x?host={t}", 3, "audit store"),
    ("store is no database", lambda t: f"--store={file_of(t, 's.db', CANARY * 99)}", 3, "audit store"),
    ("damaged key", lambda t: f"--confdir={file_of(t, 'k/gateway.key', 'x').parent}", 3, "gateway.key"),
    ("damaged ca", lambda t: f"--confdir={file_of(t, 'k/mitmproxy-ca.pem', CANARY).parent}", 2, "mitmproxy-ca.pem"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "code", "where"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_at_the_start_is_told_with_its_place_and_cure(
    tmp_path: Path, make: Make, code: int, where: str
) -> None:
    exit_code, said = run(tmp_path, make(tmp_path))
    assert exit_code == code, said
    assert where in said
    assert "Traceback" not in said
    assert "internal error" not in said
    assert CANARY not in said
    assert 20 < len(said) < 1000


def test_the_end_of_the_authority_stands_in_a_file_of_metrics(tmp_path: Path) -> None:
    with running(tmp_path, None) as gateway:
        metrics = gateway.confdir / "ca.prom"
        eventually(metrics.exists, 10, "the metrics")
        end = load_ca(gateway.confdir).not_after
        assert metrics.read_text().endswith(f"}} {end.timestamp():.0f}\n")


def test_a_folder_nobody_may_write_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    # Root may write everywhere but where the kernel itself says no.
    locked = "/proc" if os.geteuid() == 0 else f"{tmp_path}/locked"
    exit_code, said = run(tmp_path, f"--confdir={locked}/conf")
    assert exit_code == 3
    assert "Traceback" not in said


# -- file descriptors ----------------------------------------------------------------------------------


def test_without_a_descriptor_left_the_gateway_says_so_serves_what_it_has_and_recovers(
    lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path, lab) as gateway:
        served, idle = Wire.open(gateway), Wire.open(gateway)

        def asked(wire: Wire, model: str) -> int:
            wire.data.clear()
            wire.send(post(CHAT, chat(model), OPENAI))
            wire.read_all()
            return wire.status

        assert asked(served, "before") == 200
        pid, few = gateway.process.pid, 8
        taken = len(os.listdir(f"/proc/{pid}/fd"))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (taken + few, hard))
        crowd = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(40)]
        eventually(lambda: b"OSError EMFILE" in gateway.log.read_bytes(), 5, "the log names the cause")
        assert b"LimitNOFILE" in gateway.log.read_bytes()
        assert asked(served, "during") == 200
        assert asked(idle, "unreached") == 502
        assert b"can open no more connections" in idle.data
        eventually(lambda: b"(again " in gateway.log.read_bytes(), 5, "repeats are counted")
        assert len(gateway.log.read_text().splitlines()) < 40
        for sock in crowd:
            sock.close()
        eventually(lambda: ask(gateway, "after").status == 200, 10, "new connections are taken")
        events = settled(gateway.confdir)
        unreached = [e for e in events if e.model == "unreached"]
        assert unreached[-1].detail == "upstream.unreachable.descriptors"
        assert_sound(events)
        assert_clean(gateway)


@pytest.mark.parametrize(("hard", "warns"), [(700, True), (5000, False)])
def test_a_start_takes_the_descriptors_that_it_may_have_and_warns_of_few(hard: int, warns: bool) -> None:
    few = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (600, {hard}))"
    said = command("run", "--upstream-ca", "/nowhere", first=few)
    assert "there is no such file" in said.stderr
    assert ("only 700 files and connections may be open" in said.stderr) is warns
    assert ("LimitNOFILE" in said.stderr) is warns
