"""What all rule packs have in common as files: YAML that is read whole, errors with a line, RE2, examples.

What a rule is made of differs by kind: packs.py for what is looked for in requests and answers alike,
watching/rulefile.py for what is looked for in answers while they are written.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError

from sallyport.detect import linear
from sallyport.detect.plainyaml import read_plain
from sallyport.detect.shapes import fill
from sallyport.errors import OperatorError
from sallyport.exchange import Surface

MAX_REPEATS = 4000
"""Sum of the upper bounds of counted repetitions in one rule."""

MAX_SOURCE_CHARS = 200_000
"""Characters of one pattern with its definitions."""

MAX_PROGRAM = 12_000
"""RE2 instructions of one rule, a measure of its memory (about 16 bytes each, and as much again as DFA)."""


class ExampleSource(BaseModel, extra="forbid", frozen=True):
    """An example as a pack writes it."""

    text: str
    surface: Surface = Surface.USER


class ExamplesSource(BaseModel, extra="forbid", frozen=True):
    """What a rule must find, and what it must leave alone."""

    match: list[str | ExampleSource]
    pass_: list[str | ExampleSource] = Field(alias="pass")


@dataclass(frozen=True, slots=True)
class Example:
    """A text, already filled, that must or must not fire its rule on a surface."""

    text: str
    surface: Surface


def read_tree(path: Path, name: str) -> Any:
    """Return the mapping of a file, with its line numbers. name: the file in messages. Raises OperatorError."""
    try:
        text = path.read_text("utf-8")
        tree = read_plain(text) or YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise OperatorError(f"{name}:{line}", f"is not YAML: {error.problem}", "Mend the syntax") from None
    except (UnicodeDecodeError, OSError) as error:
        raise OperatorError(name, f"cannot be read: {type(error).__name__}", "Save it as UTF-8") from None
    if not isinstance(tree, CommentedMap):
        raise OperatorError(f"{name}:1", "is not a mapping", "Start it with title: and rules:")
    return tree


def invalid(name: str, prefix: str, tree: Any, error: ValidationError) -> OperatorError:
    """Return what to tell of a tree that is no pack: the line, the rule and the field of the first problem."""
    problems = error.errors(include_input=False, include_url=False)
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    location = first["loc"]
    line, node, rule = 1, tree, ""
    for part in location:
        try:
            position = node.lc.key(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            line = position[0] + 1
            node = node[part]
        except (AttributeError, KeyError, TypeError, IndexError):
            break
        if isinstance(part, int) and isinstance(node, CommentedMap) and location[0] == "rules" and not rule:
            rule = f" {prefix}.{node.get('id', '?')}"
    field_name = ".".join(str(p) for p in location if not isinstance(p, int))
    return OperatorError(
        f"{name}:{line}{rule}",
        f"{field_name}: {first['msg']}",
        "Compare with a pack that loads, such as rules/secrets/ai.yaml",
    )


def expand(pattern: str, define: dict[str, str], where: str) -> str:
    """Replace %{name} by the pack's own definitions, which may use one another. Raises OperatorError."""
    left = MAX_SOURCE_CHARS

    def defined(found: re.Match[str]) -> str:
        nonlocal left
        text = define[found.group(1)]
        left -= len(text)
        if left < 0:
            what = f"with its definitions, a pattern has more than {MAX_SOURCE_CHARS} characters"
            raise OperatorError(where, what, "Make it smaller")
        return text

    for _ in range(4):
        if "%{" not in pattern:
            break
        try:
            pattern = re.sub(r"%\{(\w+)\}", defined, pattern)
        except KeyError as error:
            raise OperatorError(where, f"%{{{error.args[0]}}} is not defined", "Add it to define:") from None
    return pattern.replace("\n", "")


def compile_pattern(source: str, sensitive: bool, where: str, what: str) -> linear.Pattern:
    """Compile for RE2. what: the field, in messages. Raises OperatorError."""
    for construct, todo in (("(?=", "unless"), ("(?!", "unless"), ("(?<=", "group"), ("(?<!", "unless")):
        if construct in source:
            raise OperatorError(
                where, f'{what} uses look-around "{construct}", which RE2 has not', f"Move it to {todo}"
            )
    try:
        return linear.pattern(source, case_sensitive=sensitive)
    except linear.SyntaxUnknown as error:
        raise OperatorError(where, f"{what} does not compile: {error}", "Use RE2 syntax") from None


_COUNTED = re.compile(r"(?<!\\)(?<!\\x)\{(\d+)(?:,(\d*))?\}")
_ENDLESS = re.compile(r"(?<!\\)(?:\.|\[\^(?:\\.|[^\]\\])+\]|\\[SWD]|\[\\s\\S\])(?:[*+]|\{\d+,\})")


def lint(source: str, pattern: linear.Pattern, where: str) -> None:
    """Refuse a pattern that costs too much or matches nothing in particular. Raises OperatorError."""
    bounds = [int(upper or lower) for lower, upper in _COUNTED.findall(source)]
    if sum(bounds) > MAX_REPEATS:
        raise OperatorError(
            where, f"repetitions add up to {sum(bounds)}, more than {MAX_REPEATS}", "Make the bounds smaller"
        )
    if pattern.programsize > MAX_PROGRAM:
        raise OperatorError(
            where, f"compiles to {pattern.programsize} steps, more than {MAX_PROGRAM}", "Make it smaller"
        )
    if pattern.search("") is not None:
        raise OperatorError(where, "pattern matches the empty text", "Make at least one part mandatory")


def refuse_endless(source: str, where: str) -> None:
    """Refuse repetitions of almost anything, for patterns that see a whole text. Raises OperatorError."""
    if found := _ENDLESS.search(source):
        raise OperatorError(
            where, f'"{found.group()}" repeats almost anything without end', "Give it an upper bound"
        )


def check_group(group: int, pattern: linear.Pattern, where: str) -> None:
    """Refuse a group that the pattern has not. Raises OperatorError."""
    if group > pattern.groups:
        raise OperatorError(where, f"group {group} of {pattern.groups}", "Name a group the pattern has")


def check_record(
    tags: Collection[str], examples: ExamplesSource, taxonomy: Collection[str] | None, where: str
) -> None:
    """Refuse tags that nobody knows, and a rule without proof. taxonomy: None checks no tag. Raises OperatorError."""
    for tag in tags:
        if taxonomy is not None and tag not in taxonomy:
            raise OperatorError(where, f"tag {tag} is not in rules/taxonomy", "Add it there or correct it")
    if not examples.match or not examples.pass_:
        raise OperatorError(where, "has no match or no pass example", "Give at least one of each")


def examples(given: Sequence[str | ExampleSource], id_: str, home: Surface, where: str) -> Iterator[Example]:
    """Yield examples with their shapes filled. home: the surface of one that names none. Raises OperatorError."""
    for index, item in enumerate(given):
        example = ExampleSource(text=item, surface=home) if isinstance(item, str) else item
        try:
            yield Example(fill(example.text, f"{id_}#{index}"), example.surface)
        except (KeyError, ValueError) as error:
            todo = "Shapes are listed in detect/shapes.py"
            raise OperatorError(where, f"example shape {error} is unknown", todo) from None


def read_taxonomy(root: Path) -> frozenset[str]:
    """Return the tags that rules may bear, from rules/taxonomy. Raises OperatorError."""
    tags: set[str] = set()
    for path in sorted((root / "taxonomy").glob("*.yaml")):
        tree = read_tree(path, f"{root.name}/taxonomy/{path.name}")
        tags |= {str(entry["id"]) for entry in tree.get("entries", [])}
    return frozenset(tags)
