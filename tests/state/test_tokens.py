"""Tokens: who is believed, who is not, how long, and with which keys."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from textwrap import indent

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from issuing import Idp, examples, forgeries
from sallyport.errors import OperatorError
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.tokens import Issuer
from sallyport.state.tokens.desk import TokenDesk, believed
from sallyport.state.tokens.form import TokenRefused, take_apart
from sallyport.state.tokens.jwks import read_key_set
from sallyport.state.tokens.sources import HURRY_S, KeySources, Place

IDP = Idp()
THIEF = Idp()
KEY = b"k" * 32
URL = "https://idp.example.com/keys"


def issuers(text: str) -> tuple[Issuer, ...]:
    """Return the issuers of a policy. text: the keys of one entry, beside id and keys."""
    entry = indent(f"id: corp\nkeys: {{url: {URL}}}\n{text}", "      ").lstrip()
    return parse_policy(f"version: 1\nidentity:\n  tokens:\n    - {entry}\n").identity.tokens


CORP = issuers(f"issuer: {IDP.issuer}\naudience: [{IDP.audience}, other-app]")


@dataclass
class Clock:
    """Both clocks of a test: at moves them together, wall alone is what an operator may set."""

    wall: float = field(default_factory=time.time)
    ticks: float = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds


@dataclass
class Site:
    """The issuer's address. answers: what it says now, None for nothing at all. asked: how often."""

    answers: bytes | None = None
    asked: int = 0

    def read(self, place: Place) -> bytes:
        self.asked += 1
        if self.answers is None:
            raise OSError("down")
        return self.answers


@dataclass
class World:
    """A desk over a site, without the thread's own pace: look() makes one look."""

    site: Site
    clock: Clock
    sources: KeySources
    desk: TokenDesk

    @classmethod
    def of(
        cls, *trusted: Issuer, idp: Idp = IDP, folder: Path | None = None, site: Site | None = None
    ) -> "World":
        clock = Clock()
        site = site or Site(json.dumps(idp.jwks()).encode())
        sources = KeySources(
            folder, lambda: KEY, now=lambda: clock.wall, ticks=lambda: clock.ticks, read=site.read
        )
        desk = TokenDesk(believed(trusted or CORP, Path), sources, now=lambda: clock.wall)
        return cls(site, clock, sources, desk)

    def look(self) -> None:
        (held,) = self.sources._held.values()
        self.sources._look(held)

    def who(self, token: str) -> str | None:
        found = self.desk.subject("corp", token)
        return None if found is None else found.subject


@pytest.fixture
def world() -> Iterator[World]:
    made = World.of()
    yield made
    made.sources.close()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- what is believed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_good_token_proves_its_subject(world: World, algorithm: str) -> None:
    assert world.who(IDP.token(algorithm)) == "ada"
    assert world.desk.why_not("corp", IDP.token(algorithm)) == ""


# Minted when the test runs: between collection and test lie minutes.
@pytest.mark.parametrize(
    "minted",
    [
        lambda: IDP.token(aud=["x", IDP.audience]),
        lambda: IDP.token(aud="other-app"),
        lambda: IDP.token(header={"typ": None}),
        lambda: IDP.token(header={"typ": "at+JWT"}),
        lambda: IDP.token(header={"x5t": "abc", "nonce": "n"}),
        lambda: IDP.token(exp=time.time() + 5.5),
        lambda: IDP.token(exp=int(time.time()) - 30),
        lambda: IDP.token(nbf=int(time.time()) + 30),
    ],
    ids=["aud list", "second audience", "no typ", "at+jwt", "other header", "fraction", "leeway", "leeway of nbf"],
)  # fmt: skip
def test_what_issuers_really_send_is_believed(world: World, minted: Callable[[], str]) -> None:
    assert world.who(minted()) == "ada"


NAMES_ARE_THE_STAGE_S = "names: "
"""A signed token with an odd name is well signed: the stage refuses the name, unless it is no name at all."""

TIMES = "times: "
"""The one family that is refused for its times; of any other that would show a clock that is wrong."""


