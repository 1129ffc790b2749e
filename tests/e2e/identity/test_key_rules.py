"""What the policy asks of provider credentials, through the running gateway; and who is told that one is shared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.identity.keyring import Office, Said, arrived, ask_with, bearer, invented, until
from e2e.traffic import ANTHROPIC, eventually, recorded, running, settled
from gateways import GatewayProcess
from sallyport.audit.events import EventKind
from sallyport.errors import OperatorError
from sallyport.lab.server import Lab
from sallyport.state.keyed import fingerprint

STRICT = """
version: 1
identity:
  unknown: anonymous
  key_rules: {known: require, unclaimed: deny, personal: deny}
"""
HEADERS = """
version: 1
identity:
  header: {name: X-User, trusted_peers: [127.0.0.1/32, "::1/128"]}
  key_rules: {shared_window_h: 1}
"""
BROKERED = "version: 1\nidentity: {unknown: anonymous, key_rules: {brokered: require}}\n"


@pytest.fixture(scope="module")
def strict(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("strict"), lab, policy=STRICT) as gateway:
        yield gateway


def print_of(gateway: GatewayProcess, credential: str) -> str:
    return fingerprint((gateway.confdir / "gateway.key").read_bytes(), credential)


def becomes(gateway: GatewayProcess, credential: str, model: str, code: str) -> Said:
    said = until(lambda: ask_with(gateway, model, bearer(credential)), lambda s: s.code == code)
    assert said.code == code, said.body
    return said


def test_an_unlisted_credential_is_refused_until_it_is_claimed(strict: GatewayProcess, lab: Lab) -> None:
    credential, office = invented("sk-proj-", 150), Office(strict.confdir)
    said = becomes(strict, credential, "keyk-claim", "identity.key_unknown")
    mark = print_of(strict, credential)
    assert mark.encode() in said.body
    assert arrived(lab, "keyk-claim") == []

    def listed() -> list[dict[str, Any]]:
        return [row for row in office.listed("--unclaimed") if row["fingerprint"] == mark]

    eventually(listed, 5, "the refusal is recorded")
    (row,) = listed()
    assert (row["state"], row["refusals"]) == ("new", row["calls"])
    office.run("keys", "claim", mark, "--owner", "ada", "--roles", "research", "--id", "ada-main")
    becomes(strict, credential, "keyk-claim", "")
    events = [e for e in settled(strict.confdir) if e.kind is EventKind.COMPLETED and e.model == "keyk-claim"]
    assert {(e.principal, e.source) for e in events} == {("ada", "key")}
    (row,) = [row for row in office.listed() if row["fingerprint"] == mark]
    assert (row["owner"], row["roles"], row["state"], row["models"]) == (
        "ada",
        ["research"],
        "active",
        ["keyk-claim"],
    )
    assert row["calls"] > row["refusals"]
    assert row["hosts"] == ["api.openai.com"]
    assert "ada-main" in office.run("keys", "show", "ada-main")


def test_a_retired_credential_is_refused_until_it_is_taken_back(strict: GatewayProcess) -> None:
    credential, office = invented("sk-proj-", 150), Office(strict.confdir)
    mark = print_of(strict, credential)
    office.run("keys", "claim", mark, "--owner", "ada")
    becomes(strict, credential, "keyk-retire", "")
    office.run("keys", "retire", mark)
    becomes(strict, credential, "keyk-retire", "identity.key_retired")
    assert [row["fingerprint"] for row in office.listed("--retired")] == [mark]
    office.run("keys", "unretire", mark)
    becomes(strict, credential, "keyk-retire", "")
    changes = [e.detail for e in recorded(strict.confdir) if e.credential == mark and e.stage == "directory"]
    assert changes == ["claimed", "retired", "unretired"]


def test_a_personal_credential_is_refused(strict: GatewayProcess) -> None:
    credential, office = invented("sk-proj-", 150), Office(strict.confdir)
    mark = print_of(strict, credential)
    office.run("keys", "claim", mark, "--owner", "ada", "--personal")
    becomes(strict, credential, "keyk-personal", "identity.key_personal")
    office.run("keys", "personal", mark, "--no")
    becomes(strict, credential, "keyk-personal", "")


def test_a_listed_credential_without_an_owner_is_refused(strict: GatewayProcess) -> None:
    credential, office = invented("sk-proj-", 150), Office(strict.confdir)
    office.run("keys", "personal", print_of(strict, credential), "--no")
    becomes(strict, credential, "keyk-unclaimed", "identity.key_unclaimed")


def test_an_expired_credential_is_refused(strict: GatewayProcess) -> None:
    credential, office = invented("sk-proj-", 150), Office(strict.confdir)
    office.run("keys", "claim", print_of(strict, credential), "--owner", "ada", "--expires", "2s")
    said = until(
        lambda: ask_with(strict, "keyk-expired", bearer(credential)),
        lambda s: s.code == "identity.key_expired",
        8,
    )
    assert said.code == "identity.key_expired"


def test_a_bad_credential_cannot_hide_beside_a_good_one(strict: GatewayProcess, lab: Lab) -> None:
    good, bad, office = invented("sk-ant-api03-", 95), invented("sk-ant-api03-", 95), Office(strict.confdir)
    office.run("keys", "claim", print_of(strict, good), "--owner", "ada")
    office.run("keys", "retire", print_of(strict, bad))
    body = b'{"model":"keyk-beside","max_tokens":5,"messages":[{"role":"user","content":"hello"}]}'

    def ask(**headers: str) -> Said:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["anthropic-version"] = "2023-06-01"
        return ask_with(strict, "keyk-beside", named, host=ANTHROPIC, path="/v1/messages", body=body)

    assert until(lambda: ask(x_api_key=good), lambda s: s.status == 200).status == 200
    before = len(arrived(lab, "keyk-beside"))
    assert ask(x_api_key=good, authorization=f"Bearer {bad}").status == 403
    assert ask(x_api_key=bad, authorization=f"Bearer {good}").status == 403
    assert len(arrived(lab, "keyk-beside")) == before


def test_only_gateway_keys_pass_where_the_policy_asks_for_them(lab: Lab, tmp_path: Path) -> None:
    real = invented("sk-proj-", 156)
    with running(tmp_path, lab, policy=BROKERED, env={"REAL": real}) as gateway:
        office = Office(gateway.confdir)
        office.run("credentials", "add", "c", "--provider", "openai", "--from-env", "REAL")
        key, _ = office.issue("openai", "ada")
        becomes(gateway, key, "keyk-brokered", "")
        assert ask_with(gateway, "keyk-real", bearer(real)).code == "identity.key_not_brokered"
        office.run("keys", "claim", print_of(gateway, real), "--owner", "ada")
        assert ask_with(gateway, "keyk-real", bearer(real)).code == "identity.key_not_brokered"
        assert arrived(lab, "keyk-real") == []


def test_a_key_that_two_people_use_is_told_of_once(lab: Lab, tmp_path: Path) -> None:
    credential = invented("sk-proj-", 150)
    with running(tmp_path, lab, policy=HEADERS) as gateway:
        for user in ("ann", "ann", "bob", "eve", "ann"):
            assert ask_with(gateway, "keyk-shared", {**bearer(credential), "x-user": user}).status == 200
        other = invented("sk-proj-", 150)
        ask_with(gateway, "keyk-shared", {**bearer(other), "x-user": "bob"})

        def told() -> list[str]:
            return [e.credential for e in recorded(gateway.confdir) if e.detail == "key_shared"]

        eventually(told, 5, "it is told")
        assert told() == [print_of(gateway, credential)]
        (event,) = [e for e in recorded(gateway.confdir) if e.detail == "key_shared"]
        assert (event.kind, event.reason, event.principal) == (
            EventKind.ANOMALY,
            "identity.key_shared",
            "bob",
        )


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "retire", "no-such-key"),
        ("keys", "claim", "sk-something", "--owner", "ada"),
        ("keys", "issue", "--provider", "openai", "--owner", "ada"),
        ("keys", "issue", "--provider", "openai", "--owner", "ada", "--credential", "none"),
        ("keys", "rotate", "no-such-key"),
        ("keys", "show", "no-such-key"),
        ("credentials", "add", "x", "--provider", "nobody", "--from-env", "A"),
        ("credentials", "add", "x", "--provider", "openai"),
        ("credentials", "add", "x", "--provider", "openai", "--from-env", "sk-with-a-key-in-it"),
        ("credentials", "add", "x", "--provider", "openai", "--from-file", "/no/such/file"),
        ("credentials", "add", "x", "--provider", "openai", "--from-file", "/"),
        ("credentials", "add", "x", "--provider", "openai", "--from-env", "A", "--host", "api.groq.com"),
        ("credentials", "rotate", "x", "--from-env", "A"),
        ("credentials", "remove", "x"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_a_command_that_cannot_be_done_says_why_and_changes_nothing(
    strict: GatewayProcess, words: tuple[str, ...]
) -> None:
    before = len(recorded(strict.confdir))
    with pytest.raises(OperatorError):
        Office(strict.confdir).run(*words)
    assert [e for e in recorded(strict.confdir)[before:] if e.kind is EventKind.DIRECTORY_CHANGED] == []


def test_a_gateway_key_cannot_be_stored_as_a_credential(strict: GatewayProcess) -> None:
    from sallyport.state.gatewaykeys import new_gateway_key

    own = new_gateway_key((strict.confdir / "gateway.key").read_bytes(), "openai")
    with pytest.raises(OperatorError, match="gateway key"):
        Office(strict.confdir).run(
            "credentials", "add", "loop", "--provider", "openai", "--sealed", typed=own
        )
