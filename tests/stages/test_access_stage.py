"""Who may do what: the call itself, its tags, where it goes, its settings, the rules; one case for each sentence."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sallyport.decision import Action, Change, Decision, Kind, Mode, Severity
from sallyport.exchange import Client, Exchange, Operation, Parameter, Principal, Tool, ToolKind
from sallyport.policy.load import parse_policy
from sallyport.stages.access import AccessStage
from samples import Desk, Findings, exchange, finding, segment

TEXT = "born 1961-04-05, write to marta.quill@example.com"
HEALTH = finding(TEXT, "1961-04-05", entity="DATE_OF_BIRTH")
SEARCH, SHELL = Tool("search"), Tool("shell")
WEB, CODE = Tool("web_search_20250305", ToolKind.HOSTED), Tool("code_interpreter", ToolKind.HOSTED)
INSIDE, OUTSIDE = Tool("a", ToolKind.MCP, "mcp.example.com"), Tool("b", ToolKind.MCP, "mcp.example.net")
NOWHERE = Tool("c", ToolKind.MCP, "")


async def access(
    text: str, of: Exchange | None = None, found: Findings | None = None, **more: object
) -> Decision:
    section = parse_policy("version: 1\naccess:\n" + text).access
    asked = of or exchange(segment(TEXT), **more)  # type: ignore[arg-type]
    return await AccessStage().decide(asked, section, Desk(found or Findings()).ports())


def by(who: Principal, **more: object) -> Exchange:
    return replace(exchange(segment(TEXT), **more), principal=who)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("models", "model", "passes"),
    [
        ("{allow: [gpt-5]}", "gpt-5", True),
        ("{allow: [gpt-5]}", "GPT-5", True),
        ("{allow: [gpt-5]}", "openai/gpt-5", True),
        ("{allow: [gpt-5]}", "gpt-5-2026-08-07", True),
        ("{allow: [gpt-5]}", "gpt-5-mini", False),
        ("{allow: [gpt-5]}", "ft:gpt-5:acme::abc", False),
        ("{allow: ['gpt-5*', 'claude-*']}", "us.anthropic.claude-sonnet-4-20250514-v1:0", True),
        ("{allow: []}", "gpt-5", False),
        ("{forbid: [gpt-5]}", "gpt-5", False),
        ("{forbid: [gpt-5]}", "ft:gpt-5-2026-08-07:acme::abc", False),
        ("{forbid: [gpt-5]}", "gpt-5-mini", True),
        ("{allow: ['gpt-*'], forbid: ['*-mini']}", "gpt-5-mini", False),
        ("{forbid: [gpt-5]}", "gpt-5-0613", False),
        ("{forbid: [gpt-5]}", "openai/gpt-5:fireworks-ai", False),
        ("{forbid: [gpt-5]}", "openai/gpt-5:free:online", False),
        ("{forbid: [gpt-5]}", "openai/gpt-5@preset/mine", False),
        ("{allow: [gpt-5]}", "@preset/gpt-5", False),
        ("{allow: [gpt-5]}", "openai/gpt-5@preset/mine", False),
        ("{allow: ['@preset/mine']}", "@preset/mine", True),
    ],
)
async def test_a_model_is_known_by_all_its_names(models: str, model: str, passes: bool) -> None:
    decision = await access(f"  models: {models}", model=model)
    assert decision.reason == ("access.permitted" if passes else "access.model")


async def test_a_call_without_a_model_is_on_no_list_of_allowed_ones() -> None:
    assert (await access("  models: {allow: ['*']}", model=None)).reason == "access.model"


async def test_a_call_that_leaves_its_model_to_the_provider_may_reach_a_forbidden_one() -> None:
    forbid = "  models: {forbid: [x]}"
    assert (await access(forbid, model=None)).reason == "access.model"
    moderation = await access(forbid, model=None, operation=Operation.MODERATION)
    assert moderation.action is Action.ALLOW


async def test_a_model_that_may_stand_in_is_judged_like_the_one_that_is_named() -> None:
    other = (Parameter("fallback_model", "claude-opus-4", "/fallbacks/0/model"),)
    assert (await access("  models: {forbid: ['claude-opus*']}", parameters=other)).reason == "access.model"
    assert (await access("  models: {allow: [gpt-5]}", parameters=other)).reason == "access.model"


@pytest.mark.parametrize(
    ("wish", "model", "others", "forbidden"),
    [
        ("only two models", "gpt-4o-mini", (), False),
        ("only two models", "gpt-4o-mini", ("claude-haiku-4-5",), False),
        ("only two models", None, ("gpt-4o-mini",), False),
        ("only two models", "claude-opus-4-1", (), True),
        ("only two models", "claude-haiku-4-5", ("claude-opus-4-1",), True),
        ("only two models", None, ("gpt-5-pro",), True),
        ("only two models", None, (), True),
        ("a family of models", "o3-pro", (), True),
        ("a family of models", "O3-Pro", (), True),
        ("a family of models", "gpt-5", ("gpt-4o",), True),
        ("a family of models", "gpt-5", ("gpt-5-pro",), False),
    ],
)
async def test_the_documented_conditions_on_models_judge_those_that_stand_in(
    wish: str, model: str | None, others: tuple[str, ...], forbidden: bool
) -> None:
    page = (Path(__file__).parents[2] / "docs/policy.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| {wish} \| `(.+)` \|$", page, re.MULTILINE)
    assert found is not None
    when = found[1].replace(r"\|", "|")
    rules = f'  rules: [{{id: f, effect: forbid, when: "{when}", message: m}}]'
    named = tuple(Parameter("fallback_model", name, f"/models/{n}") for n, name in enumerate(others))
    decision = await access(rules, model=model, parameters=named)
    assert decision.reason == ("access.f" if forbidden else "access.permitted")


async def test_a_list_of_models_may_be_asked_for_whatever_is_allowed() -> None:
    decision = await access("  models: {allow: []}", operation=Operation.LIST_MODELS)
    assert decision.action is Action.ALLOW


@pytest.mark.parametrize(
    ("tools", "declared", "reason"),
    [
        ("{hosted: {forbid: ['web_search*']}}", (SEARCH, WEB), "hosted_tool"),
        ("{hosted: {forbid: ['web_search*']}}", (Tool("web_search"), CODE), "permitted"),
        ("{hosted: {allow: [code_interpreter]}}", (CODE, WEB), "hosted_tool"),
        ("{hosted: {allow: [code_interpreter]}}", (CODE, SHELL), "permitted"),
        ("{functions: {forbid: [SHELL]}}", (SEARCH, SHELL), "function_tool"),
        ("{functions: {allow: [search]}, unlisted: deny}", (SEARCH,), "permitted"),
        ("{functions: {allow: [search]}, unlisted: deny}", (SEARCH, CODE), "hosted_tool"),
        ("{mcp_servers: {allow: ['*.example.com']}}", (INSIDE,), "permitted"),
        ("{mcp_servers: {allow: ['*.example.com']}}", (INSIDE, OUTSIDE), "mcp_server"),
        ("{mcp_servers: {allow: ['*']}}", (NOWHERE,), "mcp_server"),
        ("{mcp_servers: {forbid: ['*.example.net']}}", (NOWHERE,), "mcp_server"),
        ("{mcp_servers: {forbid: ['*.example.net']}}", (INSIDE,), "permitted"),
        ("{unlisted: permit}", (NOWHERE, WEB, SHELL), "permitted"),
    ],
)
async def test_tools_are_judged_by_who_runs_them(tools: str, declared: tuple[Tool, ...], reason: str) -> None:
    assert (await access(f"  tools: {tools}", declared=declared)).reason == f"access.{reason}"


async def test_an_endpoint_can_be_forbidden() -> None:
    text = "  endpoints: {forbid: ['openai POST /v1/responses']}"
    assert (await access(text, endpoint="POST /v1/responses")).reason == "access.endpoint"
    assert (await access(text, endpoint="POST /v1/chat/completions")).action is Action.ALLOW


def setting(name: str, value: object, at: str = "") -> dict:
    return {"parameters": (Parameter(name, value, at or f"/{name}"),)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "request_", "expected"),
    [
        ("temperature: {max: 1}", setting("temperature", 0.7), "permitted"),
        ("temperature: {max: 1}", setting("temperature", 1.5), "parameter.temperature"),
        ("temperature: {max: 1}", setting("temperature", "0.2"), "parameter.temperature"),
        ("temperature: {max: 1}", setting("temperature", True), "parameter.temperature"),
        ("temperature: {max: 1}", {}, "permitted"),
        ("temperature: {max: 1, action: cap}", setting("temperature", 1.5), Change("/temperature", 1)),
        ("temperature: {min: 0.2, action: cap}", setting("temperature", 0), Change("/temperature", 0.2)),
        (
            "temperature: {max: 1, action: cap}",
            setting("temperature", "(no single value)"),
            "parameter.temperature",
        ),
        (
            "max_output_tokens: {max: 64, action: cap}",
            setting("max_output_tokens", -1),
            Change("/max_output_tokens", 64),
        ),
        ("max_output_tokens: {max: 64}", setting("max_output_tokens", -2), "parameter.max_output_tokens"),
        ("max_output_tokens: {max: 64}", setting("max_output_tokens", -1.0), "parameter.max_output_tokens"),
        ("thinking_budget: {max: 64}", setting("thinking_budget", -1), "parameter.thinking_budget"),
        ("thinking_budget: {allow: [-1]}", setting("thinking_budget", -1), "permitted"),
        ("thinking_budget: {max: 64}", setting("thinking_budget", 0), "permitted"),
        ("seed: {max: 64}", setting("seed", -1), "permitted"),
        ("store: {allow: [false]}", setting("store", False), "permitted"),
        ("store: {allow: [false]}", setting("store", True), "parameter.store"),
        ("store: {allow: [false]}", setting("store", 0), "parameter.store"),
        ("store: {allow: [false], set: false, action: cap}", setting("store", True), Change("/store", False)),
        ("store: {set: false}", {"unset": (("store", "/store"),)}, Change("/store", False)),
        ("store: {set: false}", setting("store", True), "permitted"),
        ("store: {set: false}", {}, "permitted"),
        ("store: {set: false, required: true}", {}, "parameter.store"),
        ("store: {required: true}", {"unset": (("store", "/store"),)}, "parameter.store"),
        ("store: {required: true}", setting("store", True), "permitted"),
        ("store: {set: false}", {"operation": Operation.EMBEDDING}, "permitted"),
    ],
)
async def test_a_setting_is_kept_capped_put_in_or_refused(
    rule: str, request_: dict, expected: object
) -> None:
    decision = await access(f"  parameters: {{{rule}}}", **request_)
    if isinstance(expected, Change):
        assert (decision.action, decision.changes) == (Action.MODIFY, (expected,))
        assert type(decision.changes[0].value) is type(expected.value)
    else:
        assert (decision.reason, decision.changes) == (f"access.{expected}", ())


async def test_both_spellings_of_one_setting_are_capped() -> None:
    given = (
        Parameter("max_output_tokens", 9000, "/max_tokens"),
        Parameter("max_output_tokens", 100, "/max_completion_tokens"),
        Parameter("max_output_tokens", 5000, "/x"),
    )
    decision = await access("  parameters: {max_output_tokens: {max: 4096, action: cap}}", parameters=given)
    assert decision.changes == (Change("/max_tokens", 4096), Change("/x", 4096))


PURPOSE = "  purpose: {header: X-AI-Purpose, allow: [research, triage]}"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ((), "access.purpose"),
        ((("x-ai-purpose", "research"),), "access.permitted:research"),
        ((("x-ai-purpose", "Research"),), "access.purpose"),
        ((("x-ai-purpose", "research"), ("x-ai-purpose", "triage")), "access.purpose"),
        ((("x-ai-purpose", "research"), ("x-ai-purpose", "research")), "access.purpose"),
        ((("x-ai-purpose", "other"),), "access.purpose"),
    ],
)
async def test_a_purpose_is_stated_once_and_known(headers: tuple[tuple[str, str], ...], reason: str) -> None:
    decision = await access(PURPOSE, client=Client("10.0.0.7", "explicit", headers=headers))
    assert decision.reason == reason
    assert "other" not in decision.message


async def test_a_purpose_that_is_not_required_is_still_no_free_text() -> None:
    text = PURPOSE.replace("]}", "], required: false}")
    assert (await access(text)).reason == "access.permitted"
    odd = Client("10.0.0.7", "explicit", headers=(("x-ai-purpose", "lunch"),))
    assert (await access(text, client=odd)).reason == "access.purpose"


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("contract", True),
        ("contract, recording", True),
        ("recording", False),
        ("contract, all", False),
        ("", False),
    ],
)
async def test_every_required_consent_must_be_stated(value: str, passes: bool) -> None:
    text = "  consents: {header: X-Consent, allow: [contract, recording], required: [contract]}"
    client = Client("10.0.0.7", "explicit", headers=(("x-consent", value),))
    assert ((await access(text, client=client)).action is Action.ALLOW) is passes


RESIDENCY = """
  data_classes:
    - {name: health, any: [{kind: pii, entities: [DATE_*], min_severity: high}]}
  residency:
    rules:
      - {tenants: [clinic], regions: [eu, "eu-*"]}
      - {data_classes: [health], regions: [eu-central-1]}
