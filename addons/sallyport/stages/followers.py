"""Which watchers follow an answer under a policy: compiled once for a section, made anew for every channel.

A rule that nobody asks for is not looked for. Rules that may change an answer and rules that only record are
watched apart, so that nothing waits for what is only recorded.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sallyport.decision import Kind, Severity
from sallyport.detect.watching.finished import FinishedWatcher
from sallyport.detect.watching.leakage import SPOKEN, LeakWatcher
from sallyport.detect.watching.rulefile import OutputRule
from sallyport.detect.watching.rules import RuleSet, RuleWatcher, chosen
from sallyport.detect.watching.schema import INVALID, SchemaCheck
from sallyport.detect.watching.systemtext import SystemText, system_text
from sallyport.detect.watching.toolcalls import ToolCheck
from sallyport.detect.watching.toxicity import RULE as TOXIC
from sallyport.detect.watching.toxicity import ToxicityWatcher, shipped
from sallyport.detect.watching.typed import Scanner, TypedWatcher
from sallyport.exchange import Segment, Surface
from sallyport.policy.output import Output, OutputAction
from sallyport.stages.calling import tool_check
from sallyport.stages.channel import Follower, Followers
from sallyport.stages.judge import tamed

_SEVERITIES = list(Severity)
_WARM = (
    "The first words of an answer, with code:\n```sh\nls -l ~/x | sort # 12.5 https://a.example/b?c=d\n```\n"
)
"""A little of what answers are made of, so that matching begins with tables that are filled."""


@dataclass(frozen=True, slots=True)
class SectionFollowers:
    """The watchers of one section. compiled: sets of rules by the ids of their rules, shared by all sections."""

    scanner: Scanner | None
    rules: Sequence[OutputRule]
    section: Output
    hold_chars: int
    compiled: dict[tuple[str, ...], RuleSet]
    _sets: dict[Surface, tuple[tuple[RuleSet, bool], ...]] = field(default_factory=dict)
    _typed: dict[Surface, bool] = field(default_factory=dict)

    def of(self, surface: Surface) -> list[Follower]:
        """Return the watchers of a new channel."""
        made = [Follower(RuleWatcher(rules), acts) for rules, acts in self._rule_sets(surface)]
        if self.scanner is not None and self._looks_for_values:
            acts = self._typed.get(surface)
            if acts is None:
                acts = self._typed[surface] = any(_alters(a, surface) for a in self._value_actions())
            made.append(Follower(TypedWatcher(self.scanner, self.hold_chars), acts))
        toxic = self.section.action(TOXIC, Kind.OUTPUT, "TOXICITY")
        if toxic is not OutputAction.ALLOW and surface is Surface.ASSISTANT:
            watcher = ToxicityWatcher(shipped(), self.section.toxicity.threshold)
            made.append(Follower(watcher, toxic.alters))
        return made

    @property
    def _looks_for_values(self) -> bool:
        return any(action is not OutputAction.ALLOW for action in self._value_actions())

    def _value_actions(self) -> Iterable[OutputAction]:
        """Yield every action that a value might get."""
        section = self.section
        yield from (section.pii, section.secrets, *section.entities.values())
        yield from (action for glob, action in section.rules.items() if not glob.startswith("output."))

    def _rule_sets(self, surface: Surface) -> tuple[tuple[RuleSet, bool], ...]:
        known = self._sets.get(surface)
        if known is None:
            known = self._sets[surface] = tuple(self._compiled(surface))
        return known

    def _compiled(self, surface: Surface) -> Iterable[tuple[RuleSet, bool]]:
        acting: set[str] = set()
        recorded: set[str] = set()
        for rule in self.rules:
            action = self.section.action(rule.id, Kind.OUTPUT, rule.entity)
            if action is OutputAction.ALLOW:
                continue
            slight = _SEVERITIES.index(rule.severity) < _SEVERITIES.index(self.section.min_severity)
            (acting if _alters(action, surface) and not slight else recorded).add(rule.id)
        everything = {rule.id for rule in self.rules}
        for asked, acts in ((acting, True), (recorded, False)):
            rules = chosen(self.rules, surface, self.section.paranoia, everything - asked)
            if rules:
                ids = tuple(rule.id for rule in rules)
                if ids not in self.compiled:
                    self.compiled[ids] = RuleSet(rules)
                yield self.compiled[ids], acts


def _alters(action: OutputAction, surface: Surface) -> bool:
    return tamed(action, surface).alters


class AnswerRules:
    """What answers are looked at with, whatever the policy: the engine for values, and the rules for answers.

    scanner: finds personal data and secrets; None looks for none. Threads may share it.
    """

    def __init__(self, scanner: Scanner | None, rules: Sequence[OutputRule] = ()) -> None:
        self._scanner = scanner
        self._rules = tuple(rules)
        self._made: dict[tuple[int, int], SectionFollowers] = {}
        self._compiled: dict[tuple[str, ...], RuleSet] = {}
        self._checks: dict[int, tuple[Output, ToolCheck | None]] = {}

    def of(
        self,
        section: Output,
        hold_chars: int,
        segments: Sequence[Segment] = (),
        schema: str | None = None,
        shown: Callable[[str], str] = str,
    ) -> Followers:
        """Return what makes the watchers that a section asks for. Compiled once for each section.

        segments: the texts of the request, with the system prompt that an answer may give away. schema: what the
        request wants its answer to fit, as JSON; None for nothing. shown: gives a text as the client will read it, who
        wrote the schema.
        """
        made = self._section(section, hold_chars)
        leaks, fits = _Leaks(section, segments), _Fits(section, schema, shown)
        return lambda surface, name: [*made.of(surface), *leaks.of(surface), *fits.of(surface, name)]

    def warm(self, section: Output, hold_chars: int) -> None:
        """Compile now what the first answer would wait for: tens of milliseconds for each new choice of rules."""
        made = self._section(section, hold_chars)
        for surface in section.surfaces:
            for follower in made.of(surface):
                follower.watcher.end(_WARM)

    def _section(self, section: Output, hold_chars: int) -> SectionFollowers:
        key = (id(section), hold_chars)
        made = self._made.get(key)
        if made is None or made.section is not section:
            made = self._made[key] = SectionFollowers(
                self._scanner, self._rules, section, hold_chars, self._compiled
            )
        return made

    def check(self, section: Output) -> ToolCheck | None:
        """Return what checks the tool calls of answers; None where the section asks for nothing."""
        key = id(section)
        known = self._checks.get(key)
        if known is None or known[0] is not section:
            known = self._checks[key] = (section, tool_check(section.tools))
        return known[1]


class _Fits:
    """The check of structured output: of the answer's own text, not of refusals and citations in it."""

    def __init__(self, section: Output, schema: str | None, shown: Callable[[str], str]) -> None:
        self._action = section.action(INVALID, Kind.OUTPUT, "SCHEMA")
        self._shown = shown
        self._schema = schema if self._action is not OutputAction.ALLOW else None

    def of(self, surface: Surface, name: str) -> list[Follower]:
        if self._schema is None or surface is not Surface.ASSISTANT or not _is_content(name):
            return []
        check = SchemaCheck(self._schema)
        shown = self._shown
        watcher = FinishedWatcher(lambda text: [p for p in [check.problem(shown(text))] if p], "SCHEMA")
        return [Follower(watcher, self._action.alters)]


def _is_content(name: str) -> bool:
    parts = [part for part in name.split("/") if part and not part.isdecimal()]
    return not {"refusal", "citations", "annotations", "transcript"} & {*parts} and (
        not parts or parts[-1] in ("content", "text", "response")
    )


class _Leaks:
    """The watcher of one conversation's system prompt."""

    def __init__(self, section: Output, segments: Sequence[Segment]) -> None:
        self._action = section.action(SPOKEN, Kind.OUTPUT, "SYSTEM_PROMPT")
        self._words = section.leak.words
        self._segments = segments if self._action is not OutputAction.ALLOW else ()

    @cached_property
    def _texts(self) -> tuple[SystemText, tuple[str, ...]]:
        told = tuple(s.text for s in self._segments if s.surface is Surface.SYSTEM)
        known = tuple(s.text for s in self._segments if s.surface in (Surface.USER, Surface.TOOL_RESULT))
        return system_text(told, self._words), known

    def of(self, surface: Surface) -> list[Follower]:
        if not self._segments or self._texts[0].empty:
            return []
        return [Follower(LeakWatcher(*self._texts), _alters(self._action, surface))]
