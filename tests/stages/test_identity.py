"""Who speaks: which proof wins, what contradicts it, and what is no proof at all."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identities import (
    ALL,
    BOOK,
    CERTIFICATES,
    FINGERPRINT,
    HEADERS,
    NETWORKS,
    OTHER_KEY,
    TOKENS,
    ask,
    at,
    certificate,
    facts,
    section,
    token,
    who,
)
from sallyport.decision import Action
from sallyport.exchange import Client, Principal, Segment, Surface
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.problems import PolicyError
from sallyport.policy.tokens import CREDENTIAL_HEADERS
from sallyport.stages.directory import Key, KeyKind, Person, Tenant
from sallyport.stages.identity import IdentityStage
from sallyport.stages.stage import Subject
from sallyport.state.directory.snapshot import People, Snapshot
from samples import Desk, exchange

# -- one proof --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "tokens", "expected"),
    [
        (at("10.0.0.9", ("x-user", "eve")), {}, "default/eve header"),
        (at("::ffff:10.0.0.9", ("x-user", "eve")), {}, "default/eve header"),
        (at("10.0.0.9", ("x-user", "BOB")), {}, "acme/bob header"),
        (at("10.0.0.9", ("x-user", "Bob@Example.com")), {}, "acme/bob header"),
        (at("10.0.0.9", ("x-user", "zoë")), {}, "default/zoë header"),
        (at("10.0.0.9", ("x-user", "eve"), ("x-tenant", "bank")), {}, "bank/eve header"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), token(), "default/ada token"),
        (at("192.0.2.1", ("x-sallyport-token", "Bearer T")), token(), "default/ada token"),
        (at("192.0.2.1", ("x-sallyport-token", "bearer T")), token(), "default/ada token"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), token(name="00u1a"), "default/corp|00u1a token"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), token(name="new"), "default/corp|new token"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), token(name="new", tenant="acme"), "acme/corp|new token"),
        (at("192.0.2.1", ("x-mail-token", "M")), token("mail", "BOB@example.com"), "acme/bob token"),
        (at(certificate=certificate(uris=("spiffe://corp/bob",))), {}, "acme/bob certificate"),
        (at(certificate=certificate(names=("bob.example.com",))), {}, "acme/bob certificate"),
        (at(certificate=certificate(emails=("ADA@example.com",))), {}, "default/ada certificate"),
        (at(certificate=certificate(common_name="ada")), {}, "default/ada certificate"),
        (at(proxy_user="bob"), {}, "acme/bob proxy"),
        (at(proxy_user="Carol"), {}, "default/carol proxy"),
        (at(credential=FINGERPRINT), {}, "default/research key"),
        (at("10.1.2.3"), {}, "default/office network"),
        (at("10.9.2.3"), {}, "default/kitchen network"),
        (Client("10.9.2.3", "wireguard"), {}, "default/peer tunnel"),
        (at("fd00::1%eth0"), {}, "default/six network"),
        (at("not an address"), {}, "identity.unknown"),
        (at(), {}, "identity.unknown"),
        (at("10.0.0.9"), {}, "default/office network"),
    ],
)  # fmt: skip
async def test_each_source_names_its_caller(
    client: Client, tokens: dict[tuple[str, str], Subject], expected: str
) -> None:
    assert who(await ask(ALL, client, tokens)) == expected


@pytest.mark.parametrize(
    ("client", "tokens", "reason"),
    [
        (at("10.1.0.1", ("x-user", "mallory")), {}, "header_untrusted"),
        (at("10.1.0.1", ("x-roles", "admin")), {}, "header_untrusted"),
        (at("10.0.0.9", ("x-user", "mallory"), ("x-user", "mallory")), {}, "header_repeated"),
        (at("10.0.0.9", ("x-user", "mallory"), ("x-tenant", "a"), ("x-tenant", "b")), {}, "header_repeated"),
        (at("10.0.0.9", ("x-user", "")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "  ")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "mallory, root")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "mallory"), ("x-tenant", "")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "mallory"), ("x-roles", "a\x00b")), {}, "header_bad"),
        (at("10.0.0.9", ("x-tenant", "bank")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "аda")), {}, "header_name"),
        (at("10.0.0.9", ("x-user", "\u212a")), {}, "header_bad"),
        (at("10.0.0.9", ("x-user", "zoe\u0308")), {}, "header_bad"),
        (at("10.0.0.9", ("x-sallyport-token", "X")), {}, "token_expired"),
        (at("10.0.0.9", ("x-sallyport-token", "T"), ("x-sallyport-token", "T")), token(), "header_repeated"),
        (at("10.0.0.9", ("x-sallyport-token", "Bearer  T")), token(), "token_expired"),
        (at("10.0.0.9", ("x-sallyport-token", "T")), token(name="ada "), "token_name"),
        (at("10.0.0.9", ("x-sallyport-token", "T")), token(name=" ada"), "token_name"),
        (at("10.0.0.9", ("x-sallyport-token", "T")), token(name="a" * 300), "token_name"),
        (at("10.0.0.9", ("x-sallyport-token", "T")), token(name="x", tenant="b\u200bank"), "token_tenant"),
        (at("10.0.0.9", certificate=certificate()), {}, "certificate_nameless"),
        (at("10.0.0.9", certificate=certificate(names=("*.example.com",))), {}, "certificate_nameless"),
        (at("10.0.0.9", certificate=certificate(names=("new.example.com",))), {}, "certificate_unlisted"),
        (at("10.0.0.9", certificate=certificate(uris=("spiffe://corp/BOB",))), {}, "certificate_unlisted"),
        (at("10.0.0.9", certificate=certificate(uris=("spiffe://corp/../bob/",))), {}, "certificate_nameless"),
        (at("10.0.0.9", proxy_user="gone"), {}, "inactive_person"),
    ],
)  # fmt: skip
async def test_a_proof_that_does_not_hold_is_refused_and_no_weaker_one_takes_its_place(
    client: Client, tokens: dict[tuple[str, str], Subject], reason: str
) -> None:
    decision = await ask(ALL, client, tokens)
    assert who(decision) == f"identity.{reason}"
    assert decision.principal is None or decision.action is Action.DENY
    for _, value in client.headers:
        assert not value.strip() or value not in decision.message or len(value) < 2


async def test_an_untrusted_header_may_be_ignored_by_policy_and_then_proves_nothing() -> None:
    text = ALL.replace("roles_header: X-Roles", "roles_header: X-Roles, elsewhere: ignore")
    client = at("10.1.0.1", ("x-user", "eve"), ("x-roles", "admin"), ("x-tenant", "bank"))
    decision = await ask(text, client)
    assert who(decision) == "default/office network"
    assert decision.principal is not None
    assert decision.principal.roles == ("visitor",)


@given(st.text(max_size=30))
async def test_no_name_in_a_header_raises_and_none_is_another_s(name: str) -> None:
    decision = await ask(HEADERS, at("10.0.0.9", ("x-user", name)))
    if decision.action is Action.ALLOW:
        assert decision.principal is not None
        assert decision.principal.id in (name.lower(), *(p.id for p in BOOK.people))


@given(st.from_regex(r"[0-9a-f.:%]{0,40}", fullmatch=True))
async def test_no_spelling_of_an_address_raises(address: str) -> None:
    await ask("  networks: [{cidr: 0.0.0.0/0, principal: all}]\n", at(address))


# -- several proofs ---------------------------------------------------------------------------------------

CERT_BOB = certificate(uris=("spiffe://corp/bob",))
CERT_LAPTOP = certificate(names=("laptop.example.com",))


@pytest.mark.parametrize(
    ("client", "tokens", "expected"),
    [
        (at("10.0.0.9", ("x-user", "bob"), certificate=CERT_BOB), {}, "acme/bob certificate"),
        (at("10.0.0.9", ("x-user", "bob"), certificate=CERT_BOB, proxy_user="bob"), {}, "acme/bob certificate"),
        (at("10.0.0.9", ("x-user", "ada"), certificate=CERT_BOB), {}, "identity.conflict"),
        (at("10.0.0.9", ("x-user", "eve"), certificate=CERT_BOB), {}, "identity.conflict"),
        (at("10.0.0.9", ("x-user", "bob"), ("x-tenant", "default")), {}, "identity.conflict"),
        (at(proxy_user="ada", certificate=CERT_BOB), {}, "identity.conflict"),
        (at("192.0.2.1", ("x-sallyport-token", "T"), certificate=CERT_BOB), token(), "identity.conflict"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), token(tenant="acme"), "identity.conflict"),
        (at("192.0.2.1", ("x-sallyport-token", "T"), ("x-mail-token", "M")), token() | token("mail", "bob@example.com"), "identity.conflict"),
        (at("192.0.2.1", ("x-sallyport-token", "T"), ("x-mail-token", "M")), token() | token("mail", "ada@example.com"), "default/ada token"),
        (at("192.0.2.1", ("x-sallyport-token", "T"), ("x-mail-token", "stolen")), token(), "identity.token_expired"),
        # whose network or shared key it is, is no claim to be somebody
        (at("10.1.2.3", ("x-sallyport-token", "T"), credential=FINGERPRINT), token(), "default/ada token"),
        (at("10.1.2.3", credential=FINGERPRINT), {}, "default/research key"),
        # but a key is its tenant's
        (at("192.0.2.1", ("x-sallyport-token", "T"), credential=OTHER_KEY), token(), "identity.conflict"),
        (at(certificate=CERT_BOB, credential=OTHER_KEY), {}, "acme/bob certificate"),
        (at(certificate=CERT_LAPTOP, proxy_user="bob"), {}, "identity.conflict"),
    ],
)  # fmt: skip
async def test_the_strongest_wins_and_contradictions_are_refused(
    client: Client, tokens: dict[tuple[str, str], Subject], expected: str
) -> None:
    assert who(await ask(ALL, client, tokens)) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "default/ada token"),
        ({"personal": True}, "identity.conflict"),
        ({"kind": KeyKind.GATEWAY}, "identity.conflict"),
        ({"kind": KeyKind.GATEWAY, "owner": "ada"}, "default/ada token"),
        ({"tenant": "acme"}, "identity.conflict"),
        ({"retired": True}, "identity.key_retired"),
        ({"expires_at": datetime(2026, 11, 21, 9, 30, tzinfo=UTC)}, "identity.key_expired"),
        ({"expires_at": datetime(2026, 11, 21, 9, 31, tzinfo=UTC)}, "default/ada token"),
        ({"owner": ""}, "default/ada token"),
    ],
)
async def test_a_key_beside_a_token(change: dict[str, object], expected: str) -> None:
    key = replace(BOOK.keys[0], **change)  # type: ignore[arg-type]
    book = replace(BOOK, keys=(key,))
    client = at("192.0.2.1", ("x-sallyport-token", "T"), credential=FINGERPRINT)
    assert who(await ask(TOKENS, client, token(), book)) == expected


async def test_a_key_of_the_policy_is_shared_unless_it_says_otherwise() -> None:
    client = at("192.0.2.1", ("x-sallyport-token", "T"), credential=FINGERPRINT)
    text = TOKENS + f"  keys: [{{fingerprint: {FINGERPRINT}, owner: eve}}]\n"
    book = replace(BOOK, keys=())
    assert who(await ask(text, client, token(), book)) == "default/ada token"
    own = text.replace("owner: eve", "owner: eve, shared: false")
    assert who(await ask(own, client, token(), book)) == "identity.conflict"


async def test_a_conflict_says_which_sources_differ_and_the_policy_may_take_the_strongest() -> None:
    client = at("10.0.0.9", ("x-user", "ada"), ("x-roles", "admin"), certificate=CERT_BOB)
    refused = await ask(ALL, client)
    assert "certificate" in refused.message
    assert "header" in refused.message
    assert facts(refused)["conflict"] == "header"
    taken = await ask(ALL + "  conflicts: strongest\n", client)
    assert (who(taken), taken.reason) == ("acme/bob certificate", "identity.conflict_strongest")
    assert taken.principal is not None
    assert taken.principal.roles == ("boss",)
    assert facts(taken)["conflict"] == "header"
    assert "proof.header" not in facts(taken)


async def test_a_certificate_may_name_the_device_and_the_token_the_person() -> None:
    text = ALL + "  certificate_owners: {proves: device}\n"
    client = at("192.0.2.1", ("x-sallyport-token", "T"), certificate=CERT_LAPTOP)
    both = await ask(text, client, token())
    assert who(both) == "default/ada token"
    assert both.principal is not None
    assert "device" not in both.principal.roles
    assert facts(both)["proof.certificate"] == "laptop"
    assert who(await ask(text, at(certificate=CERT_LAPTOP))) == "default/laptop certificate"


async def test_roles_and_attributes_of_proofs_directory_and_tenant_come_together() -> None:
    client = at(
        "10.0.0.9",
        ("x-sallyport-token", "T"),
        ("x-user", "ada@example.com"),
        ("x-roles", "ops, staff,,"),
        credential=FINGERPRINT,
    )
    decision = await ask(
        ALL, client, token(groups=("ai", "unknown"), claims=(("team", "physics"), ("office", "b4")))
    )
    assert decision.principal is not None
    assert decision.principal.roles == ("developer", "ops", "staff")
    assert decision.principal.confidence == 0.95
    assert facts(decision) == {
        "office": "b4",
        "team": "maths",
        "token.issuer": "corp",
        "sources": "token header key network",
        "proof.token": "ada",
        "proof.header": "ada",
        "proof.key": "research",
        "proof.network": "office",
    }
    bob = await ask(ALL, at(certificate=CERT_BOB))
    assert facts(bob)["tenant.country"] == "de"
    assert facts(bob)["certificate"] == "ab" * 32


@pytest.mark.parametrize(
    ("require", "client", "tokens", "expected"),
    [
        ("token", at("10.1.2.3"), {}, "identity.required"),
        ("token", at("10.1.2.3", ("x-sallyport-token", "T")), token(), "default/ada token"),
        ("certificate+token", at("10.1.2.3", ("x-sallyport-token", "T")), token(), "identity.required"),
        ("token+network", at("10.1.2.3", ("x-sallyport-token", "T")), token(), "default/ada token"),
        ("token+network", at("192.0.2.1", ("x-sallyport-token", "T")), token(), "identity.required"),
        ("proxy, certificate", at(proxy_user="bob"), {}, "acme/bob proxy"),
        ("proxy", at(), {}, "identity.required"),
    ],
)
async def test_a_policy_may_ask_for_sources(
    require: str, client: Client, tokens: dict[tuple[str, str], Subject], expected: str
) -> None:
    assert who(await ask(f"{ALL}  require: [{require}]\n", client, tokens)) == expected


async def test_anonymous_is_nobody_s_proof_where_sources_are_required() -> None:
    assert who(await ask("  unknown: anonymous\n", at())) == "default/anonymous anonymous"
    assert who(await ask("  unknown: anonymous\n  require: [token]\n", at())) == "identity.required"


@pytest.mark.parametrize(
    ("text", "client", "reason"),
    [
        ("  networks: [{cidr: 10.0.0.0/8, principal: gone}]\n", at("10.0.0.1"), "inactive_person"),
        (
            "  networks: [{cidr: 10.0.0.0/8, principal: x, tenant: closed}]\n",
            at("10.0.0.1"),
            "inactive_tenant",
        ),
        (HEADERS, at("10.0.0.9", ("x-user", "GONE")), "inactive_person"),
        (HEADERS, at("10.0.0.9", ("x-user", "gone@EXAMPLE.com")), "inactive_person"),
        (HEADERS, at("10.0.0.9", ("x-user", "x"), ("x-tenant", "closed")), "inactive_tenant"),
        (
            HEADERS + "  conflicts: strongest\n",
            at("10.0.0.9", ("x-user", "gone"), proxy_user="ada"),
            "inactive_person",
        ),
    ],
)
async def test_who_is_inactive_is_refused(text: str, client: Client, reason: str) -> None:
    assert who(await ask(text, client)) == f"identity.{reason}"


@pytest.mark.parametrize(
    ("user", "tenant", "expected"),
    [
        ("x", "CLOSED", "identity.inactive_tenant"),
        ("left", "ACME", "identity.inactive_person"),
        ("Left", "Acme", "identity.inactive_person"),
        ("eve", "ACME", "acme/eve header"),
        ("ann", "aCMe", "acme/ann header"),
        ("bob", "ACME", "acme/bob header"),
        ("x", "closed", "identity.inactive_tenant"),
        ("x", "Other", "Other/x header"),
        ("x", "TWICE", "TWICE/x header"),
        ("x", "twice", "identity.inactive_tenant"),
        ("x", "Twice", "identity.inactive_tenant"),
    ],
)
async def test_a_tenant_of_the_directory_is_itself_in_any_case(user: str, tenant: str, expected: str) -> None:
    people = (
        Person("left", "acme", active=False),
        Person("ann", "acme"),
        Person("bob", "acme", names=("user:bob",)),
    )
    tenants = (Tenant("acme"), Tenant("closed", active=False), Tenant("TWICE"), Tenant("twice", active=False))
    book = Snapshot.of({}, People.of(people, tenants))
    client = at("10.0.0.9", ("x-user", user), ("x-tenant", tenant))
    assert who(await ask(HEADERS, client, book=book)) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "client"),
    [
        (f"  keys: [{{fingerprint: {FINGERPRINT}, owner: ADA, tenant: ACME}}]\n", at(credential=FINGERPRINT)),
        ("", at(credential=OTHER_KEY)),
        ("  networks: [{cidr: 10.0.0.0/8, principal: Ada, tenant: Acme}]\n", at("10.0.0.1")),
    ],
    ids=["policy", "directory", "network"],
)
async def test_who_owns_a_key_or_a_network_is_the_person_that_the_directory_has(
    text: str, client: Client
) -> None:
    """Else one person had counters and approvals of each spelling, and contradicted herself."""
    key = Key(OTHER_KEY, "k", "Ada", "ACME")
    book = Snapshot.of({}, People.of((Person("ada", "acme"),), (Tenant("acme"),)), [key])
    assert who(await ask(text, client, book=book)).startswith("acme/ada ")  # type: ignore[arg-type]
    nobody = Snapshot.of({}, People.of((), (Tenant("acme"),)), [key])
    assert re.match("acme/(?i:ada) ", who(await ask(text, client, book=nobody)))  # type: ignore[arg-type]


def test_a_person_is_found_in_any_case_of_id_and_tenant_but_a_subject_in_its_own_alone() -> None:
    people = [Person("corp|00u1A", "acme"), Person("Ann", "acme")]
    book = Snapshot.of({}, People.of(people, ()))
    assert book.person("ACME", "corp|00u1A") == people[0]
    assert book.person("ACME", "corp|00u1a") is None
    assert book.person("ACME", "ANN") == people[1]
    assert book.person("acm", "Ann") is None


@pytest.mark.parametrize(
    ("text", "client", "tokens", "reason"),
    [
        (HEADERS.replace("X-Roles", "X-Roles, unlisted: deny"), at("10.0.0.9", ("x-user", "eve")), {}, "header_unlisted"),
        (HEADERS + "  proxy_users: {unlisted: deny}\n", at(proxy_user="eve"), {}, "proxy_unlisted"),
        (TOKENS.replace("audience: [a]\n", "audience: [a]\n      unlisted: deny\n"), at("1.1.1.1", ("x-sallyport-token", "T")), token(name="n"), "token_unlisted"),
    ],
)  # fmt: skip
async def test_a_policy_may_ask_that_everybody_is_listed(
    text: str, client: Client, tokens: dict[tuple[str, str], Subject], reason: str
) -> None:
    assert who(await ask(text, client, tokens)) == f"identity.{reason}"


async def test_an_unlisted_certificate_is_its_name_where_the_policy_says_so() -> None:
    text = CERTIFICATES + "  certificate_owners: {unlisted: allow, tenant: machines, roles: [agent]}\n"
    found = await ask(text, at(certificate=certificate(uris=("spiffe://corp/New",))))
    assert who(found) == "machines/spiffe://corp/New certificate"
    assert found.principal is not None
    assert found.principal.roles == ("agent",)
    two = certificate(uris=("spiffe://corp/a", "spiffe://corp/b"))
    assert who(await ask(text, at(certificate=two))) == "identity.certificate_nameless"


# -- hints ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            (("user-agent", "claude-cli/2.1.0 (external, cli)"), ("x-claude-code-session-id", "s-1"), ("x-claude-code-parent-agent-id", "p-1")),
            {"hint.agent": "claude_code", "hint.session": "s-1", "hint.parent": "p-1"},
        ),
        (
            (("originator", "codex_cli_rs"), ("session-id", "s-2"), ("chatgpt-account-id", "acc"), ("x-openai-subagent", "review")),
            {"hint.agent": "codex", "hint.session": "s-2", "unproved.chatgpt_account": "acc", "hint.subagent": "review"},
        ),
        (
            (("copilot-integration-id", "vscode-chat"), ("editor-version", "vscode/1.9"), ("x-initiator", "agent")),
            {"hint.agent": "copilot", "hint.editor": "vscode/1.9", "hint.initiator": "agent"},
        ),
        ((("openai-organization", "org-1"), ("openai-project", "p")), {"unproved.openai_organization": "org-1", "unproved.openai_project": "p"}),
        ((("session-id", "a"), ("session-id", "b")), {}),
        ((("session-id", "x" * 201),), {}),
        ((("session-id", "x\x00"),), {}),
        ((("user-agent", "python-httpx/0.28"),), {}),
    ],
)  # fmt: skip
async def test_what_agents_say_of_themselves_is_an_attribute_and_no_more(
    headers: tuple[tuple[str, str], ...], expected: dict[str, str]
) -> None:
    named = await ask(NETWORKS, at("10.1.2.3", *headers))
    assert who(named) == "default/office network"
    said = {k: v for k, v in facts(named).items() if k.startswith(("hint.", "unproved."))}
    assert said == expected
    assert who(await ask("", at("10.1.2.3", *headers))) == "identity.unknown"
    nobody = await ask("  unknown: anonymous\n", at("10.1.2.3", *headers))
    assert nobody.principal == Principal("anonymous", "default", attributes=tuple(facts(nobody).items()))


@pytest.mark.parametrize(
    "user_id",
    [
        f"user_{'0' * 64}_account_{'a' * 36}_session_{'b' * 36}",
        '{"device_id":"x","account_uuid":"' + "a" * 36 + '","session_id":"' + "b" * 36 + '"}',
    ],
)
async def test_the_metadata_of_claude_code_gives_account_and_session(user_id: str) -> None:
    client = at("10.1.2.3", ("user-agent", "claude-cli/1.0"))
    segments = (Segment("/metadata/user_id", Surface.DOCUMENT, user_id),)
    found = facts(await ask(NETWORKS, client, segments=segments))
    assert (found["unproved.anthropic_account"], found["hint.session"]) == ("a" * 36, "b" * 36)


async def test_a_claim_cannot_pose_as_a_fact_of_the_gateway() -> None:
    with pytest.raises(PolicyError):
        section(TOKENS.replace("claims: {id: email}", "claims: {attributes: {hint.agent: x}}"))


@pytest.mark.parametrize("require", ["anonymous", "token+", "token,network", "Token"])
def test_a_requirement_that_is_no_source_does_not_load(require: str) -> None:
    with pytest.raises(PolicyError, match="no source of identity"):
        section(f'  require: ["{require}"]\n')


def test_a_token_and_a_trusted_header_cannot_share_a_header() -> None:
    with pytest.raises(PolicyError, match="cannot share"):
        section(HEADERS + TOKENS.replace("X-Mail-Token", "x-user"))


def test_no_header_of_a_provider_s_credential_can_become_a_token_s_by_mistake() -> None:
    used = {name for provider in shipped_catalogue() for name in provider.credentials.headers}
    assert len(used) >= 4
    assert used <= CREDENTIAL_HEADERS


# -- somebody who wants to be somebody else -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "tokens", "reason"),
    [
        (at("10.0.0.9", ("x-user", "corp|00u9Z")), {}, "header_name"),
        (at(proxy_user="corp|00u9Z"), {}, "proxy_name"),
        (at("10.1.0.1", ("x-mail-token", "M")), token("mail", "corp|00u9z"), "token_name"),
    ],
)
async def test_nobody_chooses_a_name_that_is_another_issuer_s_subject(
    client: Client, tokens: dict[tuple[str, str], Subject], reason: str
) -> None:
    """An unlisted subject is called ISSUER_ID|SUBJECT; a user name is what its bearer once chose."""
    assert who(await ask(ALL, client, tokens)) == f"identity.{reason}"
    subject = token(name="corp|00u9Z")
    assert who(await ask(ALL, at("10.1.0.1", ("x-sallyport-token", "T")), subject)).startswith(
        "default/corp|corp|00u9Z "
    ), "of a subject the first bar ends the issuer's id, which has none"


@pytest.mark.parametrize("name", ["Eve", "eve", "EVE"])
async def test_a_change_of_case_makes_nobody_active_again(name: str) -> None:
    """The directory's ids may be written in any case, and whoever logs in chooses one."""
    people = (Person("Eve", active=False), Person("corp|aB"), Person("ZOE", "acme"))
    book = Snapshot.of({}, People.of(people, ()))
    ports = replace(Desk().ports(), directory=book)
    for client in (at(proxy_user=name), at("10.0.0.9", ("x-user", name))):
        decision = await IdentityStage().decide(exchange(client=client), section(HEADERS), ports)
        assert who(decision) == "identity.inactive_person"
    assert book.person("default", "corp|ab") is None, "two subjects may differ in case alone"
    assert book.person("default", "zoe") is None
