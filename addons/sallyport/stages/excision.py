"""A text that is stopped leaves the request, not the conversation: a short notice takes its place.

Agents send the whole history again on every turn, so that an error for one text would meet every later turn as
well. What is decided here follows from the request and the policy alone: the same history has the same notices
on every turn and in every worker, and the provider's prompt cache stays warm.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sallyport.decision import Action, Blocked, Decision, Edit, Finding, Kind, Severity
from sallyport.detect.linear import pattern
from sallyport.exchange import Exchange, Operation, Segment, Surface
from sallyport.policy.blocked import MILDEST_FIRST, BlockingSection
from sallyport.stages.places import in_body
from sallyport.stages.stage import Vault

_NOTICE = "[Removed by the gateway: "

_ROOTS = frozenset(
    (
        *("messages", "input", "inputs", "contents", "prompt", "message", "chat_history", "tool_results"),
        *("documents", "texts", "text", "inputText", "suffix", "item"),
    )
)
"""Members of a request that hold what was said; settings, tools and instructions stand elsewhere."""

_NAMES = frozenset(
    (
        *("name", "tool_name", "id", "call_id", "tool_call_id", "tool_use_id", "toolUseId", "type", "role"),
        *("url", "image_url", "file_url", "file_id", "file_data", "fileUri", "filename", "data", "uri"),
    )
)
"""Members whose text is a name or an address to the provider: a notice there would be an error of its own."""

_SURFACES = frozenset(
    {Surface.USER, Surface.ASSISTANT, Surface.TOOL_CALL, Surface.TOOL_RESULT, Surface.DOCUMENT}
)
_ANSWERS = frozenset({Surface.ASSISTANT, Surface.REASONING, Surface.TOOL_CALL})
_SPOKEN = (Operation.CHAT, Operation.COMPLETION)
_SHORTEST = 6
"""Characters of the shortest value that is looked for elsewhere: a shorter one stands for too much else."""

_MAX_VALUES = 100
"""Different values that are taken out of one request; with more it is rejected."""

_LONGEST_IN_PATTERN = 256


@dataclass(frozen=True, slots=True)
class Excision(Edit):
    """An edit that takes the place of a whole text."""


def told(denial: Decision, exchange: Exchange, section: BlockingSection, vault: Vault) -> Decision:
    """Return a denial in the way the policy tells it.

    denial: its findings are all that is to be stopped. The answer is the denial itself, the denial as an
    assistant's answer, or a MODIFY whose edits put notices in the place of the texts.
    """
    hows = (section.how(finding.rule) for finding in denial.findings)
    how = max(hows, key=MILDEST_FIRST.index, default=Blocked.REJECT)
    if how is Blocked.REJECT:
        return denial
    scene = _Scene(exchange, vault)
    counts = exchange.request.operation is Operation.COUNT_TOKENS  # of what will leave; nobody would answer
    if how is Blocked.REFUSE and not counts and not all(scene.is_past(f.at) for f in denial.findings):
        return spoken(denial, exchange)
    edits = scene.edits(denial.findings)
    if edits is None:
        return denial
    reason = f"{denial.stage}.excised"
    return replace(denial, action=Action.MODIFY, reason=reason, message="", status=403, edits=edits)


def spoken(denial: Decision, exchange: Exchange) -> Decision:
    """Return a denial that is told as an assistant's answer, where the call has one."""
    return replace(denial, spoken=True) if exchange.request.operation in _SPOKEN else denial


