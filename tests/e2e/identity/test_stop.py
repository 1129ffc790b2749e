"""Kill switches through two gateways of one store: what is stopped, what goes on, and answers in flight."""

import contextlib
import json
import shutil
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

import rawclient
from audit.conftest import postgres, postgres_url, sqlite_url, url  # noqa: F401
from e2e.counters import HEADER
from e2e.identity.commanding import WITHIN_S, client, pair, said, sallyport
from e2e.traffic import CHAT, OPENAI, Wire, chat, eventually, hang, of_kind, recorded, running, villain
from gateways import OTHER_HOST, GatewayProcess
from rawclient import post
from sallyport.audit.events import Event, EventKind
from sallyport.cli.last_run import remember
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab
from servers import Postgres

POLICY = f"""
version: 1
mode: observe
identity: {{header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}}}
access: {{unknown_endpoint: opaque}}
"""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

type Pair = list[GatewayProcess]


@pytest.fixture
def gateways(lab: Lab, tmp_path: Path, url: str) -> Iterator[Pair]:  # noqa: F811
    with pair(tmp_path, lab, url, POLICY) as running_pair:
        yield running_pair


@pytest.fixture
def do(gateways: Pair, url: str) -> Callable[..., str]:  # noqa: F811
    where = ("--store", url, "--confdir", str(gateways[0].confdir))
    return lambda *words: sallyport(*words, *where)


def everywhere(gateways: Pair, expected: str, user: str, model: str) -> None:
    for gateway in gateways:
        eventually(lambda g=gateway: said(g, user, model) == expected, WITHIN_S, expected or "it passes")


def test_each_kind_stops_what_it_names_on_every_gateway_although_the_policy_observes(
    gateways: Pair,
    do: Callable[..., str],
    url: str,  # noqa: F811
) -> None:
    assert said(gateways[0], "ann", "stp-one") == ""
    key = next(e.credential for e in recorded(url) if e.credential)
    for words, others in (
        (("principal", "ANN"), [("bob", "stp-one")]),
        (("model", "STP-One"), [("ann", "stp-two")]),
        (("key", key), []),
        (("tenant", "default"), []),
        (("provider", "openai"), []),
        (("everything",), []),
    ):
        id = do("stop", *words, "--reason", "drill").splitlines()[-1]
        everywhere(gateways, "access.stopped", "ann", "stp-one")
        assert [said(gateways[0], *other) for other in others] == [""] * len(others)
        assert id in do("stops")
        do("resume", id)
        everywhere(gateways, "", "ann", "stp-one")
    done = of_kind(recorded(url), EventKind.KILL_SWITCH)
    acts = [e.detail.partition(":")[0] for e in done]
    assert sorted(acts) == ["resumed"] * 6 + ["stopped"] * 6
    assert {e.reason for e in done if e.model} == {"access.stopped.model", "access.resumed.model"}
    assert "Nothing is stopped" in do("stops")
    kept = [json.loads(line) for line in do("stops", "--all", "--json").splitlines()]
    assert [(each["reason"], each["by"], each["resumed_by"]) for each in kept] == [
        ("drill", "bob", "bob")
    ] * 6
    assert do("stops", "--all").count(", resumed ") == 6


def test_a_name_that_nobody_knows_is_stopped_with_a_warning_and_a_known_one_without(
    gateways: Pair,
    do: Callable[..., str],
    url: str,  # noqa: F811
) -> None:
    assert said(gateways[0], "ann", "stp-known-2026-01-01") == ""
    eventually(lambda: any(e.model for e in recorded(url)), WITHIN_S, "the call is recorded")
    key = next(e.credential for e in recorded(url) if e.credential)
    known = (("model", "stp-KNOWN*"), ("principal", "Ann"), ("tenant", "default"), ("key", key))
    unknown = (("model", "stp-konwn"), ("principal", "anm"), ("tenant", "defalt"), ("key", "key_" + "0" * 24))
    for words in (*known, *unknown, unknown[0]):  # an earlier stop of the same name is no sighting of it
        shown = do("stop", *words, "--reason", "drill")
        id = shown.splitlines()[-1]
        assert shown.startswith(f"stopped {words[0]} ")
        assert f"({id}). Undo: sallyport resume {id}" in shown
        assert ("Never seen" in shown) is (words in unknown), shown
    assert "Did you mean default?" in do("stop", "tenant", "defaul", "--reason", "drill")


