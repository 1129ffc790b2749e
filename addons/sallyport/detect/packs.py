"""Rule packs: YAML files that are read whole, checked, and turned into rules that can be trusted.

The path below the rules folder is the id prefix: rules/secrets/ai.yaml, rule openai -> secrets.ai.openai.
The first folder is the kind. A rule without a match and a pass example does not load.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from sallyport.decision import Kind, Severity
from sallyport.detect import linear
from sallyport.detect.extent import Extent
from sallyport.detect.implied import implies
from sallyport.detect.literals import Spellings
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
    refuse_endless,
)
from sallyport.detect.validators import VALIDATORS
from sallyport.detect.wordfile import FILE, Reading, known_words, name_of, read
from sallyport.errors import OperatorError
from sallyport.exchange import Surface
from sallyport.fold import fold

KINDS = {"secrets": Kind.SECRET, "pii": Kind.PII, "injection": Kind.INJECTION}

type Place = Literal["value", "match", "before", "after", "line", "frame"]

FRAMED = "¤"
"""Stands for the value in a frame."""


class _Unless(BaseModel, extra="forbid", frozen=True):
    pattern: str
    why: str
    on: Place = "value"
    surfaces: list[Surface] | None = None


class _Rule(BaseModel, extra="forbid", frozen=True):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str = ""
    entity: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    severity: Severity
    paranoia: Annotated[int, Field(ge=1, le=4)] = 1
    tags: list[str] = []
    surfaces: list[Surface] | None = None
    views: list[Literal["text", "decoded", "hidden"]] = ["text", "decoded"]
    keywords: list[Annotated[str, Field(min_length=1, max_length=64)]] = []
    beside: str | None = None
    pattern: str
    case_sensitive: bool | None = None
    group: Annotated[int, Field(ge=0)] = 0
    unless: list[_Unless] = []
    validator: str | None = None
    recogniser: str | None = None
    context: list[str] = []
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    points: Annotated[int, Field(ge=1, le=10)] | None = None
    judged: bool | None = None
    across_messages: bool | None = None
    references: list[str] = []
    known_false_positives: list[str] = []
    examples: ExamplesSource


class _Pack(BaseModel, extra="forbid", frozen=True):
    title: str
    description: str = ""
    define: dict[str, str] = {}
    judged: bool = False
    rules: list[_Rule]


@dataclass(frozen=True, slots=True)
class Unless:
    """A reason not to report a match.

    on: the text it is searched in: value, match, before (80 characters), after (40), line, or frame: the
        line with one FRAMED in place of the value, so that a pattern can tell a mention from a use.
    surfaces: where the reason holds; empty means everywhere.
    """

    pattern: linear.Pattern
    on: str
    why: str
    surfaces: frozenset[Surface] = frozenset()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready to run. where: file:line for messages; surfaces: empty means all.

    score: what a match is worth; for injection the points divided by 10.
    keywords: one of them must be in the text, also where the pattern does not ask for it.
    required, longest: read from the pattern, which asks for one word of each set and matches so much at most. Empty
        and None where that is not known; no words where the pattern itself is looked for.
    beside: source of a pattern without which in the text no match is possible; cheaper to look for than the whole.
    judged: whether the classifier, where it is on, may find that a text only speaks of what the rule looks for.
    across_messages: whether the end of one message and the beginning of the next can match together. By
        default values can and sentences cannot: a model reads who speaks between them.
    """

    id: str
    where: str
    title: str
    description: str
    kind: Kind
    entity: str
    severity: Severity
    paranoia: int
    tags: tuple[str, ...]
    surfaces: frozenset[Surface]
    views: frozenset[str]
    keywords: tuple[str, ...]
    required: tuple[Spellings, ...]
    longest: Extent | None
    beside: str | None
    source: str
    pattern: linear.Pattern = field(repr=False, compare=False)
    case_sensitive: bool
    group: int
    unless: tuple[Unless, ...]
    validator: str | None
    recogniser: str | None
    context: tuple[str, ...]
    score: float
    judged: bool
    across_messages: bool
    references: tuple[str, ...]
    known_false_positives: tuple[str, ...]
    match: tuple[Example, ...]
    clean: tuple[Example, ...]

    def validate(self, value: str) -> bool:
        """Ask the rule's validator; True where it has none.

        It confirms nothing of another shape than it is for, which the pattern of an operator's rule may let through.
        """
        try:
            return self.validator is None or VALIDATORS[self.validator](value)
        except (ValueError, IndexError):
            return False


@dataclass(frozen=True, slots=True)
class Packs:
    """All rules of a folder, in the order of their files. revision: a digest of the files."""

    rules: tuple[Rule, ...]
    revision: str


def load(root: Path, kinds: Collection[Kind] = frozenset(Kind)) -> Packs:
    """Read every pack of these kinds below a rules folder. Raises OperatorError for the first that is wrong."""
    digest = hashlib.blake2b(digest_size=16)
    taxonomy = read_taxonomy(root)
    rules: list[Rule] = []
    for folder in [folder for folder, kind in KINDS.items() if kind in kinds]:
        for path in sorted((root / folder).rglob("*.yaml")):
            raw = path.read_bytes()
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + raw)
            rules += read_pack(root, path, taxonomy)
        for path in (root / folder).glob(FILE):
            digest.update(path.read_bytes())
    _refuse_repeats(rules)
    return Packs(tuple(rules), digest.hexdigest())


