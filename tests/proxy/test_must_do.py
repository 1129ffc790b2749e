"""The twelve holes of stock mitmproxy 12.2.3 that make it unfit as a gate: open there, closed here.

Each row is probed at both. The stock half is the control: were a guard taken out, its row would look like it.
Rows 6 and 8 and the first half of row 4 need a redirect: tests/proxy/test_transport_namespaces.py.
"""

import contextlib
import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import rawclient
from gateways import OPEN_POLICY, InnerGateway, gateway_process, lab_in_thread
from proxy.attempts import GROUPS
from proxy.conftest import inner_gateway_in_thread
from proxy.door import AI, CHAT, LEAK, Door, call, client_hello, inside
from proxy.stock import SCANNER, Stock, reached, stock_mitmdump
from proxy.test_transport import DOC, LeakDetector, passed, written_to
from rawclient import Talk, post, read_answer
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab
from sallyport.proxy.stream import Step
from sallyport.proxy.tap import AnswerTap

HOOKS = (
    "client_connected", "next_layer", "tls_clienthello", "tls_start_client", "server_connect",
    "requestheaders", "request", "responseheaders", "response",
)  # fmt: skip

RAISER = """
from pathlib import Path

ORDERS = Path({orders!r})

def raiser(name):
    def hook(data):
        if ORDERS.exists() and ORDERS.read_text() == {place!r} + name:
            raise RuntimeError("sabotage")
    return hook

for _name in {hooks!r}:
    globals()[_name] = raiser(_name)
"""
"""A neighbour that raises in the hook named in a file. One text for both sides."""

CRASHER = """
from mitmproxy import http

def requestheaders(flow):
    if flow.request.headers.get("x-note") == "crash":
        flow.request.stream = True
        flow.response = http.Response.make(200, b"")
"""
"""A neighbour that brings mitmproxy's own state machine down."""

EXACT_NAMES = """
def tls_clienthello(data):
    if data.client_hello.sni != "api.openai.com":
        data.ignore_connection = True
"""