def test_a_key_itself_is_not_taken_for_its_name_and_is_written_nowhere(
    do: Callable[..., str],
    url: str,  # noqa: F811
) -> None:
    before = len(of_kind(recorded(url), EventKind.KILL_SWITCH))
    leaked = "sk-proj-" + "EXAMPLE" * 5
    with pytest.raises(OperatorError) as refused:
        do("stop", "key", leaked, "--reason", "leaked")
    assert "no fingerprint" in str(refused.value)
    assert "keys list" in str(refused.value)
    assert leaked not in str(refused.value)
    assert leaked not in do("stops", "--all")
    assert len(of_kind(recorded(url), EventKind.KILL_SWITCH)) == before


def test_a_folder_that_no_gateway_was_started_with_is_refused_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SALLYPORT_CONFDIR", raising=False)
    key = "key_0123456789abcdef01234567"
    acts = (
        ("stop", "everything", "--reason", "drill"),
        ("resume", "--all"),
        ("keys", "retire", key),
        ("keys", "claim", key, "--owner", "ann"),
        ("approvals", "revoke", "apr-x", "--reason", "r"),
    )
    preparing = (
        ("keys", "issue", "--provider", "openai", "--owner", "ann"),
        ("directory", "tenants", "add", "acme"),
        ("credentials", "add", "prod", "--provider", "openai", "--from-env", "X"),
    )
    for words in (*acts, *preparing):
        with pytest.raises(OperatorError, match="no gateway was started with this folder"):
            sallyport(*words)
    wrong = tmp_path / "wrong"
    for words in acts:
        with pytest.raises(OperatorError, match="no gateway was started with this folder"):
            sallyport(*words, "--confdir", str(wrong))
    assert not wrong.exists()
    assert not (tmp_path / "home").exists()
    for words in reversed(preparing):
        said_so = sallyport(*words, "--confdir", str(wrong))
        assert "Written to" in said_so
        assert str(wrong / "audit.db") in said_so


def test_a_gateway_whose_store_is_elsewhere_is_not_stopped_in_its_folder(tmp_path: Path) -> None:
    remember(tmp_path, "balanced")
    with pytest.raises(OperatorError, match="has its store elsewhere"):
        sallyport("stop", "everything", "--reason", "drill", "--confdir", str(tmp_path))
    assert not (tmp_path / "audit.db").exists()


def test_the_sdk_is_told_not_to_try_again(
    gateways: Pair,
    do: Callable[..., str],
    url: str,  # noqa: F811
) -> None:
    do("stop", "everything", "--reason", "drill")
    everywhere(gateways, "access.stopped", "ann", "stp-sdk")
    with pytest.raises(openai.PermissionDeniedError) as error:
        client(gateways[0], "ann").chat.completions.create(
            model="stp-sdk-last", messages=[{"role": "user", "content": "x"}]
        )
    assert error.value.response.headers["x-should-retry"] == "false"

    def ends() -> list[EventKind]:
        return [e.kind for e in recorded(url) if e.model == "stp-sdk-last"]

    eventually(ends, WITHIN_S, "the refusal is recorded")
    assert ends() == [EventKind.REFUSED]


