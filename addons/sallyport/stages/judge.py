"""What the policy asks for where something is found in an answer, and what is written in its place."""

from dataclasses import replace

from sallyport.decision import Finding, Kind, Mode, Severity
from sallyport.detect.watching.watcher import Match
from sallyport.exchange import Exchange, Request, Segment, Surface
from sallyport.policy.output import Output, OutputAction
from sallyport.stages.accepted import without_accepted

INVISIBLE = "output.smuggling."
"""Rules of characters nobody sees: masked, they are taken out, and no marker stands in their place."""

_SEVERITIES = list(Severity)


class Judge:
    """Says what happens to a match in one exchange's answer."""

    def __init__(self, section: Output, exchange: Exchange, *, mode: Mode = Mode.ENFORCE) -> None:
        self._section = section
        self.mode = mode
        self._known: dict[tuple[str, str, float, Surface], OutputAction] = {}
        # A condition of an exclusion sees the answer's own surface, not that of a text of the request.
        self._exchange = replace(exchange, request=_without_texts(exchange.request))

    @property
    def enforced(self) -> bool:
        return self.mode.acts

    def action(self, match: Match, surface: Surface) -> OutputAction:
        """Return what the policy asks for, whether or not it is enforced."""
        key = (match.rule, match.entity, match.score, surface)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._asked(match, surface)
        return known

    def _asked(self, match: Match, surface: Surface) -> OutputAction:
        section = self._section
        action = section.action(match.rule, match.kind, match.entity)
        if action is OutputAction.ALLOW:
            return action
        unsure = match.kind is Kind.PII and match.score < section.min_score
        slight = match.kind is not Kind.PII and _SEVERITIES.index(match.severity) < _SEVERITIES.index(
            section.min_severity
        )
        if unsure or slight or self._is_accepted(match, surface):
            return OutputAction.OBSERVE
        return tamed(_finished(action, match.rule), surface)

    def _is_accepted(self, match: Match, surface: Surface) -> bool:
        if not self._section.exclusions:
            return False
        request = replace(self._exchange.request, segments=(Segment("answer", surface, ""),))
        exchange = replace(self._exchange, request=request)
        return not without_accepted(exchange, (finding_of(match, "answer"),), self._section.exclusions)


def tamed(action: OutputAction, surface: Surface) -> OutputAction:
    """Return what an action comes to on a surface.

    Reasoning is signed and comes back to the provider, so that it may end but not be altered; a notice in the
    arguments of a tool would be one more argument.
    """
    if surface is Surface.REASONING and action in (OutputAction.ANNOTATE, OutputAction.MASK):
        return OutputAction.OBSERVE
    if surface is Surface.TOOL_CALL and action is OutputAction.ANNOTATE:
        return OutputAction.OBSERVE
    return action


def _finished(action: OutputAction, rule: str) -> OutputAction:
    """Return what an action comes to for what can only be said of a finished text: half of it is no text."""
    if action in (OutputAction.ANNOTATE, OutputAction.MASK):
        if rule.startswith("output.tools."):
            return OutputAction.TRUNCATE
        if rule.startswith("output.schema."):
            return OutputAction.REFUSE
    return action


def finding_of(match: Match, at: str) -> Finding:
    """Return a match as a finding. at: the channel, or the pointer of a whole text."""
    return Finding(
        match.rule, match.kind, match.entity, match.severity, at, match.start, match.end, match.score
    )


def marker(match: Match) -> str:
    """Return what stands in the place of a masked match."""
    if match.rule.startswith(INVISIBLE):
        return ""
    return f"[{match.entity}]" if match.kind in (Kind.PII, Kind.SECRET) else f"[removed: {match.rule}]"


def notice(match: Match) -> str:
    """Return what stands behind an annotated match."""
    return f" [gateway: {match.rule}]"


def _without_texts(request: Request) -> Request:
    return replace(request, segments=())
