"""A policy file as a Policy, or every problem in it at once."""

import json
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.data import policies_dir
from sallyport.decision import Mode
from sallyport.policy.load import PRESETS, load_policy, load_preset, parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.policy.schema import policy_keys
from sallyport.policy.sections import Policy, mode_of

RULE = "{id: a, effect: forbid, when: 'true', message: m}"


def test_the_shortest_policy_has_safe_defaults() -> None:
    policy = parse_policy("version: 1")
    assert policy.mode is Mode.ENFORCE
    assert policy.identity.unknown == "deny"
    assert policy.access.unknown_endpoint == "deny"
    assert policy.secrets.action == "deny"
    assert policy.masking.operator("ANYTHING_NEW") == "placeholder"
    assert policy.hosts.connect_ports == (443,)
    assert policy.audit_required
    assert policy == Policy(version=1)


@pytest.mark.parametrize(
    ("text", "where", "key", "says"),
    [
        ("", "p:1:1", "", "is empty"),
        ("[1]", "p:1:1", "", "holds no keys"),
        ("mode: observe", "p:1:1", "version", "is missing"),
        ("version: 2", "p:1:1", "version", "Use `1`"),
        ("version: '1'", "p:1:1", "version", "Use `1`"),
        ("version: 1\nmaksing: {}", "p:2:1", "maksing", "Did you mean `masking`?"),
        ("version: 1\nSecrets: {}", "p:2:1", "Secrets", "Did you mean `secrets`?"),
        ("version: 1\nzzz: 1", "p:2:1", "zzz", "Keys here are `version`, `mode`"),
        ("version: 1\nmode: enforced", "p:2:1", "mode", "Use `observe`, `shadow`, `canary` or `enforce`."),
        ("version: 1\naudit: {required: yes}", "p:2:9", "audit.required", "true or false"),
        ("version: 1\ndetection: 3", "p:2:1", "detection", "must hold keys"),
        ("version: 1\ndetection: [3]", "p:2:1", "detection", "must hold keys"),
        ("version: 1\ndetection: {deadline_s: '2'}", "p:2:13", "detection.deadline_s", "a number"),
        ("version: 1\ndetection: {deadline_s: 0}", "p:2:13", "detection.deadline_s", "greater than 0"),
        ("version: 1\ntransport: {max_headers: 99.5}", "p:2:13", "transport.max_headers", "whole number"),
        ("version: 1\ntransport: {hold_chars: 1000000000}", "p:2:13", "transport.hold_chars", "at most"),
        ("version: 1\nmasking:\n  entities: {EMAIL: hide}", "p:3:14", "masking.entities.EMAIL", "`redact`"),
        ("version: 1\nmasking: {entities: {email: deny}}", "p:2:22", "masking.entities.email", "match"),
        ("version: 1\nhosts: {refuse: [https://a.b/c]}", "p:2:18", "hosts.refuse[0]", "without scheme"),
        ("version: 1\nhosts: {refuse: [a.b, A.B]}", "p:2:9", "hosts.refuse", "twice"),
        ("version: 1\nhosts: {tunnel: ['*.com']}", "p:2:18", "hosts.tunnel[0]", "whole name"),
        ("version: 1\nhosts: {connect_ports: [0]}", "p:2:25", "hosts.connect_ports[0]", "at least 1"),
        (
            "version: 1\nidentity: {networks: [{cidr: 10.1.0.0/8, principal: a}]}",
            "p:2:24",
            "identity.networks[0].cidr",
            "address range",
        ),
        (
            "version: 1\nsecrets: {exclusions: [{rule: '*', why: x}]}",
            "p:2:25",
            "secrets.exclusions[0].rule",
            "match",
        ),
        (
            "version: 1\nsecrets: {exclusions: [{rule: a.b}]}",
            "p:2:24",
            "secrets.exclusions[0].why",
            "missing",
        ),
        (
            "version: 1\nsecrets: {exclusions: [{rule: a, why: b, until: tomorrow}]}",
            "p:2:42",
            "secrets.exclusions[0].until",
            "2026-11-30",
        ),
        (f"version: 1\naccess: {{rules: [{RULE}, {RULE}]}}", "p:2:70", "access.rules[1].id", "twice"),
        (
            "version: 1\naccess: {rules: [{id: a, effect: permit, when: 'true', message: m}]}",
            "p:2:26",
            "access.rules[0].effect",
            "no effect",
        ),
        (
            "version: 1\naccess: {rules: [{id: a, effect: forbid, when: modle == 'x', message: m}]}",
            "p:2:42",
            "access.rules[0].when",
            "not known",
        ),
        (
            "version: 1\naccess: {rules: [{id: a, effect: forbid, when: 'true', mesage: m}]}",
            "p:2:56",
            "access.rules[0].mesage",
            "`message`",
        ),
        (
            "version: 1\naccess: {attachments: {allow: [image]}}",
            "p:2:32",
            "access.attachments.allow[0]",
            "match",
        ),
        ("version: 1\ninjection: {paranoia: 5}", "p:2:13", "injection.paranoia", "at most 4"),
    ],
)
def test_a_mistake_is_named_with_place_key_and_cure(text: str, where: str, key: str, says: str) -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy(text, "p")
    problems = [p for p in error.value.problems if p.key == key]
    assert problems, str(error.value)
    assert problems[0].where == where
    assert says in str(problems[0])