def test_bodies_and_endpoints_that_nobody_reads_are_stopped_too(
    gateways: Pair, do: Callable[..., str], lab: Lab
) -> None:
    unreadable = post(CHAT, b'{"model": "stp-garbage", ', OPENAI, f"{HEADER}: ann")
    unknown = post("/v1/stp/unheard/of", b'{"x": "stp-unknown"}', OPENAI, f"{HEADER}: ann")
    ca = gateways[0].confdir / "ca-cert.pem"

    def statuses() -> list[int]:
        return [
            rawclient.ask(gateways[0].port, ca, OPENAI, data, timeout=10).status
            for data in (unreadable, unknown)
        ]

    before = statuses()
    assert 403 not in before
    for words in (("model", "some-other-model"), ("principal", "ann"), ("everything",)):
        id = do("stop", *words, "--reason", "drill").splitlines()[-1]
        eventually(lambda: statuses() == [403, 403], WITHIN_S, "both are stopped")
        do("resume", id)
        eventually(lambda: statuses() == before, WITHIN_S, "both pass")


@pytest.mark.parametrize("began", [True, False], ids=["in the middle", "before it began"])
def test_an_answer_in_flight_ends_in_the_words_of_its_dialect(tmp_path: Path, began: bool) -> None:
    ca = LabCa(tmp_path / "ca")
    event = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [
        {"index": 0, "delta": {"content": "one"}, "finish_reason": None}]}  # fmt: skip
    piece = b"data: " + json.dumps(event).encode() + b"\n\n"
    silent = hang(HEAD, b"%x\r\n%s\r\n" % (len(piece), piece)) if began else hang()
    url = f"sqlite:///{tmp_path / 'shared.db'}"  # noqa: F811
    deeds = {"stp-silent": silent, "stp-other": hang(HEAD, b"%x\r\n%s\r\n" % (len(piece), piece))}
    with villain(ca, deeds) as provider:
        extra = ["--upstream-ca", str(ca.certificate)]
        with pair(tmp_path, None, url, POLICY, extra=extra, to={OPENAI: provider.port}) as gateways:
            other = Wire.open(gateways[0])
            other.send(post(CHAT, chat("stp-other", stream=True), OPENAI, f"{HEADER}: ann"))
            other.read_until(b"one")
            wire = Wire.open(gateways[1])
            wire.send(post(CHAT, chat("stp-silent", stream=True), OPENAI, f"{HEADER}: ann"))
            if began:
                wire.read_until(b"one")
            else:
                eventually(lambda: any(e.model == "stp-silent" for e in recorded(url)), WITHIN_S, "it left")
            where = ("--store", url, "--confdir", str(gateways[0].confdir))
            sallyport("stop", "model", "stp-sil*", "--reason", "drill", *where)
            wire.read_all()
            assert b"access.stopped" in wire.data
            eventually(lambda: "stp-silent" in provider.gone, WITHIN_S, "the provider is let go")
            assert "stp-other" not in provider.gone

            def ends() -> list[str]:
                return [e.detail for e in recorded(url) if e.is_end and e.model == "stp-silent"]

            eventually(lambda: ends() == ["access.stopped"], WITHIN_S, "the end is recorded once")


def test_a_kill_switch_survives_a_restart_with_the_store_down(lab: Lab, tmp_path: Path) -> None:
    store = tmp_path / "shared.db"
    url = f"sqlite:///{store}"  # noqa: F811
    policy = POLICY + "audit: {required: false}\n"
    with running(tmp_path / "one", lab, policy=policy, extra=["--store", url]) as gateway:
        where = ("--store", url, "--confdir", str(gateway.confdir))
        sallyport("stop", "everything", "--reason", "drill", *where)
        everywhere([gateway], "access.stopped", "ann", "stp-restart")
    for file in tmp_path.glob("shared.db*"):
        file.unlink()
    store.mkdir()  # nothing can be opened there
    with running(tmp_path / "one", lab, policy=policy, extra=["--store", url]) as gateway:
        assert said(gateway, "ann", "stp-restart-again") == "access.stopped"
    assert not [r for r in lab.requests if b"stp-restart-again" in r.decoded]


