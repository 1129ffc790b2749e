"""Whether an answer calls tools that it may call, with arguments that it may give."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from sallyport.detect import linear

NOT_ALLOWED = "output.tools.not_allowed"
ARGUMENT = "output.tools.argument"
UNREADABLE = "output.tools.unreadable"
"""Arguments that two readers could read differently: a name twice, broken JSON where a place is asked for."""

type Json = Any


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """What the arguments of some tools must look like. The patterns are RE2 and match anywhere in a text.

    tool: name or glob. argument: JSON pointer of what is looked at, "" for each text in the arguments, names
    of members included. must: matches at least one of the texts; must_not: matches none.
    """

    tool: str
    argument: str = ""
    must: str | None = None
    must_not: str | None = None


class ToolCheck:
    """Compiled rules. allow: names and globs, None for all; deny wins over it, whatever the case of letters.

    Raises linear.SyntaxUnknown for a pattern that RE2 does not take.
    """

    def __init__(
        self,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        arguments: Sequence[ArgumentRule] = (),
    ) -> None:
        self._allow = None if allow is None else [re.compile(translate(glob)) for glob in allow]
        self._deny = [re.compile(translate(glob), re.IGNORECASE) for glob in deny]
        self._arguments = [
            (
                re.compile(translate(rule.tool), re.IGNORECASE),
                rule.argument,
                None if rule.must is None else linear.pattern(rule.must),
                None if rule.must_not is None else linear.pattern(rule.must_not),
            )
            for rule in arguments
        ]

    def allows(self, name: str) -> bool:
        """Say whether a tool of this name may be called at all: known when a call begins."""
        if self.denies(name):
            return False
        return self._allow is None or any(glob.match(name) for glob in self._allow)

    def denies(self, name: str) -> bool:
        """Say whether the list of what may not be called has the name."""
        return any(glob.match(name) for glob in self._deny)

    def problems(self, name: str, arguments: str | None) -> list[str]:
        """Return the ids of what is wrong with a finished call, each once.

        arguments: JSON source, or any text; None for what is too long to be read.
        """
        found = [] if self.allows(name) else [NOT_ALLOWED]
        rules = [rule for rule in self._arguments if rule[0].match(name)]
        if not rules:
            return found
        read = None if arguments is None else _read(arguments)
        for _, place, must, must_not in rules:
            texts = None if read is None else [*_texts(read, place)]
            if texts is None:
                found.append(UNREADABLE)
            elif (must is not None and not _occurs(must, texts)) or (
                must_not is not None and _occurs(must_not, texts)
            ):
                found.append(ARGUMENT)
        return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class _Arguments:
    value: Json


class _Repeated(Exception):
    """A member's name stands twice in one object."""


def _read(source: str) -> _Arguments | None:
    """Return the arguments; a text that is no JSON stands for itself; None for what is ambiguous."""
    if not source.strip():
        return _Arguments({})
    try:
        return _Arguments(json.loads(source, object_pairs_hook=_object))
    except (_Repeated, RecursionError):
        return None
    except ValueError:
        return None if source.lstrip()[:1] in ("{", "[") else _Arguments(source)


def _object(members: list[tuple[str, Json]]) -> dict[str, Json]:
    made = dict(members)
    if len(made) != len(members):
        raise _Repeated
    return made


def _texts(read: _Arguments, pointer: str) -> Iterator[str]:
    """Yield the texts at a pointer and below it; nothing where there is no such place."""
    value = read.value
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if type(value) is dict and name in value:
            value = value[name]
        elif type(value) is list and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return
    yield from _below(value)


def _below(value: Json) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is dict:
            yield from one
            waiting += one.values()
        elif type(one) is list:
            waiting += one
        else:
            yield one if type(one) is str else json.dumps(one)


def _occurs(pattern: linear.Pattern, texts: Sequence[str]) -> bool:
    return any(pattern.search(text.encode("utf-8", "replace").decode()) is not None for text in texts)
