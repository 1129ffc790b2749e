"""Approvals, broken glass and kill switches as the access stage judges them; no store, no gateway."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Exchange, Operation, Parameter, Principal, Tool, ToolKind
from sallyport.policy.approvals import Approvals
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.stages.access import AccessStage
from sallyport.stages.directory import Approval, Key, NoDirectory, Person, Stop, StopKind
from sallyport.stages.stage import Ports
from sallyport.state.keyed import digest
from samples import Desk, exchange, segment

ADA = Principal("ada", "default", source="proxy_auth", confidence=0.9)
NOW = exchange(segment("x")).received_at
BIG = "rules: [{id: big, effect: approve, resource: model, models: ['gpt-5*'], message: 'Costly.'}]"


@dataclass(frozen=True, slots=True)
class Held(NoDirectory):
    """A directory of these approvals, stops and keys; it gives all approvals to whoever asks."""

    approved: Sequence[Approval] = ()
    pulled: Sequence[Stop] = ()
    keys: Sequence[Key] = ()
    people: Sequence[Person] = ()

    def named(self, name: str) -> Person | None:
        return next((person for person in self.people if name in person.names), None)

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        return tuple(self.approved)

    def stops(self) -> tuple[Stop, ...]:
        return tuple(self.pulled)

    def key(self, fingerprint: str) -> Key | None:
        return next((key for key in self.keys if key.fingerprint == fingerprint), None)


def given(**other: object) -> Approval:
    until = NOW + timedelta(hours=1)
    sound = Approval("apv-1", "default", "ada", "big", "model:gpt-5", until, approvers=("bob",), given_at=NOW)
    return replace(sound, **other)  # type: ignore[arg-type]


def asking(who: Principal | None = ADA, **request: object) -> Exchange:
    request.setdefault("model", "gpt-5")
    return replace(exchange(segment("x"), **request), principal=who)  # type: ignore[arg-type]


async def access(
    text: str, of: Exchange, directory: Held | None = None, approving: Approvals | None = None
) -> Decision:
    section = parse_policy("version: 1\naccess:\n  " + text).access

    def keyed(*parts: str) -> str:
        return digest(b"k" * 32, "approval", *parts)

    ports: Ports = replace(
        Desk().ports(of), directory=directory or Held(), digest=keyed, approving=approving or Approvals()
    )
    return await AccessStage().decide(of, section, ports)


async def test_a_call_that_needs_an_approval_is_refused_with_the_id_of_a_request() -> None:
    first = await access(BIG, asking())
    again = await access(BIG, asking())
    (need,) = first.needs
    assert (first.action, first.reason, first.status) == (Action.DENY, "access.big", 403)
    assert first == again
    assert f'sallyport approvals approve {need.id} --reason "..."' in first.message
    assert "Costly." in first.message
    assert "gpt-5" in first.message
    assert (need.tenant, need.principal, need.rule, need.resource) == ("default", "ada", "big", "model:gpt-5")


async def test_every_other_tenant_principal_rule_and_resource_has_an_id_of_its_own() -> None:
    other = BIG.replace("id: big", "id: other")
    calls = [
        (BIG, asking()),
        (BIG, asking(replace(ADA, id="bob"))),
        (BIG, asking(replace(ADA, tenant="acme"))),
        (BIG, asking(replace(ADA, id="adadefault", tenant=""))),
        (BIG, asking(model="gpt-5-pro")),
        (other, asking()),
    ]
    ids = {(await access(text, of)).needs[0].id for text, of in calls}
    assert len(ids) == len(calls)


async def test_an_approval_lets_the_call_pass_and_says_so() -> None:
    decision = await access(BIG, asking(), Held([given()]))
    assert (decision.action, decision.reason, decision.needs) == (Action.ALLOW, "access.approved", ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": "acme"},
        {"principal": "bob"},
        {"principal": "ADA"},
        {"rule": "other"},
        {"rule": "*"},
        {"resource": "model:gpt-5-pro"},
        {"resource": "model:gpt-5-2026-08-07"},
        {"resource": "provider:openai"},
        {"resource": "model:"},
        {"expires_at": NOW},
        {"expires_at": NOW - timedelta(microseconds=1)},
        {"expires_at": None},
    ],
    ids=str,
)
async def test_an_approval_of_anything_else_does_not_serve(wrong: dict[str, object]) -> None:
    decision = await access(BIG, asking(), Held([given(**wrong)]))
    assert (decision.action, decision.reason) == (Action.DENY, "access.big")


LONG_AGO = NOW - timedelta(hours=2)
AHEAD: dict[str, object] = {
    "given_at": NOW + timedelta(days=365),
    "expires_at": NOW + timedelta(days=365, hours=1),
}
"""Given by a clock that was a year ahead."""

ADAS_ACCOUNT = Person("ada", "default", names=("user:lovelace",))


@pytest.mark.parametrize(
    ("approving", "wrong"),
    [
        ({"approvers": ("carol",)}, {}),
        ({"min_approvers": 2}, {}),
        ({"min_approvers": 2}, {"approvers": ("bob", "BOB")}),
        ({"min_approvers": 2, "approvers": ("bob", "carol")}, {"approvers": ("bob", "mallory")}),
        ({"longest_s": 3600}, {"given_at": LONG_AGO}),
        ({}, AHEAD),
        ({}, AHEAD | {"break_glass": True, "rule": "*", "resource": ""}),
        ({}, {"approvers": ()}),
        ({}, {"approvers": ("Ada",)}),
        ({}, {"approvers": ("lovelace",)}),
        ({"min_approvers": 2}, {"approvers": ("bob", "lovelace")}),
        ({"break_glass_by": ("carol",)}, {"break_glass": True, "rule": "*", "resource": ""}),
        (
            {"break_glass_longest_s": 3600},
            {"break_glass": True, "rule": "*", "resource": "", "given_at": LONG_AGO},
        ),
    ],
    ids=str,
)
async def test_an_approval_counts_by_the_policy_of_the_gateway_whatever_the_approver_went_by(
    approving: dict[str, object], wrong: dict[str, object]
) -> None:
    held = Held([given(**wrong)], people=[ADAS_ACCOUNT])
    decision = await access(BIG, asking(), held, Approvals(**approving))  # type: ignore[arg-type]
    assert (decision.action, decision.reason) == (Action.DENY, "access.big")


async def test_an_approval_by_enough_of_those_whom_the_policy_names_counts() -> None:
    held = Held([given(approvers=("Bob", "carol"), given_at=LONG_AGO)], people=[ADAS_ACCOUNT])
    two = Approvals(min_approvers=2, approvers=("bob", "carol", "dan"), longest_s=3 * 3600)
    assert (await access(BIG, asking(), held, two)).reason == "access.approved"
    own = Held([given(approvers=("ada",))])
    assert (await access(BIG, asking(), own, Approvals(not_own=False))).reason == "access.approved"


async def test_an_approval_of_a_model_serves_its_dated_snapshots_but_not_what_was_tuned_from_it() -> None:
    assert (
        await access(BIG, asking(model="openai/gpt-5-2026-08-07"), Held([given()]))
    ).reason == "access.approved"
    tuned = BIG.replace("'gpt-5*'", "'gpt-5'")
    assert (await access(tuned, asking(model="ft:gpt-5:acme::x"), Held([given()]))).action is Action.DENY


async def test_a_model_that_stands_in_needs_its_own_approval() -> None:
    fallback = (Parameter("fallback_model", "gpt-5-pro", "/fallbacks/0/model"),)
    decision = await access(BIG, asking(parameters=fallback), Held([given()]))
    assert [need.resource for need in decision.needs] == ["model:gpt-5-pro"]
    other = (Parameter("fallback_model", "small", "/fallbacks/0/model"),)
    assert (await access(BIG, asking(parameters=other), Held([given()]))).reason == "access.approved"


async def test_each_tool_that_a_rule_lists_needs_its_own_approval() -> None:
    text = "rules: [{id: big, effect: approve, resource: tool, tools: [shell], hosted_tools: ['web*'], message: m}]"
    declared = (
        Tool("Shell"),
        Tool("search"),
        Tool("web_search", ToolKind.HOSTED),
        Tool("shell", ToolKind.HOSTED),
    )
    decision = await access(text, asking(declared=declared))
    assert [need.resource for need in decision.needs] == ["function:shell", "hosted:web_search"]
    one = Held([given(resource="function:shell")])
    assert [n.resource for n in (await access(text, asking(declared=declared), one)).needs] == [
        "hosted:web_search"
    ]
    both = Held([given(resource="function:shell"), given(resource="hosted:web_search")])
    assert (await access(text, asking(declared=declared), both)).reason == "access.approved"
    assert (await access(text, asking())).reason == "access.permitted"


@pytest.mark.parametrize("who", [None, Principal("anonymous", "default")])
async def test_a_caller_whom_nobody_knows_can_have_nothing_approved(who: Principal | None) -> None:
    held = Held([given(principal="anonymous")])
    decision = await access(BIG, asking(who), held)
    assert (decision.action, decision.needs) == (Action.DENY, ())
    assert "apr-" not in decision.message


async def test_prose_in_the_place_of_a_name_is_neither_shown_nor_registered() -> None:
    decision = await access(BIG, asking(model="gpt-5 tell me a secret\n"))
    assert (decision.action, decision.needs) == (Action.DENY, ())
    assert "secret" not in decision.message


async def test_a_condition_that_gives_no_answer_can_be_approved_like_one_that_holds() -> None:
    text = "rules: [{id: big, effect: approve, when: \"principal.attributes.team != ''\", message: m}]"
    assert (await access(text, asking())).reason == "access.big"
    assert (await access(text, asking(), Held([given(resource="")]))).reason == "access.approved"


async def test_a_forbid_wins_over_an_approval_and_an_approval_is_no_permit() -> None:
    both = BIG[:-1] + ", {id: no, effect: forbid, models: [gpt-5], message: no}]"
    decision = await access(both, asking(), Held([given()]))
    assert (decision.reason, decision.needs) == ("access.no", ())
    assert (await access("default: deny\n  " + BIG, asking(), Held([given()]))).reason == "access.default"


async def test_a_rule_on_trial_refuses_nothing_and_may_be_asked_for_all_the_same() -> None:
    decision = await access(BIG.replace("message", "mode: observe, message"), asking())
    assert (decision.rule_mode, decision.action, len(decision.needs)) == (Mode.OBSERVE, Action.DENY, 1)


@pytest.mark.parametrize("rule", ["big", "*"])
async def test_broken_glass_sets_an_approval_aside_and_is_named(rule: str) -> None:
    glass = given(rule=rule, resource="", break_glass=True)
    decision = await access(BIG, asking(), Held([glass]))
    assert (decision.reason, decision.overridden) == ("access.break_glass", ("big",))
    late = replace(glass, expires_at=NOW)
    assert (await access(BIG, asking(), Held([late]))).action is Action.DENY


FORBID = "rules: [{id: no, effect: forbid, models: ['gpt*'], message: m%s}]"


async def test_broken_glass_sets_a_forbid_aside_only_where_the_rule_says_so() -> None:
    glass = Held([given(rule="*", resource="", break_glass=True)])
    assert (await access(FORBID % "", asking(), glass)).reason == "access.no"
    assert (await access(FORBID % ", break_glass: true", asking(), glass)).reason == "access.break_glass"
    assert (
        await access(FORBID % ", break_glass: true", asking(), Held([given(rule="no", resource="")]))
    ).reason == "access.no"
    assert (await access("models: {forbid: [gpt-5]}", asking(), glass)).reason == "access.model"


@pytest.mark.parametrize(
    "rule",
    [
        "{id: a, effect: forbid, models: [x], resource: model, message: m}",
        "{id: a, effect: forbid, models: [x], approval: {expires_s: 60}, message: m}",
        "{id: a, effect: approve, models: [x], break_glass: true, message: m}",
        "{id: stopped, effect: forbid, models: [x], message: m}",
    ],
)
def test_a_policy_that_mixes_up_effects_is_an_error(rule: str) -> None:
    with pytest.raises(PolicyError):
        parse_policy(f"version: 1\naccess: {{rules: [{rule}]}}")


# -- kill switches -------------------------------------------------------------------------------------

ARN = "arn:aws:bedrock:us-east-1:123456789012:"
KEYED = replace(exchange(segment("x")).client, credential="key_a", credentials=("key_a", "key_b"))


@pytest.mark.parametrize(
    ("stop", "of", "stopped"),
    [
        (Stop("s", StopKind.EVERYTHING), asking(None), True),
        (Stop("s", StopKind.EVERYTHING), asking(operation=Operation.LIST_MODELS), True),
        (Stop("s", StopKind.EVERYTHING), asking(operation=Operation.OPAQUE, model=None), True),
        (Stop("s", StopKind.TENANT, "Default"), asking(), True),
        (Stop("s", StopKind.TENANT, "acme"), asking(), False),
        (Stop("s", StopKind.PRINCIPAL, "Ada", "default"), asking(), True),
        (Stop("s", StopKind.PRINCIPAL, "ada", "acme"), asking(), False),
        (Stop("s", StopKind.PRINCIPAL, "ada", "default"), asking(None), False),
        (Stop("s", StopKind.KEY, "key_b"), replace(asking(), client=KEYED), True),
        (Stop("s", StopKind.KEY, "payroll"), replace(asking(), client=KEYED), True),
        (Stop("s", StopKind.KEY, "openai-prod"), replace(asking(), client=KEYED), True),
        (Stop("s", StopKind.KEY, "key_c"), replace(asking(), client=KEYED), False),
        (Stop("s", StopKind.KEY, ""), replace(asking(), client=KEYED), False),
        (Stop("s", StopKind.MODEL, "GPT-5"), asking(model="openai/gpt-5-2026-08-07"), True),
        (Stop("s", StopKind.MODEL, "gpt-*"), asking(model="ft:GPT-5:acme::x"), True),
        (Stop("s", StopKind.MODEL, "gpt-5"), asking(model="gpt-5-mini"), False),
        (Stop("s", StopKind.MODEL, "models/GPT-5"), asking(), True),
        (Stop("s", StopKind.MODEL, "openai/gpt-5*"), asking(), True),
        (Stop("s", StopKind.MODEL, "openai/*"), asking(), False),
        (Stop("s", StopKind.MODEL, "openai/*"), asking(model="openai/gpt-5"), True),
        (Stop("s", StopKind.MODEL, "gpt-5-2026-08-07"), asking(model="gpt-5-2026-01-01"), False),
        (
            Stop("s", StopKind.MODEL, "us.anthropic.claude-opus-4-20250514-v1:0"),
            asking(model=f"{ARN}inference-profile/eu.anthropic.claude-opus-4-20250514-v1:0"),
            True,
        ),
        (
            Stop("s", StopKind.MODEL, "claude-opus-4"),
            asking(model=f"{ARN}application-inference-profile/x1"),
            True,
        ),
        (
            Stop("s", StopKind.MODEL, "claude-opus-4"),
            asking(model=f"{ARN}inference-profile/us.amazon.nova-pro-v1:0"),
            False,
        ),
        (Stop("s", StopKind.MODEL, "gpt-5"), asking(model=None), True),
        (Stop("s", StopKind.MODEL, "gpt-5"), asking(model=None, operation=Operation.OPAQUE), True),
        (Stop("s", StopKind.MODEL, "gpt-5"), asking(model=None, operation=Operation.LIST_MODELS), False),
        (
            Stop("s", StopKind.MODEL, "opus"),
            asking(parameters=(Parameter("fallback_model", "opus", "/f"),)),
            True,
        ),
        (Stop("s", StopKind.PROVIDER, "OpenAI"), asking(), True),
        (Stop("s", StopKind.PROVIDER, "anthropic"), asking(), False),
    ],
)
async def test_a_kill_switch_stops_what_it_names(stop: Stop, of: Exchange, stopped: bool) -> None:
    held = Held(
        pulled=[stop],
        keys=[
            Key("key_a", "free", "ada"),
            Key("key_b", "payroll", "ada", credential="openai-prod"),
        ],
    )
    decision = await access("unknown_endpoint: opaque", of, held)
    assert (decision.reason == "access.stopped") is stopped
    if stopped:
        assert (decision.action, decision.rule_mode, decision.status) == (Action.DENY, Mode.ENFORCE, 403)
        assert decision.retry_after_s is None


async def test_nothing_sets_a_kill_switch_aside() -> None:
    glass = given(rule="*", resource="", break_glass=True)
    held = Held([glass, given()], [Stop("s", StopKind.PRINCIPAL, "ada", "default")])
    assert (await access(BIG, asking(), held)).reason == "access.stopped"


async def test_an_approver_whose_clock_is_a_little_ahead_is_heard() -> None:
    held = Held([given(given_at=NOW + timedelta(minutes=59))])
    assert (await access(BIG, asking(), held)).reason == "access.approved"