"""


@pytest.mark.parametrize(
    ("tenant", "region", "found", "passes"),
    [
        ("clinic", "eu", (), True),
        ("clinic", "eu-west-1", (), True),
        ("clinic", "us-east-1", (), False),
        ("clinic", "", (), False),
        ("bank", "", (), True),
        ("bank", "us-east-1", (HEALTH,), False),
        ("bank", "eu-central-1", (HEALTH,), True),
        ("clinic", "eu-west-1", (HEALTH,), False),
        ("bank", "us-east-1", (replace(HEALTH, severity=Severity.MEDIUM),), True),
        ("bank", "us-east-1", (replace(HEALTH, kind=Kind.SECRET),), True),
        ("bank", "us-east-1", (replace(HEALTH, entity="EMAIL_ADDRESS"),), True),
    ],
)
async def test_tenants_and_data_stay_in_their_regions(
    tenant: str, region: str, found: tuple, passes: bool
) -> None:
    of = by(Principal("ada", tenant), region=region)
    decision = await access(RESIDENCY, of, Findings(found))
    assert decision.reason == ("access.permitted" if passes else "access.residency")


async def test_detection_comes_first_only_where_classes_of_data_matter() -> None:
    classes = RESIDENCY[: RESIDENCY.index("  residency")]
    rule = "  rules: [{id: c, effect: forbid, when: \"'health' in data.classes\", message: m}]"
    unread, read = Findings([HEALTH]), Findings([HEALTH])
    assert (await access(classes, found=unread)).action is Action.ALLOW
    assert (await access(classes + rule, found=read)).reason == "access.c"
    assert (unread.asked, read.asked) == (0, 1)


async def test_a_permit_for_tools_covers_all_that_are_declared_a_forbid_any() -> None:
    permit = "  default: deny\n  rules: [{id: p, effect: permit, tools: [search], message: m}]"
    assert (await access(permit, declared=(SEARCH,))).reason == "access.p"
    assert (await access(permit, declared=(SEARCH, SHELL))).reason == "access.default"
    forbid = "  rules: [{id: f, effect: forbid, tools: [shell], message: m}]"
    assert (await access(forbid, declared=(SEARCH, SHELL))).reason == "access.f"


async def test_networks_and_hours_narrow_a_rule() -> None:
    text = """
  networks: [{name: office, cidrs: [10.0.0.0/8, "fd00::/8"]}]
  rules:
    - {id: night, effect: forbid, networks: [office], hours: {zone: Europe/Berlin, since: "20:00", until: "06:00"}, message: m}