HOLDS_BACK = """
def responseheaders(flow):
    if flow.response.headers.get("content-type", "").startswith("text/event-stream"):
        held = []
        def hold(data):
            held.append(data)
            if len(held) == 2:
                return b""
            return b"".join(held[-2:]) if len(held) == 3 else data
        flow.response.stream = hold
"""
"""Holds the second piece of a stream back and sends it with the third, as a filter may have to."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def stock(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    folder = tmp_path_factory.mktemp("stock")
    scripts = {
        "raiser": RAISER.format(orders=str(folder / "orders"), hooks=HOOKS, place=""),
        "scanner": SCANNER,
        "crasher": CRASHER,
        "holds_back": HOLDS_BACK,
    }
    with stock_mitmdump(folder, lab, scripts=scripts, patience_s=2) as running:
        yield running


class Ours:
    """Our gateway with the same neighbours, which stand before and behind it."""

    def __init__(self, gateway: InnerGateway, folder: Path) -> None:
        self.gateway = gateway
        self.orders = folder / "orders"
        self.log = folder / "gateway.log"
        explicit, reverse = gateway.master.ports.values()
        self.door = Door(explicit, reverse, gateway.confdir / "ca-cert.pem", 1, patience_s=2)

    @property
    def lab(self) -> Lab:
        return self.gateway.lab


@pytest.fixture(scope="module")
def ours(folder: Path) -> Iterator[Ours]:
    def add_neighbours(master: Any) -> None:
        orders = str(folder / "orders")
        chain = master.addons.chain
        before, behind = (RAISER.format(orders=orders, hooks=HOOKS, place=p) for p in ("before ", "behind "))
        for at, script in ((1, before), (len(chain) + 1, behind), (len(chain) + 2, CRASHER)):
            chain.insert(at, master.addons.register(namespace(script)))
        master.addons._hooks.clear()

    modes = ("regular@127.0.0.1:0", f"reverse:https://{AI}@127.0.0.1:0")
    with inner_gateway_in_thread(
        folder, detector=LeakDetector(), modes=modes, change=add_neighbours
    ) as gateway:
        running = Ours(gateway, folder)
        with written_to(running.log):
            yield running


def namespace(script: str) -> SimpleNamespace:
    names: dict[str, Any] = {}
    exec(script, names)
    return SimpleNamespace(**{k: v for k, v in names.items() if callable(v)}, name=f"neighbour-{id(names)}")


@contextlib.contextmanager
def raising(orders: Path, hook: str) -> Iterator[None]:
    orders.write_text(hook)
    try:
        yield
    finally:
        orders.unlink()


def orders_of(stock: Stock) -> Path:
    return stock.log.parent / "orders"


# -- 1, 2: exceptions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("hook", HOOKS)
def test_row_1_an_exception_in_a_hook(stock: Stock, lab: Lab, ours: Ours, hook: str, place: str) -> None:
    lab.forget()
    with raising(orders_of(stock), hook):
        assert inside(call)(stock.door, "MARK").status == 200, "control"
    ours.lab.forget()
    with raising(ours.orders, f"{place} {hook}"):
        answer = inside(call)(ours.door, "MARK")
    assert answer.status != 200 or not answer.body
    if hook not in {"responseheaders", "response"}:
        assert ours.lab.requests == []
        assert all(c.clear_bytes == 0 for c in ours.lab.connections)
    assert inside(call)(ours.door, "MARK").status == 200


def test_row_2_an_exception_silences_no_sibling(stock: Stock, lab: Lab, ours: Ours) -> None:
    bad = inside(lambda mark: call(mark, text=LEAK))
    assert bad(stock.door, "MARK").status == 403
    lab.forget()
    with raising(orders_of(stock), "request"):
        assert bad(stock.door, "MARK").status == 200, "control"
    assert reached(lab, "MARK")
    ours.lab.forget()
    since = len(ours.gateway.audit.events)
    with raising(ours.orders, "before request"):
        assert bad(ours.door, "MARK").status in (400, 503)
    assert ours.lab.requests == []
    told = ours.gateway.audit.events[since:]
    assert [e.kind for e in told] == [EventKind.REFUSED], "the sibling still ran, and recorded"


# -- 3: hot reload -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["syntax error", "deleted"])
def test_row_3_a_spoilt_script_control(lab: Lab, tmp_path: Path, spoil: str) -> None:
    """Ours: test_scripted.py, on the same mitmdump. This half shows that stock forgets its scanner."""
    bad = inside(lambda mark: call(mark, text=LEAK))
    with stock_mitmdump(tmp_path, lab) as running:
        assert bad(running.door, "MARK").status == 403
        script = running.scripts["scanner"]
        if spoil == "deleted":
            script.unlink()
        else:
            script.write_text("def broken(:\n")
        deadline = time.monotonic() + 20
        while (status := bad(running.door, "MARK").status) == 403 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert status == 200


def test_row_3_our_own_host_reads_no_script_and_no_configuration(lab: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home" / ".mitmproxy"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text("ignore_hosts: ['.*']\nssl_insecure: true\nscripts: [/nowhere.py]\n")
    with gateway_process(tmp_path / "gateway", lab, env={"HOME": str(home.parent)}) as running:
        lab.forget()
        refused = rawclient.ask(
            running.port, running.confdir / "ca-cert.pem", AI, call("MARK", path="/v1/threads")
        )
        assert refused.status == 403
        assert lab.requests == []


# -- 4, 5: first bytes and names -----------------------------------------------------------------------

ROW_4 = ("first-record-1-byte", "first-record-2-bytes", "leading-crlf-in-tls")


@pytest.mark.parametrize("name", ROW_4)
def test_row_4_short_first_bytes(stock: Stock, lab: Lab, ours: Ours, name: str) -> None:
    tried = attempt(name)
    assert passed(stock.door, lab, tried), "control"
    assert not passed(ours.door, ours.lab, tried)
    assert ours.lab.connections == []


@pytest.mark.parametrize("name", ["API.OpenAI.com", "api.openai.com."])
def test_row_5_the_spelling_of_a_name(lab: Lab, ours: Ours, tmp_path: Path, name: str) -> None:
    scripts = {"exact_names": EXACT_NAMES, "scanner": SCANNER}
    bad = inside(lambda mark: call(mark, text=LEAK), sni=name)
    with stock_mitmdump(tmp_path, lab, scripts=scripts) as running:
        lab.forget()
        assert inside(lambda mark: call(mark, text=LEAK))(running.door, "MARK").status == 403
        outside = Door(running.door.port, 0, lab.ca.certificate, lab.port)
        assert bad(outside, "MARK").status == 200, "control"
        assert reached(lab, "MARK")
    ours.lab.forget()
    assert bad(ours.door, "MARK").status == 400
    assert ours.lab.connections == []


def attempt(name: str) -> Any:
    return next(a for group in GROUPS.values() for a in group if a.id == name)


# -- 7: empty chunks -----------------------------------------------------------------------------------

STREAM = json.dumps(
    {"model": "slow-20", "stream": True, "messages": [{"role": "user", "content": "Hello you"}]}
).encode()


class Holder(AnswerTap):
    """Our tap, made to give an empty piece before and after every piece."""

    def feed(self, data: bytes) -> Step:
        step = super().feed(data)
        return Step([b"", *step.out, b""], step.finish)


def test_row_7_a_filter_that_holds_back(
    stock: Stock, lab: Lab, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = streamed(stock.door)
    assert cut.status == 200
    assert b"[DONE]" not in cut.body.partition(b"\r\n0\r\n")[0], "control"
    monkeypatch.setattr("sallyport.proxy.streamed.AnswerTap", Holder)
    whole = streamed(ours.door)
    assert whole.status == 200
    assert whole.body.count(b"\r\n0\r\n\r\n") == 1
    assert b"[DONE]" in whole.body.partition(b"\r\n0\r\n")[0]


def streamed(door: Door) -> Talk:
    with door.tls() as sock:
        sock.sendall(post(CHAT, STREAM, AI))
        return read_answer(sock, timeout=3)


# -- 9, 10: what is scanned, what is logged ------------------------------------------------------------


@pytest.mark.parametrize("name", ["gzip-second-member", "gzip-trailing-bytes"])
def test_row_9_what_was_not_scanned_does_not_leave(stock: Stock, lab: Lab, ours: Ours, name: str) -> None:
    tried = attempt(name)
    assert passed(stock.door, lab, tried), "control"
    assert not passed(ours.door, ours.lab, tried)
    assert ours.lab.connections == []


def test_row_10_a_crash_quotes_no_body(stock: Stock, ours: Ours) -> None:
    crash = inside(lambda mark: call(mark, "X-Note: crash"), wait_s=0.5)
    crash(stock.door, "CANARY-crash")
    deadline = time.monotonic() + 5
    while "CANARY-crash" not in stock.said() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "crashed" in stock.said(), "control"
    assert "CANARY-crash" in stock.said(), "control"
    ours.lab.forget()
    before = ours.log.read_text().count("ERROR mitmproxy server:")
    crash(ours.door, "CANARY-crash")
    assert inside(call)(ours.door, "MARK").status == 200
    log = ours.log.read_text()
    assert log.count("ERROR mitmproxy server:") > before, "it crashed here too"
    assert "CANARY-crash" not in log
    assert not reached(ours.lab, "CANARY-crash")


# -- 11: client certificates ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def badges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities of client certificates, ours and a stranger's, and a certificate of each."""
    folder = tmp_path_factory.mktemp("badges")
    for name in ("ours", "strange"):
        openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-days", "2", "-subj", f"/CN={name}",
                "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
        openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}-client")  # fmt: skip
        (folder / "client.ext").write_text("extendedKeyUsage=clientAuth\n")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key",
                "-out", f"{name}.crt", "-days", "2", "-extfile", "client.ext")  # fmt: skip
        (folder / f"{name}.pem").write_bytes(
            (folder / f"{name}.key").read_bytes() + (folder / f"{name}.crt").read_bytes()
        )
    return folder


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def shown(door: Door, badge: Path | None, version: ssl.TLSVersion, *, times: int = 1) -> list[int]:
    """Call with a client certificate, each time after the first resuming the session; status 0 where TLS fails."""
    context = ssl.create_default_context(cafile=str(door.ca))
    context.minimum_version = context.maximum_version = version
    if badge is not None:
        context.load_cert_chain(badge)
    statuses, session = [], None
    for _ in range(times):
        try:
            with context.wrap_socket(door.tunnel(), server_hostname=AI, session=session) as sock:
                sock.sendall(call("MARK"))
                statuses.append(read_answer(sock).status)
                session = sock.session
        except OSError:
            statuses.append(0)
    return statuses


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def test_row_11_client_certificates_are_verified_and_clients_may_come_again(
    lab: Lab, badges: Path, tmp_path: Path
) -> None:
    ours, strange = badges / "ours.pem", badges / "strange.pem"
    with stock_mitmdump(tmp_path / "stock", lab, options=["request_client_cert=true"]) as running:
        for version in VERSIONS:
            assert shown(running.door, None, version) == [200], "control: nobody is asked in earnest"
            assert shown(running.door, strange, version) == [200], "control: any certificate does"
        resumed = [shown(running.door, ours, version, times=2) for version in VERSIONS]
        assert [200, 0] in resumed, "control: a client that comes again is broken"
    policy = f"{OPEN_POLICY}  certificates: {{ca: '{badges}/ours-ca.pem', required: true, kinds: [cn]}}\n"
    policy += "  certificate_owners: {unlisted: allow}\n"
    with gateway_process(tmp_path / "ours", lab, policy=policy) as running:
        door = Door(running.port, 0, running.confdir / "ca-cert.pem", 1)
        for version in VERSIONS:
            lab.forget()
            assert shown(door, None, version) == [0]
            assert shown(door, strange, version) == [0]
            assert lab.connections == []
            assert shown(door, ours, version, times=3) == [200, 200, 200]
        refused = {e["detail"] for e in running.events() if e["kind"] == "connection_refused"}
        assert refused == {"certificate_missing", "certificate_foreign"}