@cache
def _minted() -> list[tuple[str, str]]:
    """Return the forgeries as of now: minted when the tests run, since between collection and test lie minutes."""
    return list(forgeries(IDP, THIEF))


# Cases name times, so ids count instead: two processes must collect the same.
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=f"{case.partition(':')[0]}-{number}")
        for number, (case, _) in enumerate(forgeries(IDP, THIEF))
    ],
)
def test_no_forgery_proves_anybody(number: int) -> None:
    case, token = _minted()[number]
    world = _shared()
    assert world.who(_good()) == "ada", "a desk that believes nobody refuses every forgery"
    token = token[7:] if token[:7].lower() == "bearer " else token
    if case.startswith(NAMES_ARE_THE_STAGE_S) and world.who(token) is not None:
        assert world.who(token) != "ada"
        return
    assert world.desk.subject("corp", token) is None
    assert world.desk.why_not("corp", token)
    assert case.startswith(TIMES) or world.desk.why_not("corp", token) not in ("expired", "not_yet")


@cache
def _good() -> str:
    return IDP.token()


@cache
def _shared() -> World:
    return World.of()


@pytest.mark.parametrize("product", ["okta", "entra", "auth0", "keycloak", "kubernetes"])
def test_tokens_of_five_products_are_read_as_the_documentation_says(product: str) -> None:
    claims, text = examples(int(time.time()))[product]
    world = World.of(*issuers(text))
    kid = {"kid": "rsa", "x5t": "rsa"} if product == "entra" else {"kid": "rsa"}
    head = (
        {"alg": "RS256", **kid}
        if product in ("okta", "kubernetes")
        else {"alg": "RS256", "typ": "JWT", **kid}
    )
    found = world.desk.subject("corp", IDP.compact(json.dumps(head).encode(), json.dumps(claims).encode()))
    assert found is not None, world.desk.why_not(
        "corp", IDP.compact(json.dumps(head).encode(), json.dumps(claims).encode())
    )
    expected = {
        "okta": ("00u1AbC", "AI Users", ""),
        "entra": ("00000000-0000-0000-66f3-3332eca7ea81", "AI.Use", ""),
        "auth0": ("ada@example.com", "ai", ""),
        "keycloak": ("ada", "ai", ""),
        "kubernetes": ("system:serviceaccount:agents:crawler", None, "agents"),
    }
    who, group, tenant = expected[product]
    assert (found.subject, found.tenant) == (who, tenant)
    assert group is None or group in found.groups
    if product == "kubernetes":
        assert found.claims == (("account", "crawler"),)
    world.sources.close()


@pytest.mark.parametrize(
    ("text", "claims", "why"),
    [
        ("claims: {id: email}", {"email": "ada@x.org"}, "email_not_verified"),
        ("claims: {id: email}", {"email": "ada@x.org", "email_verified": False}, "email_not_verified"),
        ("claims: {id: email}", {"email": "ada@x.org", "email_verified": 1}, "email_not_verified"),
        ("claims: {id: email}", {"email": "ada@x.org", "email_verified": True}, ""),
        ("claims: {id: email, unverified_email: accept}", {"email": "ada@x.org"}, ""),
        ("claims: {tenant: tid}", {}, "no_tenant"),
        ("claims: {tenant: tid}", {"tid": ["a"]}, "no_tenant"),
        ("claims: {tenant: tid}", {"tid": "a"}, ""),
        ("claims: {required: [{claim: acr}]}", {}, "required_claim"),
        ("claims: {required: [{claim: acr, one_of: [mfa]}]}", {"acr": "pwd"}, "required_claim"),
        ("claims: {required: [{claim: acr, one_of: [mfa]}]}", {"acr": ["pwd", "mfa"]}, ""),
        ("claims: {required: [{claim: mfa, one_of: ['true']}]}", {"mfa": True}, ""),
        ("claims: {attributes: {team: team}}", {"team": {"a": 1}}, "claims"),
        ("groups: {missing: deny}", {}, "no_groups"),
        ("groups: {}", {}, ""),
        ("groups: {}", {"_claim_names": {"groups": "src1"}}, "groups_left_out"),
        ("groups: {}", {"hasgroups": True}, "groups_left_out"),
        ("max_age_s: 60", {"iat": None}, "no_issue_time"),
        ("max_age_s: 60", {"iat": int(time.time()) - 200}, "expired"),
        ("algorithms: [ES256]", {}, "algorithm"),
    ],
)
def test_what_the_policy_asks_of_claims(text: str, claims: dict[str, object], why: str) -> None:
    world = World.of(*issuers(f"issuer: {IDP.issuer}\naudience: [{IDP.audience}]\n{text}"))
    assert world.desk.why_not("corp", IDP.token(**claims)) == why
    world.sources.close()


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
@settings(max_examples=300)
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    text = data.decode("latin-1")
    for token in (text, IDP.compact(b'{"alg":"RS256","kid":"rsa"}', data), IDP.compact(data, b"{}")):
        assert _shared().desk.subject("corp", token) is None
        with suppress(TokenRefused):
            take_apart(token)


