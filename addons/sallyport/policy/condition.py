"""Conditions of a policy: CEL over a complete, documented input. Nothing else imports the CEL library.

A condition either holds, does not hold, or raises ConditionError; the caller denies on an error, for a
permit as for a forbid. Names and types are checked at load, evaluation is bounded by the library (a
budget of 10,000 iterations, regular expressions by RE2), and no message repeats a value of the input.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self

from cel_expr_python import cel  # type: ignore[import-untyped]
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sallyport.decision import Finding
from sallyport.errors import OperatorError
from sallyport.exchange import Circumstances, Exchange, Principal
from sallyport.policy.problems import Wrong, choices, nearest

MAX_EXPRESSION_CHARS = 4_000
_MAX_INT = 2**63 - 1

INPUTS: Mapping[str, tuple[str, str]] = {
    "principal.id": ("string", 'who speaks, as the identity stage found it; "" where it found nobody'),
    "principal.tenant": ("string", 'the tenant of the principal, "" where there is none'),
    "principal.roles": ("list<string>", "the roles of the principal"),
    "principal.source": ("string", "what proved it: `header`, `key`, `network`, `anonymous` or `none`"),
    "principal.confidence": ("double", "0 (nobody named it), 0.4 (`network`), 0.8 (`key`) or 0.9 (`header`)"),
    "principal.attributes": (
        "map<string,string>",
        "further facts; test `'team' in principal.attributes` before reading one",
    ),
    "request.provider": ("string", "name of the provider in the catalogue, for example `openai`"),
    "request.host": ("string", "host the client called, lower case"),
    "request.dialect": ("string", "wire format, for example `anthropic_messages`"),
    "request.operation": ("string", "`chat`, `completion`, `embedding`, `count_tokens`, ..."),
    "request.model": ("string", 'model as the client named it, "" where the call names none'),
    "request.tools": ("list<string>", "names of the tools the request declares"),
    "request.stream": ("bool", "whether a streamed answer is asked for"),
    "request.max_output_tokens": ("int", "limit the client set, -1 where it set none"),
    "request.input_chars": ("int", "code points of all texts of the request together"),
    "request.attachments": ("list<string>", "media types of images, sounds and files, lower case"),
    "request.attachment_bytes": ("int", "decoded bytes of inline attachments together"),
    "request.continued": ("bool", "whether it continues a response kept at the provider, unseen here"),
    "client.address": ("string", "address of the client's end of the connection"),
    "client.mode": ("string", "how the connection came: `regular`, `transparent`, `wireguard`, ..."),
    "findings": (
        "list<map<string,dyn>>",
        "what detection found; each has `rule`, `kind`, `entity`, `severity`, `score`, `surface`",
    ),
    "behaviour.score": (
        "double",
        "how unusual the principal is now, 0 to 1; 0 while too little is known. In access rules and limits only",
    ),
    "behaviour.reasons": (
        "list<string>",
        "what is unusual: `spend`, `tokens`, `requests`, `refusals`, `new_models`, `new_hosts`, `off_hours`",
    ),
    "gateway.in_flight": (
        "int",
        "exchanges under way in this gateway, this one included. In access rules and limits only",
    ),
    "time.hour": ("int", "hour the request arrived, 0 to 23, UTC"),
    "time.weekday": ("int", "day of the week it arrived, 1 is Monday, 7 is Sunday, UTC"),
    "time.date": ("string", "day it arrived, `2026-11-30`, UTC"),
    "time.received_at": ("timestamp", "the moment it arrived; `getHours('Europe/Berlin')` and the like work"),
}
"""Every name a condition may use: CEL type and meaning. All are always present."""

FINDING_FIELDS = ("rule", "kind", "entity", "severity", "score", "surface")


class ConditionError(OperatorError):
    """A condition that cannot be compiled, or that failed on an input."""


@dataclass(frozen=True, slots=True)
class ConditionInput:
    """What conditions are asked about: exactly the names of INPUTS."""

    values: Mapping[str, object]

    def __post_init__(self) -> None:
        if self.values.keys() != INPUTS.keys():
            odd = sorted(self.values.keys() ^ INPUTS.keys())
            raise ValueError(f"a condition input needs exactly the documented names; differs in {odd}")


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. Equal when the source is equal; pickles as its source."""

    source: str
    where: str
    _expression: cel.Expression

    @classmethod
    def compile(cls, source: str, where: str = "condition") -> Self:
        """Compile CEL. where: place for messages.

        Raises ConditionError for syntax, unknown names, wrong types and anything that is not a bool.
        """
        if len(source) > MAX_EXPRESSION_CHARS:
            what = f"the condition is longer than {MAX_EXPRESSION_CHARS} characters"
            raise ConditionError(where, what, "Split it into several rules.")
        _check_finding_fields(source, where)
        try:
            expression = _environment().compile(source)
        except (RuntimeError, ValueError) as error:
            raise _compile_error(str(error), where) from None
        if expression.return_type() != cel.Type.BOOL:
            what = f"the condition gives {expression.return_type().name()}, not true or false"
            raise ConditionError(where, what, "Compare the value with something, for example with ==.")
        _check_patterns(source, where)
        return cls(source, where, expression)

    def holds(self, given: ConditionInput) -> bool:
        """Say whether the condition holds. Raises ConditionError when evaluation gives no answer."""
        try:
            result = self._expression.eval(data=dict(given.values))
            # A failed evaluation comes back as a value that is truthy when read naively.
            if result.type() == cel.Type.BOOL and isinstance(answer := result.value(), bool):
                return answer
            reason = _reason(str(result.value())) if result.type() == cel.Type.ERROR else "no_answer"
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            reason = _reason(str(error))
        what = f"the condition gave no answer ({reason})"
        raise ConditionError(self.where, what, _CURES.get(reason, "Make it total: test before reading."))

    def reads(self, name: str) -> bool:
        """Say whether the source mentions a name of INPUTS, so that a caller may spare its cost."""
        return re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", _without_strings(self.source)) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Condition) and self.source == other.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __str__(self) -> str:
        return self.source

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (type(self).compile, (self.source, self.where))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls._read,
            core_schema.str_schema(min_length=1),
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema()
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1, "maxLength": MAX_EXPRESSION_CHARS, "format": "cel"}

    @classmethod
    def _read(cls, source: str) -> Self:
        try:
            return cls.compile(source)
        except ConditionError as error:
            raise Wrong(error.what, error.todo.removesuffix(".")) from None