# -- 12: TLS versions ----------------------------------------------------------------------------------


def test_row_12_the_tls_versions_can_be_set(lab: Lab, ours: Ours, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="Error"),
        stock_mitmdump(tmp_path, lab, options=["tls_version_client_min=TLS1_2"]),
    ):
        pass
    options = ours.gateway.master.options
    assert (options.tls_version_client_min, options.tls_version_server_min) == ("TLS1_2", "TLS1_2")
    with ours.door.tunnel() as raw:
        raw.sendall(old_hello())
        assert raw.recv(100)[:1] in (b"\x15", b""), "an alert, or the end"


def old_hello() -> bytes:
    """The ClientHello of a client that knows TLS 1.1 and nothing later."""
    record = client_hello([AI.encode()])
    return record[:9] + b"\x03\x02" + record[11:]


# -- the page ------------------------------------------------------------------------------------------


def test_the_page_lists_the_twelve_rows_and_where_each_is_tested() -> None:
    here = Path(__file__).parent
    tests = {
        n: (here / n).read_text()
        for n in ("test_must_do.py", "test_scripted.py", "test_transport_namespaces.py")
    }
    found = re.findall(
        r"^\| (\d+) \| [^|]+ \| [^|]+ \| ((?:`[a-z_]+\.py::\w+`(?:, )?)+) \|$", DOC.read_text(), re.M
    )
    assert [int(number) for number, _ in found] == list(range(1, 13))
    for _, named in found:
        for file, function in re.findall(r"`([a-z_]+\.py)::(\w+)`", named):
            assert f"def {function}(" in tests[file], (file, function)
