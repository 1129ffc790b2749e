"""Exchanges on their way into the store of content: what the policy keeps of them, and in which form.

Texts are read out, searched and masked in the writer's thread; the event loop holds on to what is in memory anyway.
An answer is kept as its client was sent it: filtered, and with originals where they were put back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mitmproxy import http

from sallyport.audit.events import DecisionRecord
from sallyport.decision import Action, Decision, Finding, Kind, Mode, Severity, Verdict
from sallyport.exchange import Exchange, Segment
from sallyport.policy.content import ContentClass, ContentSection, Keep
from sallyport.proxy.gateway import Live
from sallyport.proxy.hearing import heard, heard_in
from sallyport.proxy.noted import Noted, is_chosen
from sallyport.proxy.outflow import REFUSED, ended_early, policy_of, recorded
from sallyport.proxy.passage import Passage
from sallyport.proxy.scanning import ScanOnce
from sallyport.proxy.stream import Step, Tap
from sallyport.proxy.takingout import by_text, renamed, without
from sallyport.stages.everywhere import repeated
from sallyport.stages.identity import ANONYMOUS
from sallyport.stages.places import in_body
from sallyport.state.content.sealing import Part, Text
from sallyport.state.content.subjects import Subject
from sallyport.state.content.writing import ContentWriter, Page
from sallyport.state.directory.times import microseconds
from sallyport.wire.coding import decode_answer
from sallyport.wire.dialect import Dialect
from sallyport.wire.errors import WireError

PATIENCE_S = 5.0
"""How long a request waits until what is to be kept of it is durable, where that is required."""

UNAVAILABLE = Decision(
    "transport",
    Action.DENY,
    "content.unavailable",
    mode=Mode.ENFORCE,
    message="The gateway cannot keep what it must keep of this request. Try again later.",
    status=503,
)


def subject_of(exchange: Exchange) -> Subject:
    """Return whose content it is: the principal's, or of nobody known its address's."""
    who = exchange.principal
    if who is None or who.source == ANONYMOUS.source:
        return Subject(who.tenant if who is not None else "", f"client:{exchange.client.address}")
    return Subject(who.tenant, who.id)


class HearingTap:
    """A tap whose output is kept as well."""

    def __init__(self, tap: Tap, noted: Noted) -> None:
        self._tap = tap
        self._noted = noted

    def feed(self, data: bytes) -> Step:
        return self._keep(self._tap.feed(data))

    def end(self) -> Step:
        return self._keep(self._tap.end())

    def wake(self) -> Step:
        return self._keep(self._tap.wake())

    def broken(self) -> Step:
        return self._keep(self._tap.broken())

    def _keep(self, step: Step) -> Step:
        for piece in step.out:
            self._noted.keep(piece)
        return step


class Contents:
    """Keeps content as the policy says. writer: None where there is no store for it; nothing is kept then."""

    def __init__(self, writer: ContentWriter | None) -> None:
        self._writer = writer

    def begin(self, passage: Passage, search: Callable[[], Sequence[Finding]]) -> None:
        """Take note of a request that is decided. search: as in Noted."""
        if self._writer is None or not (section := policy_of(passage).content).keeps_any:
            return
        if is_chosen(passage.exchange.conversation, section.share):
            passage.noted = Noted(search)

    async def refused(self, passage: Passage) -> Verdict | None:
        """Make durable what must be kept before the request leaves; return its refusal where that cannot be done."""
        section, noted, verdict = policy_of(passage).content, passage.noted, passage.verdict
        if noted is None or verdict is None or self._writer is None or not section.required:
            return None
        page = _request(section, passage, noted, verdict)
        if page.keep is Keep.NONE:
            return None
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.wrap_future(self._writer.kept(page.pages, _size(passage.exchange)))
        except Exception:
            # The border to the store: whatever it raises means that the content is not known to be kept.
            passage.noted = None
            return Verdict((*verdict.decisions, UNAVAILABLE))
        return None

    def keeping(self, passage: Passage, tap: Tap) -> Tap:
        """Return the tap of an answer, which keeps what comes out of it where that is wanted."""
        return HearingTap(tap, passage.noted) if passage.noted is not None else tap

    def end(self, flow: http.HTTPFlow, passage: Passage) -> None:
        """Hand an exchange that is over to the writer, once."""
        noted, verdict = passage.noted, passage.verdict
        if noted is None or verdict is None or self._writer is None or passage.over is None:
            return
        passage.noted = None
        section = policy_of(passage).content
        request = _request(section, passage, noted, verdict)
        if request.keep is Keep.NONE:
            return
        response = flow.response if passage.admitted is not None else None
        raw = b""
        if response is not None:
            raw = b"".join(noted.pieces) if passage.tap is not None else response.raw_content or b""
        if response is not None and raw and (noted.is_told_whole or request.keep is not Keep.MASKED):
            made = _Answer(
                request,
                passage.live,
                passage.dialect,
                raw,
                response.status_code,
                response.headers.get("content-type", ""),
                response.headers.get("content-encoding"),
                passage.tap is not None,
                restored=noted.restored,
            ).pages
        else:
            made = request.pages
        self._writer.put(made, len(raw) + _size(passage.exchange))

    def end_event(self, passage: Passage) -> None:
        """Hand an exchange on a WebSocket that is over to the writer, once. What was noted are whole events."""
        noted, verdict = passage.noted, passage.verdict
        if noted is None or verdict is None or self._writer is None or passage.over is None:
            return
        passage.noted = None
        request = _request(policy_of(passage).content, passage, noted, verdict)
        if request.keep is Keep.NONE:
            return
        events = tuple(noted.pieces)
        made = request.pages
        if events and (noted.is_told_whole or request.keep is not Keep.MASKED):
            how = (passage.live, passage.dialect, b"", 200, "", None, True)
            made = _Answer(request, *how, events, noted.restored).pages
        self._writer.put(made, sum(map(len, events)) + _size(passage.exchange))


def _size(exchange: Exchange) -> int:
    return sum(len(segment.text) for segment in exchange.request.segments)


def _request(section: ContentSection, passage: Passage, noted: Noted, verdict: Verdict) -> "_Request":
    """Return the request of an exchange as far as it is decided what is kept of it."""
    answered = recorded(passage)
    decisions: tuple[Decision | DecisionRecord, ...] = (*verdict.decisions, *answered)
    reasons = [decision.reason for decision in decisions]
    known = [finding.rule for decision in decisions for finding in decision.findings]
    subject = subject_of(passage.exchange)

    def kept_of(found: Iterable[str]) -> Keep:
        return section.kept_of(subject.tenant, subject.principal, verdict.action, reasons, (*known, *found))

    keep, kind = kept_of(()), _class_of(passage, verdict, answered)
    narrows = any(rule.found is not None and rule.keep.rank < keep.rank for rule in section.rules)
    days = section.keep_days.of(kind)
    return _Request(passage.exchange, noted.search, keep, kind, days, kept_of if narrows else None)


def _class_of(passage: Passage, verdict: Verdict, answered: Sequence[DecisionRecord]) -> ContentClass:
    if verdict.would_be is Action.DENY or ended_early(passage) == REFUSED:
        return ContentClass.REFUSED
    if verdict.would_be is Action.MODIFY or any(d.action is not Action.ALLOW for d in answered):
        return ContentClass.MASKED
    return ContentClass.ORDINARY


@dataclass(frozen=True, slots=True)
class _Request:
    """The request of an exchange, about to be kept.

    kept_of: what is kept where these rules found something as well; None where that changes nothing.
    """

    exchange: Exchange
    search: Callable[[], Sequence[Finding]]
    keep: Keep
    kind: ContentClass
    days: float
    kept_of: Callable[[Iterable[str]], Keep] | None = None

    def pages(self) -> tuple[Page, ...]:
        """Return what is kept. Raises what search raises, where a text cannot be masked."""
        found = self.found()
        request = self.narrowed(found)
        return () if request.keep is Keep.NONE else (request.page(found),)

    def narrowed(self, found: Iterable[Finding]) -> "_Request":
        """Return it as the rules want it that ask for what was found, also by no stage: never more is kept for it."""
        if self.kept_of is None:
            return self
        less = min(self.keep, self.kept_of({finding.rule for finding in found}), key=lambda keep: keep.rank)
        return replace(self, keep=less)

    @property
    def must_be_searched(self) -> bool:
        """Whether nothing is kept that was not searched whole."""
        return self.keep is Keep.MASKED or self.kept_of is not None

    def found(self) -> Sequence[Finding]:
        """Return all findings. What is kept as it was need not have been searched whole."""
        try:
            return self.search()
        except Exception:
            if self.must_be_searched:
                raise
            return ()

    def page(self, found: Sequence[Finding]) -> Page:
        segments = [s for s in self.exchange.request.segments if in_body(s.at)]
        texts = {segment.at: segment for segment in segments}
        marks = by_text(self.exchange, found) if self.keep is Keep.MASKED else {}
        marked = [replace(s, text=without(s, marks[s.at])) if s.at in marks else s for s in segments]
        return self.of(Part.REQUEST, _texts(marked, marks), values_of(texts, found))

    def of(self, part: Part, texts: Iterable[Text], values: Iterable[str]) -> Page:
        return Page(
            self.exchange.id,
            part,
            subject_of(self.exchange),
            tuple(texts),
            frozenset(values),
            self.kind.value,
            self.keep.value,
            self.days,
            microseconds(self.exchange.received_at),
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """A request and its answer, about to be kept. raw: as the client was sent it, in its encoding.

    events: of a WebSocket, each whole, in place of it. restored: as in Noted.
    """

    request: _Request
    live: Live
    dialect: Dialect
    raw: bytes
    status: int
    content_type: str
    encoding: str | None
    streamed: bool
    events: tuple[bytes, ...] = ()
    restored: Mapping[str, str] = field(default_factory=dict)

    def pages(self) -> tuple[Page, ...]:
        found = self.request.found()
        segments = self._segments()
        in_answer = self._found(segments) if segments else ()
        request = self.request.narrowed((*found, *in_answer))
        if request.keep is Keep.NONE:
            return ()
        asked = request.page(found)
        if not segments:
            return (asked,)
        return (asked, replace(self, request=request)._answer(segments, asked.values, found, in_answer))

    def _answer(
        self,
        segments: Sequence[Segment],
        known: frozenset[str],
        found: Sequence[Finding],
        in_answer: Sequence[Finding],
    ) -> Page:
        texts = {segment.at: segment for segment in segments}
        standing = _Standing(known)
        values = {*values_of(texts, in_answer), *(v for s in segments for _, v in standing.of(s.text))}
        marks: dict[str, list[Finding]] = {}
        if self.request.keep is Keep.MASKED:
            marks = self._marks(segments, in_answer, found)
            segments = [replace(s, text=without(s, marks[s.at])) if s.at in marks else s for s in segments]
        return self.request.of(Part.ANSWER, _texts(segments, marks), values)

    def _marks(
        self, segments: Sequence[Segment], in_answer: Sequence[Finding], found: Sequence[Finding]
    ) -> dict[str, list[Finding]]:
        """Return what is taken out of each text of the answer: what was found there, and in the request."""
        exchange = self.request.exchange
        answer = replace(exchange, request=replace(exchange.request, segments=tuple(segments)))
        marks: dict[str, list[Finding]] = defaultdict(list)
        for finding in (*in_answer, *repeated(answer, in_answer)):
            marks[finding.at].append(finding)
        asked = {segment.at: segment.text for segment in exchange.request.segments}
        entities = {
            asked[f.at][f.start : f.end]: f for f in found if in_body(f.at) and f.kind is not Kind.INJECTION
        }
        for value, placeholder in self.restored.items():
            masked_as = placeholder[1:-1].rpartition("_")[0]
            entities.setdefault(value, Finding("", Kind.PII, masked_as, Severity.LOW, "", 0, 0, 1.0))
        standing = _Standing(entities)
        for segment in segments:
            for start, value in standing.of(segment.text):
                one = replace(entities[value], at=segment.at, start=start, end=start + len(value))
                marks[segment.at].append(one)
        return dict(marks)

    def _found(self, segments: Sequence[Segment]) -> Sequence[Finding]:
        live = self.live
        limit = live.policy.transport.max_response_bytes
        scanner = ScanOnce(live.detector, segments, limit, live.names, live.policy.masking.min_score)
        try:
            return scanner.everything()
        except Exception:
            if self.request.must_be_searched:
                raise
            return ()

    def _segments(self) -> list[Segment]:
        """Return the texts of the answer, of a stream that broke off those that came."""
        if self.events:
            return heard_in(self.dialect, self.events)
        limit = self.live.policy.transport.max_response_bytes
        try:
            body, _ = decode_answer(self.raw, self.encoding, limit_bytes=limit)
            if not self.streamed:
                return list(self.dialect.read_response(body, self.status).segments)
        except WireError:
            return []
        return heard(self.dialect, body, self.content_type)


_SHORTEST = 3
"""Characters of the shortest value of a request that is looked for in its answer."""


class _Standing:
    """Finds values wherever they stand in a text, in one pass: by their first characters, the longest first."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = {value for value in values if len(value) >= _SHORTEST}
        lengths: defaultdict[str, set[int]] = defaultdict(set)
        for value in self._values:
            lengths[value[:_SHORTEST]].add(len(value))
        self._lengths = {begin: sorted(some, reverse=True) for begin, some in lengths.items()}

    def of(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield place and value; where several begin, the longest."""
        if not self._lengths:
            return
        for start in range(len(text) - _SHORTEST + 1):
            for length in self._lengths.get(text[start : start + _SHORTEST], ()):
                if (value := text[start : start + length]) in self._values:
                    yield start, value
                    break


def _texts(segments: Iterable[Segment], marks: Container[str]) -> tuple[Text, ...]:
    """Return segments as they are kept. marks: pointers of those in which there are marks now."""
    segments = tuple(segments)
    place = renamed((s.at, s.text) for s in segments if s.at in marks)
    return tuple(Text(place(s.at), s.surface.value, s.text) for s in segments)


def values_of(texts: dict[str, Segment], found: Iterable[Finding]) -> set[str]:
    """Return the values that rules found, to be looked up by; orders to a model are none."""
    return {
        texts[f.at].text[f.start : f.end] for f in found if f.at in texts and f.kind is not Kind.INJECTION
    }
