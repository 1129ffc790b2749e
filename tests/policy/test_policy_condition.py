"""Conditions: checked at load, total over a complete input, an error never an answer."""

import pickle
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sallyport
from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import (
    FALLBACK_MODEL,
    Attachment,
    Client,
    Exchange,
    Operation,
    Parameter,
    Principal,
    Request,
    Segment,
    Surface,
)
from sallyport.policy.condition import Condition, ConditionError
from sallyport.policy.inputs import INPUTS, ConditionInput, condition_input

ARRIVED = datetime(2026, 11, 30, 23, 30, tzinfo=timezone(timedelta(hours=2)))
REQUEST = Request(
    provider="openai",
    dialect="openai_chat",
    operation=Operation.CHAT,
    model="gpt-4o-mini",
    segments=(Segment("/a", Surface.USER, "häh"), Segment("/b", Surface.TOOL_RESULT, "xy")),
    attachments=(Attachment("/c", "Image/PNG", 10), Attachment("/d", "application/pdf", None)),
    tools=("shell_run", "search"),
    stream=True,
    previous="resp_1",
)
PRINCIPAL = Principal("ada", "research", ("staff",), (("team", "legal"),), "key", 0.8)
EXCHANGE = Exchange(
    "x1", "c1", ARRIVED, "api.openai.com", Client("10.0.0.7", "transparent"), REQUEST, PRINCIPAL
)
FINDING = Finding("secrets.ai.key", Kind.SECRET, "OPENAI_KEY", Severity.CRITICAL, "/b", 0, 2, 0.9)


def sample_input(**changes: object) -> ConditionInput:
    """Return an input in which every name has a harmless value. changes: names with "__" for the dot."""
    values: dict[str, object] = {name: _SAMPLES[kind] for name, (kind, _) in INPUTS.items()}
    values.update({name.replace("__", "."): value for name, value in changes.items()})
    return ConditionInput(values)


_SAMPLES: Mapping[str, object] = {
    "string": "",
    "bool": False,
    "int": 0,
    "double": 0.0,
    "list<string>": [],
    "map<string,string>": {},
    "map<string,dyn>": {},
    "list<map<string,dyn>>": [],
    "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("principal.id == 'ada' && principal.tenant == 'research' && 'staff' in principal.roles", True),
        ("principal.source == 'key' && principal.confidence > 0.5", True),
        ("'team' in principal.attributes && principal.attributes['team'] == 'legal'", True),
        ("'boss' in principal.attributes && principal.attributes['boss'] == 'x'", False),
        ("request.provider == 'openai' && request.host.endsWith('.openai.com')", True),
        ("request.dialect == 'openai_chat' && request.operation == 'chat' && request.stream", True),
        ("request.model.matches('^gpt-4o')", True),
        ("request.tools.exists(t, t.startsWith('shell'))", True),
        ("request.max_output_tokens == -1", True),
        ("request.input_chars == 5", True),
        ("request.attachments == ['image/png', 'application/pdf'] && request.attachment_bytes == 10", True),
        ("request.continued", True),
        ("client.address == '10.0.0.7' && client.mode == 'transparent'", True),
        ("findings.exists(f, f.kind == 'secret' && f.severity == 'critical' && f.score > 0.5)", True),
        (
            "findings.all(f, f.surface == 'tool_result' && f.rule.startsWith('secrets.') && f.entity != '')",
            True,
        ),
        ("time.hour == 21 && time.weekday == 1 && time.date == '2026-11-30'", True),
        ("time.received_at.getHours('Europe/Berlin') == 22", True),
        ("time.received_at > timestamp('2026-01-01T00:00:00Z')", True),
        ("size(findings) > 1", False),
    ],
)
def test_a_condition_sees_the_whole_exchange(source: str, holds: bool) -> None:
    assert Condition.compile(source).holds(condition_input(EXCHANGE, [FINDING])) is holds


@pytest.mark.parametrize(
    ("model", "others", "models"),
    [
        ("gpt-4o-mini", (), "['gpt-4o-mini']"),
        (
            "openai/GPT-4o-mini",
            ("openai/GPT-5-Pro", "openai/gpt-4o-mini"),
            "['openai/gpt-4o-mini', 'openai/gpt-5-pro']",
        ),
        (None, ("openai/gpt-5-pro",), "['openai/gpt-5-pro']"),
        (" gpt-5-pro ", (), "['gpt-5-pro']"),
        (None, (), "['']"),
        ("", (), "['']"),
        ("m", ("\ud800",), "['m', '\ufffd']"),
    ],
)
def test_a_condition_sees_every_model_that_may_answer(
    model: str | None, others: tuple[str, ...], models: str
) -> None:
    settings = tuple(Parameter(FALLBACK_MODEL, name, f"/models/{n}") for n, name in enumerate(others))
    asked = replace(EXCHANGE, request=replace(REQUEST, model=model, parameters=settings))
    assert Condition.compile(f"request.models == {models}").holds(condition_input(asked))


def test_an_exchange_that_says_nothing_still_gives_every_name() -> None:
    bare = Request("p", "d", Operation.OPAQUE, None)
    given_ = condition_input(Exchange("x", "c", ARRIVED, "h", Client("", ""), bare))
    assert given_.values.keys() == INPUTS.keys()
    for source in (
        "principal.id == '' && principal.source == 'none'",
        "request.model == '' && request.models == ['']",
        "size(findings) == 0",
    ):
        assert Condition.compile(source).holds(given_)