# -- once per token ---------------------------------------------------------------------------------------


def test_a_token_is_verified_once_and_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    token = IDP.token()
    assert world.who(token) == "ada"
    monkeypatch.setattr("sallyport.state.tokens.desk.verify", None)
    assert world.who(token) == "ada"
    for part in (token, *token.split(".")):
        assert part not in repr(vars(world.desk))


def test_a_remembered_token_ends_with_its_time_and_a_clock_that_jumps_does_no_harm(world: World) -> None:
    token = IDP.token(exp=int(world.clock.wall) + 100)
    assert world.who(token) == "ada"
    world.clock.wall += 10 * 365 * 86_400
    assert world.desk.why_not("corp", token) == "expired"
    world.clock.wall -= 10 * 365 * 86_400
    assert world.who(token) == "ada"
    world.clock.wall -= 86_400
    assert world.desk.why_not("corp", IDP.token()) == "not_yet"
    world.clock.wall += 86_400 + 161
    assert world.desk.why_not("corp", token) == "expired"


def test_what_is_remembered_is_bounded() -> None:
    clock, site = Clock(), Site(json.dumps(IDP.jwks()).encode())
    sources = KeySources(None, lambda: KEY, read=site.read)
    desk = TokenDesk(believed(CORP, Path), sources, now=lambda: clock.wall, max_proofs=5)
    tokens = [IDP.token(sub=f"p{n}") for n in range(12)]
    assert [desk.subject("corp", t) is not None for t in tokens] == [True] * 12
    assert len(desk._proofs) == 5
    assert desk.subject("corp", tokens[0]) is not None
    sources.close()


def test_one_issuer_s_token_is_nothing_to_another_of_the_same_keys() -> None:
    text = f"issuer: {IDP.issuer}\naudience: [{IDP.audience}]"
    second = issuers("issuer: https://second.example.com\naudience: [sallyport]")[0].model_copy(
        update={"id": "second"}
    )
    world = World.of(*issuers(text), second)
    assert world.who(IDP.token()) == "ada"
    assert world.desk.subject("second", IDP.token()) is None
    assert world.desk.subject("third", IDP.token()) is None
    world.sources.close()


# -- keys -------------------------------------------------------------------------------------------------


def test_a_key_that_is_removed_takes_its_tokens_with_it(world: World) -> None:
    idp = Idp()
    world.site.answers = json.dumps(idp.jwks()).encode()
    world.look()
    tokens = {a: idp.token(a) for a in ("RS256", "ES256")}
    assert [world.who(t) for t in tokens.values()] == ["ada", "ada"]
    idp.withdrawn.add("rsa")
    world.site.answers = json.dumps(idp.jwks()).encode()
    world.look()
    assert [world.who(t) for t in tokens.values()] == [None, "ada"]
    world.site.answers = b'{"keys": []}'
    world.look()
    assert [world.who(t) for t in tokens.values()] == [None, None]


def test_another_key_under_the_same_kid_ends_the_tokens_of_the_first(world: World) -> None:
    token = IDP.token()
    assert world.who(token) == "ada"
    world.site.answers = json.dumps(THIEF.jwks()).encode()
    world.look()
    assert world.desk.why_not("corp", token) == "signature"