def settled(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Leave out edits inside a text that is excised: the first notice stands for all of it."""
    notices: dict[str, Edit] = {}
    for edit in edits:
        if isinstance(edit, Excision):
            notices.setdefault(edit.at, edit)
    if not notices:
        return tuple(edits)
    return (*notices.values(), *(edit for edit in edits if edit.at not in notices))


class _Scene:
    """The texts of a request: which may be excised, and which are history."""

    def __init__(self, exchange: Exchange, vault: Vault) -> None:
        request = exchange.request
        self._segments = {segment.at: segment for segment in request.segments}
        self._continues = request.previous is not None
        self._reads_on = request.operation in (*_SPOKEN, Operation.COUNT_TOKENS)
        self._vault = vault
        self._answered: dict[str, int] = {}
        for segment in request.segments:
            place = _turn(segment.at)
            if place is not None and segment.surface in _ANSWERS:
                name, number = place
                self._answered[name] = max(number, self._answered.get(name, -1))

    def is_past(self, at: str) -> bool:
        """Say whether a text stands before the assistant's last turn.

        Of a conversation that the provider keeps, the result of a tool counts as past: without one the call
        stays open there, and every later turn fails.
        """
        place = _turn(at)
        if place is None:
            return False
        name, number = place
        if self._continues and self._segments[at].surface is Surface.TOOL_RESULT:
            return True
        return number < self._answered.get(name, -1)

    def edits(self, findings: Sequence[Finding]) -> tuple[Edit, ...] | None:
        """Return the edits that take these findings out wherever they stand; None if one cannot be taken out."""
        stopped: dict[str, list[Finding]] = {}
        for finding in findings:
            stopped.setdefault(finding.at, []).append(finding)
        if not self._reads_on or not all(self._is_said(self._segments.get(at)) for at in stopped):
            return None
        edits: list[Edit] = []
        values: dict[str, str] = {}
        for at, found in stopped.items():
            text, notice = self._segments[at].text, _notice(found)
            edits.append(Excision(at, 0, len(text), _in_place(self._segments[at], notice)))
            for finding in found:
                whole = finding.kind is Kind.INJECTION
                values.setdefault(text if whole else text[finding.start : finding.end], notice)
        values = {value: notice for value, notice in values.items() if len(value) >= _SHORTEST}
        if len(values) > _MAX_VALUES:
            return None
        repetitions = _Repetitions(values)
        for segment in self._segments.values():
            if segment.at in stopped:
                continue
            repeated = list(repetitions.of(segment))
            if not repeated or self._is_signed(segment):
                continue
            if not self._is_said(segment):
                return None
            edits += repeated
        return tuple(edits)

    def _is_signed(self, segment: Segment) -> bool:
        """Say whether a text is reasoning that the provider wrote here: it has it already."""
        return segment.surface is Surface.REASONING and self._vault.came_from_provider(segment.text)

    def _is_said(self, segment: Segment | None) -> bool:
        """Say whether a notice can stand in a segment's place."""
        if segment is None or not in_body(segment.at) or segment.at.endswith("~k"):
            return False
        path = segment.at.split("/")
        return segment.surface in _SURFACES and path[1] in _ROOTS and path[-1] not in _NAMES


def _turn(at: str) -> tuple[str, int] | None:
    """Return the list of turns a pointer goes into, and the number of the turn; None outside of any."""
    path = at.split("/")
    return (path[1], int(path[2])) if len(path) > 2 and path[2].isdecimal() else None


class _Repetitions:
    """Finds values in texts in linear time, whoever made both. Raises SyntaxUnknown where they are too many."""

    def __init__(self, notices: Mapping[str, str]) -> None:
        self._notices = notices
        short = [value for value in notices if len(value) <= _LONGEST_IN_PATTERN]
        self._long = [value for value in notices if len(value) > _LONGEST_IN_PATTERN]
        ordered = sorted(short, key=lambda value: (-len(value), value))
        self._short = pattern("|".join(map(_literal, ordered))) if ordered else None

    def of(self, segment: Segment) -> Iterator[Edit]:
        """Yield an edit for each place where a segment repeats values; places that overlap are one."""
        end, notice, begun = 0, "", 0
        for first, last in sorted(self._spans(segment.text)):
            if notice and first < end:
                end = max(end, last)
                continue
            if notice:
                yield Edit(segment.at, begun, end, notice)
            begun, end, notice = first, last, self._notices[segment.text[first:last]]
        if notice:
            yield Edit(segment.at, begun, end, notice)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        if self._short is not None:
            yield from (match.span() for match in self._short.finditer(text))
        for value in self._long:
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value)
                start = text.find(value, start + len(value))


def _literal(value: str) -> str:
    """Return the pattern of a text that stands for itself."""
    return "".join(c if c.isalnum() or ord(c) > 127 else f"\\x{{{ord(c):x}}}" for c in value)


def _notice(findings: Sequence[Finding]) -> str:
    """Return the notice for a text: it names the gravest rule, and nothing of the text."""
    order = list(Severity)
    gravest = min(findings, key=lambda f: (-order.index(f.severity), f.rule))
    return f"{_NOTICE}{gravest.rule}]"


def _in_place(segment: Segment, notice: str) -> str:
    """Return a notice as the text needs it: the arguments of a call stay a JSON object."""
    if segment.surface is Surface.TOOL_CALL and segment.text.lstrip().startswith("{"):
        return json.dumps({"removed": notice})
    return notice
