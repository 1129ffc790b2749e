"""What is kept of an answer: its texts, once each, of every dialect's stream, and of one that broke off what came."""

from datetime import UTC, datetime

import pytest

from sallyport.decision import Finding, Kind, Severity
from sallyport.exchange import Client, Exchange, Operation, Principal, Request, Segment, Surface
from sallyport.proxy.contents import subject_of, values_of
from sallyport.proxy.hearing import heard
from sallyport.proxy.takingout import without
from sallyport.state.content.subjects import Subject
from wire.samples import Sample, samples

STREAMS = [s for s in samples("stream", "stream_error", every=True) if "text" in s.expected]


def test_there_are_streams_of_many_dialects() -> None:
    assert len({sample.dialect.name for sample in STREAMS}) >= 7


@pytest.mark.parametrize("sample", STREAMS, ids=str)
def test_a_text_is_kept_once_however_often_its_stream_repeats_it(sample: Sample) -> None:
    found = heard(sample.dialect, sample.body, sample.content_type)
    assert [s.text for s in found if s.surface is Surface.ASSISTANT and s.text == sample.expected["text"]]
    assert "".join(s.text for s in found).count(sample.expected["text"]) == 1
    assert len({s.at for s in found}) == len(found)


@pytest.mark.parametrize("sample", STREAMS, ids=str)
def test_of_a_stream_that_breaks_off_is_kept_what_came(sample: Sample) -> None:
    whole = sample.expected["text"]
    longest = 0
    for end in range(0, len(sample.body), max(1, len(sample.body) // 40)):
        for segment in heard(sample.dialect, sample.body[:end], sample.content_type):
            if segment.surface is Surface.ASSISTANT:
                assert whole.startswith(segment.text)
                longest = max(longest, len(segment.text))
    assert longest > 0


def exchange(principal: Principal | None) -> Exchange:
    asked = Request("openai", "openai_chat", Operation.CHAT, None)
    return Exchange("x", "", datetime.now(UTC), "h", Client("10.0.0.9", "explicit"), asked, principal)


@pytest.mark.parametrize(
    ("principal", "subject"),
    [
        (None, Subject("", "client:10.0.0.9")),
        (Principal("anonymous", "default"), Subject("default", "client:10.0.0.9")),
        (Principal("ann", "acme", source="key"), Subject("acme", "ann")),
    ],
    ids=["none", "anonymous", "known"],
)
def test_it_is_of_the_principal_or_else_of_the_address(principal: Principal | None, subject: Subject) -> None:
    assert subject_of(exchange(principal)) == subject


def finding(start: int, end: int, kind: Kind = Kind.PII, entity: str = "E") -> Finding:
    return Finding("r", kind, entity, Severity.LOW, "/a", start, end, 1.0)


def test_findings_are_taken_out_and_what_overlaps_shares_a_mark() -> None:
    segment = Segment("/a", Surface.USER, "one two three four")
    marked = [finding(14, 18, entity="B"), finding(0, 3), finding(4, 9), finding(8, 13)]
    assert without(segment, marked) == "[E] [E] [B]"
    assert without(segment, []) == segment.text
    texts = {"/a": segment}
    assert values_of(texts, [finding(0, 3), finding(4, 7, Kind.INJECTION)]) == {"one"}