@pytest.mark.parametrize(
    "answer", [None, b"", b"<html>", b"[]", b'{"keys": 1}', b'{"keys": [], "keys": []}', b"x" * 300_000]
)
def test_an_address_that_fails_leaves_the_last_good_keys_until_they_are_stale(
    world: World, answer: bytes | None
) -> None:
    token = IDP.token()
    world.site.answers = answer
    world.look()
    assert world.who(token) == "ada"
    world.clock.pass_(86_400 + 1)
    fresh = IDP.token(exp=int(world.clock.wall) + 900, iat=int(world.clock.wall))
    assert world.desk.why_not("corp", fresh) == "unknown_key"
    world.site.answers = json.dumps(IDP.jwks()).encode()

    def found() -> bool:
        world.look()  # another look may be under way, and then this one is none
        return world.who(fresh) == "ada"

    until(found)


def test_a_new_kid_is_looked_for_soon_but_never_often_and_nobody_waits(world: World) -> None:
    idp = Idp()
    asked = world.site.asked
    world.site.answers = json.dumps(
        idp.jwks() | {"keys": [k | {"kid": f"new-{k['kid']}"} for k in idp.jwks()["keys"]]}
    ).encode()
    token = idp.token(header={"kid": "new-rsa"})
    for _ in range(50):
        assert world.desk.why_not("corp", token) == "unknown_key"
    assert world.site.asked == asked
    world.clock.pass_(HURRY_S + 1)
    with world.sources._wake:
        world.sources._wake.notify_all()
    until(lambda: world.who(token) == "ada")
    assert world.site.asked == asked + 1
    for n in range(50):
        world.desk.why_not("corp", idp.token(header={"kid": f"made-up-{n}"}))
    time.sleep(0.1)
    assert world.site.asked == asked + 1


def test_a_gateway_starts_with_the_copy_while_the_issuer_is_down(tmp_path: Path) -> None:
    first = World.of(folder=tmp_path / "issuers")
    first.sources.close()
    (copy,) = (tmp_path / "issuers").iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    later = World.of(folder=tmp_path / "issuers", site=Site(None))
    assert later.who(IDP.token()) == "ada"
    later.sources.close()


def _resigned(copy: dict[str, str]) -> dict[str, str]:
    return copy | {"keys": json.dumps(THIEF.jwks())}


@pytest.mark.parametrize(
    "change",
    [
        _resigned,
        lambda c: c | {"at": str(int(c["at"]) + 1)},
        lambda c: c | {"mac": ""},
        lambda c: {},
        lambda c: [],
        lambda c: c | {"keys": 1},
    ],
)
def test_a_copy_that_somebody_wrote_is_no_copy(
    tmp_path: Path, change: Callable[[dict[str, str]], object]
) -> None:
    World.of(folder=tmp_path).sources.close()
    (copy,) = tmp_path.iterdir()
    copy.write_text(json.dumps(change(json.loads(copy.read_text()))))
    later = World.of(folder=tmp_path, site=Site(None))
    assert later.who(IDP.token()) is None
    assert later.who(THIEF.token()) is None
    later.sources.close()


def test_keys_from_a_file_follow_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(IDP.jwks()))
    (issuer,) = CORP
    trusted = issuer.model_copy(
        update={"keys": issuer.keys.model_copy(update={"url": None, "file": "keys.json"})}
    )
    sources = KeySources(None, lambda: KEY)
    desk = TokenDesk(believed([trusted], lambda name: tmp_path / name), sources)
    assert desk.subject("corp", IDP.token()) is not None
    file.write_text(json.dumps(THIEF.jwks() | {"note": "rotated"}))
    until(lambda: desk.subject("corp", THIEF.token()) is not None)
    assert desk.subject("corp", IDP.token()) is None
    file.unlink()
    time.sleep(0.05)
    assert desk.subject("corp", THIEF.token()) is not None
    sources.close()