def read_pack(root: Path, path: Path, taxonomy: frozenset[str] | None = None) -> tuple[Rule, ...]:
    """Read one pack. taxonomy: known tags, None to accept any. Raises OperatorError."""
    relative = path.relative_to(root)
    name = f"{root.name}/{relative.as_posix()}"
    prefix = ".".join(relative.with_suffix("").parts)
    tree = read_tree(path, name)
    try:
        pack = _Pack.model_validate(tree)
    except ValidationError as error:
        raise invalid(name, prefix, tree, error) from None
    kind = KINDS[relative.parts[0]]
    words = known_words(root / relative.parts[0])
    made = []
    for index, rule in enumerate(pack.rules):
        where = f"{name}:{tree['rules'][index].lc.line + 1} {prefix}.{rule.id}"
        made.append(_build(rule, kind, f"{prefix}.{rule.id}", where, pack, taxonomy, words))
    return tuple(made)


def _build(
    rule: _Rule,
    kind: Kind,
    id_: str,
    where: str,
    pack: _Pack,
    taxonomy: frozenset[str] | None,
    words: Mapping[str, Reading],
) -> Rule:
    define = pack.define
    source = fold(expand(rule.pattern, define, where))
    sensitive = rule.case_sensitive if rule.case_sensitive is not None else kind is not Kind.INJECTION
    pattern = compile_pattern(source, sensitive, where, "pattern")
    lint(source, pattern, where)
    refuse_endless(source, where)
    if rule.keywords and kind is Kind.INJECTION:
        todo = "Leave them out: what the pattern asks for is read from it"
        raise OperatorError(where, "keywords stand at an injection rule", todo)
    beside = None
    if rule.beside is not None:
        if not rule.keywords:
            raise OperatorError(where, "beside stands without keywords", "Give keywords, or leave it out")
        beside = _beside(fold(expand(rule.beside, define, where)), source, sensitive, where, words)
    check_group(rule.group, pattern, where)
    if rule.validator is not None and rule.validator not in VALIDATORS:
        known = ", ".join(sorted(VALIDATORS))
        raise OperatorError(where, f"validator {rule.validator} is unknown", f"Use one of {known}")
    check_record(rule.tags, rule.examples, taxonomy, where)
    if (kind is Kind.INJECTION) != (rule.points is not None) or (kind is Kind.INJECTION) == (
        rule.score is not None
    ):
        todo = "Give injection rules points: 1 to 10, all others score: 0 to 1"
        raise OperatorError(where, "score and points do not fit the kind", todo)
    judged = pack.judged if rule.judged is None else rule.judged
    if judged and kind is not Kind.INJECTION:
        raise OperatorError(
            where, "judged stands at a rule or its pack", "Leave it out: only injection is judged"
        )
    unless = [
        Unless(
            compile_pattern(fold(expand(u.pattern, define, where)), sensitive, where, "unless"),
            u.on,
            u.why,
            frozenset(u.surfaces or ()),
        )
        for u in rule.unless
    ]
    reading = words.get(name_of(source)) or read(source)
    is_sought_by_words = bool(rule.keywords) or kind is Kind.INJECTION
    surfaces = frozenset(rule.surfaces or ())
    home = rule.surfaces[0] if rule.surfaces else Surface.USER
    return Rule(
        id=id_,
        where=where,
        title=rule.title,
        description=rule.description,
        kind=kind,
        entity=rule.entity or rule.id.upper(),
        severity=rule.severity,
        paranoia=rule.paranoia,
        tags=tuple(rule.tags),
        surfaces=surfaces,
        views=frozenset(rule.views),
        keywords=tuple(fold(k).lower() for k in rule.keywords),
        required=reading.required if is_sought_by_words else (),
        longest=reading.longest,
        beside=beside,
        source=source,
        pattern=pattern,
        case_sensitive=sensitive,
        group=rule.group,
        unless=tuple(unless),
        validator=rule.validator,
        recogniser=rule.recogniser,
        context=tuple(fold(c).lower() for c in rule.context),
        score=rule.points / 10 if rule.points is not None else rule.score or 0.0,
        judged=judged,
        across_messages=kind is not Kind.INJECTION if rule.across_messages is None else rule.across_messages,
        references=tuple(rule.references),
        known_false_positives=tuple(rule.known_false_positives),
        match=tuple(examples(rule.examples.match, id_, home, where)),
        clean=tuple(examples(rule.examples.pass_, id_, home, where)),
    )


def beside_name(beside: str, source: str) -> str:
    """Return what the file of words calls a pattern that is known to hold what stands beside it, as rules have both."""
    return name_of(f"{beside}\n{source}")


def _beside(beside: str, source: str, sensitive: bool, where: str, known: Collection[str]) -> str:
    """Return what must stand beside a pattern as the gate looks for it. Raises OperatorError."""
    compile_pattern(beside, sensitive, where, "beside")
    sought = beside if sensitive else f"(?i){beside}"
    if beside_name(sought, source) not in known and not implies(source, beside, case_sensitive=sensitive):
        what = "the pattern may match where nothing that beside asks for stands, which would not be found"
        raise OperatorError(where, what, "Leave beside out: it only saves time")
    return sought


def _refuse_repeats(rules: Sequence[Rule]) -> None:
    seen: dict[str, Rule] = {}
    for rule in rules:
        if rule.id in seen:
            raise OperatorError(rule.where, f"is already at {seen[rule.id].where}", "Rename one of them")
        seen[rule.id] = rule
