"""Rules for answers: packs below rules/output, read whole, checked, and turned into rules that can be trusted.

Like other packs (see packs.py), but written for a text that comes in pieces: a rule says where a match may
begin (opener), where it must be decided (closer, max_chars), and what confirms it then (pattern).
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from sallyport.decision import Kind, Severity
from sallyport.detect import linear
from sallyport.detect.packfile import (
    Example,
    ExamplesSource,
    check_group,
    check_record,
    compile_pattern,
    examples,
    expand,
    invalid,
    lint,
    read_taxonomy,
    read_tree,
)
from sallyport.detect.watching.checks import CHECKS
from sallyport.detect.watching.opener import Opener, OpenerError, opener, widths
from sallyport.detect.watching.unfinished import unfinished
from sallyport.errors import OperatorError
from sallyport.exchange import Surface

FOLDER = "output"
"""Of these packs, below the rules folder; also the beginning of every id."""

BEHIND = 1024
"""Characters before a region that a rule may look at."""

MAX_REGION = 4096
"""Most characters after which a rule must be decided."""

SURFACES = (Surface.ASSISTANT, Surface.REASONING, Surface.TOOL_CALL)
"""What an answer consists of."""


class _Unless(BaseModel, extra="forbid", frozen=True):
    pattern: str
    why: str
    on: Literal["match", "region", "context"] = "match"


class _Rule(BaseModel, extra="forbid", frozen=True):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str = ""
    severity: Severity
    paranoia: Annotated[int, Field(ge=1, le=4)] = 1
    tags: list[str] = []
    surfaces: list[Surface] = [Surface.ASSISTANT]
    behind: str | None = None
    opener: str | Annotated[list[str], Field(min_length=1)]
    closer: str | None = None
    max_chars: Annotated[int, Field(ge=1, le=MAX_REGION)]
    pattern: str
    case_sensitive: bool = False
    group: Annotated[int, Field(ge=0)] = 0
    check: str | None = None
    unless: list[_Unless] = []
    references: list[str] = []
    known_false_positives: list[str] = []
    examples: ExamplesSource


class _Pack(BaseModel, extra="forbid", frozen=True):
    title: str
    description: str = ""
    define: dict[str, str] = {}
    rules: list[_Rule]


@dataclass(frozen=True, slots=True)
class OutputUnless:
    """A reason not to report a match.

    on: where it is searched: the match, the whole region it was decided on, or the context: the match with
        up to BEHIND characters before its region.
    """

    pattern: linear.Pattern
    on: str
    why: str


@dataclass(frozen=True, slots=True)
class OutputRule:
    """One rule, ready to run. where: file:line for messages; surfaces: the parts of an answer it looks at.

    A region begins where the opener matches, if `behind` matches in the BEHIND characters before. It ends
    behind the first closer that begins at least `opening.fewest` characters on, after max_chars, or with the
    text. The pattern must match at the region's beginning; its group is the match, if the check says yes to
    it and no `unless` matches. Where `unfinished` does not match the beginning of a region, the pattern will not match
    the region either, whatever follows.
    """

    id: str
    where: str
    title: str
    description: str
    severity: Severity
    paranoia: int
    tags: tuple[str, ...]
    surfaces: frozenset[Surface]
    behind: linear.Pattern | None
    opening: Opener
    closer: re.Pattern[str] | None
    max_chars: int
    source: str
    pattern: linear.Pattern = field(repr=False, compare=False)
    unfinished: linear.Pattern = field(repr=False, compare=False)
    case_sensitive: bool
    group: int
    check: str | None
    unless: tuple[OutputUnless, ...]
    references: tuple[str, ...]
    known_false_positives: tuple[str, ...]
    match: tuple[Example, ...]
    clean: tuple[Example, ...]

    @property
    def kind(self) -> Kind:
        return Kind.OUTPUT

    @property
    def entity(self) -> str:
        return self.id.rpartition(".")[2].upper()

    def stands(self, before: str, region: str, low: int, high: int) -> bool:
        """Say whether region[low:high], which the pattern has found, stands where it counts and has no excuse."""
        found = region[low:high]
        if not self.follows(before):
            return False
        places = {"match": found, "region": region, "context": before + region[:high]}
        return not any(unless.pattern.search(places[unless.on]) for unless in self.unless)

    def follows(self, before: str) -> bool:
        """Say whether a region may begin behind a text; True where the rule asks for none."""
        return self.behind is None or self.behind.search(before) is not None

    def checks(self, found: str) -> bool:
        """Ask the rule's check; True where it has none."""
        return self.check is None or CHECKS[self.check](found)


@dataclass(frozen=True, slots=True)
class OutputPacks:
    """All rules for answers, in the order of their files. revision: a digest of the files."""

    rules: tuple[OutputRule, ...]
    revision: str