@pytest.mark.parametrize("name", INPUTS)
def test_every_documented_name_is_declared_with_its_type(name: str) -> None:
    kind = INPUTS[name][0]
    comparison = {
        "string": "== ''", "bool": "== false", "int": "== 0", "double": "== 0.0", "list<string>": "== ['']",
        "map<string,string>": "== {'': ''}", "map<string,dyn>": "== {'': ''}", "list<map<string,dyn>>": "!= []", "timestamp": "> timestamp(0)",
    }[kind]  # fmt: skip
    assert Condition.compile(f"{name} {comparison}").holds(sample_input()) in (True, False)
    assert Condition.compile(f"{name} {comparison}").reads(name)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("request.modle == 'x'", "Did you mean `request.model`?"),
        ("modle == 'x'", "not known"),
        ("request == 'x'", "not known"),
        ("1 +", "Syntax error"),
        ("true true", "Syntax error"),
        ("request.model", "not true or false"),
        ("1", "not true or false"),
        ("dyn(true)", "not true or false"),
        ("null", "not true or false"),
        ("request.model > 3", "no matching overload"),
        ("request.tools == 'x'", "no matching overload"),
        ("principal.roles.exists(r, r > 3)", "no matching overload"),
        ("os.system('x') == 0", "not known"),
        ("findings.exists(f, f.severty == 'high')", "Did you mean `severity`?"),
        ("findings.filter(x, x.text != '').size() > 0", "a finding has no `text`"),
        ("request.model.matches('(')", "not a regular expression"),
        ('request.model.matches("a(?=b)")', "not a regular expression"),
        ("request.stream || request.model.matches(r'[')", "not a regular expression"),
        ("(" * 100 + "true" + ")" * 100, "deep nesting"),
        ("true" + " && true" * 1000, "longer than"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_a_condition_that_cannot_work_is_refused_at_load(source: str, says: str) -> None:
    with pytest.raises(ConditionError) as error:
        Condition.compile(source, "p:1:1")
    assert says in str(error.value)
    assert str(error.value).startswith("p:1:1: ")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("principal.attributes['boss'] == 'x'", "no_such_key"),
        ("request.tools[7] == 'x'", "no_such_index"),
        ("1 / time.hour == 1", "division_by_zero"),
        ("request.model.matches(principal.id + '(')", "bad_regex"),
        ("request.tools.all(a, request.tools.all(b, request.tools.all(c, true)))", "budget"),
    ],
)
def test_an_evaluation_that_fails_raises_and_never_answers(source: str, reason: str) -> None:
    secret = "s3cr3t-value"
    asked = sample_input(request__tools=[] if "7" in source else [secret] * 100, principal__id=secret)
    with pytest.raises(ConditionError, match=reason) as error:
        Condition.compile(source).holds(asked)
    assert secret not in str(error.value)


def test_what_a_client_sends_cannot_break_the_input() -> None:
    wild = Request("p", "d", Operation.CHAT, "m\ud800\0", tools=("\udfff",) * 3, max_output_tokens=10**30)
    given_ = condition_input(Exchange("x", "c", ARRIVED, "h", Client("\ud8ff", ""), wild))
    assert Condition.compile("request.max_output_tokens > 4096 && request.model != 'm'").holds(given_)


def test_ten_thousand_findings_cost_an_error_and_not_the_gateway() -> None:
    many = [FINDING] * 12_000
    with pytest.raises(ConditionError, match="budget"):
        Condition.compile("findings.exists(f, f.kind == 'pii')").holds(condition_input(EXCHANGE, many))


def test_an_input_needs_exactly_the_documented_names() -> None:
    with pytest.raises(ValueError, match="exactly"):
        ConditionInput({"principal.id": "x"})
    with pytest.raises(ValueError, match="exactly"):
        ConditionInput({**sample_input().values, "extra": 1})


def test_reads_ignores_texts_and_longer_names() -> None:
    assert not Condition.compile("request.model == 'findings'").reads("findings")
    assert Condition.compile("size(findings) == 0").reads("findings")
    assert not Condition.compile("request.attachment_bytes > 0").reads("request.attachment")


def test_a_condition_travels_to_another_process_as_its_source() -> None:
    condition = Condition.compile("request.stream", "p:1:1")
    again = pickle.loads(pickle.dumps(condition))
    assert again == condition
    assert hash(again) == hash(condition)
    assert again.holds(sample_input(request__stream=True))


def test_nothing_else_imports_the_cel_library() -> None:
    package = Path(sallyport.__file__).parent
    users = [p.name for p in package.rglob("*.py") if re.search(r"import.*\bcel\b", p.read_text())]
    assert users == ["condition.py"]


def test_importing_the_models_builds_no_environment() -> None:
    code = (
        "import sallyport.policy.sections, sallyport.policy.condition as c;"
        "print(c._environment.cache_info().currsize)"
    )
    environment = {"PYTHONPATH": str(Path(sallyport.__file__).parent.parent)}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert out.stdout.strip() == "0"


_SIGNS = [
    "true",
    "1",
    "0.5",
    "'x'",
    "[]",
    "(",
    ")",
    "&&",
    "||",
    "!",
    "==",
    ">",
    "+",
    "?",
    ":",
    "in",
    "\\",
    "'",
]
_CALLS = [".exists(t,", ".matches(", "f.kind", "size(", '"', "\0", "ü"]
_WORDS = st.sampled_from([*INPUTS, *_SIGNS, *_CALLS])


@given(st.lists(_WORDS, max_size=12).map(" ".join) | st.text(max_size=60))
def test_random_expressions_raise_only_condition_errors(source: str) -> None:
    with suppress(ConditionError):
        assert Condition.compile(source).holds(sample_input()) in (True, False)
