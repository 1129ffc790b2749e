"""Exchanges on their way into a capture: what is kept of them, and in which form. No credential ever is.

Masked: the request with everything that rules found taken out, headers of no interest left out, and of the answer its
usage alone; the findings stay beside it, so that a replay decides as on the original. Original: both as they were.
What was not searched whole, since a stage refused before it or a limit was reached, is searched in the writer's thread.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from mitmproxy import connection, http
from mitmproxy.io import tnetstring
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from sallyport.decision import Edit, Finding, Kind, Verdict
from sallyport.exchange import Exchange
from sallyport.metering.terms import HEADERS
from sallyport.proxy.cleaning import Cleaner
from sallyport.proxy.contents import subject_of
from sallyport.proxy.covering import OPAQUE
from sallyport.proxy.noted import is_chosen
from sallyport.proxy.outflow import outcome
from sallyport.proxy.passage import Passage
from sallyport.proxy.recorded import KEY, Kept, Over, answer_record, record_of
from sallyport.proxy.stream import Step, Tap
from sallyport.proxy.takingout import REPEATED, by_text, renamed, taken_out, without
from sallyport.stages.outcome import Found, Outcome
from sallyport.stages.places import HEADER, TARGET, in_body
from sallyport.state.captures import CaptureWriter
from sallyport.state.directory.times import microseconds

_INTERESTING = frozenset(
    (
        *(
            b"content-type",
            b"accept",
            b"anthropic-version",
            b"anthropic-beta",
            b"openai-beta",
            b"x-amz-target",
        ),
        *(name.encode() for name in HEADERS),
    )
)
"""Header lines that say how a body is read or what it costs, and nothing of whoever sends it."""


_CREDENTIALS = frozenset(
    (
        *("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key"),
        *("ocp-apim-subscription-key", "x-amz-security-token"),
    )
)
"""Header lines that sign in somewhere. A client may send one to a provider that knows it by another name."""

UPGRADE = ((b"connection", b"Upgrade"), (b"upgrade", b"websocket"))
"""Header lines by which the request of a captured event is known for what it is."""

_UNKNOWN = "/(unknown)"
"""Stands for the path of a call that the catalogue does not have: no rule searches it."""


class KeepingTap:
    """A tap before which the provider's bytes are kept as well."""

    def __init__(self, tap: Tap, kept: Kept) -> None:
        self._tap = tap
        self._kept = kept
        self.end, self.wake, self.broken = tap.end, tap.wake, tap.broken

    def feed(self, data: bytes) -> Step:
        self._kept.keep(data)
        return self._tap.feed(data)


