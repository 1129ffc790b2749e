"""The log on its way out: nothing lost, whatever the receiver, the network or the process does."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ports import free_port
from receiver import receiving
from sallyport.audit.events import Event, EventKind
from sallyport.audit.forwarding import receivers
from sallyport.audit.forwarding.cursor import Cursor, behind
from sallyport.audit.forwarding.forwarder import Forwarder
from sallyport.audit.forwarding.receivers import Access, NotTaken, receiver
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.lab.authority import LabCa
from servers import missing


def fill(store: Store, count: int, gateway: str = "gw-1", tenant: str = "") -> list[str]:
    made = [Event(kind=EventKind.TUNNELLED, gateway=gateway, tenant=tenant) for _ in range(count)]
    store.write(made)
    return [event.id for event in made]


def forwarder(url: str, folder: Path, to: str, format: str = "jsonl", **more: object) -> Forwarder:
    cursor = Cursor(folder / "forward" / "x.json")
    return Forwarder(
        lambda: Store.open(url, create=False), receiver(to, format, Access(token="t")), cursor, **more
    )  # type: ignore[arg-type]


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_every_event_once_and_then_only_what_is_new(
    url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, out = open_store(url), tmp_path / "out.jsonl"
    first = fill(store, 7) + fill(store, 5, "gw-2")
    forwarder(url, tmp_path, f"file://{out}", batch=4).run(once=True)
    assert sorted(ids_in(out)) == sorted(first)
    second = fill(store, 3, "gw-2")
    forwarder(url, tmp_path, f"file://{out}").run(once=True)
    assert sorted(ids_in(out)) == sorted(first + second)


def test_one_gateway_s_order_is_kept_and_none_waits_for_another(
    sqlite_url: str, open_store: Callable[[str], Store]
) -> None:
    store = open_store(sqlite_url)
    busy, quiet = fill(store, 50, "a"), fill(store, 2, "z")
    found = behind(store, {}, 10)
    assert [e.id for e, _ in found if e.gateway == "z"] == quiet
    assert [e.id for e, _ in found if e.gateway == "a"] == busy[:5]


def test_a_tenant_s_receiver_gets_no_other_tenant_s(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, out = open_store(sqlite_url), tmp_path / "out.jsonl"
    fill(store, 3, tenant="b")
    mine = fill(store, 2, tenant="a")
    forwarder(sqlite_url, tmp_path, f"file://{out}", tenant="a").run(once=True)
    assert ids_in(out) == mine


def test_a_receiver_that_is_full_gets_all_when_it_is_not(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    wanted = fill(open_store(sqlite_url), 5)
    told: list[str] = []
    with receiving([503, 429]) as hec:
        sending = forwarder(sqlite_url, tmp_path, f"hec+http://127.0.0.1:{hec.port}", "ecs", tell=told.append)
        thread = threading.Thread(target=sending.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 30
        while sending.sent < 5:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        sending.stopping.set()
        thread.join(10)
    entries = [json.loads(line) for line in hec.calls[-1][1].splitlines()]
    assert [entry["event"]["event"]["id"] for entry in entries] == wanted
    assert len(hec.calls) == 3
    assert [text.partition(";")[0] for text in told] == ["it answers with status 503", "it works again"]


def test_once_says_that_it_was_not_taken_and_keeps_the_place(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 2)
    with receiving([400]) as hec, pytest.raises(OperatorError, match="status 400"):
        forwarder(sqlite_url, tmp_path, f"hec+http://127.0.0.1:{hec.port}").run(once=True)
    assert Cursor(tmp_path / "forward" / "x.json").read() is None


def test_otlp_and_its_token(sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path) -> None:
    fill(open_store(sqlite_url), 2)
    with receiving() as collector:
        to = f"otlp+http://127.0.0.1:{collector.port}"
        access = Access(token="secret-token")
        cursor = Cursor(tmp_path / "c.json")
        Forwarder(lambda: Store.open(sqlite_url, create=False), receiver(to, "otlp", access), cursor).run(
            once=True
        )
    headers, body = collector.calls[0]
    assert headers["authorization"] == "Bearer secret-token"
    assert len(json.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"]) == 2
    assert "secret-token" not in repr(access)


def test_a_process_that_is_killed_again_and_again_loses_nothing(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, out = open_store(sqlite_url), tmp_path / "out.jsonl"
    wanted = fill(store, 3000)
    chosen = random.Random(5)
    program = (
        "import sys; from pathlib import Path; from sallyport.audit.store import Store\n"
        "from sallyport.audit.forwarding.cursor import Cursor\n"
        "from sallyport.audit.forwarding.forwarder import Forwarder\n"
        "from sallyport.audit.forwarding.receivers import Access, receiver\n"
        "url, to, at = sys.argv[1:]\n"
        "print('ready', flush=True)\n"
        "Forwarder(lambda: Store.open(url, create=False), receiver(to, 'jsonl', Access()), Cursor(Path(at)),\n"
        "    batch=20).run(once=True)\n"
    )
    words = [sys.executable, "-c", program, sqlite_url, f"file://{out}", str(tmp_path / "c.json")]
    for _ in range(8):
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": sys_path()}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chosen.uniform(0.02, 0.15))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    subprocess.run(
        words, check=True, timeout=60, env={**os.environ, "PYTHONPATH": sys_path()}, capture_output=True
    )
    whole = []
    for line in out.read_text().splitlines():
        try:
            whole.append(json.loads(line)["id"])
        except ValueError:
            continue  # cut off by a kill; the event came again
    assert set(whole) == set(wanted)


def sys_path() -> str:
    return os.pathsep.join(path for path in sys.path if path)


@pytest.mark.parametrize(
    ("to", "format"),
    [
        ("ftp://x", "jsonl"),
        ("syslog+tcp://", "jsonl"),
        ("syslog+tcp://h:99999", "jsonl"),
        ("syslog+tcp://[::1", "jsonl"),
        ("hec+http://splunk.example.com:8088", "jsonl"),
        ("hec+https://user:password@h", "jsonl"),
        ("otlp+https://h", "cef"),
        ("syslog+tls://h", "otlp"),
        ("file:///", "jsonl"),
    ],
)
def test_an_address_that_is_none_is_told(to: str, format: str) -> None:
    with pytest.raises(OperatorError, match=r"--to|--format") as caught:
        receiver(to, format, Access(token="t"))
    assert "password" not in str(caught.value)


# -- a real syslog -----------------------------------------------------------------------------------------


@contextmanager
def rsyslog(folder: Path, port: int, ca: LabCa | None = None) -> Iterator[Path]:
    """Run rsyslogd; yield the file that it writes messages to."""
    binary = shutil.which("rsyslogd") or "/usr/sbin/rsyslogd"
    if not Path(binary).exists():
        missing("rsyslog (apt-get install rsyslog rsyslog-gnutls)")
    out, work = folder / "messages", folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    driver = ""
    stream = ""
    if ca is not None:
        pem = folder / "server.pem"
        leaf = ca._leaf("localhost")
        from cryptography.hazmat.primitives import serialization

        key = ca._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        (folder / "server-key.pem").write_bytes(key)
        driver = (
            f'global(DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{ca.certificate}"\n'
            f'  DefaultNetstreamDriverCertFile="{pem}" DefaultNetstreamDriverKeyFile="{folder}/server-key.pem")\n'
        )
        stream = ' StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
    config = folder / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{work}" maxMessageSize="64k")\n{driver}'
        f'module(load="imtcp"{stream})\n'
        'template(name="whole" type="string" string="%msg%\\n")\n'
        'ruleset(name="in") { action(type="omfile" file="' + str(out) + '" template="whole") }\n'
        f'input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="in")\n'
    )
    process = subprocess.Popen(
        [binary, "-n", "-f", str(config), "-i", str(folder / "pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "rsyslogd did not start"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield out
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("over", ["tcp", "tls"])
def test_a_real_syslog_gets_every_event_over_a_restart(
    over: str, sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, port = open_store(sqlite_url), free_port()
    ca = LabCa(tmp_path / "ca") if over == "tls" else None
    access = Access(ca=ca.certificate if ca else None)
    sending = Forwarder(
        lambda: Store.open(sqlite_url, create=False),
        receiver(f"syslog+{over}://localhost:{port}", "cef", access),
        Cursor(tmp_path / "c.json"),
        batch=50,
    )
    wanted = fill(store, 120)
    thread = threading.Thread(target=sending.run, daemon=True)
    with rsyslog(tmp_path / "one", port, ca) as out:
        thread.start()
        until(lambda: sending.sent >= 120)
    wanted += fill(store, 80)
    time.sleep(1.5)
    with rsyslog(tmp_path / "two", port, ca) as later:
        until(lambda: sending.sent >= 200)
        sending.stopping.set()
        thread.join(20)
    text = out.read_text() + later.read_text()
    assert [event for event in wanted if f"externalId={event} " not in text] == []


def test_a_syslog_with_another_s_certificate_gets_nothing(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 3)
    port, theirs, trusted = free_port(), LabCa(tmp_path / "theirs"), LabCa(tmp_path / "trusted")
    with rsyslog(tmp_path / "one", port, theirs) as out:
        to = receiver(f"syslog+tls://localhost:{port}", "cef", Access(ca=trusted.certificate))
        with pytest.raises(NotTaken):
            to.send([Event(kind=EventKind.STARTED, gateway="gw")])
    assert not out.exists() or out.read_text() == ""


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- the command -------------------------------------------------------------------------------------------


def test_the_command(sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path) -> None:
    wanted = fill(open_store(sqlite_url), 4)
    words = ["audit", "forward", "siem", "--to", "-", "--once", "--store", sqlite_url]
    words += ["--confdir", str(tmp_path / "conf")]
    out = tmp_path / "o"
    words[words.index("-")] = f"file://{out}"
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert (done.exit_code, done.stderr) == (0, "siem: 4 events sent.\n")
    assert ids_in(out) == wanted
    again = CliRunner().invoke(app, words, catch_exceptions=False)
    assert again.stderr == "siem: 0 events sent.\n"
    (tmp_path / "conf" / "forward" / "siem.json").write_text("{")
    assert "siem.json" in str(CliRunner().invoke(app, words).exception)
    words[2] = "../siem"
    assert "NAME" in str(CliRunner().invoke(app, words).exception)


def test_a_file_that_is_rotated_away_gets_nothing_more(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    store, out, old = open_store(sqlite_url), tmp_path / "out.jsonl", tmp_path / "out.jsonl.1"
    taker = receiver(f"file://{out}", "jsonl", Access())
    events = [Event(kind=EventKind.TUNNELLED, gateway="gw-1") for _ in range(2)]
    store.write(events)
    taker.send(events[:1])
    out.rename(old)
    taker.send(events[1:])
    taker.close()
    assert (ids_in(old), ids_in(out)) == ([events[0].id], [events[1].id])


def test_what_was_taken_and_cannot_be_noted_is_noted_later_and_not_sent_again(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    """As with a full disk: a service that ended there would send its batch anew at each of its starts."""
    store, out, folder = open_store(sqlite_url), tmp_path / "out.jsonl", tmp_path / "forward"
    told: list[str] = []
    wanted = fill(store, 2)
    sending = forwarder(sqlite_url, tmp_path, f"file://{out}", tell=told.append)
    thread = threading.Thread(target=sending.run, daemon=True)
    thread.start()
    until(lambda: sending.cursor.read() == {"gw-1": 2})
    shutil.rmtree(folder)
    folder.write_text("no folder can be made here")
    wanted += fill(store, 3)
    until(lambda: told)
    folder.unlink()
    until(lambda: sending.cursor.read() == {"gw-1": 5})
    sending.stopping.set()
    thread.join(10)
    assert ids_in(out) == wanted
    assert [text.partition(";")[0].rpartition(": ")[2] for text in told] == [
        "how far the receiver has got cannot be noted (FileExistsError EEXIST). See who owns its folder",
        "it works again",
    ]


def test_a_place_that_cannot_be_noted_is_told_before_anything_is_sent(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 2)
    (tmp_path / "forward").write_text("no folder can be made here")
    out = tmp_path / "out.jsonl"
    words = ["audit", "forward", "x", "--to", f"file://{out}", "--once", "--store", sqlite_url]
    ran = CliRunner().invoke(app, [*words, "--confdir", str(tmp_path)])
    assert isinstance(ran.exception, OperatorError)
    assert ran.exception.exit_code == 3
    assert not out.exists()


def test_a_line_that_a_full_disk_cut_off_swallows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    taker = receiver(f"file://{out}", "jsonl", Access())
    events = [Event(kind=EventKind.TUNNELLED, gateway="gw-1") for _ in range(2)]
    write, room = os.write, [40]

    def into(handle: int, data: bytes) -> int:
        count = min(len(data), room[0])
        if not count:
            raise OSError(28, "No space left on device")
        room[0] -= count
        return write(handle, data[:count])

    monkeypatch.setattr(os, "write", into)
    with pytest.raises(NotTaken):
        taker.send(events)
    monkeypatch.undo()
    taker.send(events)
    taker.close()
    torn, *whole = out.read_text().splitlines()
    assert len(torn) == 40
    assert [json.loads(line)["id"] for line in whole] == [event.id for event in events]


class Collector(BaseHTTPRequestHandler):
    """Answers 200 to a batch of which it left events out."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = b'{"partialSuccess": {"rejectedLogRecords": "2", "errorMessage": "no"}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_collector_that_leaves_events_out_has_not_taken_them(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with pytest.raises(OperatorError, match="without 2 of its events"):
            forwarder(sqlite_url, tmp_path, f"otlp+http://127.0.0.1:{server.server_address[1]}", "otlp").run(
                once=True
            )
    finally:
        server.shutdown()
        server.server_close()
    assert Cursor(tmp_path / "forward" / "x.json").read() is None


