"""Events hold what happened and never what was said."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.samples import MARKS, event, exchanges, hostile_texts, numbers, verdicts
from sallyport.audit.events import MAX_FINDINGS, Event, EventKind, about, interrupted
from sallyport.audit.ids import SHORT_CHARS, new_id
from sallyport.audit.schema import bare_row, event_json, from_row, to_row
from sallyport.decision import Action, Decision, Finding, Kind, Mode, Severity, Verdict
from sallyport.exchange import Client, Exchange, Operation, Request, Segment, Surface, Usage


def an_exchange(*segments: Segment) -> Exchange:
    request = Request("openai", "openai_chat", Operation.CHAT, "gpt-4o", segments)
    return Exchange("e1", "c1", datetime.now(UTC), "api.openai.com", Client("10.0.0.1", "regular"), request)


def a_finding(at: str, start: int = 0) -> Finding:
    return Finding("pii.EMAIL_ADDRESS", Kind.PII, "EMAIL_ADDRESS", Severity.MEDIUM, at, start, start + 5)


@given(st.data())
def test_no_event_holds_any_text_of_any_segment(data: st.DataObject) -> None:
    exchange = data.draw(exchanges())
    verdict = data.draw(verdicts(exchange))
    told = about(
        data.draw(st.sampled_from(EventKind)),
        exchange,
        verdict,
        gateway="gw-1",
        endpoint=f"/v1/chat?{data.draw(st.text(MARKS))}",
    )
    for one in (told, told.followed_by(EventKind.COMPLETED), interrupted(told)):
        shown = repr(one) + json.dumps(to_row(one)) + json.dumps(event_json(one)) + json.dumps(bare_row(one))
        shown = shown.encode().decode("unicode_escape", "replace") + shown
        assert not any(mark in shown for mark in MARKS)


@given(st.data())
def test_an_event_comes_back_from_its_row_as_it_was(data: st.DataObject) -> None:
    exchange = data.draw(exchanges())
    told = about(EventKind.ADMITTED, exchange, data.draw(verdicts(exchange)), gateway="gw-1", detail="ok")
    assert from_row(to_row(told)) == told


@given(st.sampled_from(EventKind), hostile_texts, hostile_texts, numbers)
def test_whatever_a_client_sends_can_be_stored(kind: EventKind, a: str, b: str, number: int | None) -> None:
    told = Event(
        kind=kind,
        gateway="gw-1",
        exchange=a,
        principal=a,
        tenant=b,
        source=a,
        model=b,
        host=a,
        client=b,
        credential=a,
        detail=a,
        finish_reason=b,
        endpoint=a,
        status=number,
        request_bytes=number,
        confidence=float("inf"),
        usage=Usage(number, number),
    )
    for value in to_row(told).values():
        if isinstance(value, str):
            value.encode()
            assert "\0" not in value
            assert len(value) < 2000
        elif isinstance(value, int):
            assert -(2**63) < value < 2**63


def test_findings_name_the_ordinal_of_their_segment() -> None:
    exchange = an_exchange(Segment("/a", Surface.SYSTEM, "x"), Segment("/b", Surface.USER, "y"))
    found = (a_finding("/b", 3), a_finding("/no"))
    verdict = Verdict((Decision("masking", Action.MODIFY, "masking.masked", findings=found),))
    first, second = about(EventKind.ADMITTED, exchange, verdict, gateway="g").decisions[0].findings
    assert (first.segment, first.surface, first.start, first.end) == (1, Surface.USER, 3, 8)
    assert (second.segment, second.surface) == (None, None)


def test_findings_are_bounded_and_the_rest_is_counted() -> None:
    found = tuple(a_finding("/a", i) for i in range(MAX_FINDINGS + 7))
    verdict = Verdict((Decision("masking", Action.MODIFY, "masking.masked", findings=found),))
    told = about(EventKind.ADMITTED, an_exchange(), verdict, gateway="g").decisions[0]
    assert (len(told.findings), told.omitted) == (MAX_FINDINGS, 7)


@pytest.mark.parametrize(
    ("mode", "action", "would_be"),
    [(Mode.ENFORCE, Action.DENY, Action.DENY), (Mode.OBSERVE, Action.ALLOW, Action.DENY)],
    ids=["enforce", "observe"],
)
def test_the_cause_is_told_in_both_modes(mode: Mode, action: Action, would_be: Action) -> None:
    verdict = Verdict(
        (
            Decision("identity", Action.ALLOW, "identity.known"),
            Decision("secrets", Action.DENY, "secrets.found", mode),
        )
    )
    told = about(EventKind.REFUSED, an_exchange(), verdict, gateway="g")
    assert (told.action, told.would_be) == (action, would_be)
    assert (told.stage, told.reason) == ("secrets", "secrets.found")


def test_the_endpoint_never_holds_a_query() -> None:
    assert event(endpoint="/v1/models/{model}?key=abc#x").endpoint == "/v1/models/{model}"


def test_prose_in_place_of_a_code_is_not_kept() -> None:
    assert event(detail="my password is hunter2").detail == "invalid_code"


def test_a_follower_has_a_new_id_and_no_decisions() -> None:
    admitted = event(exchange="e", model="m", decisions=())
    ended = admitted.followed_by(EventKind.COMPLETED, status=200)
    assert ended.id > admitted.id
    assert (ended.exchange, ended.model, ended.status) == ("e", "m", 200)


def test_times_are_utc_with_microseconds() -> None:
    there = datetime(2026, 5, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    assert event_json(event(at=there))["at"] == "2026-05-01T12:00:00.123456Z"


def test_ids_sort_by_time_and_differ_in_their_first_characters() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len({id[:SHORT_CHARS] for id in ids}) == len(ids)
    assert all(id[14] == "7" and id[19] in "89ab" and len(id) == 36 for id in ids)