class Captures:
    """Keeps exchanges as the policy says. writer: None where there is no master key; nothing is kept then."""

    def __init__(self, writer: CaptureWriter | None) -> None:
        self._writer = writer

    def begin(
        self, flow: http.HTTPFlow, passage: Passage, body: bytes, search: Callable[[], Sequence[Finding]]
    ) -> None:
        """Take note of a request that is decided, before anything of it is changed. search: as in Kept."""
        section = passage.live.policy.capture
        if self._writer is None or not is_chosen(passage.exchange.conversation, section.share):
            return
        original = section.content == "original"
        hidden = {*_CREDENTIALS, *passage.live.identity_headers}
        if passage.provider is not None:
            hidden |= {*passage.provider.credentials.headers}
        fields = tuple(
            (name, value)
            for name, value in flow.request.headers.fields
            if name.lower() in _INTERESTING or (original and _is_open(name, hidden))
        )
        target = template = flow.request.path.partition("?")[0]
        if passage.target is not None:
            template = passage.target.endpoint.template
            if passage.target.miss:
                template = _UNKNOWN
                # The query is not kept, and without it the path may be one that the catalogue has.
                target = target if original and "?" not in flow.request.path else _UNKNOWN
        if not original and passage.dialect.name == OPAQUE:
            body = bytes(len(body))  # of what nobody reads, its size alone
        passage.kept = Kept(original, target, template, fields, body, search)

    def begin_event(self, passage: Passage, event: bytes, search: Callable[[], Sequence[Finding]]) -> None:
        """Take note of an event of a WebSocket that is decided, as begin does of a request. No header is kept."""
        section, target = passage.live.policy.capture, passage.target
        if (
            self._writer is None
            or target is None
            or not is_chosen(passage.exchange.conversation, section.share)
        ):
            return
        path, model = target.endpoint.template, passage.exchange.request.model or ""
        original = section.content == "original"
        if not original and passage.live.shown_model(model) != model:
            return  # it is no text of the event, and cannot be taken out of it
        passage.kept = Kept(original, path, path, UPGRADE, event, search, socket=True, model=model)

    def keeping(self, passage: Passage, tap: Tap) -> Tap:
        """Return the tap of an answer, which keeps what comes into it where that is wanted."""
        kept = passage.kept
        return KeepingTap(tap, kept) if kept is not None and kept.original else tap

    def end(self, flow: http.HTTPFlow, passage: Passage) -> None:
        """Hand an exchange that is over to the writer, once; the work is done in its thread."""
        kept, over = passage.kept, passage.over
        if kept is None or over is None or self._writer is None or passage.verdict is None:
            return
        passage.kept = None
        response = flow.response if passage.admitted is not None else None
        raw = b"".join(kept.pieces) if response is not None else b""
        status = over.answer.status if over.answer is not None else 0
        made = _Making(
            passage.exchange,
            passage.verdict,
            over.cost_micro_usd,
            kept,
            passage.dialect.edit,
            flow.request.method,
            flow.request.http_version,
            (flow.request.timestamp_start, flow.request.timestamp_end or flow.request.timestamp_start),
            None if response is None else (status or response.status_code, response.headers.fields, raw),
            None if response is None else response.timestamp_end or response.timestamp_start,
            over,
            outcome(passage, over.answer) if over.answer is not None else None,
            passage.output.found if passage.output is not None else (),
            passage.cleaner,
            passage.live.rules_revision,
        )
        self._put(made, len(kept.request) + len(raw))

    def end_event(self, passage: Passage) -> None:
        """Hand an exchange on a WebSocket that is over to the writer, once."""
        kept, over, verdict = passage.kept, passage.over, passage.verdict
        if kept is None or over is None or self._writer is None or verdict is None:
            return
        passage.kept = None
        answer, began = over.answer, passage.exchange.received_at.timestamp()
        answered, cost = None, over.cost_micro_usd
        if passage.admitted is not None and answer is not None:
            answered = (answer.status if answer.status >= 300 else 101, (), b"")
        if passage.meter is None:
            cost = 0  # it is paid for with the answer that builds on it
        made = _Making(
            *(passage.exchange, verdict, cost, kept, passage.dialect.edit, "GET", "HTTP/1.1"),
            (began, began),
            answered,
            time.time(),
            over,
            outcome(passage, answer) if answer is not None else None,
            passage.output.found if passage.output is not None else (),
            None,  # what was held of the provider is clean
            passage.live.rules_revision,
        )
        self._put(made, len(kept.request) + sum(map(len, kept.pieces)))

    def _put(self, made: "_Making", size: int) -> None:
        assert self._writer is not None
        exchange = made.exchange
        self._writer.put(made.flow, size, subject_of(exchange), microseconds(exchange.received_at))

    def close(self) -> None:
        """Write what is waiting."""
        if self._writer is not None:
            self._writer.close()


def _is_open(name: bytes, hidden: set[str]) -> bool:
    lower = name.lower().decode("latin-1")
    return lower not in hidden and lower not in ("content-encoding", "content-length", "transfer-encoding")