def test_a_pipe_whose_reader_has_gone_ends_it(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 3)
    reading, writing = os.pipe()
    os.close(reading)
    words = ["audit", "forward", "x", "--to", "-", "--store", sqlite_url, "--confdir", str(tmp_path)]
    command = [sys.executable, "-P", "-m", "sallyport", *words]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (141, b"")
    assert Cursor(tmp_path / "forward" / "x.json").read() is None


class Talker(BaseHTTPRequestHandler):
    """Answers 200, and does not end."""

    pause_s = 0.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b" " * 65536)
                time.sleep(self.pause_s)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Dripper(Talker):
    pause_s = 0.1


@pytest.mark.parametrize("answering", [Talker, Dripper])
def test_an_answer_without_an_end_holds_up_nothing_and_fills_no_memory(
    answering: type[Talker],
    sqlite_url: str,
    open_store: Callable[[str], Store],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if answering is Dripper:
        monkeypatch.setattr(receivers, "TIMEOUT_S", 0.5)
    fill(open_store(sqlite_url), 3)
    server = ThreadingHTTPServer(("127.0.0.1", 0), answering)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        with pytest.raises(OperatorError, match="its answer does not end"):
            forwarder(sqlite_url, tmp_path, f"hec+http://127.0.0.1:{server.server_address[1]}").run(once=True)
    finally:
        server.shutdown()
        server.server_close()
    assert Cursor(tmp_path / "forward" / "x.json").read() is None


def test_another_store_under_the_same_name_is_not_passed_over(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path
) -> None:
    fill(open_store(sqlite_url), 3)
    Cursor(tmp_path / "forward" / "x.json").write({"gw-1": 5})
    out = tmp_path / "out.jsonl"
    with pytest.raises(OperatorError, match="it is another, or older"):
        forwarder(sqlite_url, tmp_path, f"file://{out}").run(once=True)
    Cursor(tmp_path / "forward" / "x.json").write({"gw-1": 3, "gone": 9})
    forwarder(sqlite_url, tmp_path, f"file://{out}").run(once=True)


def test_a_token_that_no_header_takes_is_told_and_not_shown(
    sqlite_url: str, open_store: Callable[[str], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(open_store(sqlite_url), 1)
    monkeypatch.setenv("SALLYPORT_FORWARD_TOKEN", "geheim-\u00fc")
    words = ["audit", "forward", "x", "--to", "hec+http://127.0.0.1:9", "--once", "--store", sqlite_url]
    done = CliRunner().invoke(app, [*words, "--confdir", str(tmp_path)])
    assert "no token can be read" in str(done.exception)
    assert "geheim" not in str(done.exception)