_NOTHING_KNOWN = Circumstances()


def condition_input(
    exchange: Exchange,
    findings: Sequence[Finding] = (),
    circumstances: Circumstances = _NOTHING_KNOWN,
) -> ConditionInput:
    """Describe an exchange to conditions. findings: empty where the caller asks before detection ran.

    The time is the moment the request arrived, so that the same exchange gets the same answer again.
    """
    request = exchange.request
    who = exchange.principal or Principal(id="", tenant="", source="none")
    arrived = exchange.received_at.astimezone(UTC)
    surfaces = {s.at: s.surface.value for s in request.segments}
    limit = request.max_output_tokens
    return ConditionInput(
        {
            "principal.id": _plain(who.id),
            "principal.tenant": _plain(who.tenant),
            "principal.roles": [_plain(r) for r in who.roles],
            "principal.source": _plain(who.source),
            "principal.confidence": float(who.confidence),
            "principal.attributes": {_plain(k): _plain(v) for k, v in who.attributes},
            "request.provider": _plain(request.provider),
            "request.host": _plain(exchange.host),
            "request.dialect": _plain(request.dialect),
            "request.operation": request.operation.value,
            "request.model": _plain(request.model or ""),
            "request.tools": [_plain(t) for t in request.tools],
            "request.stream": request.stream,
            "request.max_output_tokens": -1 if limit is None else max(-_MAX_INT, min(limit, _MAX_INT)),
            "request.input_chars": sum(len(s.text) for s in request.segments),
            "request.attachments": [_plain(a.media_type.lower()) for a in request.attachments],
            "request.attachment_bytes": min(sum(a.size or 0 for a in request.attachments), _MAX_INT),
            "request.continued": request.previous is not None,
            "client.address": _plain(exchange.client.address),
            "client.mode": _plain(exchange.client.mode),
            "findings": [
                {
                    "rule": f.rule,
                    "kind": f.kind.value,
                    "entity": f.entity,
                    "severity": f.severity.value,
                    "score": float(f.score),
                    "surface": surfaces.get(f.at, ""),
                }
                for f in findings
            ],
            "behaviour.score": circumstances.behaviour_score,
            "behaviour.reasons": list(circumstances.behaviour_reasons),
            "gateway.in_flight": circumstances.in_flight,
            "time.hour": arrived.hour,
            "time.weekday": arrived.isoweekday(),
            "time.date": arrived.date().isoformat(),
            "time.received_at": arrived,
        }
    )


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
    "list<map<string,dyn>>": [],
    "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
}

