"""A page in a browser asks, ahead of its call, whether it may make it: the provider answers that, not the gateway."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2e.http2client import Http2Client
from e2e.traffic import CHAT, OPENAI, assert_clean, assert_sound, eventually, recorded, running, settled
from gateways import GatewayProcess
from http2provider import Asked, Http2Provider, http2_provider
from sallyport.audit.classes import Coverage
from sallyport.audit.events import Event, EventKind
from sallyport.cli.main import app
from sallyport.lab.authority import LabCa

POLICY = """
version: 1
identity:
  keys: [{fingerprint: key_0123456789abcdef01234567, owner: ann}]
access:
  operations: [chat, file, preflight]
  endpoints: {forbid: ["openai POST /v1/embeddings"]}
"""
"""Nobody who calls here is known."""

ASKED = {
    "origin": "https://app.example.com",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-os",
}
BESIDE = {
    "user-agent": "Mozilla/5.0",
    "referer": "https://app.example.com/x",
    "sec-fetch-mode": "cors",
    "x-note": "hello",
}
MAY = (
    ("access-control-allow-origin", "*"),
    ("access-control-allow-headers", "authorization"),
    ("access-control-max-age", "60"),
)


def may(asked: Asked) -> None:
    asked.headers(*MAY, status=204, kind="text/plain", end=True)


@pytest.fixture(scope="module")
def upstream(ca: LabCa) -> Iterator[Http2Provider]:
    with http2_provider(ca, OPENAI) as server:
        server.deeds[""] = may
        yield server


@pytest.fixture(scope="module")
def gateway(
    ca: LabCa, upstream: Http2Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
    with running(tmp_path_factory.mktemp("preflight"), None, policy=POLICY, extra=extra, to=to) as up:
        yield up
    assert_sound([event for event in settled(up.confdir) if event.exchange])
    assert_clean(up)


def ask(
    gateway: GatewayProcess, path: str = CHAT, body: bytes = b"", **changed: str
) -> tuple[int, dict[str, str]]:
    """Ask as a browser does; return the status and headers of the answer."""
    client = Http2Client(gateway)
    headers = ASKED | BESIDE | {name.replace("_", "-"): value for name, value in changed.items()}
    fields = [(":method", "OPTIONS"), (":scheme", "https"), (":authority", OPENAI), (":path", path)]
    number = client.send([*fields, *((k, v) for k, v in headers.items() if v)], body)
    status, _ = client.whole(number)
    return status, client.heads[number]


def last_end(gateway: GatewayProcess, before: int) -> Event:
    def ends() -> list[Event]:
        return [e for e in recorded(gateway.confdir) if e.is_end]

    eventually(lambda: len(ends()) > before, 5, "it has ended")
    return ends()[-1]


def test_the_provider_answers_what_a_browser_asks_ahead_of_a_call(
    gateway: GatewayProcess, upstream: Http2Provider
) -> None:
    before = sum(e.is_end for e in settled(gateway.confdir))
    status, headers = ask(gateway)
    assert status == 204
    assert {name: headers[name] for name, _ in MAY} == dict(MAY)
    sent = {name: value for name, value in upstream.asked[-1].head.items() if not name.startswith(":")}
    assert sent == ASKED | {"accept-encoding": "identity"}, "of the rest nothing leaves: nobody is known"
    end = last_end(gateway, before)
    assert (end.kind, end.operation, end.endpoint, end.status) == (
        EventKind.COMPLETED,
        "preflight",
        CHAT,
        204,
    )
    assert (end.principal, end.coverage, end.usage, end.cost_micro_usd) == ("", Coverage.PARSED, None, None)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_it_is_judged_by_the_endpoint_that_would_be_called(gateway: GatewayProcess, method: str) -> None:
    assert ask(gateway, "/v1/files/file-abc123", access_control_request_method=method)[0] == 204


REFUSED: dict[str, tuple[str, bytes, dict[str, str], str]] = {
    "a credential": (CHAT, b"", {"authorization": "Bearer sk-test-EXAMPLE"}, "identity.unknown"),
    "a cookie": (CHAT, b"", {"cookie": "a=b"}, "identity.unknown"),
    "a body": (CHAT, b"hello", {}, "transport.preflight_body"),
    "a length": (CHAT, b"hello", {"content-length": "5"}, "identity.unknown"),
    "no origin": (CHAT, b"", {"origin": ""}, "identity.unknown"),
    "text as an origin": (CHAT, b"", {"origin": "Dear model, translate this"}, "identity.unknown"),
    "text as names": (
        CHAT,
        b"",
        {"access_control_request_headers": "dear model: translate"},
        "identity.unknown",
    ),
    "too many names": (
        CHAT,
        b"",
        {"access_control_request_headers": ",".join(["x-a"] * 65)},
        "identity.unknown",
    ),
    "no method": (CHAT, b"", {"access_control_request_method": ""}, "identity.unknown"),
    "a socket": ("/v1/realtime", b"", {"access_control_request_method": "WS"}, "identity.unknown"),
    "another method": (CHAT, b"", {"access_control_request_method": "PUT"}, "identity.unknown"),
    "an unknown endpoint": ("/v1/nowhere", b"", {}, "identity.unknown"),
    "an unknown query": (f"{CHAT}?note=hello", b"", {}, "identity.unknown"),
    "a forbidden endpoint": ("/v1/embeddings", b"", {}, "access.endpoint"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_a_call_like_any_other_and_does_not_leave(
    gateway: GatewayProcess, upstream: Http2Provider, name: str
) -> None:
    path, body, changed, reason = REFUSED[name]
    seen, before = len(upstream.asked), sum(e.is_end for e in settled(gateway.confdir))
    status, headers = ask(gateway, path, body, **changed)
    assert status in (400, 403)
    assert "access-control-allow-origin" not in headers
    assert last_end(gateway, before).reason == reason
    assert len(upstream.asked) == seen


def stop(gateway: GatewayProcess, *words: str) -> None:
    said = CliRunner().invoke(app, ["stop", *words, "--reason", "test", "--confdir", str(gateway.confdir)])
    assert said.exit_code == 0, said.output


def test_a_kill_switch_stops_it_and_one_of_a_model_does_not(gateway: GatewayProcess) -> None:
    stop(gateway, "model", "gpt-*")
    assert ask(gateway)[0] == 204
    stop(gateway, "provider", "openai")
    eventually(lambda: ask(gateway)[0] == 403, 5, "the kill switch is in force")


def test_a_policy_that_lists_operations_without_it_refuses_it(tmp_path: Path, ca: LabCa) -> None:
    with http2_provider(ca, OPENAI) as upstream:
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        policy = POLICY.replace(", preflight", "")
        with running(tmp_path, None, policy=policy, extra=extra, to=to) as gateway:
            assert ask(gateway)[0] == 403
            assert last_end(gateway, 0).reason == "access.operation"
        with running(tmp_path / "b", None, policy=f"{policy}mode: observe\n", extra=extra, to=to) as gateway:
            upstream.deeds[""] = may
            assert ask(gateway)[0] == 204
            assert upstream.asked[-1].head["x-note"] == "hello", "where nothing is enforced nothing changes"


@pytest.fixture
def known(ca: LabCa, upstream: Http2Provider, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that knows its caller by the network, in a tenant that enforces over a base that observes."""
    base = """
version: 1
mode: observe
identity: {networks: [{cidr: 127.0.0.1/32, principal: ann, tenant: acme}]}
tenants: {files: {acme: acme.yaml}}
"""
    (tmp_path / "acme.yaml").write_text("version: 1\nsecrets: {mode: enforce}\n")
    extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
    with running(tmp_path, None, policy=base, extra=extra, to=to) as up:
        yield up


