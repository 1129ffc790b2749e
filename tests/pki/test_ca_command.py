"""`sallyport ca` as an operator meets it."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sallyport.cli.ca import app
from sallyport.errors import OperatorError
from sallyport.pki import load_ca

RUN = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "conf"))
    return tmp_path / "conf"


def call(*words: str) -> Result:
    result = RUN.invoke(app, [*words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_init_covers_every_host_of_the_catalogue_and_says_what_is_next(folder: Path) -> None:
    said = call("init").output
    assert load_ca(folder).fingerprint in said
    assert "Next: sallyport ca install-help" in said
    assert json.loads(call("show", "--json").stdout)["warnings"] == []


def test_init_says_which_subtrees_are_wider_than_the_hosts(folder: Path) -> None:
    assert "every host of amazonaws.com" in call("init").stderr
    said = call("init", "--force", "--host", "api.openai.com", "--host", "*.openai.azure.com").stderr
    assert "every host of" not in said


def test_init_again_keeps_the_authority(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = call("init", "--host", "api.openai.com")
    assert "Kept" in again.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "asked", [["--host", "api.openai.com"], ["--days", "30"], ["--key", "rsa"]], ids=" ".join
)
def test_init_says_that_the_kept_authority_is_not_what_was_asked_for(folder: Path, asked: list[str]) -> None:
    call("init")
    said = call("init", *asked).stderr
    assert "was not applied" in said
    assert "--force" in said
    assert "not applied" not in call("init").stderr
    assert "not applied" not in call("init", "--force", *asked).stderr


def test_init_says_when_the_kept_authority_lacks_hosts(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    assert "may not vouch for: api.mistral.ai" in call("init", "--host", "api.mistral.ai").stderr


def test_force_rotates_and_names_the_backup(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    old = load_ca(folder).fingerprint
    said = call("init", "--force", "--host", "api.openai.com", "--key", "rsa", "--days", "30").stdout
    backup = re.search(r"Moved the old authority to (\S+)\. ", said)
    assert backup is not None
    assert load_ca(Path(backup[1])).fingerprint == old
    new = load_ca(folder)
    assert new.fingerprint != old
    assert new.key_type == "RSA 3072"
    assert call("show", "--pem").stdout in (folder / "ca-bundle.pem").read_text()


def test_show_tells_subject_fingerprint_validity_and_constraints(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    shown = call("show").stdout
    told = json.loads(call("show", "--json").stdout)
    authority = load_ca(folder)
    assert told["sha256"] == authority.fingerprint
    assert told["permitted_dns"] == ["api.openai.com"]
    assert told["excluded"] == ["0.0.0.0/0", "::/0"]
    for fact in (
        authority.subject,
        authority.fingerprint,
        f"{authority.not_after:%Y-%m-%d}",
        "api.openai.com",
    ):
        assert fact in shown
    assert "PRIVATE" not in call("show", "--pem").stdout


@pytest.mark.parametrize(
    ("client", "line"),
    [
        ("debian", "update-ca-certificates"),
        ("rhel", "update-ca-trust"),
        ("certifi", '>> "$(python -m certifi)"'),
        ("macos", "security add-trusted-cert"),
        ("windows", "certutil -addstore"),
        ("python", "SSL_CERT_FILE="),
        ("requests", "REQUESTS_CA_BUNDLE="),
        ("node", "NODE_EXTRA_CA_CERTS="),
        ("aws", "AWS_CA_BUNDLE="),
        ("curl", "CURL_CA_BUNDLE="),
        ("git", "http.sslCAInfo"),
        ("java", "keytool -importcert"),
        ("go", "SSL_CERT_FILE="),
    ],
)
def test_install_help_has_a_recipe_with_real_paths(folder: Path, client: str, line: str) -> None:
    call("init", "--host", "api.openai.com")
    said = call("install-help", client).stdout
    assert line in said
    assert line in call("install-help").stdout
    for path in re.findall(r"\S*/conf/[\w.-]+", said):
        assert Path(path.partition("=")[2] or path).is_file(), path


def test_install_help_for_an_unknown_client_lists_the_known(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    with pytest.raises(OperatorError, match="debian, rhel"):
        call("install-help", "amiga")


def test_show_without_an_authority_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(OperatorError, match="sallyport ca init"):
        call("show")


def test_init_warns_of_a_host_the_catalogue_has_not(folder: Path) -> None:
    said = call("init", "--host", "api.openai.com", "--host", "wiki.example.com").stderr
    assert "Warning: wiki.example.com is no AI host of the catalogue" in said
    assert "api.openai.com is no AI host" not in said


@pytest.mark.parametrize("host", ["api.openai.com", "*.openai.azure.com", "amazonaws.com", "API.OpenAI.com"])
def test_init_does_not_warn_of_a_host_the_catalogue_has(folder: Path, host: str) -> None:
    assert "is no AI host" not in call("init", "--host", host).stderr


@pytest.mark.parametrize("days", ["0", "366"])
def test_a_life_that_is_not_allowed_says_which_are(folder: Path, days: str) -> None:
    with pytest.raises(OperatorError, match=r"Give 1 to 365\.$"):
        call("init", "--days", days)


def test_a_company_root_that_is_not_there_says_so(folder: Path) -> None:
    with pytest.raises(OperatorError, match=r"/nonexistent: it cannot be read \(No such file or directory\)"):
        call("init", "--extra-ca", "/nonexistent")


def test_show_writes_either_json_or_pem(folder: Path) -> None:
    call("init", "--host", "api.openai.com")
    with pytest.raises(OperatorError, match="they exclude each other") as caught:
        call("show", "--json", "--pem")
    assert caught.value.exit_code == 2
