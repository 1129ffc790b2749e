"""Tenant restrictions through the running gateway: on AI hosts, and on hosts that only sign people in."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.traffic import ANTHROPIC, Wire, assert_clean, eventually, of_kind, recorded, running, settled
from gateways import OPEN_POLICY, GatewayProcess
from rawclient import ask, post
from sallyport.audit.events import EventKind
from sallyport.lab.record import SeenRequest
from sallyport.lab.server import Lab

OURS = "0a1b2c3d-0000-4000-8000-00000000abcd"
THEIRS = "ffffffff-0000-4000-8000-00000000ffff"
SIGN_IN = "login.microsoftonline.com"
POLICY = (
    OPEN_POLICY
    + f"""
restrictions:
  anthropic_organizations: [{OURS}]
  microsoft_tenant_policy: ['{OURS}:{OURS}']
"""
)
MESSAGES = b'{"model":"restricted-%s","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}'


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("restricted")
    with running(folder, lab, policy=POLICY, to={SIGN_IN: lab.port}) as up:
        yield up
    assert_clean(up, "the-password", "secret-path")


def curl(gateway: GatewayProcess, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    proxy = f"http://127.0.0.1:{gateway.port}"
    trusted = str(gateway.confdir / "ca-cert.pem")
    return subprocess.run(
        ["curl", "-sS", "-x", proxy, "--cacert", trusted, *words, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def seen(lab: Lab, path: str) -> SeenRequest:
    """Return the one request of a path; the lab may answer before it has read the body and noted it."""
    eventually(lambda: any(r.path.startswith(path) for r in lab.requests), 5, "the lab has the request")
    (request,) = [r for r in lab.requests if r.path.startswith(path)]
    return request


def values(request: SeenRequest, name: str) -> list[str]:
    return [value for key, value in request.headers if key.lower() == name.lower()]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_an_ai_host_gets_our_header_in_place_of_the_clients(
    gateway: GatewayProcess, lab: Lab, version: str
) -> None:
    model = version.strip("-").replace(".", "-")
    body = (MESSAGES % model.encode()).decode()
    forged = [
        w
        for n in ("anthropic-allowed-org-ids", "ANTHROPIC-ALLOWED-ORG-IDS")
        for w in ("-H", f"{n}: {THEIRS}")
    ]
    words = ["-H", "x-api-key: k", "-H", "content-type: application/json", *forged, "-d", body]
    done = curl(gateway, f"https://{ANTHROPIC}/v1/messages", version, *words)
    assert done.returncode == 0, done.stderr
    (request,) = [r for r in lab.requests if f"restricted-{model}" in r.text]
    assert values(request, "anthropic-allowed-org-ids") == [OURS]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_sign_in_host_gets_it_too_and_nothing_else_is_read_or_logged(
    gateway: GatewayProcess, lab: Lab, version: str
) -> None:
    path = f"/secret-path-{version.strip('-')}/oauth2/token?code=abc"
    words = [
        "-H",
        f"sec-Restrict-Tenant-Access-Policy: {THEIRS}:{THEIRS}",
        "-H",
        "restrict-access-to-tenants: x",
    ]
    words += ["-H", "cookie: session=1", "-H", "accept-encoding: br", "-d", "password=the-password", "-f"]
    before = len(settled(gateway.confdir))
    done = curl(gateway, f"https://{SIGN_IN}{path}", version, *words)
    assert done.returncode == 0, done.stderr
    request = seen(lab, path)
    assert values(request, "sec-restrict-tenant-access-policy") == [f"{OURS}:{OURS}"]
    assert values(request, "restrict-access-to-tenants") == []
    assert (values(request, "cookie"), values(request, "accept-encoding")) == (["session=1"], ["br"])
    assert request.body == b"password=the-password"
    (event,) = recorded(gateway.confdir)[before:]
    assert (event.kind, event.host, event.detail) == (EventKind.TUNNELLED, SIGN_IN, "restricted")


def test_another_host_inside_such_a_connection_is_refused(gateway: GatewayProcess, lab: Lab) -> None:
    before = len(lab.requests)
    wire = Wire.open(gateway, SIGN_IN)
    wire.send(post("/elsewhere", b"x=1", "login.live.com"))
    wire.read_all()
    assert wire.status == 421
    assert len(lab.requests) == before


def test_a_policy_that_observes_changes_no_header_and_tunnels(tmp_path: Path, lab: Lab) -> None:
    with running(
        tmp_path, lab, policy=POLICY, extra=["--mode", "observe"], to={SIGN_IN: lab.port}
    ) as watching:
        body = MESSAGES % b"watched"
        headers = f"anthropic-version: 2023-06-01\r\nanthropic-allowed-org-ids: {THEIRS}"
        asked = post("/v1/messages", body, ANTHROPIC, headers)
        assert ask(watching.port, watching.confdir / "ca-cert.pem", ANTHROPIC, asked).status == 200
        (request,) = [r for r in lab.requests if "restricted-watched" in r.text]
        assert values(request, "anthropic-allowed-org-ids") == [THEIRS]
        refused = curl(watching, f"https://{SIGN_IN}/observed")
        assert refused.returncode == 60, "the client shakes hands with the provider itself"
        eventually(lambda: of_kind(recorded(watching.confdir), EventKind.TUNNELLED), 30, "it is recorded")
        assert of_kind(recorded(watching.confdir), EventKind.TUNNELLED)[-1].detail == ""


def test_an_authority_that_may_not_vouch_for_them_keeps_a_policy_from_being_taken(
    tmp_path: Path, lab: Lab
) -> None:
    with running(tmp_path, lab):
        pass
    with pytest.raises(RuntimeError, match="may not vouch for"), running(tmp_path, lab, policy=POLICY):
        pass