@pytest.mark.parametrize(
    "words",
    [
        ("provider", "opnai"),
        ("model",),
        ("everything", "x"),
        ("principal", ""),
        ("principal", "ann", "--tenant", ""),
        ("tenant", " acme"),
        ("model", "x", "--reason", ""),
    ],
)
def test_a_command_that_would_stop_nothing_is_an_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    more = () if "--reason" in words else ("--reason", "r")
    with pytest.raises(OperatorError):
        sallyport("stop", *words, *more, "--store", str(tmp_path / "a.db"), "--confdir", str(tmp_path))


def test_a_list_of_one_gateway_s_stops_is_not_shown_as_what_it_is_not(tmp_path: Path) -> None:
    """The gateway stops everything, for nobody can say what was meant."""
    stop = {"id": "h1", "kind": "provider", "value": "opnai"}
    written = {"stop": stop, "by": "ada", "since": "2026-11-23T12:00:00Z"}
    (tmp_path / "stops.here").write_text(json.dumps([written]))
    shown = CliRunner().invoke(app, ["stops", "--confdir", str(tmp_path)])
    assert isinstance(shown.exception, OperatorError)
    assert "the catalogue has no such provider" in str(shown.exception)
    assert "everything is refused" in str(shown.exception)


def test_sign_in_to_ai_is_stopped_with_everything_and_other_hosts_go_on(
    gateways: Pair,
    do: Callable[..., str],
    url: str,  # noqa: F811
) -> None:
    do("stop", "everything", "--reason", "drill")
    everywhere(gateways, "access.stopped", "ann", "stp-sign-in")
    with pytest.raises(OSError):
        shake_hands(gateways[0], "auth.openai.com")
    with pytest.raises(ssl.SSLCertVerificationError):  # the lab's own certificate: it was tunnelled
        shake_hands(gateways[0], OTHER_HOST)

    def refused() -> list[tuple[str, str]]:
        return [(e.host, e.detail) for e in of_kind(recorded(url), EventKind.CONNECTION_REFUSED)]

    eventually(lambda: ("auth.openai.com", "stopped") in refused(), WITHIN_S, "it is recorded")
    assert OTHER_HOST not in {host for host, _ in refused()}


def test_sign_in_that_was_open_before_is_cut_with_everything_and_other_tunnels_go_on(
    lab: Lab, tmp_path: Path
) -> None:
    with running(tmp_path / "one", lab, policy=POLICY, to={"auth.openai.com": lab.port}) as gateway:
        where = ("--confdir", str(gateway.confdir))
        tunnels = {
            host: rawclient.tls(
                rawclient.tunnel(gateway.port, host, timeout=WITHIN_S), host, lab.ca.certificate
            )
            for host in ("auth.openai.com", OTHER_HOST)
        }
        sallyport("stop", "model", "stp-none", "--reason", "drill", *where)
        eventually(lambda: said(gateway, "ann", "stp-none") == "access.stopped", WITHIN_S, "it is known")
        assert answers(tunnels["auth.openai.com"], "auth.openai.com")
        sallyport("stop", "everything", "--reason", "drill", *where)
        with contextlib.suppress(ConnectionError):
            assert tunnels["auth.openai.com"].recv(1) == b""
        assert answers(tunnels[OTHER_HOST], OTHER_HOST)
        for sock in tunnels.values():
            sock.close()


def answers(sock: ssl.SSLSocket, host: str) -> bool:
    sock.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    return rawclient.read_answer(sock).status > 0


PATIENT = (
    POLICY.replace("mode: observe", "mode: enforce")
    + """
masking: {unlisted: allow}
limits:
  rules:
    - {id: patient, limit: 15, per: minute, burst: 1, wait_s: 20}
"""
)


