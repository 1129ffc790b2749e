"""Each client on this machine makes a real handshake, with the trust that its environment gives it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sallyport.doctor.findings import Level, Situation
from sallyport.doctor.trust import check_trust, loopback_target
from sallyport.pki import create_ca, load_ca, write_bundle

CLIENTS = ("python", "httpx", "requests (certifi)", "node", "curl")
# Asked in a fresh process, as a client would be: OpenSSL and the SDKs read these variables themselves.
SCRIPT = """
import json, os, sys
from pathlib import Path
from sallyport.doctor.findings import Level
from sallyport.doctor.trust import check_trust, loopback_target
from sallyport.pki import load_ca
with loopback_target(load_ca(Path(sys.argv[1])), ["uncovered.example", "api.openai.com"]) as target:
    assert target.host == "api.openai.com"
    print(json.dumps([[c.name, c.level, c.what] for c in check_trust(target, os.environ, Level.WARN, 10)]))
"""


def ask(confdir: Path, environ: dict[str, str]) -> dict[str, tuple[str, str]]:
    result = subprocess.run(
        (sys.executable, "-c", SCRIPT, str(confdir)), env=environ, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return {name: (level, what) for name, level, what in json.loads(result.stdout)}


def installed(client: str) -> bool:
    return client not in {"node", "curl"} or shutil.which(client) is not None


def test_without_trust_every_client_says_no(confdir: Path, environ: dict[str, str]) -> None:
    found = ask(confdir, environ)
    assert set(found) == {f"trust: {client}" for client in CLIENTS}
    for client in CLIENTS:
        level, what = found[f"trust: {client}"]
        assert level == ("warn" if installed(client) else "skipped"), (client, what)
        assert "does not trust" in what or "not installed" in what


def test_with_the_bundle_every_client_says_yes(confdir: Path, environ: dict[str, str]) -> None:
    bundle, certificate = str(confdir / "ca-bundle.pem"), str(confdir / "ca-cert.pem")
    trusting = {
        **environ,
        "SSL_CERT_FILE": bundle,
        "REQUESTS_CA_BUNDLE": bundle,
        "CURL_CA_BUNDLE": bundle,
        "NODE_EXTRA_CA_CERTS": certificate,
    }
    found = ask(confdir, trusting)
    for client in CLIENTS:
        level, what = found[f"trust: {client}"]
        assert level == ("ok" if installed(client) else "skipped"), (client, what)


@pytest.mark.parametrize(
    ("variable", "client"),
    [("SSL_CERT_FILE", "python"), ("REQUESTS_CA_BUNDLE", "requests (certifi)"), ("CURL_CA_BUNDLE", "curl")],
)
def test_each_variable_reaches_its_own_client(
    confdir: Path, environ: dict[str, str], variable: str, client: str
) -> None:
    if not installed(client):
        pytest.skip(f"{client} is not installed")
    path = {} if client == "curl" else {"PATH": "/nonexistent"}
    found = ask(confdir, {**environ, **path, variable: str(confdir / "ca-bundle.pem")})
    assert found[f"trust: {client}"][0] == "ok"
    assert "warn" in {level for level, _ in found.values()}


def test_another_authority_is_not_enough(confdir: Path, environ: dict[str, str], tmp_path: Path) -> None:
    create_ca(tmp_path / "other", ["api.openai.com"])
    bundle = str(write_bundle(tmp_path / "other"))
    found = ask(confdir, {**environ, "SSL_CERT_FILE": bundle, "CURL_CA_BUNDLE": bundle})
    assert "ok" not in {level for level, _ in found.values()}


def test_missing_programs_are_skipped_and_said_so(situation: Situation, environ: dict[str, str]) -> None:
    with loopback_target(load_ca(situation.confdir), situation.hosts) as target:
        checks = [*check_trust(target, {**environ, "PATH": "/nonexistent"}, Level.FAIL, 5)]
    skipped = [check.name for check in checks if check.level is Level.SKIPPED]
    assert skipped == ["trust: node", "trust: curl"]


def test_no_key_stays_on_the_disk(
    situation: Situation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with loopback_target(load_ca(situation.confdir), situation.hosts):
        assert list(scratch.iterdir()) == []
