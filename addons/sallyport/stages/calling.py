"""Tool calls of an answer against the policy's lists and patterns.

A name tells at once whether a tool may be called; arguments are judged when they are finished, and their last
character waits for that, so that a call which is not allowed never becomes a whole one.
"""

import json
from collections.abc import Mapping
from typing import Any

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.finished import FinishedWatcher
from sallyport.detect.watching.toolcalls import ArgumentRule, ToolCheck
from sallyport.detect.watching.watcher import Match
from sallyport.policy.output import OutputTools

_ARGUMENTS = ("arguments", "args", "input")


def tool_check(section: OutputTools) -> ToolCheck | None:
    """Compile a section; None where it asks for nothing. Raises linear.SyntaxUnknown for what RE2 does not take."""
    if not section.asks:
        return None
    rules = [ArgumentRule(r.tool, r.argument, r.must, r.must_not) for r in section.arguments]
    return ToolCheck(section.allow, section.deny, rules)


class Calls:
    """The tool calls of one answer, in their order: arguments belong to the name that came last before them."""

    def __init__(self, check: ToolCheck) -> None:
        self._check = check
        self._name = ""

    def named(self, at: str, name: str, payload: Mapping[str, Any] | None) -> list[Match]:
        """Take the name of a call; return what is wrong with it, and with arguments that stand beside it as an object.

        at: pointer of the name; payload: what it points into, None where nobody knows.
        """
        self._name = name
        arguments = _beside(payload, at) if payload is not None else None
        if arguments is not None:
            problems = self._check.problems(name, arguments)
        else:
            problems = [] if self._check.allows(name) else self._check.problems(name, "")[:1]
        return [
            Match(rule, Kind.OUTPUT, "TOOL_CALL", Severity.HIGH, 0, len(name)) for rule in problems if name
        ]

    def watcher(self) -> FinishedWatcher:
        """Return what judges the arguments that come next."""
        name = self._name
        return FinishedWatcher(lambda text: self._check.problems(name, text), "TOOL_CALL")


def is_name(at: str) -> bool:
    """Say whether a whole text of a tool call is the tool's name."""
    return at.endswith("/name")


def are_arguments(at: str) -> bool:
    """Say whether a whole text of a tool call holds all its arguments."""
    return at.rpartition("/")[2] in _ARGUMENTS


def _beside(payload: Mapping[str, Any], at: str) -> str | None:
    """Return the arguments that stand as an object beside a name, as JSON; None where there are none."""
    value: Any = payload
    for part in at.split("/")[1:-1]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    if not isinstance(value, Mapping):
        return None
    found = next((value[key] for key in _ARGUMENTS if isinstance(value.get(key), Mapping)), None)
    return None if not found else json.dumps(found)
