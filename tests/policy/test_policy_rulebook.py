"""The index of access rules says what asking every rule by itself would say."""

import re
from datetime import UTC, datetime
from fnmatch import translate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sallyport.decision import Mode
from sallyport.exchange import Client, Exchange, Operation, Principal, Request
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.condition import ConditionError
from sallyport.policy.hours import Hours
from sallyport.policy.inputs import UNKNOWN_SERVER, condition_input
from sallyport.policy.models import ancestors, spellings
from sallyport.policy.rulebook import MAX_JOINED, Rulebook, Subjects

NAMES = ("ada", "bob", "build-7", "gpt-5", "gpt-5-mini", "GPT-4o", "search", "shell", "eu", "eu-west-1", "x")
GLOBS = (*NAMES, "*", "gpt-*", "eu*", "build-?", "s*", "[x]")
CONDITIONS = (
    "request.stream",
    "!request.stream",
    "principal.id == 'ada' // a comment",
    "principal.attributes['team'] == 'legal'",
    "request.input_chars > 3 || 'a' in principal.roles",
    "request.input_chars / (request.input_chars - 2) > 1",
    "request.model.startsWith('gpt') ? true : false",
    "false",
    "1 / 0 == 1",
)
ONE = {"tenants": "tenant", "principals": "principal", "providers": "provider", "regions": "region"}
ALL = ("tools", "hosted_tools", "mcp_servers")
names = st.sampled_from(NAMES)
# Mostly absent: of rules with a list of every kind hardly one would ever fit a call.
lists = st.integers(0, 5).flatmap(
    lambda n: st.lists(st.sampled_from(GLOBS), max_size=3).map(tuple) if n == 0 else st.none()
)
rules = st.builds(
    dict,
    effect=st.sampled_from(("permit", "forbid")),
    mode=st.sampled_from((None, Mode.OBSERVE, Mode.ENFORCE)),
    when=st.none() | st.sampled_from(CONDITIONS),
    operations=st.none() | st.lists(st.sampled_from(tuple(Operation)), max_size=2).map(tuple),
    hours=st.none() | st.just(Hours(days=("sat",))) | st.just(Hours(days=("sun",))),
    roles=lists,
    models=lists,
    tenants=lists,
    principals=lists,
    providers=lists,
    regions=st.none() | st.lists(st.sampled_from(("eu", "eu-*", "*")), max_size=2).map(tuple),
    tools=lists,
    hosted_tools=lists,
    mcp_servers=lists,
)
some = st.lists(names, max_size=2).map(tuple)
calls = st.builds(
    Subjects,
    tenant=names,
    principal=names,
    provider=names,
    operation=st.sampled_from([o.value for o in Operation]),
    region=st.sampled_from(("", "eu", "eu-west-1", "us")),
    purpose=st.just(""),
    arrived=st.just(datetime(2026, 11, 21, 9, 30, tzinfo=UTC)),
    roles=some,
    models=st.lists(
        st.sampled_from(("gpt-5", "gpt-5-2026-01-01", "openai/gpt-5", "ft:gpt-5:org:a:b", "x")), max_size=2
    ).map(tuple),
    tools=some,
    hosted_tools=some,
    mcp_servers=st.lists(st.sampled_from((*NAMES, UNKNOWN_SERVER)), max_size=2).map(tuple),
)


def built(written: list[dict]) -> list[AccessRule]:
    """Make rules of what they say; one that says nothing of a call speaks of Saturdays, so of this one."""
    found = []
    for place, said in enumerate(written):
        keys = {name: value for name, value in said.items() if value is not None}
        if keys.keys() <= {"effect", "mode"}:
            keys["hours"] = Hours(days=("sat",))
        found.append(AccessRule(id=f"r{place}", message="m", **keys))
    return found


def fits(patterns: tuple[str, ...] | None, names: tuple[str, ...], *, fold: bool = True) -> bool:
    """Say whether any name is in a list, glob by glob."""
    if patterns is None:
        return True
    flags = re.IGNORECASE if fold else 0
    shapes = [re.compile(translate(p.replace("[", "[[]")), flags) for p in patterns]
    return any(shape.match(name) for shape in shapes for name in names)


def speaks(rule: AccessRule, of: Subjects) -> bool:
    permit = rule.effect == "permit"
    if not all(
        fits(getattr(rule, key), (getattr(of, one),), fold=key != "principals") for key, one in ONE.items()
    ):
        return False
    if rule.operations is not None and of.operation not in rule.operations:
        return False
    if rule.roles is not None and not fits(rule.roles, of.roles, fold=False):
        return False
    if rule.hours is not None and not rule.hours.holds(of.arrived):
        return False
    if rule.models is not None:
        known = spellings if permit else ancestors
        each = [fits(rule.models, known(model)) for model in of.models]
        if not each or not (all(each) if permit else any(each)):
            return False
    for key in ALL:
        listed = getattr(rule, key)
        if listed is None:
            continue
        each = [
            not permit if key == "mcp_servers" and name == UNKNOWN_SERVER else fits(listed, (name,))
            for name in getattr(of, key)
        ]
        if not (all(each) if permit else any(each)):
            return False
    return True


