"""The access section: what is wrong in it is named with its place, and its parts say what they should."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sallyport.data import rules_dir
from sallyport.policy.calls import Models
from sallyport.policy.catalogue import load_catalogue
from sallyport.policy.globs import GlobLists, Globs
from sallyport.policy.hours import Hours
from sallyport.policy.load import parse_policy
from sallyport.policy.models import ancestors, spellings
from sallyport.policy.problems import PolicyError
from sallyport.policy.regions import Regions

R = "id: a, effect: forbid, message: m"


@pytest.mark.parametrize(
    ("text", "line", "key", "says"),
    [
        (f"rules: [{{{R}}}]", 3, "access.rules[0]", "says nothing of the calls"),
        (f"rules: [{{{R}, models: null}}]", 3, "access.rules[0]", "says nothing of the calls"),
        (f"rules: [{{{R}, model: [x]}}]", 3, "access.rules[0].model", "Did you mean `models`?"),
        (f"rules: [{{{R.replace('id: a', 'id: model')}, models: [x]}}]", 3, "access.rules[0].id", "Choose another"),
        (f"rules: [{{{R}, models: ['']}}]", 3, "access.rules[0].models[0]", "at least 1"),
        (f"rules: [{{{R}, networks: [office]}}]", 3, "access.rules[0].networks", "no such name in access.networks"),
        (f"rules: [{{{R}, purposes: [x]}}]", 3, "access.rules[0].purposes", "no such name in access.purpose.allow"),
        (f"rules: [{{{R}, operations: [chta]}}]", 3, "access.rules[0].operations[0]", "Use `chat`"),
        (f"rules: [{{{R}, regions: [EU]}}]", 3, "access.rules[0].regions[0]", "match"),
        (f"rules: [{{{R}, hours: {{zone: Mars/Olympus}}}}]", 3, "access.rules[0].hours.zone", "no such time zone"),
        (f"rules: [{{{R}, hours: {{since: '25:00'}}}}]", 3, "access.rules[0].hours.since", "no time of day"),
        (f"rules: [{{{R}, hours: {{since: '08:00', until: '08:00'}}}}]", 3, "access.rules[0].hours.until", "empty"),
        (f"rules: [{{{R}, models: [x], when: 'request.modle'}}]", 3, "access.rules[0].when", "request.model"),
        ("parameters: {temperature: {}}", 3, "access.parameters.temperature", "says nothing of the setting"),
        ("parameters: {n: {max: 1, min: 2}}", 3, "access.parameters.n.max", "below"),
        ("parameters: {n: {max: 1, set: 2}}", 3, "access.parameters.n.set", "not allowed itself"),
        ("parameters: {store: {allow: [false], set: 0}}", 3, "access.parameters.store.set", "not allowed itself"),
        ("parameters: {store: {allow: [false], action: cap}}", 3, "access.parameters.store.action", "Add `set`"),
        ("parameters: {n: {allow: [1], max: 2}}", 3, "access.parameters.n.allow", "exclude each other"),
        ("parameters: {stream: {set: false}}", 3, "access.parameters.stream", "Only refuse"),
        ("parameters: {n: {maximum: 2}}", 3, "access.parameters.n.maximum", "Did you mean `max`?"),
        ("parameters: {maxTokens: {max: 2}}", 3, "access.parameters.maxTokens", "match"),
        ("consents: {header: X-C, allow: [a], required: [b]}", 3, "access.consents.required[0]", "Add it to `allow`"),
        ("data_classes: [{name: a, any: []}]", 3, "access.data_classes[0].any", "at least 1"),
        ("data_classes: [{name: a, any: [{}]}, {name: a, any: [{}]}]", 3, "access.data_classes[1].name", "twice"),
        ("residency: {rules: [{regions: [eu], data_classes: [health]}]}", 3, "access.residency.rules[0].data_classes", "data_classes"),
        ("residency: {hosts: {'https://a.b': eu}}", 3, "access.residency.hosts.https://a.b", "without scheme"),
        ("networks: [{name: a, cidrs: [10.1.0.0/8]}]", 3, "access.networks[0].cidrs[0]", "address range"),
    ],
)  # fmt: skip
def test_a_mistake_in_it_is_named_with_its_place(text: str, line: int, key: str, says: str) -> None:
    with pytest.raises(PolicyError) as wrong:
        parse_policy(f"version: 1\naccess:\n  {text}", "p.yaml")
    problem = wrong.value.problems[0]
    assert problem.where.startswith(f"p.yaml:{line}:")
    assert problem.key == key
    assert says in f"{problem.what} {problem.todo}"


@pytest.mark.parametrize(
    ("hours", "holds"),
    [
        (Hours(), True),
        (Hours(since="09:00", until="10:00"), True),
        (Hours(since="09:31"), False),
        (Hours(since="09:30", until="09:31"), True),
        (Hours(until="09:30"), False),
        (Hours(zone="Europe/Berlin", since="10:30", until="11:00"), True),
        (Hours(zone="Asia/Tokyo", since="18:30", until="18:31"), True),
        (Hours(days=("sat",)), True),
        (Hours(days=("mon", "tue", "wed", "thu", "fri")), False),
        (Hours(zone="Pacific/Kiritimati", days=("sat",), since="23:00", until="23:59"), True),
        (Hours(since="22:00", until="10:00", days=("fri",)), True),
        (Hours(since="22:00", until="10:00", days=("sat",)), False),
        (Hours(since="22:00", until="09:00", days=("fri",)), False),
    ],
)
def test_a_window_is_of_the_clocks_of_its_zone(hours: Hours, holds: bool) -> None:
    assert hours.holds(datetime(2026, 11, 21, 9, 30, tzinfo=UTC)) is holds  # a Saturday


@pytest.mark.parametrize(
    ("model", "also"),
    [
        ("openai/gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        (" GPT-4o ", "gpt-4o"),
        ("gpt-4-0613", "gpt-4"),
        ("openai/gpt-oss-120b:fireworks-ai", "gpt-oss-120b"),
        ("openai/gpt-4o:free:online", "gpt-4o"),
        ("command-r-08-2024", "command-r"),
        ("mistral-large-2411", "mistral-large"),
        ("gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash-preview"),
    ],
)
def test_a_model_goes_by_its_plain_name_too(model: str, also: str) -> None:
    assert also in spellings(model)


def test_a_tuned_model_descends_from_its_base_and_is_not_it() -> None:
    assert "gpt-4o" in ancestors("ft:gpt-4o-2024-08-06:acme::abc")
    assert "gpt-4o" not in spellings("ft:gpt-4o-2024-08-06:acme::abc")
    assert "gpt-4o" not in spellings("gpt-4o-mini")


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4\N{CYRILLIC SMALL LETTER O}",
        "gpt\N{NON-BREAKING HYPHEN}4o",
        "\N{FULLWIDTH LATIN SMALL LETTER G}pt-4o-2024-08-06",
        "gpt-4o\N{ZERO WIDTH SPACE}",
        "gpt-4o\x00",
        "openai/GPT-4\N{GREEK CAPITAL LETTER OMICRON}:free",
        "ft:gpt-4\N{CYRILLIC SMALL LETTER O}:acme::abc",
    ],
)
def test_a_forbidden_model_is_forbidden_in_letters_that_look_alike_and_allowed_in_its_own(model: str) -> None:
    assert not Models(forbid=("gpt-4o",)).admits_model(model)
    assert not Models(allow=("gpt-4o",)).admits_model(model)
    assert Models(forbid=("gpt-4o-mini",)).admits_model(model)


def test_globs_know_stars_and_question_marks_and_nothing_else() -> None:
    assert "a[b]c" in Globs(["a[b]*"])
    assert "abc" not in Globs(["a[b]c"])
    assert "WEB_search" in Globs(["web_*"])
    assert "WEB_search" not in Globs(["web_*"], fold=False)
    assert "axc\nd" in Globs(["a?c*"])
    assert GlobLists([("a*",), None, ("ab",)]).holding("ab") == 0b101
    assert GlobLists([("a*",), None, ("ab",)]).unsaid == 0b010


CATALOGUE = load_catalogue(rules_dir() / "providers")


@pytest.mark.parametrize(
    ("host", "captured", "model", "region"),
    [
        ("api.openai.com", {}, None, ""),
        ("eu.api.openai.com", {}, None, "eu"),
        ("mtls-us.api.openai.com", {}, None, "us"),
        ("api.eu.mistral.ai", {}, None, "eu"),
        ("acme.openai.azure.com", {}, None, ""),
        ("europe-west4-aiplatform.googleapis.com", {"location": "europe-west4"}, None, "europe-west4"),
        ("europe-west4-aiplatform.googleapis.com", {"location": "us-central1"}, None, ""),
        ("aiplatform.googleapis.com", {"location": "global"}, None, "global"),
        ("aiplatform.eu.rep.googleapis.com", {"location": "eu"}, None, "eu"),
        ("claude.googleapis.com", {"location": "europe-west1"}, None, "europe-west1"),
        ("aws-external-anthropic.us-east-1.api.aws", {}, None, "us-east-1"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", {}, "anthropic.claude-3-haiku-20240307-v1:0", "eu-central-1"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", {}, "us.anthropic.claude-sonnet-4-20250514-v1:0", "us"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", {}, "US.Anthropic.claude-sonnet-4-20250514-v1:0", "us"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", {}, "mars.anthropic.claude-x", ""),
        ("bedrock-runtime.eu-west-1.amazonaws.com", {}, "arn:aws:bedrock:eu-west-1:1:inference-profile/global.amazon.nova-x", "global"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", {}, "arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", ""),
        ("bedrock-runtime.eu-west-1.amazonaws.com", {}, "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-x", "eu-west-1"),
        ("vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", {}, "amazon.nova-lite-v1:0", "eu-west-1"),
    ],
)  # fmt: skip
def test_the_region_is_what_host_path_and_model_agree_on(
    host: str, captured: dict[str, str], model: str | None, region: str
) -> None:
    provider = CATALOGUE.provider(host)
    assert provider is not None
    assert provider.regions.of(host, captured, model) == region


def test_two_hosts_of_one_region_list_are_told_apart() -> None:
    regions = Regions(["a.{region}.example.com"], {"b.example.com": "eu"})
    assert regions.of("a.us-1.example.com", {}, None) == "us-1"
    assert regions.of("b.example.com", {}, None) == "eu"
    assert regions.of("c.example.com", {}, None) == ""


def test_every_example_of_the_page_loads() -> None:
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        parse_policy(example, "docs/access.md")
