"""What becomes of an answer under a policy, from the findings in it: nothing, edits, an early end, an error."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sallyport.decision import Finding, Mode
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Surface
from sallyport.policy.output import OutputAction
from sallyport.stages.channel import Stop
from sallyport.stages.judge import Judge

type Found = tuple[Finding, Surface]
"""A finding in an answer, and the surface of its text."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of an answer.

    action: the most severe that takes effect, ALLOW where no byte changes. would_be: the most severe that the policy
    asks for, if it enforced all. rule: what gave the first, else the second; "" where nothing was found.
    edited: rules whose places are masked or annotated in what goes out, and how many.
    """

    action: OutputAction = OutputAction.ALLOW
    would_be: OutputAction = OutputAction.ALLOW
    rule: str = ""
    edited: tuple[tuple[str, int], ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the client does not get all of it."""
        return self.action.rank >= OutputAction.TRUNCATE.rank


def outcome_of(found: Iterable[Found], judge: Judge, stop: Stop | None = None) -> Outcome:
    """Return what a policy makes of findings, in the order in which they were found.

    stop: where the answer ended, if somebody knows; else it ends at the first finding that ends it. What is only
    tried, in shadow, makes nothing of it.
    """
    if judge.mode is Mode.SHADOW:
        return Outcome()
    edited: Counter[str] = Counter()
    asked = done = OutputAction.ALLOW
    asks = does = ""
    for finding, surface in found:
        action = judge.action(match_of(finding), surface)
        if action.rank > asked.rank:
            asked, asks = action, finding.rule
        if not judge.enforced or not action.alters:
            continue
        if action.rank > done.rank:
            done, does = action, finding.rule
        if action.rank >= OutputAction.TRUNCATE.rank:
            stop = stop or Stop(action, finding.rule, finding.start)
            break
        edited[finding.rule] += 1
    if stop is not None:
        done, does = stop.action, stop.rule
    if done is OutputAction.REFUSE:
        edited.clear()
    return Outcome(
        done, max(asked, done, key=lambda action: action.rank), does or asks, tuple(sorted(edited.items()))
    )


def match_of(finding: Finding) -> Match:
    """Return a finding in an answer as the match that it was."""
    return Match(
        finding.rule,
        finding.kind,
        finding.entity,
        finding.severity,
        finding.start,
        finding.end,
        finding.score,
    )
