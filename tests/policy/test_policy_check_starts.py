"""`sallyport policy check` says no to exactly those policies that a gateway does not start with."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from issuing import Idp
from sallyport.cli.assembly import make_live, vouched_hosts
from sallyport.cli.main import app as main
from sallyport.cli.policy import app
from sallyport.detect.ner.service import Pools
from sallyport.errors import OperatorError
from sallyport.pki.create import ensure_ca
from sallyport.policy.problems import PolicyError
from sallyport.state.tokens.sources import KeySources

RUNNER = CliRunner()
ORGANISATION = "0a1b2c3d-0000-4000-8000-00000000abcd"
ISSUER = "{id: corp, issuer: 'https://idp.example', audience: [a], keys: {%s}}"
RECOGNISER = "recognizers:\n  - {name: Ward, supported_entity: WARD, deny_list: [W1]}\n"

BAD: dict[str, tuple[str, str]] = {
    "unknown restriction": (
        f"restrictions:\n  anthropic_organisations: [{ORGANISATION}]\n",
        ":3:3: restrictions.anthropic_organisations: there is no such restriction. Did you mean",
    ),
    "value of a restriction": (
        "restrictions:\n  anthropic_organizations: [acme]\n",
        ":3:29: restrictions.anthropic_organizations[0]: the value is not spelt",
    ),
    "restriction in a policy that observes": (
        "mode: observe\nrestrictions:\n  github_enterprises: ['a b']\n",
        ":4:24: restrictions.github_enterprises[0]: ",
    ),
    "hash": (
        "identity:\n  proxy_auth: {passwords: users}\n",
        ":3:16: identity.proxy_auth.passwords: ",
    ),
    "digest of a token": (
        "identity:\n  proxy_auth:\n    tokens: users\n",
        ":4:5: identity.proxy_auth.tokens: ",
    ),
    "authorities without PEM": (
        "identity:\n  certificates: {ca: words}\n",
        ":3:18: identity.certificates.ca: ",
    ),
    "revocation list": (
        "identity:\n  certificates:\n    ca: ca.pem\n    crl: [words]\n",
        ":5:11: identity.certificates.crl[0]: ",
    ),
    "no key set": (
        f"identity:\n  tokens:\n    - {ISSUER % 'file: words'}\n",
        ": identity.tokens[0].keys.file: ",
    ),
    "key set without a key": (
        f"identity:\n  tokens:\n    - {ISSUER % 'file: nokeys.json'}\n",
        ": identity.tokens[0].keys.file: ",
    ),
    "recogniser": ("detection:\n  recognisers: [broken.yaml]\n", ":3:17: detection.recognisers[0]: "),
    "spaCy package": (
        "detection:\n  ner: {engine: 'spacy:xx_nobody_has_this'}\n",
        ":3:9: detection.ner.engine: ",
    ),
    "ONNX folder": ("detection:\n  ner: {engine: 'onnx:empty'}\n", ":3:9: detection.ner.engine: "),
}

GOOD: dict[str, str] = {
    "restrictions": f"restrictions:\n  anthropic_organizations: [{ORGANISATION}]\n",
    "users": "identity:\n  proxy_auth: {tokens: tokens}\n",
    "certificates": "identity:\n  certificates: {ca: ca.pem}\n",
    "key set": f"identity:\n  tokens:\n    - {ISSUER % 'file: keys.json'}\n",
    "recogniser": "detection:\n  recognisers: [own.yaml]\n  ner: {engine: off}\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("policies")
    (made / "words").write_text("nothing of the kind\n")
    (made / "users").write_text("ada:open-sesame\n")
    (made / "tokens").write_text(f"ada:{'ab' * 32}\n")
    (made / "nokeys.json").write_text('{"keys": []}')
    (made / "keys.json").write_text(json.dumps(Idp().jwks()))
    (made / "broken.yaml").write_text(
        "recognizers:\n  - {name: Ward, supported_entity: WARD, patterns: []}\n"
    )
    (made / "own.yaml").write_text(RECOGNISER)
    (made / "empty").mkdir()
    ensure_ca(made / "authority", ["api.openai.com"])
    (made / "ca.pem").write_bytes((made / "authority" / "ca-cert.pem").read_bytes())
    return made


@pytest.fixture
def issuer_keys() -> Iterator[KeySources]:
    sources = KeySources(None, lambda: b"k" * 32)
    yield sources
    sources.close()


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / f"{name.replace(' ', '-')}.policy.yaml"
    ner = "" if "detection:" in text else "detection: {ner: {engine: off}}\n"
    file.write_text(f"version: 1\n{text}{ner}")
    return file


def start(file: Path, issuer_keys: KeySources) -> None:
    pools = Pools()
    try:
        make_live(str(file), None, pools, issuer_keys)
    finally:
        pools.close()


@pytest.mark.parametrize("name", BAD)
def test_what_keeps_a_gateway_from_starting_is_told_by_check_in_the_same_words(
    folder: Path, issuer_keys: KeySources, name: str
) -> None:
    text, told = BAD[name]
    file = written(folder, name, text)
    checked = RUNNER.invoke(app, ["check", str(file)])
    assert checked.exit_code == 2, checked.output
    assert f"{file}:" in checked.stderr
    assert told in checked.stderr
    with pytest.raises(PolicyError) as raised:
        start(file, issuer_keys)
    assert str(raised.value) == checked.stderr.rstrip("\n")
    assert "sesame" not in checked.output


@pytest.mark.parametrize("name", GOOD)
def test_what_check_lets_pass_a_gateway_starts_with(folder: Path, issuer_keys: KeySources, name: str) -> None:
    file = written(folder, f"good {name}", GOOD[name])
    checked = RUNNER.invoke(app, ["check", str(file)])
    assert (checked.exit_code, checked.stderr) == (0, "")
    start(file, issuer_keys)


def test_the_problems_of_all_parts_come_at_once(folder: Path) -> None:
    file = written(
        folder,
        "many",
        "restrictions:\n  anthropic_organisations: [x]\n  github_enterprises: ['a b', 'c d']\n"
        "identity:\n  certificates: {ca: words}\n  proxy_auth: {passwords: users}\n"
        f"  tokens:\n    - {ISSUER % 'file: words'}\n"
        "detection: {recognisers: [broken.yaml]}\n",
    )
    checked = RUNNER.invoke(app, ["check", str(file)])
    assert [line.split(": ")[1] for line in checked.stderr.splitlines()] == [
        "restrictions.anthropic_organisations",
        "restrictions.github_enterprises[0]",
        "restrictions.github_enterprises[1]",
        "identity.certificates.ca",
        "identity.proxy_auth.passwords",
        "identity.tokens[0].keys.file",
        "detection.recognisers[0]",
    ]


def test_the_hosts_to_vouch_for_are_refused_with_the_same_place(folder: Path) -> None:
    file = written(folder, "vouched", "restrictions:\n  anthropic_organizations: [acme]\n")
    with pytest.raises(OperatorError) as raised:
        vouched_hosts(str(file), None)
    assert raised.value.where == f"{file}:3:29"


def test_keys_at_an_address_are_not_asked_for_and_check_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.create_connection", never)
    monkeypatch.setattr("socket.getaddrinfo", never)
    url = "url: 'https://idp.example/keys'"
    file = written(folder, "url", f"identity:\n  tokens:\n    - {ISSUER % url}\n")
    checked = RUNNER.invoke(app, ["check", str(file)])
    assert checked.exit_code == 0, checked.output
    assert "note: identity.tokens[0].keys.url: not asked for keys here" in checked.stdout


def test_a_policy_that_cannot_be_used_leaves_no_authority_behind(folder: Path) -> None:
    (folder / "r.yaml").write_text("nothing: here\n")
    (folder / "p.yaml").write_text("version: 1\ndetection: {recognisers: [r.yaml]}\n")
    home = folder / "home"
    words = ["run", "--policy", str(folder / "p.yaml"), "--confdir", str(home)]
    done = CliRunner().invoke(main, words)
    assert isinstance(done.exception, PolicyError)
    assert "detection.recognisers[0]" in str(done.exception)
    assert not home.exists()