def naive(found: list[AccessRule], of: Subjects, given) -> tuple[list[str], str | None]:
    """Ask every rule in its order, each condition by itself."""
    forbids: dict[Mode | None, list[str]] = {Mode.ENFORCE: [], None: [], Mode.OBSERVE: []}
    permit = None
    for rule in found:
        if not speaks(rule, of):
            continue
        try:
            holds = rule.when is None or rule.when.holds(given)
        except ConditionError:
            forbids[rule.mode].append(rule.id)
            continue
        if holds and rule.effect == "forbid":
            forbids[rule.mode].append(rule.id)
        elif holds and permit is None and rule.mode is not Mode.OBSERVE:
            permit = rule.id
    return [id for ids in forbids.values() for id in ids], permit


def exchange_of(call: Subjects) -> Exchange:
    who = Principal(call.principal, call.tenant, call.roles)
    request = Request("openai", "openai_chat", Operation.CHAT, "gpt-5", stream=call.principal == "ada")
    return Exchange("x", "c", call.arrived, "h", Client("10.0.0.1", "explicit"), request, who)


@settings(max_examples=300)
@given(st.lists(rules, max_size=12), st.lists(calls, min_size=1, max_size=4))
@example(
    [{"effect": "forbid", "models": ("gpt-5",)}],
    [Subjects("t", "p", "o", "chat", "", "", datetime.now(UTC), models=("ft:gpt-5:org:a:b",))],
)
@example([{"effect": "permit", "tools": ()}], [Subjects("t", "p", "o", "chat", "", "", datetime.now(UTC))])
def test_the_index_and_the_list_agree(written: list[dict], asked: list[Subjects]) -> None:
    found = built(written)
    book = Rulebook(found)
    # Several times: the first answers come from single conditions, later ones from joined ones.
    for _ in range(6):
        for call in asked:
            given = condition_input(exchange_of(call))
            bits = book.speaking(call)
            outcome = book.outcome(bits, None if book.reads(bits) is None else given)
            got = [rule.id for rule in outcome.forbids], outcome.permit.id if outcome.permit else None
            assert got == naive(found, call, given)


def test_more_conditions_than_fit_into_one_expression_are_asked_in_parts() -> None:
    count = 2 * MAX_JOINED + 5
    found = built(
        [
            {"effect": "forbid", "when": f"principal.id == 'p{n}' || principal.id == 'all'"}
            for n in range(count)
        ]
    )
    book = Rulebook(found)
    for who, expected in (
        ("p7", ["r7"]),
        (f"p{count - 1}", [f"r{count - 1}"]),
        ("all", [r.id for r in found]),
    ):
        call = Subjects("t", who, "o", "chat", "", "", datetime.now(UTC))
        for _ in range(6):
            outcome = book.outcome(book.speaking(call), condition_input(exchange_of(call)))
            assert [rule.id for rule in outcome.forbids] == expected


def test_a_condition_without_an_answer_does_not_take_its_neighbours_answers_away() -> None:
    found = built(
        [
            {"effect": "forbid", "when": "principal.attributes['x'] == 'y'", "mode": Mode.OBSERVE},
            {"effect": "forbid", "when": "principal.id == 'nobody'"},
            {"effect": "forbid", "when": "principal.id == 'ada'"},
        ]
    )
    book = Rulebook(found)
    call = Subjects("t", "ada", "o", "chat", "", "", datetime.now(UTC))
    for _ in range(6):
        outcome = book.outcome(book.speaking(call), condition_input(exchange_of(call)))
        assert [rule.id for rule in outcome.forbids] == ["r2", "r0"]


@pytest.mark.parametrize("tenant", ["acme", "ACME", "Acme"])
@pytest.mark.parametrize("written", ["acme", "Acme", "AC*"])
@pytest.mark.parametrize("effect", ["forbid", "permit"])
def test_a_tenant_is_the_same_in_any_case_and_a_principal_is_not(
    effect: str, written: str, tenant: str
) -> None:
    book = Rulebook(
        built([{"effect": effect, "tenants": (written,)}, {"effect": effect, "principals": ("ada",)}])
    )
    assert book.speaking(Subjects(tenant, "ADA", "o", "chat", "", "", datetime.now(UTC))) == 0b01


def test_callers_cannot_make_the_index_grow_without_bound() -> None:
    book = Rulebook(built([{"effect": "forbid", "tools": ("a*",)}, {"effect": "forbid", "models": ("b*",)}]))
    for n in range(10_000):
        name = f"tool-{n}"
        book.speaking(
            Subjects(
                "t", "p", "o", "chat", "", "", datetime.now(UTC), tools=(name,), models=(name, "y" * 10_000)
            )
        )
    for lists in (book._models, dict(book._all)["tools"]):
        assert lists is not None
        assert len(lists._seen) <= 4096
        assert max(map(len, lists._seen)) <= 200


def test_answers_that_are_kept_are_bounded_in_number_and_size() -> None:
    book = Rulebook(
        built([{"effect": "forbid", "when": "'x' in principal.roles || principal.id == 'p7'"}] * 2)
    )
    for n in range(10_000):
        call = Subjects("t", f"p{n}", "o", "chat", "", "", datetime.now(UTC), roles=("r" * (n % 7) * 1000,))
        outcome = book.outcome(book.speaking(call), condition_input(exchange_of(call)))
        assert len(outcome.forbids) == (2 if n == 7 else 0)
    assert 0 < len(book._kept) <= 4096
    assert all(sum(len(role) for role in key[2]) <= 2000 for key in book._kept)