@dataclass(frozen=True, slots=True)
class _Making:
    """One captured flow, about to be made. began: beginning and end of the request; ended: of the answer."""

    exchange: Exchange
    verdict: Verdict
    cost: int | None
    kept: Kept
    edit: Callable[[bytes, Sequence[Edit]], bytes]
    method: str
    version: str
    began: tuple[float, float]
    answered: tuple[int, tuple[tuple[bytes, bytes], ...], bytes] | None
    ended: float | None
    over: Over
    outcome: Outcome | None
    found_in_answer: Sequence[Found]
    cleaner: Cleaner | None
    rules: str = ""

    def flow(self) -> bytes | None:
        """Return the flow as mitmproxy writes it, None where it cannot be masked. Raises what kept.search raises."""
        exchange, kept = self.exchange, self.kept
        found = kept.search()
        gone = tuple(finding for finding in found if self._is_gone(finding))
        places = {finding.at for finding in gone}
        if not kept.original and f"{TARGET}model" in places:
            return None  # the name of a model is no text of the body, and cannot be taken out of it
        client = connection.Client(
            peername=(exchange.client.address, 0),
            sockname=("", 0),
            timestamp_start=self.began[0],
            sni=exchange.host,
        )
        client.tls = True
        made = http.HTTPFlow(client, connection.Server(address=(exchange.host, 443), sni=exchange.host))
        body, findings = kept.request, None
        if not kept.original:
            body, findings = self._masked(found)
        fields = (*self._fields(found), (b"host", exchange.host.encode()))
        target = kept.template if any(at.startswith(TARGET) for at in places) else kept.target
        made.request = http.Request.make(self.method, f"https://{exchange.host}{target}", body)
        made.request.headers = http.Headers(fields)
        made.request.http_version = self.version
        made.request.timestamp_start, made.request.timestamp_end = self.began
        if self.answered is not None:
            status, lines, raw = self.answered
            if self.cleaner is not None:
                raw = self.cleaner.whole(raw)
            made.response = http.Response.make(status, raw)
            kinds = [(name, value) for name, value in lines if name.lower() == b"content-type"]
            made.response.headers = http.Headers(kinds if kept.original else ())
            made.response.timestamp_start = made.response.timestamp_end = self.ended or self.began[1]
        usage = self.over.usage if self.over.answer is not None and not kept.original else None
        in_answer = None if kept.original else self.found_in_answer
        answered = None if self.outcome is None else answer_record(self.outcome, in_answer)
        made.metadata[KEY] = record_of(
            exchange,
            self.verdict,
            self.cost,
            findings,
            usage,
            answered,
            kept.model,
            self.rules,
            self.over.detail,
            _placed_apart(gone),
        )
        if kept.socket:
            made.request.content = b""
            made.websocket = self._conversation(body)
        written: bytes = tnetstring.dumps(made.get_state())
        return written

    def _conversation(self, event: bytes) -> WebSocketData:
        """Return what the client said, and of an original what the provider did, as messages of a WebSocket."""
        asked = [WebSocketMessage(Opcode.TEXT, True, event, self.began[0])] if event else []
        ended = self.ended or self.began[1]
        answered = [WebSocketMessage(Opcode.TEXT, False, piece, ended) for piece in self.kept.pieces]
        return WebSocketData([*asked, *answered])

    def _fields(self, found: Sequence[Finding]) -> Iterator[tuple[bytes, bytes]]:
        """Yield the header lines in which nothing was found; of an original, in which no credential was."""
        places = {f.at for f in found if f.at.startswith(HEADER) and self._is_gone(f)}
        left_out = {segment.text for segment in self.exchange.request.segments if segment.at in places}
        for name, value in self.kept.fields:
            line = f"{name.decode('utf-8', 'surrogateescape')}: {value.decode('utf-8', 'surrogateescape')}"
            if name.lower() != b"host" and line not in left_out:
                yield name, value

    def _is_gone(self, finding: Finding) -> bool:
        """Say whether the text outside the body is left out in which something was found."""
        if in_body(finding.at):
            return False
        is_open = self.kept.original and finding.at.startswith(HEADER)
        return not is_open or finding.kind is Kind.SECRET

    def _masked(self, found: Sequence[Finding]) -> tuple[bytes, tuple[Finding, ...]]:
        """Return the request with all findings and their repetitions taken out, and the findings at their marks."""
        texts = {segment.at: segment for segment in self.exchange.request.segments}
        edits: list[Edit] = []
        moved: list[Finding] = []
        by_place = by_text(self.exchange, found)
        place = renamed((at, without(texts[at], f)) for at, f in by_place.items() if at.endswith("~k"))
        for at, findings in by_place.items():
            more, placed = taken_out(texts[at], findings)
            edits += more
            moved += (replace(f, at=place(f.at)) for f in placed if f.rule != REPEATED)
        return self.edit(self.kept.request, edits), tuple(moved)


def _placed_apart(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings outside the body at places of their own: headers that are kept are numbered anew."""
    numbers = {at: number for number, at in enumerate(dict.fromkeys(finding.at for finding in findings))}
    return tuple(
        replace(f, at=f"{HEADER if f.at.startswith(HEADER) else TARGET}left_out/{numbers[f.at]}")
        for f in findings
    )
