"""What an operator may write about answers: what becomes of each thing that is found in one."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Self

from pydantic import Field, model_validator

from sallyport.decision import Kind, Severity
from sallyport.exchange import Surface
from sallyport.policy.exclusion import Exclusion
from sallyport.policy.problems import Wrong
from sallyport.policy.states import StageSection
from sallyport.policy.vocabulary import Entity, Paranoia, RuleGlob, Section

ToolGlob = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x20\x7f]+$")]
Pattern = Annotated[str, Field(min_length=1, max_length=2000)]


class OutputAction(StrEnum):
    """What becomes of a finding in an answer, the mildest first."""

    ALLOW = "allow"
    OBSERVE = "observe"
    ANNOTATE = "annotate"
    MASK = "mask"
    TRUNCATE = "truncate"
    REFUSE = "refuse"

    @property
    def rank(self) -> int:
        """How severe it is; the most severe of what overlaps wins."""
        return _RANKS[self]

    @property
    def alters(self) -> bool:
        """Whether the client sees anything of it."""
        return self.rank >= _RANKS[OutputAction.ANNOTATE]


_RANKS = {action: rank for rank, action in enumerate(OutputAction)}

SHIPPED: Mapping[str, OutputAction] = {
    "output.exfiltration.*": OutputAction.MASK,
    "output.smuggling.*": OutputAction.MASK,
    "output.words.*": OutputAction.ALLOW,
    "output.scan.*": OutputAction.MASK,
}
"""Action per glob of rule ids where a policy says nothing; any other rule is observed."""

UNLISTED_ENTITIES: Mapping[str, OutputAction] = {"URL": OutputAction.ALLOW}
"""Entities with an action of their own where `entities` does not name them: a link is judged by what it carries."""


class Leak(Section):
    """Answers that give this conversation's own system prompt away."""

    action: OutputAction = Field(
        default=OutputAction.OBSERVE, description="What happens to text that repeats the system prompt."
    )
    words: int = Field(
        default=12, ge=5, le=200, description="Words in a row that make a leak; less is common speech."
    )