@pytest.mark.parametrize(
    "content", [None, "", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}']
)
def test_a_file_without_keys_stops_the_start_with_its_name(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    (issuer,) = CORP
    trusted = issuer.model_copy(
        update={"keys": issuer.keys.model_copy(update={"url": None, "file": "keys.json"})}
    )
    with pytest.raises(OperatorError, match=r"keys\.json"):
        TokenDesk(believed([trusted], lambda name: tmp_path / name), KeySources(None, lambda: KEY))


def test_nobody_keeps_the_keys_of_a_policy_that_is_gone(world: World) -> None:
    other = World.of(site=world.site)
    other.desk = TokenDesk((), other.sources)
    assert not other.sources._held or not list(other.sources._held.values())
    other.sources.close()


RSA, EC, ED = IDP.jwks()["keys"]


@pytest.mark.parametrize(
    "entry",
    [
        {"kty": "oct", "kid": "x", "k": "AAAA"},
        RSA | {"d": "AQAB"},
        RSA | {"use": "enc"},
        RSA | {"key_ops": ["encrypt"]},
        RSA | {"alg": "RSA-OAEP"},
        RSA | {"alg": "HS256"},
        RSA | {"kid": ""},
        RSA | {"kid": 1},
        RSA | {"n": "AQAB"},
        RSA | {"e": "AQ"},
        RSA | {"n": 5},
        RSA | {"kty": "rsa"},
        EC | {"crv": "P-384"},
        EC | {"crv": "secp256k1"},
        EC | {"y": EC["x"]},
        EC | {"alg": "RS256"},
        ED | {"crv": "X25519"},
        ED | {"crv": "Ed448"},
        ED | {"x": "AAAA"},
        "rsa",
        None,
    ],
    ids=lambda entry: "",  # keys are new in each process, and two must collect the same
)  # fmt: skip
def test_a_key_unfit_for_signatures_is_no_key(entry: object) -> None:
    good = EC | {"kid": "good"}
    assert set(read_key_set(json.dumps({"keys": [entry, good]}).encode())) == {"good"}


def test_a_short_key_is_no_key() -> None:
    weak = Idp()
    weak.rsa = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert set(read_key_set(json.dumps(weak.jwks()).encode())) == {"ec", "ed"}


def test_a_key_that_names_its_algorithm_verifies_no_other(world: World) -> None:
    named = [RSA | {"alg": "RS384"}, RSA | {"kid": "any"}]
    world.site.answers = json.dumps({"keys": named}).encode()
    world.look()
    assert world.desk.why_not("corp", IDP.token()) == "algorithm"
    assert world.who(IDP.token(header={"kid": "any"})) == "ada"


def test_two_keys_of_one_kid_are_none() -> None:
    twins = [RSA, EC | {"kid": "rsa"}, ED]
    assert set(read_key_set(json.dumps({"keys": twins}).encode())) == {"ed"}


# -- the policy -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("header: Authorization", "credential"),
        ("header: x-api-key", "credential"),
        ("header: Content-Type", "meaning of its own"),
        ("algorithms: [HS256]", "not one of those allowed"),
        ("algorithms: [none]", "not one of those allowed"),
        ("algorithms: []", "too short"),
        ("keys: {}", "a file or an address"),
        ("keys: {file: a, url: 'https://a/b'}", "a file or an address"),
        ("keys: {url: 'http://a/b'}", "no https address"),
        ("keys: {url: 'https://user@a/b'}", "no https address"),
        ("keys: {file: a, ca_file: b}", "for an address"),
        ("audience: []", "too short"),
    ],
)
def test_a_policy_that_would_believe_too_much_does_not_load(text: str, problem: str) -> None:
    entry = {"id": "id: corp", "issuer": "issuer: x", "audience": "audience: [y]", "keys": "keys: {file: k}"}
    entry[text.partition(":")[0]] = text
    body = "\n      ".join(entry.values())
    with pytest.raises(PolicyError, match=problem):
        parse_policy(f"version: 1\nidentity:\n  tokens:\n    - {body}\n")


def test_authorization_may_be_given_up_to_tokens() -> None:
    (issuer,) = issuers("issuer: x\naudience: [y]\nheader: Authorization\ninstead_of_credential: true")
    assert issuer.header == "Authorization"