def test_a_call_that_is_stopped_while_it_waits_for_a_limit_never_leaves(lab: Lab, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"  # noqa: F811
    with running(tmp_path / "one", lab, policy=PATIENT, extra=["--store", url]) as gateway:
        where = ("--store", url, "--confdir", str(gateway.confdir))
        assert said(gateway, "ann", "stp-wait-first") == ""
        wire = Wire.open(gateway)
        wire.send(post(CHAT, chat("stp-wait-second"), OPENAI, f"{HEADER}: ann", "connection: close"))
        time.sleep(0.5)  # it waits for its four seconds
        sallyport("stop", "principal", "ann", "--reason", "drill", *where)
        wire.sock.settimeout(20)
        wire.read_all()
        assert b"access.stopped" in wire.data

        def refused() -> list[Event]:
            return [e for e in recorded(url) if e.model == "stp-wait-second"]

        eventually(refused, WITHIN_S, "the refusal is recorded")
        (event,) = refused()
        assert event.kind is EventKind.REFUSED
        stages = [decision.stage for decision in event.decisions]
        assert "limits" in stages[: stages.index("access", 2)], "it had passed access before it waited"
    assert not [r for r in lab.requests if b"stp-wait-second" in r.decoded]


@pytest.mark.parametrize("required", [True, False])
def test_a_kill_switch_survives_a_restart_with_postgresql_down(
    lab: Lab, tmp_path: Path, required: bool
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="stop-"))  # pytest's own are closed to the server's user
    folder.chmod(0o755)
    server = Postgres(folder / "server")
    try:
        policy = POLICY + f"audit: {{required: {str(required).lower()}}}\n"
        extra = ["--store", server.url]
        with running(tmp_path / "one", lab, policy=policy, extra=extra) as gateway:
            where = ("--store", server.url, "--confdir", str(gateway.confdir))
            sallyport("stop", "everything", "--reason", "drill", *where)
            everywhere([gateway], "access.stopped", "ann", "stp-pg")
        server.stop()
        with running(tmp_path / "one", lab, policy=policy, extra=extra) as gateway:
            assert said(gateway, "ann", "stp-pg-again") == "access.stopped"
            server.start()
            assert said(gateway, "ann", "stp-pg-again") == "access.stopped"
            sallyport("resume", "--all", *where)
            eventually(lambda: said(gateway, "ann", "stp-pg-last") == "", 20, "it is let go")
        assert not [r for r in lab.requests if b"stp-pg-again" in r.decoded]
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def shake_hands(gateway: GatewayProcess, host: str) -> None:
    tunnel = rawclient.tunnel(gateway.port, host, timeout=5)
    rawclient.tls(tunnel, host, gateway.confdir / "ca-cert.pem").close()


@pytest.mark.parametrize("gone", [True, False], ids=["no file", "an empty file"])
def test_a_store_that_is_lost_keeps_nobody_from_stopping(lab: Lab, tmp_path: Path, gone: bool) -> None:
    with running(tmp_path, lab, policy=POLICY) as gateway:
        home = ("--confdir", str(gateway.confdir))
        sallyport("stop", "model", "stp-first", "--reason", "drill", *home)
        eventually((gateway.confdir / "directory.copy").exists, WITHIN_S, "the gateway has a copy")
        for file in gateway.confdir.glob("audit.db*"):
            file.unlink()
        if not gone:
            (gateway.confdir / "audit.db").touch(0o600)
        done = CliRunner().invoke(app, ["stop", "model", "stp-lost", "--reason", "drill", *home])
        assert isinstance(done.exception, OperatorError)
        assert done.exception.exit_code == 3, "there may be other gateways of the store"
        second = done.stdout.strip()
        assert all(words in str(done.exception) for words in (second, "alone", "sallyport resume"))
        eventually(lambda: said(gateway, "ann", "stp-lost") == "access.stopped", WITHIN_S, "it is stopped")
        assert said(gateway, "ann", "stp-first") == "access.stopped"
        assert said(gateway, "ann", "stp-other") == ""
        assert second in CliRunner().invoke(app, ["stops", *home]).stdout
        assert second in CliRunner().invoke(app, ["resume", second, *home]).stdout
        eventually(lambda: said(gateway, "ann", "stp-lost") == "", WITHIN_S, "it passes")
        assert said(gateway, "ann", "stp-first") == "access.stopped", "the copy holds"