"""
    late, noon = datetime(2026, 11, 21, 19, 30, tzinfo=UTC), datetime(2026, 11, 21, 11, 0, tzinfo=UTC)
    for address, at, reason in (
        ("10.1.1.1", late, "access.night"),
        ("::ffff:10.1.1.1", late, "access.night"),
        ("fd00::1%eth0", late, "access.night"),
        ("192.0.2.1", late, "access.permitted"),
        ("10.1.1.1", noon, "access.permitted"),
    ):
        of = replace(exchange(client=Client(address, "explicit")), received_at=at)
        assert (await access(text, of)).reason == reason


TRIAL = """
  default: deny
  rules:
    - {id: try, effect: forbid, models: [gpt-5], message: m, mode: observe}
    - {id: may, effect: permit, models: ["gpt-*"], message: m, mode: MODE}
"""


async def test_nothing_on_trial_takes_effect_or_hides_what_is_in_force() -> None:
    assert (await access(TRIAL.replace("MODE", "observe"))).reason == "access.default"
    tried = await access(TRIAL.replace("MODE", "enforce"))
    assert (tried.reason, tried.rule_mode) == ("access.try", Mode.OBSERVE)
    capped = TRIAL.replace("MODE", "enforce") + "  parameters: {n: {max: 1, action: cap}}"
    assert (await access(capped, **setting("n", 3))).changes == (Change("/n", 1),)
    failing = TRIAL.replace("MODE", "enforce").replace(
        "models: [gpt-5]", "when: \"principal.attributes['x'] == 'y'\""
    )
    assert (await access(failing)).rule_mode is Mode.OBSERVE
    assert (await access(failing + "  models: {forbid: [gpt-5]}")).reason == "access.model"


async def test_a_rule_that_enforces_itself_is_heard_where_its_section_only_observes() -> None:
    text = """
  mode: observe
  models: {forbid: [gpt-5]}
  rules:
    - {id: soft, effect: forbid, models: [gpt-5], message: m}
    - {id: hard, effect: forbid, models: [gpt-5], message: m, mode: enforce}
