"""Exchanges, verdicts and events for tests; all strings that a segment holds are marked."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from sallyport.audit.events import Event, EventKind
from sallyport.decision import Action, Decision, Edit, Finding, Kind, Mode, Severity, Verdict
from sallyport.exchange import (
    Attachment,
    Client,
    Exchange,
    Operation,
    Principal,
    Request,
    Response,
    Segment,
    Surface,
    Usage,
)

MARKS = "ᚠᚡᚢᚣᚤᚥᚦᚧᚨᚩ"
"""Runes: no other sample string holds them, so an event with one of them has leaked a segment."""

secret_texts = st.text(st.sampled_from(MARKS), min_size=1, max_size=30)
hostile_texts = st.one_of(
    st.text(st.characters(codec=None, exclude_categories=(), exclude_characters=MARKS), max_size=20),
    st.sampled_from(
        ["\0", "\ud800", "a" * 10_000, "\x1b[31mred", "x\ny", "[red]m[/]", "=1+1", "\\x00", "'; --", "\u202e"]
    ),
)
numbers = st.one_of(st.none(), st.integers(0, 10**6), st.integers(-(10**30), 10**30))
scores = st.floats(0, 1) | st.just(float("nan"))
usages = st.builds(Usage, numbers, numbers, numbers, numbers, numbers)


def event(kind: EventKind = EventKind.ADMITTED, exchange: str = "", **facts: object) -> Event:
    return Event(kind=kind, gateway="gw-1", exchange=exchange, **facts)  # type: ignore[arg-type]


@st.composite
def segments(draw: st.DrawFn) -> tuple[Segment, ...]:
    texts = draw(st.lists(secret_texts, max_size=4))
    keys = draw(st.lists(secret_texts, min_size=len(texts), max_size=len(texts)))
    surfaces = draw(st.lists(st.sampled_from(Surface), min_size=len(texts), max_size=len(texts)))
    return tuple(
        Segment(f"/messages/{i}/{key}", surface, text)
        for i, (key, surface, text) in enumerate(zip(keys, surfaces, texts, strict=True))
    )


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    principal = draw(
        st.none()
        | st.builds(Principal, hostile_texts, hostile_texts, source=hostile_texts, confidence=scores)
    )
    response = draw(
        st.none()
        | st.builds(
            Response,
            numbers.filter(lambda n: n is not None),
            segments(),
            st.sampled_from([None, "stop", "length"]),
            st.none() | usages,
            id=st.none() | secret_texts,
            error=st.none() | secret_texts,
        )
    )
    parts = draw(segments())
    request = Request(
        provider="openai",
        dialect="openai_chat",
        operation=draw(st.sampled_from(Operation)),
        model=draw(st.none() | hostile_texts),
        segments=parts,
        attachments=(Attachment(draw(secret_texts), draw(secret_texts), 3),),
        tools=(draw(secret_texts),),
        previous=draw(secret_texts),
    )
    return Exchange(
        id=draw(st.uuids().map(str)),
        conversation=draw(secret_texts),
        received_at=datetime(2026, 5, 1, tzinfo=UTC),
        host=draw(hostile_texts),
        client=Client(
            draw(hostile_texts), "regular", draw(st.none() | hostile_texts), (("x-note", draw(secret_texts)),)
        ),
        request=request,
        principal=principal,
        response=response,
    )


@st.composite
def verdicts(draw: st.DrawFn, exchange: Exchange) -> Verdict:
    places = [s.at for s in exchange.request.segments]
    places += [s.at for s in exchange.response.segments] if exchange.response else []
    pointers = st.sampled_from([*places, "/nowhere"]) | secret_texts
    findings = st.builds(
        Finding,
        st.just("pii.EMAIL_ADDRESS"),
        st.sampled_from(Kind),
        st.just("EMAIL_ADDRESS"),
        st.sampled_from(Severity),
        pointers,
        st.integers(0, 100),
        st.integers(0, 100),
        scores,
    )
    edits = st.builds(Edit, pointers, st.integers(0, 9), st.integers(0, 9), secret_texts)
    decisions = st.builds(
        Decision,
        st.sampled_from(["identity", "masking", "secrets"]),
        st.sampled_from(Action),
        st.sampled_from(["secrets.found", "masking.masked"]) | secret_texts,
        st.sampled_from(Mode),
        secret_texts,
        st.lists(findings, max_size=3).map(tuple),
        st.lists(edits, max_size=2).map(tuple),
        st.none() | st.builds(Principal, hostile_texts, hostile_texts),
        duration_us=st.integers(0, 10**6),
    )
    return Verdict(tuple(draw(st.lists(decisions, max_size=4))))