def test_all_mistakes_of_a_file_are_reported_in_its_order() -> None:
    text = (
        "version: 1\nsecrets:\n  action: maks\n  oops: 1\nmasking: {min_score: 2}\naudit: {required: maybe}\n"
    )
    with pytest.raises(PolicyError) as error:
        parse_policy(text, "p")
    assert [p.key for p in error.value.problems] == [
        "secrets.action", "secrets.oops", "masking.min_score", "audit.required",
    ]  # fmt: skip
    assert str(error.value).count("\n") == 3
    assert error.value.exit_code == 2


def test_a_list_with_only_wrong_items_is_not_also_called_too_short() -> None:
    with pytest.raises(PolicyError) as error:
        parse_policy("version: 1\nhosts: {connect_ports: [0, 70000]}")
    assert [p.key for p in error.value.problems] == ["hosts.connect_ports[0]", "hosts.connect_ports[1]"]


@pytest.mark.parametrize(
    "key", ["sk-proj-" + "Ab3" * 14, "AKIA" + "Z" * 16, "key_" + "A" * 24, "key_" + "a" * 25]
)
def test_a_provider_key_in_place_of_a_fingerprint_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(PolicyError, match="leaked") as error:
        parse_policy(f"version: 1\nidentity: {{keys: [{{fingerprint: {key}, owner: a}}]}}")
    assert key not in str(error.value)
    parse_policy(f"version: 1\nidentity: {{keys: [{{fingerprint: key_{'0a' * 12}, owner: a}}]}}")


def test_the_nearest_mode_wins() -> None:
    second_rule = RULE.replace("id: a", "id: b, mode: observe")
    policy = parse_policy(
        f"version: 1\nmode: observe\naccess: {{mode: enforce, rules: [{RULE}, {second_rule}]}}"
    )
    first, second = policy.access.rules
    assert mode_of(policy) is Mode.OBSERVE
    assert mode_of(policy, policy.secrets) is Mode.OBSERVE
    assert mode_of(policy, policy.access) is Mode.ENFORCE
    assert mode_of(policy, policy.access, first) is Mode.ENFORCE
    assert mode_of(policy, policy.access, second) is Mode.OBSERVE


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE])
def test_a_mode_for_the_run_overrides_file_sections_and_rules(mode: Mode) -> None:
    rule = RULE.replace("id: a", "id: a, mode: enforce")
    text = f"version: 1\nsecrets: {{mode: enforce}}\naccess: {{mode: observe, rules: [{rule}]}}"
    policy = parse_policy(text, mode=mode)
    assert mode_of(policy) is mode
    assert mode_of(policy, policy.secrets) is mode
    assert mode_of(policy, policy.access, policy.access.rules[0]) is mode
    assert policy.audit_required is (mode is Mode.ENFORCE)


@pytest.mark.parametrize("own", [Mode.OBSERVE, Mode.ENFORCE])
def test_a_mode_for_the_run_overrides_limits(own: Mode) -> None:
    text = f"version: 1\nlimits: {{rules: [{{id: a, limit: 1, per: day, mode: {own}}}]}}"
    other = Mode.ENFORCE if own is Mode.OBSERVE else Mode.OBSERVE
    assert parse_policy(text, mode=other).limits.rules[0].mode is None
    assert parse_policy(text, mode=other).only_observes is (other is Mode.OBSERVE)


def test_a_canary_is_no_mode_for_the_run() -> None:
    with pytest.raises(PolicyError, match="--mode"):
        parse_policy("version: 1", mode=Mode.CANARY)


def test_the_revision_is_of_the_effect_and_not_of_the_spelling() -> None:
    plain = parse_policy("version: 1\nmasking: {min_score: 0.5}")
    assert (
        plain.revision
        == parse_policy("# same\nmasking:\n  min_score: 0.50\nversion: 1\nmode: enforce").revision
    )
    assert len(plain.revision) == 12
    assert int(plain.revision, 16) >= 0
    others = [
        parse_policy("version: 1\nmasking: {min_score: 0.6}"),
        parse_policy("version: 1", mode=Mode.OBSERVE),
        parse_policy(f"version: 1\naccess: {{rules: [{RULE}]}}"),
    ]
    assert len({plain.revision, *(o.revision for o in others)}) == 4