def load_output(root: Path) -> OutputPacks:
    """Read every pack for answers below a rules folder. Raises OperatorError for the first that is wrong.

    A folder without a taxonomy may use any tags.
    """
    digest = hashlib.blake2b(digest_size=16)
    taxonomy = read_taxonomy(root) or None
    rules: list[OutputRule] = []
    for path in sorted((root / FOLDER).rglob("*.yaml")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
        rules += read_output_pack(root, path, taxonomy)
    return OutputPacks(tuple(rules), digest.hexdigest())


def read_output_pack(
    root: Path, path: Path, taxonomy: frozenset[str] | None = None
) -> tuple[OutputRule, ...]:
    """Read one pack. taxonomy: known tags, None to accept any. Raises OperatorError."""
    relative = path.relative_to(root)
    name = f"{root.name}/{relative.as_posix()}"
    prefix = ".".join(relative.with_suffix("").parts)
    tree = read_tree(path, name)
    try:
        pack = _Pack.model_validate(tree)
    except ValidationError as error:
        raise invalid(name, prefix, tree, error) from None
    made: dict[str, OutputRule] = {}
    for index, rule in enumerate(pack.rules):
        where = f"{name}:{tree['rules'][index].lc.line + 1} {prefix}.{rule.id}"
        if rule.id in made:
            raise OperatorError(where, f"is already at {made[rule.id].where}", "Rename one of them")
        made[rule.id] = _build(rule, f"{prefix}.{rule.id}", where, pack.define, taxonomy)
    return tuple(made.values())


def _build(
    rule: _Rule, id_: str, where: str, define: dict[str, str], taxonomy: frozenset[str] | None
) -> OutputRule:
    source = expand(rule.pattern, define, where)
    pattern = compile_pattern(rf"\A(?:{source})", rule.case_sensitive, where, "pattern")
    lint(source, pattern, where)
    begun = compile_pattern(rf"\A(?:{unfinished(source)})", rule.case_sensitive, where, "pattern")
    check_group(rule.group, pattern, where)
    if rule.check is not None and rule.check not in CHECKS:
        known = ", ".join(sorted(CHECKS))
        raise OperatorError(where, f"check {rule.check} is unknown", f"Use one of {known}")
    check_record(rule.tags, rule.examples, taxonomy, where)
    elsewhere = [surface for surface in rule.surfaces if surface not in SURFACES]
    if elsewhere or not rule.surfaces:
        known = ", ".join(SURFACES)
        raise OperatorError(where, "looks at what is no part of an answer", f"Use surfaces of {known}")
    return OutputRule(
        id=id_,
        where=where,
        title=rule.title,
        description=rule.description,
        severity=rule.severity,
        paranoia=rule.paranoia,
        tags=tuple(rule.tags),
        surfaces=frozenset(rule.surfaces),
        behind=None if rule.behind is None else _behind(rule, rule.behind, define, where),
        opening=_opener(rule, define, where),
        closer=_closer(rule, define, where),
        max_chars=rule.max_chars,
        source=source,
        pattern=pattern,
        unfinished=begun,
        case_sensitive=rule.case_sensitive,
        group=rule.group,
        check=rule.check,
        unless=tuple(_unless(rule, define, where)),
        references=tuple(rule.references),
        known_false_positives=tuple(rule.known_false_positives),
        match=tuple(examples(rule.examples.match, id_, rule.surfaces[0], where)),
        clean=tuple(examples(rule.examples.pass_, id_, rule.surfaces[0], where)),
    )


def _behind(rule: _Rule, behind: str, define: dict[str, str], where: str) -> linear.Pattern:
    source = rf"(?:{expand(behind, define, where)})\z"
    return compile_pattern(source, rule.case_sensitive, where, "behind")


def _opener(rule: _Rule, define: dict[str, str], where: str) -> Opener:
    sources = [rule.opener] if isinstance(rule.opener, str) else rule.opener
    try:
        return opener([expand(source, define, where) for source in sources])
    except OpenerError as error:
        todo = "The syntax is described in detect/watching/opener.py"
        raise OperatorError(where, f"opener {error}", todo) from None


def _closer(rule: _Rule, define: dict[str, str], where: str) -> re.Pattern[str] | None:
    """Read the closer. Its alternatives are of one length, so that the first that is complete comes first."""
    if rule.closer is None:
        return None
    source = expand(rule.closer, define, where)
    try:
        fewest, most = widths(source)
    except OpenerError as error:
        raise OperatorError(where, f"closer {error}", "Use an opener's syntax") from None
    if fewest != most or not fewest:
        raise OperatorError(where, "closer may be of several lengths", "Use alternatives of one length")
    return re.compile(re.sub(r"\\x\{([0-9A-Fa-f]+)\}", _spelled, source), re.IGNORECASE)


def _spelled(code: re.Match[str]) -> str:
    return re.escape(chr(int(code[1], 16)))


def _unless(rule: _Rule, define: dict[str, str], where: str) -> list[OutputUnless]:
    return [
        OutputUnless(
            compile_pattern(expand(u.pattern, define, where), rule.case_sensitive, where, "unless"),
            u.on,
            u.why,
        )
        for u in rule.unless
    ]
