"""Forged identities through the running gateway: hundreds of ways to be somebody else, none of which works."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.identity.callers import end_of
from e2e.identity.speaking import Said, Speaker, say_h2
from e2e.traffic import by_model, eventually, models_seen, recorded, running
from gateways import GatewayProcess
from issuing import AUDIENCE, ISSUER, Idp, forgeries
from sallyport.audit.events import Event, EventKind
from sallyport.lab.server import Lab

IDP, THIEF = Idp(), Idp()

POLICY = f"""version: 1
identity:
  header: {{name: X-User, trusted_peers: [10.9.8.0/24], tenant_header: X-Tenant, roles_header: X-Roles}}
  tokens:
    - id: corp
      issuer: {ISSUER}
      audience: [{AUDIENCE}]
      keys: {{file: keys.json}}
"""

FRONTED = POLICY.replace("10.9.8.0/24", "127.0.0.0/8")


def start(folder: Path, lab: Lab, policy: str) -> Iterator[GatewayProcess]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "keys.json").write_text(json.dumps(IDP.jwks()))
    with running(folder, lab, policy=policy) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Believes tokens, and a header from elsewhere: what comes from this machine is not trusted."""
    yield from start(tmp_path_factory.mktemp("forged"), lab, POLICY)


@pytest.fixture(scope="module")
def fronted(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Believes the header from this machine: the tests are the proxy in front."""
    yield from start(tmp_path_factory.mktemp("fronted"), lab, FRONTED)


@pytest.fixture(scope="module")
def speaker(gateway: GatewayProcess) -> Iterator[Speaker]:
    made = Speaker(gateway)
    yield made
    made.close()


def letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def assert_refused(said: Said, lab: Lab, model: str) -> None:
    assert said.status in (400, 403, 431), (said.status, said.body[:300])
    assert models_seen(lab, model)[model] == 0


# -- tokens -----------------------------------------------------------------------------------------------


def test_a_good_token_passes_and_never_leaves(gateway: GatewayProcess, speaker: Speaker, lab: Lab) -> None:
    for value in (IDP.token(), f"Bearer {IDP.token('ES256')}", f"bearer {IDP.token('EdDSA')}"):
        said = speaker.say("forged-control", ("X-Sallyport-Token", value))
        assert said.status == 200, said.body
    seen = [r for r in lab.requests if b"forged-control" in r.body]
    assert len(seen) == 3
    for request in seen:
        assert request.header("x-sallyport-token") is None
        assert not any("eyJ" in value for _, value in request.headers)

    def ends() -> list[Event]:
        return [e for e in recorded(gateway.confdir) if e.model == "forged-control" and e.is_end]

    eventually(lambda: len(ends()) == 3, 5, "three ends are recorded")
    events = ends()
    assert {(e.principal, e.tenant, e.source) for e in events} == {("corp|ada", "default", "token")}


def test_no_forged_token_is_accepted(gateway: GatewayProcess, speaker: Speaker, lab: Lab) -> None:
    """Every token of issuing.forgeries, one call each: refused, never sent, and recorded as a refusal of nobody."""
    reasons: Counter[str] = Counter()
    tried = {}
    for number, (case, token) in enumerate(forgeries(IDP, THIEF)):
        model = f"forged-token-{letters(number)}"
        said = speaker.say(model, ("X-Sallyport-Token", token))
        assert said.status in (400, 403, 431), (case, said.status, said.body[:200])
        tried[model] = case
        reasons[said.reason] += 1
    assert len(tried) >= 300
    assert not models_seen(lab, "forged-token-")

    def ends() -> list[EventKind]:
        return [e.kind for e in recorded(gateway.confdir) if e.model in tried and e.is_end]

    eventually(lambda: len(ends()) >= len(tried) - 40, 10, "refusals are recorded")
    events = [e for e in recorded(gateway.confdir) if e.model in tried]
    assert {e.kind for e in events} == {EventKind.REFUSED}
    assert {e.principal for e in events} == {""}
    assert sum(n for reason, n in reasons.items() if reason.startswith("identity.")) >= 300, reasons


def test_a_token_that_was_good_is_refused_the_moment_it_has_expired(
    gateway: GatewayProcess, speaker: Speaker, lab: Lab
) -> None:
    now = int(time.time())
    token = IDP.token(exp=now - 57, iat=now - 600)
    assert speaker.say("forged-late-a", ("X-Sallyport-Token", token)).status == 200
    eventually(
        lambda: speaker.say("forged-late-b", ("X-Sallyport-Token", token)).reason == "identity.token_expired",
        8,
        "the token expires",
    )


@pytest.mark.parametrize(
    "lines",
    [
        [("X-Sallyport-Token", "GOOD"), ("X-Sallyport-Token", "GOOD")],
        [("X-Sallyport-Token", "GOOD"), ("x-sallyport-token", "BAD")],
        [("X-Sallyport-Token", "BAD"), ("X-SALLYPORT-TOKEN", "GOOD")],
        [("X-Sallyport-Token", ""), ("X-Sallyport-Token", "GOOD")],
        [("X-Sallyport-Token", "GOOD"), ("X-Sallyport-Token", "")],
    ],
    ids=["twice the same", "good then bad", "bad then good", "empty then good", "good then empty"],
)
@pytest.mark.parametrize("version", ["h1", "h2"])
def test_a_repeated_token_proves_nothing(
    gateway: GatewayProcess, speaker: Speaker, lab: Lab, lines: list[tuple[str, str]], version: str
) -> None:
    values = {"GOOD": IDP.token(), "BAD": THIEF.token(), "": ""}
    sent = [(name, values[value]) for name, value in lines]
    if version == "h2":
        said = say_h2(gateway, "forged-repeated", *((name.lower(), value) for name, value in sent))
    else:
        said = speaker.say("forged-repeated", *sent)
    assert_refused(said, lab, "forged-repeated")
    assert said.reason == "identity.header_repeated"


def test_the_token_passes_over_http2_too(gateway: GatewayProcess) -> None:
    assert say_h2(gateway, "forged-control-two", ("x-sallyport-token", IDP.token())).status == 200


@pytest.mark.parametrize("token", [THIEF.token(), IDP.token(exp=1), IDP.token(aud="x"), "x"], ids=range(4))
def test_a_bad_token_over_http2_is_refused(gateway: GatewayProcess, lab: Lab, token: str) -> None:
    said = say_h2(gateway, "forged-two", ("x-sallyport-token", token))
    assert_refused(said, lab, "forged-two")
    assert said.reason.startswith("identity.token_")


# -- the trusted header -----------------------------------------------------------------------------------

SPOOFED = [
    [(name, value)]
    for name in ("X-User", "x-user", "X-USER", "X-Tenant", "X-Roles")
    for value in ("ada", "root", "admin@example.com", "corp|ada", "anonymous", "", "*", "a" * 500)
]


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_no_header_is_believed_from_an_untrusted_peer(
    gateway: GatewayProcess, speaker: Speaker, lab: Lab, version: str
) -> None:
    for lines in SPOOFED:
        if version == "h2":
            said = say_h2(gateway, "forged-spoofed", *((n.lower(), v) for n, v in lines))
        else:
            said = speaker.say("forged-spoofed", *lines)
        assert_refused(said, lab, "forged-spoofed")
        assert said.reason == "identity.header_untrusted", lines


def test_a_spoofed_header_spoils_a_good_token_as_well(
    gateway: GatewayProcess, speaker: Speaker, lab: Lab
) -> None:
    said = speaker.say("forged-beside", ("X-Sallyport-Token", IDP.token()), ("X-User", "root"))
    assert_refused(said, lab, "forged-beside")
    assert end_of(gateway, "forged-beside").kind is EventKind.REFUSED
    assert by_model(recorded(gateway.confdir), "forged-beside") == [EventKind.REFUSED]


def test_the_addresses_a_client_claims_make_it_no_trusted_peer(speaker: Speaker, lab: Lab) -> None:
    for name in (
        "X-Forwarded-For",
        "Forwarded",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Via",
    ):
        value = "for=10.9.8.7" if name == "Forwarded" else "10.9.8.7"
        said = speaker.say("forged-address", ("X-User", "ada"), (name, value))
        assert_refused(said, lab, "forged-address")
        assert said.reason == "identity.header_untrusted"


def test_names_close_to_the_header_s_prove_nothing(speaker: Speaker, lab: Lab) -> None:
    for name in ("X_User", "X-User-", "X-Users", "XUser", "X-Remote-User", "X-Forwarded-User", "Remote-User", "X-Sallyport_Token", "Sallyport-Token"):  # fmt: skip
        said = speaker.say("forged-near", (name, "ada"))
        assert_refused(said, lab, "forged-near")
        assert said.reason == "identity.unknown"


def test_the_trusted_peer_s_header_passes_and_never_leaves(fronted: GatewayProcess, lab: Lab) -> None:
    speaker = Speaker(fronted)
    lines = (("X-User", "Eve"), ("X-Tenant", "bank"), ("X-Roles", "a, b"))
    assert speaker.say("forged-fronted", *lines).status == 200
    (seen,) = [r for r in lab.requests if b'"forged-fronted"' in r.body]
    assert all(seen.header(name) is None for name, _ in lines)
    event = end_of(fronted, "forged-fronted")
    assert (event.principal, event.tenant, event.source) == ("eve", "bank", "header")
    speaker.close()


BAD_USERS = [
    *("", " ", "eve, root", "eve,root", "a\tda", "a" * 201, "ada  b"),
    *(
        "аda",
        "ａda",
        "ada\u200b",
        "\u202eada",
        "ada\u00a0",
        "zoe\u0308",
        "\u212aim",
        "\ufeffada",
        "ad\u00ada",
        "ａdmin",
    ),
    *("ada\x00", "ada\x01", "ada\x7f", "ada\x0b"),
]


def test_the_trusted_peer_s_header_names_nobody_by_a_trick(fronted: GatewayProcess, lab: Lab) -> None:
    speaker = Speaker(fronted)
    for user in BAD_USERS:
        said = speaker.say("forged-trick", ("X-User", user))
        assert_refused(said, lab, "forged-trick")
        assert said.reason.startswith(("identity.header_", "transport.", "http_400")), (user, said)
    for lines in (
        [("X-User", "ada"), ("X-User", "root")],
        [("X-User", "ada"), ("x-user", "ada")],
        [("X-User", "ada"), ("X-Tenant", "a"), ("X-Tenant", "b")],
        [("X-User", "ada"), ("X-Roles", "a"), ("X-Roles", "admin")],
        [("X-User", "ada"), ("X-Tenant", "")],
        [("X-Tenant", "bank")],
        [("X-Roles", "admin")],
    ):
        said = speaker.say("forged-trick", *lines)
        assert_refused(said, lab, "forged-trick")
        assert said.reason.startswith("identity.header_"), (lines, said)
        two = say_h2(fronted, "forged-trick", *((n.lower(), v) for n, v in lines))
        assert_refused(two, lab, "forged-trick")
    speaker.close()


def test_header_and_token_of_different_people_are_refused_and_the_log_says_so(
    fronted: GatewayProcess, lab: Lab
) -> None:
    speaker = Speaker(fronted)
    said = speaker.say("forged-conflict", ("X-Sallyport-Token", IDP.token()), ("X-User", "bob"))
    assert_refused(said, lab, "forged-conflict")
    assert said.reason == "identity.conflict"
    assert b"token" in said.body
    assert b"header" in said.body
    assert b"bob" not in said.body
    event = end_of(fronted, "forged-conflict")
    assert (event.principal, event.source) == ("corp|ada", "token")
    speaker.close()


def test_nothing_of_a_token_is_written_anywhere(gateway: GatewayProcess, speaker: Speaker) -> None:
    token = IDP.token(sub="bruno-quill")
    assert speaker.say("forged-clean", ("X-Sallyport-Token", token)).status == 200
    assert speaker.say("forged-clean", ("X-Sallyport-Token", token[:-3])).status == 403
    for file in (gateway.log, *(f for f in gateway.confdir.rglob("*") if f.is_file())):
        data = file.read_bytes()
        for part in token.split("."):
            assert part.encode() not in data, file.name
    assert b"Traceback" not in gateway.log.read_bytes()