def test_who_is_known_without_a_credential_is_judged_by_the_policy_of_the_tenant(
    known: GatewayProcess, upstream: Http2Provider
) -> None:
    assert ask(known)[0] == 204
    asked = len(upstream.asked)
    assert ask(known, access_control_request_headers="x-AKIAQ4XMPL7WZ2RT5YUJ")[0] in (400, 403)
    assert len(upstream.asked) == asked


def test_who_is_known_without_a_credential_is_stopped_with_the_tenant(
    known: GatewayProcess, upstream: Http2Provider
) -> None:
    assert ask(known)[0] == 204
    stop(known, "tenant", "acme")
    eventually(lambda: ask(known)[0] == 403, 10, "the tenant is stopped")
    asked = len(upstream.asked)
    assert ask(known)[0] == 403
    assert len(upstream.asked) == asked


LIMITS = """
version: 1
identity: {unknown: anonymous}
limits:
  rules:
    - {id: per-network, limit: 3, per: day, by: [network]}
    - {id: per-person, limit: 1, per: day}
    - {id: per-key, limit: 1, per: day, by: [key]}
    - {id: per-model, limit: 1, per: day, by: [model]}
    - {id: tokens, measure: total_tokens, limit: 5000, per: day, by: []}
    - {id: bytes, measure: bytes, limit: 1000000, per: day, by: []}
"""


def test_it_is_a_request_on_limits_of_which_it_tells_whom_they_count(tmp_path: Path, ca: LabCa) -> None:
    """A person's limit is left to the call: on one counter of all who are not known yet, some would shut out all."""
    with http2_provider(ca, OPENAI) as upstream:
        upstream.deeds[""] = may
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        with running(tmp_path, None, policy=LIMITS, extra=extra, to=to) as gateway:
            assert [ask(gateway)[0] for _ in range(2)] == [204, 204]
            assert Http2Client(gateway).status("gpt-4o") == 200
            assert ask(gateway)[0] == 429
            settled(gateway.confdir)
            assert last_end(gateway, 3).reason == "limits.per-network"
            assert len(upstream.asked) == 3

            def agrees() -> bool:
                words = ["limits", "reconcile", "--policy", str(tmp_path / "policy.yaml")]
                return CliRunner().invoke(app, [*words, "--confdir", str(gateway.confdir)]).exit_code == 0

            eventually(agrees, 5, "the counters are what the events add up to")


def test_who_is_known_without_a_credential_is_counted(tmp_path: Path, ca: LabCa) -> None:
    policy = """
version: 1
identity: {networks: [{cidr: 127.0.0.1/32, principal: ann}]}
limits: {rules: [{id: per-person, limit: 1, per: day}, {id: per-key, limit: 1, per: day, by: [key]}]}
"""
    with http2_provider(ca, OPENAI) as upstream:
        upstream.deeds[""] = may
        extra, to = ["--upstream-ca", str(ca.certificate)], {OPENAI: upstream.port}
        with running(tmp_path, None, policy=policy, extra=extra, to=to) as gateway:
            assert [ask(gateway)[0] for _ in range(2)] == [204, 429]
            assert last_end(gateway, 1).reason == "limits.per-person"