"""
    decision = await access(text)
    assert (decision.reason, decision.rule_mode) == ("access.hard", Mode.ENFORCE)


async def test_an_endpoint_that_is_passed_unread_is_still_held_to_rules_and_regions() -> None:
    text = "  unknown_endpoint: opaque\n  default: deny\n"
    of = by(Principal("ada", "clinic"), operation=Operation.OPAQUE, model=None)
    assert (await access(text, of)).reason == "access.opaque"
    assert (
        await access(text + "  rules: [{id: f, effect: forbid, providers: [openai], message: m}]", of)
    ).reason == ("access.f")
    assert (await access(text + "  residency: {rules: [{regions: [eu]}]}", of)).reason == "access.residency"


async def test_an_mcp_server_nobody_can_read_fits_every_forbid_and_no_permit() -> None:
    forbid = "  rules: [{id: f, effect: forbid, mcp_servers: [x.example.net], message: m}]"
    assert (await access(forbid, declared=(NOWHERE,))).reason == "access.f"
    assert (await access(forbid, declared=(INSIDE,))).action is Action.ALLOW
    permit = "  default: deny\n  rules: [{id: p, effect: permit, mcp_servers: ['*'], message: m}]"
    assert (await access(permit, declared=(NOWHERE,))).reason == "access.default"
    assert (await access(permit, declared=(INSIDE,))).reason == "access.p"


async def test_a_missing_tag_that_is_only_observed_hides_no_rule_that_enforces_itself() -> None:
    text = (
        "  mode: observe\n"
        + PURPOSE
        + """
  rules: [{id: hard, effect: forbid, models: [gpt-5], message: m, mode: enforce}]"""
    )
    assert (await access(text)).reason == "access.hard"
    assert (await access(text, model="other")).reason == "access.purpose"


async def test_a_call_that_names_more_than_anybody_can_judge_is_refused() -> None:
    many = tuple(Tool(f"t{n}") for n in range(1025))
    assert (await access("  default: permit", declared=many)).reason == "access.too_many"
    assert (await access("  default: permit", declared=many[:1024])).action is Action.ALLOW
    models = tuple(Parameter("fallback_model", "m", f"/models/{n}") for n in range(64))
    assert (await access("  default: permit", parameters=models)).reason == "access.too_many"
    hard = "  mode: observe\n  rules: [{id: hard, effect: forbid, tools: [shell], message: m, mode: enforce}]"
    assert (await access(hard, declared=(*many, SHELL))).rule_mode is Mode.ENFORCE