def test_a_copy_takes_no_revision_and_no_hosts_with_it() -> None:
    policy = parse_policy("version: 1\nhosts: {refuse: [a.example]}")
    assert "a.example" in policy.hosts.refused_hosts
    before = policy.revision
    hosts = policy.hosts.model_copy(update={"refuse": ()})
    changed = policy.model_copy(update={"hosts": hosts})
    assert "a.example" not in changed.hosts.refused_hosts
    assert changed.revision != before
    assert policy.revision == before


def test_a_changed_condition_changes_the_revision() -> None:
    one = parse_policy(f"version: 1\naccess: {{rules: [{RULE}]}}")
    two = parse_policy(f"version: 1\naccess: {{rules: [{RULE.replace('true', 'false')}]}}")
    assert one.revision != two.revision
    assert one != two


def test_recogniser_files_are_found_beside_the_policy(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("version: 1\ndetection: {recognisers: [own.yaml, gone.yaml]}")
    (tmp_path / "own.yaml").write_text("[]")
    with pytest.raises(PolicyError) as error:
        load_policy(file)
    assert [p.key for p in error.value.problems] == ["detection.recognisers[1]"]
    (tmp_path / "gone.yaml").write_text("[]")
    policy = load_policy(file)
    assert policy.recogniser_files == (tmp_path / "own.yaml", tmp_path / "gone.yaml")
    other = tmp_path / "elsewhere"
    other.mkdir()
    for name in ("p.yaml", "own.yaml", "gone.yaml"):
        (other / name).write_text((tmp_path / name).read_text())
    assert load_policy(other / "p.yaml").revision == policy.revision


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads_without_problems_within_100_ms(name: str) -> None:
    load_preset(name)
    start = time.process_time()
    policy = load_preset(name)
    assert time.process_time() - start < 0.1
    assert policy.mode is (Mode.OBSERVE if name == "observe" else Mode.ENFORCE)


def test_the_presets_say_what_they_are_for() -> None:
    assert {p.name.removesuffix(".test.yaml") for p in policies_dir().glob("*.test.yaml")} == set(PRESETS)
    assert {p.stem for p in policies_dir().glob("*.yaml") if "." not in p.stem} == set(PRESETS)
    assert load_preset("observe").audit_required is False
    assert load_preset("strict").identity.unknown == "deny"
    assert load_preset("strict").access.attachments.allows("image/png") is False
    assert load_preset("balanced").access.attachments.allows("image/PNG; x=y") is True
    assert len({load_preset(n).revision for n in PRESETS}) == 3
    assert load_preset("strict", mode=Mode.OBSERVE).mode is Mode.OBSERVE
    with pytest.raises(PolicyError, match="Use `observe`, `balanced` or `strict`"):
        load_preset("../strict")


def test_a_policy_survives_its_own_canonical_form() -> None:
    for name in PRESETS:
        policy = load_preset(name)
        again = parse_policy(json.dumps(policy.model_dump(mode="json")))
        assert again.model_dump() == policy.model_dump()
        assert again.revision == policy.revision


def test_a_truncated_policy_is_valid_or_refused_and_never_anything_else() -> None:
    content = (policies_dir() / "strict.yaml").read_bytes()
    for end in range(0, len(content), 7):
        try:
            parse_policy(content[:end])
        except PolicyError:
            continue


_KEYS = st.sampled_from(
    sorted({part.removesuffix("[]") for key in policy_keys() for part in key.path.split(".")})
)
_NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_LIKELY = ["deny", "mask", "observe", "true", "request.model == 'x'", "10.0.0.0/8", "*.example.com"]
_SCALARS = st.none() | st.booleans() | _NUMBERS | st.text(max_size=8) | st.sampled_from(_LIKELY)
_NAMES = _KEYS | st.text(max_size=6)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(_KEYS, _TREES, max_size=5))
def test_random_values_under_known_keys_raise_only_policy_errors(tree: dict[str, object]) -> None:
    try:
        parse_policy(json.dumps({"version": 1} | tree, ensure_ascii=False))
    except PolicyError as error:
        for problem in error.problems:
            assert problem.where.startswith("policy:")
            assert problem.todo[-1] in ".?"


@given(st.text(max_size=120))
def test_random_text_raises_only_policy_errors(text: str) -> None:
    with suppress(PolicyError):
        parse_policy(text)