_CURES: Mapping[str, str] = {
    "no_such_key": "Test for the key first: `'team' in principal.attributes && ...`.",
    "budget": "Nest fewer exists/all/filter, or test the size of the lists first.",
    "bad_regex": "Write the pattern as a constant in RE2 syntax.",
}


@cache
def _environment() -> cel.Env:
    types = {
        "string": cel.Type.STRING,
        "bool": cel.Type.BOOL,
        "int": cel.Type.INT,
        "double": cel.Type.DOUBLE,
        "timestamp": cel.Type.TIMESTAMP,
        "list<string>": cel.Type.List(cel.Type.STRING),
        "map<string,string>": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "list<map<string,dyn>>": cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN)),
    }
    return cel.NewEnv(variables={name: types[kind] for name, (kind, _) in INPUTS.items()})


def _plain(text: str) -> str:
    """Return text that UTF-8 can carry: a lone surrogate out of JSON becomes U+FFFD."""
    return text if text.isascii() else re.sub("[\ud800-\udfff]", "\ufffd", text)


def _reason(message: str) -> str:
    """Name an evaluation failure without its values."""
    for sign, reason in (
        ("Key not found", "no_such_key"),
        ("Iteration budget", "budget"),
        ("regular expression", "bad_regex"),
        ("divide by zero", "division_by_zero"),
        ("Index error", "no_such_index"),
        ("overflow", "overflow"),
        ("No matching overloads", "wrong_type"),
    ):
        if sign in message:
            return reason
    return "failed"


def _compile_error(message: str, where: str) -> ConditionError:
    first = re.search(r"<input>:(\d+):(\d+): ([^\n]*)", message)
    if first is None:
        return ConditionError(where, "the condition is not CEL", "Simplify it; deep nesting is not read.")
    line = f"line {first[1]}, " if first[1] != "1" else ""
    place = f"the condition fails at {line}character {first[2]}"
    unknown = re.match(r"undeclared reference to '([^']*)'", first[3])
    if unknown is None:
        what = re.sub(r"mismatched input .* expecting.*", "unexpected end or symbol", first[3])
        return ConditionError(where, f"{place}: {what}", "See docs/policy.md for names and examples.")
    by_leaf = {name.rpartition(".")[2]: name for name in INPUTS}
    near = nearest(unknown[1], INPUTS) or by_leaf.get(nearest(unknown[1].rpartition(".")[2], by_leaf) or "")
    todo = f"Did you mean `{near}`?" if near else f"Names are {choices(INPUTS)}."
    return ConditionError(where, f"{place}: `{unknown[1]}` is not known", todo)


def _check_finding_fields(source: str, where: str) -> None:
    """Refuse a misspelt field of a finding, which CEL would only meet when a finding is there.

    Findings are maps to the type checker, so the names behind a macro's variable are read here.
    """
    code = _without_strings(source)
    for variable in set(re.findall(r"(?<![\w.])findings\s*\.\s*\w+\s*\(\s*(\w+)\s*,", code)):
        for name in re.findall(rf"(?<![\w.]){variable}\s*\.\s*(\w+)(?!\w|\s*\()", code):
            if name not in FINDING_FIELDS:
                near = nearest(name, FINDING_FIELDS)
                todo = f"Did you mean `{near}`?" if near else f"Use {choices(FINDING_FIELDS)}."
                raise ConditionError(where, f"a finding has no `{name}`", todo)


def _check_patterns(source: str, where: str) -> None:
    """Refuse a constant pattern that RE2 cannot read, which CEL would only meet at the first request."""
    for literal in re.findall(rf"\.\s*matches\s*\(\s*(r?(?:{_STRING}))\s*\)", source):
        try:
            result = _environment().compile(f"''.matches({literal})").eval(data={})
        except (RuntimeError, ValueError):
            continue  # not a whole literal after all; the compiler has accepted the expression as it is
        if result.type() != cel.Type.BOOL:
            todo = "Write it in RE2 syntax, which has no look-around and no back-references."
            raise ConditionError(where, "a pattern of matches() is not a regular expression", todo)


_STRING = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""


def _without_strings(source: str) -> str:
    return re.sub(_STRING, "''", source)
