"""Tool calls of an answer against the policy's lists and patterns.

A name tells at once whether a tool may be called; arguments are judged when they are finished, and their last
character waits for that, so that a call which is not allowed never becomes a whole one. They are judged as they
are written: what their escapes say only counts inside the strings of their JSON.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.toolcalls import NOT_ALLOWED, UNREADABLE, ArgumentRule, ToolCheck
from sallyport.detect.watching.watcher import Match
from sallyport.policy.output import OutputTools

MAX_CHARS = 1_000_000
"""Characters of the arguments of one call that are read; more cannot be judged, and count as unreadable."""

MAX_NAMES = 4096
"""Places of names that are remembered of one answer; what comes after more of them cannot be judged."""

_ARGUMENTS = frozenset({"arguments", "args", "input"})
_IN_PIECES = re.compile(r"/delta/(?:tool_calls|function_call)/")
"""Where clients put the pieces of a name together."""


def tool_check(section: OutputTools) -> ToolCheck | None:
    """Compile a section; None where it asks for nothing. Raises linear.SyntaxUnknown for what RE2 does not take."""
    if not section.asks:
        return None
    rules = [ArgumentRule(r.tool, r.argument, r.must, r.must_not) for r in section.arguments]
    return ToolCheck(section.allow, section.deny, rules)


class Arguments:
    """The arguments of one call as they come.

    problems: the ids of what is wrong with all that came; told None where that is too much to read.
    """

    def __init__(self, problems: Callable[[str | None], Sequence[str]]) -> None:
        self._problems = problems
        self._pieces: list[str] = []
        self._chars = 0
        self._judged = 0

    def feed(self, source: str) -> None:
        """Take the next piece as it is written."""
        self._chars += len(source)
        if self._chars <= MAX_CHARS:
            self._pieces.append(source)
        else:
            self._pieces = []

    def end(self) -> Sequence[str]:
        """Return what is wrong with all that came so far; nothing where that was judged before."""
        if self._chars == self._judged:
            return ()
        self._judged = self._chars
        return self._problems("".join(self._pieces) if self._chars <= MAX_CHARS else None)


@dataclass(frozen=True, slots=True)
class _Name:
    """A name as its last event wrote it, and with the pieces before it."""

    last: str = ""
    joined: str = ""


class Calls:
    """The tool calls of one answer. Arguments belong to the name beside them, or that nearest to their channel."""

    def __init__(self, check: ToolCheck) -> None:
        self._check = check
        self._names: dict[str, _Name] = {}
        self._last = _Name()
        self._lost = False

    def named(
        self, at: str, name: str, payload: Mapping[str, Any] | Sequence[Any] | None, channel: str = ""
    ) -> list[Match]:
        """Take the name of a call; return what is wrong with it, and with arguments that stand beside it as JSON.

        at: pointer of the name; payload: what it points into, None where nobody knows. channel: its channel in
        a stream.
        """
        whole = self._note(at, name, channel or at[1:])
        arguments = _beside(payload, at)
        if arguments is not None:
            problems = self._check.problems(name, arguments)
        else:
            problems = [] if self._check.allows(name) else [NOT_ALLOWED]
        if not problems and self._check.denies(whole.joined):
            problems = [NOT_ALLOWED]
        return [
            Match(rule, Kind.OUTPUT, "TOOL_CALL", Severity.HIGH, 0, len(name)) for rule in problems if name
        ]

    def _note(self, at: str, name: str, channel: str) -> _Name:
        place = channel.rpartition("/")[0]
        known = self._names.get(place)
        goes_on = known is not None and name != known.last and _IN_PIECES.search(at) is not None
        named = _Name(name, known.joined + name if known is not None and goes_on else name)
        self._last = named
        while place:
            if place in self._names or len(self._names) < MAX_NAMES:
                self._names[place] = named
            else:
                self._lost = True
            place = place.rpartition("/")[0]
        return named

    def arguments(
        self, channel: str, at: str = "", payload: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> Arguments:
        """Return what judges the arguments of a channel. at, payload: where they stand, of a whole text."""
        holder = _holder(payload, at) if at else None
        beside = holder.get("name") if isinstance(holder, Mapping) else None
        return Arguments(lambda text: self._problems(channel, beside, text))

    def _problems(self, channel: str, beside: Any, text: str | None) -> list[str]:
        """Judge arguments under every name that whoever reads the answer may take for theirs."""
        place, known = channel, self._names.get(channel)
        while known is None and place:
            place = place.rpartition("/")[0]
            known = self._names.get(place)
        names = [beside] if isinstance(beside, str) and beside else []
        if known is not None or not names:
            names.append((known or self._last).last)
        found = [problem for name in names for problem in self._check.problems(name, text)]
        joined = (known or self._last).joined
        if joined not in names:
            found += [problem for problem in self._check.problems(joined, text) if problem != NOT_ALLOWED]
        if self._lost:
            found.append(UNREADABLE)
        return list(dict.fromkeys(found))


def is_name(at: str) -> bool:
    """Say whether a whole text of a tool call is the tool's name, and not an argument of that name."""
    *way, last = at.split("/")
    return last == "name" and _ARGUMENTS.isdisjoint(way)


def are_arguments(at: str) -> bool:
    """Say whether a whole text of a tool call holds all its arguments."""
    *way, last = at.split("/")
    return last in _ARGUMENTS and _ARGUMENTS.isdisjoint(way)


def _holder(payload: Mapping[str, Any] | Sequence[Any] | None, at: str) -> Any:
    """Return the object in which the text at a pointer stands; None where there is none."""
    value: Any = payload
    for part in at.split("/")[1:-1]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _beside(payload: Mapping[str, Any] | Sequence[Any] | None, at: str) -> str | None:
    """Return the arguments that stand as an object or a list beside a name, as JSON; None where there are none."""
    value = _holder(payload, at)
    if not isinstance(value, Mapping):
        return None
    found = next(
        (value[key] for key in sorted(_ARGUMENTS) if isinstance(value.get(key), (Mapping, list))), None
    )
    if found is None or (not found and "content_block" in at):
        return None  # the arguments of a block that begins come in pieces
    return json.dumps(found)