class ArgumentPattern(Section):
    """What the arguments of a tool call must, or must not, look like."""

    tool: ToolGlob = Field(description="Name of the tool, or a glob: `fs_*`.")
    argument: Annotated[str, Field(max_length=500, pattern=r"^(/.*)?$")] = Field(
        default="",
        description="JSON pointer into the arguments: `/path`; empty means each text in them.",
    )
    must: Pattern | None = Field(
        default=None, description="RE2 pattern that has to match somewhere; an argument that lacks fails."
    )
    must_not: Pattern | None = Field(default=None, description="RE2 pattern that may match nowhere.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.must is None and self.must_not is None:
            raise Wrong("this says neither what must nor what must not match", "Write `must` or `must_not`")
        return self


class OutputTools(Section):
    """Tool calls in answers, by name and arguments."""

    action: OutputAction = Field(
        default=OutputAction.REFUSE,
        description="What happens to a call that is not allowed: `observe`, `truncate` or `refuse`; "
        "`annotate` and `mask` do as `truncate`, since half a call is none.",
    )
    allow: tuple[ToolGlob, ...] | None = Field(
        default=None, description="Tools that may be called; null allows all, an empty list none."
    )
    deny: tuple[ToolGlob, ...] = Field(default=(), description="Tools that may not be called; wins.")
    arguments: tuple[ArgumentPattern, ...] = Field(
        default=(), description="Patterns of arguments; all that name the tool must hold."
    )

    @property
    def asks(self) -> bool:
        """Whether any call could fail."""
        return self.allow is not None or bool(self.deny or self.arguments)


class Structured(Section):
    """Structured output against the JSON schema that the request itself declared."""

    action: OutputAction = Field(
        default=OutputAction.OBSERVE,
        description="What happens to an answer that does not fit; `annotate` and `mask` do as `refuse`. A stream "
        "is judged at its end, when most of it is with the client.",
    )


class Toxicity(Section):
    """Insults, threats and the like, by a small trained scorer; word lists are rules `output.words.*`."""

    action: OutputAction = Field(
        default=OutputAction.ALLOW, description="What happens to a sentence; `allow` does not look."
    )
    threshold: float = Field(default=0.9, gt=0, le=1, description="Score from which a sentence counts.")


class Output(StageSection):
    """What may come back: personal data, secrets, links that carry data out, commands, tool calls in answers.

    Actions, the mildest first: `allow` (not looked for), `observe` (recorded), `annotate` (a notice stands behind
    it), `mask` (a marker stands in its place), `truncate` (the answer ends there), `refuse` (an error).
    """

    pii: OutputAction = Field(
        default=OutputAction.OBSERVE, description="Action for personal data the model wrote itself."
    )
    secrets: OutputAction = Field(
        default=OutputAction.OBSERVE, description="Action for credentials the model wrote itself."
    )
    entities: Mapping[Entity, OutputAction] = Field(
        default_factory=dict,
        description="Action per entity, over `pii` and `secrets`. `URL` is allowed unless it stands here.",
    )
    rules: Mapping[RuleGlob, OutputAction] = Field(
        default_factory=dict,
        description="Action per rule id or glob, the most specific first; over all other keys. Unnamed are "
        "`output.exfiltration.*`, `output.smuggling.*` and `output.scan.*` mask, `output.words.*` allow.",
    )
    unlisted: OutputAction = Field(
        default=OutputAction.OBSERVE, description="Action for rules of answers that nothing names."
    )
    paranoia: Paranoia = Field(
        default=1, description="Rules of answers up to this level take part: 1 sure, 4 suspicious."
    )
    min_score: float = Field(
        default=0.5, ge=0, le=1, description="Personal data less sure than this is recorded only."
    )
    min_severity: Severity = Field(
        default=Severity.MEDIUM, description="Secrets and rules of answers below this are recorded only."
    )
    surfaces: tuple[Surface, ...] = Field(
        default=(Surface.ASSISTANT, Surface.TOOL_CALL, Surface.REASONING),
        description="Surfaces that are looked at. Reasoning is never altered, since providers sign it: there "
        "`annotate` and `mask` only record.",
    )
    leak: Leak = Field(default_factory=lambda: Leak(), description="The system prompt in the answer.")
    structured: Structured = Field(
        default_factory=lambda: Structured(), description="Answers that have to fit a schema."
    )
    tools: OutputTools = Field(default_factory=lambda: OutputTools(), description="Tool calls.")
    toxicity: Toxicity = Field(default_factory=lambda: Toxicity(), description="Hostile language.")
    exclusions: tuple[Exclusion, ...] = Field(default=(), description="Findings that are known and accepted.")

    def action(self, rule: str, kind: Kind, entity: str) -> OutputAction:
        """Return what happens to a finding of a rule, before score, severity and exclusions are asked."""
        named = _most_specific(self.rules, rule)
        if named is not None:
            return named
        if kind in (Kind.PII, Kind.SECRET):
            own = self.entities.get(entity) or UNLISTED_ENTITIES.get(entity)
            return own or (self.pii if kind is Kind.PII else self.secrets)
        special = self._own_key(rule)
        return special or _most_specific(SHIPPED, rule) or self.unlisted

    def _own_key(self, rule: str) -> OutputAction | None:
        """Return the action of the subsection that a rule belongs to, None for a rule of a pack."""
        for prefix, action in (
            ("output.leak.", self.leak.action),
            ("output.schema.", self.structured.action),
            ("output.tools.", self.tools.action),
            ("output.toxicity.", self.toxicity.action),
        ):
            if rule.startswith(prefix):
                return action
        return None

    @property
    def actions(self) -> Iterator[OutputAction]:
        """Every action the section could ask for; a subsection that looks for nothing has none."""
        yield from (self.pii, self.secrets, self.unlisted, self.leak.action, self.structured.action)
        yield from (self.toxicity.action, *self.entities.values(), *self.rules.values())
        if self.tools.asks:
            yield self.tools.action


def _most_specific(globs: Mapping[str, OutputAction], rule: str) -> OutputAction | None:
    """Return the action of the glob with the most plain characters that matches."""
    matching = [glob for glob in globs if fnmatchcase(rule, glob)]
    best = max(matching, key=lambda glob: (len(glob.replace("*", "").replace("?", "")), glob), default=None)
    return None if best is None else globs[best]
