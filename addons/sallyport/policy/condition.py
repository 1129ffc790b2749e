"""Conditions of a policy: CEL over a complete, documented input. Nothing else imports the CEL library.

A condition either holds, does not hold, or raises ConditionError; the caller denies on an error, for a
permit as for a forbid. Names and types are checked at load, evaluation is bounded by the library (a
budget of 10,000 iterations, regular expressions by RE2), and no message repeats a value of the input.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from cel_expr_python import cel  # type: ignore[import-untyped]
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from sallyport.errors import OperatorError
from sallyport.policy.inputs import FINDING_FIELDS, INPUTS, ConditionInput
from sallyport.policy.problems import Wrong, choices, nearest

MAX_EXPRESSION_CHARS = 4_000


class ConditionError(OperatorError):
    """A condition that cannot be compiled, or that failed on an input."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition. Equal when the source is equal; pickles as its source.

    names: those of INPUTS that it reads, and so that an answer needs.
    """

    source: str
    where: str
    names: frozenset[str]
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
        return cls(source, where, _names(expression), expression)

    def holds(self, given: ConditionInput) -> bool:
        """Say whether the condition holds. Raises ConditionError when evaluation gives no answer."""
        try:
            result = self._expression.eval(data={name: given.values[name] for name in self.names})
            # A failed evaluation comes back as a value that is truthy when read naively.
            if result.type() == cel.Type.BOOL and isinstance(answer := result.value(), bool):
                return answer
            reason = _reason(str(result.value())) if result.type() == cel.Type.ERROR else "no_answer"
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            reason = _reason(str(error))
        what = f"the condition gave no answer ({reason})"
        raise ConditionError(self.where, what, _CURES.get(reason, "Make it total: test before reading."))

    def reads(self, name: str) -> bool:
        """Say whether it reads a name of INPUTS, so that a caller may spare its cost."""
        return name in self.names

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


@dataclass(frozen=True, slots=True)
class Joined:
    """Several conditions evaluated as one expression: one crossing into the library for all of them."""

    names: frozenset[str]
    count: int
    _expression: cel.Expression

    @classmethod
    def of(cls, conditions: Sequence[Condition]) -> Self:
        """Join conditions, at most MAX_JOINED. Raises ConditionError where they do not fit together."""
        if not 0 < len(conditions) <= MAX_JOINED:
            raise ConditionError(
                "conditions", "too many conditions for one expression", "Ask them one by one."
            )
        # Each behind a line end: the last line of a condition may be a comment.
        bits = [f"(({c.source}\n) ? {1 << place} : 0)" for place, c in enumerate(conditions)]
        try:
            expression = _environment().compile(_sum(bits))
        except (RuntimeError, ValueError) as error:
            raise _compile_error(str(error), "conditions") from None
        names = frozenset[str]().union(*(c.names for c in conditions))
        return cls(names, len(conditions), expression)

    def hold(self, given: ConditionInput) -> tuple[bool, ...] | None:
        """Say of each whether it holds, in their order; None where one gave no answer: ask them one by one."""
        try:
            result = self._expression.eval(data={name: given.values[name] for name in self.names})
            if result.type() != cel.Type.INT:
                return None
            bits = result.value()
        except (RuntimeError, ValueError, TypeError, OverflowError):
            return None
        return tuple(bool(bits >> place & 1) for place in range(self.count))


MAX_JOINED = 60
"""Conditions that fit into the bits of one CEL int."""


def _sum(terms: Sequence[str]) -> str:
    """Add terms as a balanced tree: the parser bounds how deep an expression may nest."""
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return f"({_sum(terms[:half])} + {_sum(terms[half:])})"


def _names(expression: cel.Expression) -> frozenset[str]:
    """Return the names of INPUTS that a checked expression refers to.

    They stand in its reference map (cel.expr.CheckedExpr), each a string field with the tag 0x0A.
    """
    checked: bytes = expression.serialize()
    return frozenset(name for name in INPUTS if bytes((0x0A, len(name))) + name.encode() in checked)


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
        "map<string,dyn>": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
        "list<string>": cel.Type.List(cel.Type.STRING),
        "map<string,string>": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        "list<map<string,dyn>>": cel.Type.List(cel.Type.Map(cel.Type.STRING, cel.Type.DYN)),
    }
    return cel.NewEnv(variables={name: types[kind] for name, (kind, _) in INPUTS.items()})


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
