"""The parts around an engine, each by itself: windows, the wire, and names beside what rules found."""

import contextlib
import itertools
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.decision import Finding, Kind, Severity
from sallyport.detect.cache import Hit
from sallyport.detect.ner import frames, windows
from sallyport.detect.ner.engine import Span
from sallyport.detect.ner.labels import entity_of
from sallyport.detect.ner.merge import bare, merge
from sallyport.exchange import Segment, Surface

# -- windows ---------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        "word ",
        "Marta Quill ",
        "end. ",
        "line\n",
        "x" * 700,
        "\n\n",
        "  ",
        "\U0001f600",
        "\u738b\u5c0f\u660e\u3002",
    ]
)


@st.composite
def long_texts(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.tuples(PIECES, st.integers(1, 120)), max_size=25))
    return "".join(piece * times for piece, times in parts)


@given(long_texts())
def test_windows_cover_a_text_in_order_and_are_bounded(text: str) -> None:
    places = windows.cut(text)
    assert all(0 < end - start <= windows.WINDOW for start, end in places)
    if text:
        assert (places[0][0], places[-1][1]) == (0, len(text))
    for (start, end), (following, last) in itertools.pairwise(places):
        assert start < following <= end < last
        assert end - following <= windows.OVERLAP


@given(long_texts(), st.text(max_size=50))
def test_a_text_that_grows_keeps_all_its_windows_but_the_last(text: str, more: str) -> None:
    before, after = windows.cut(text), windows.cut(text + more)
    assert after[: max(0, len(before) - 1)] == before[:-1]


@given(long_texts())
def test_what_is_found_in_windows_is_what_is_found_in_the_whole(text: str) -> None:
    def find(part: str) -> tuple[Hit, ...]:
        return tuple(Hit(0, m.start(), m.end(), 0.9) for m in re.finditer("Marta Quill", part))

    joined = windows.join((start, find(text[start:end])) for start, end in windows.cut(text))
    assert joined == list(find(text))


def test_of_two_windows_that_disagree_the_longer_name_counts() -> None:
    whole, part = Hit(0, 90, 101, 0.8), Hit(0, 5, 10, 0.99)
    assert windows.join([(0, (whole,)), (91, (part,))]) == [whole]
    assert windows.join([(0, (part,)), (0, (Hit(1, 5, 20, 0.6),))]) == [Hit(1, 5, 20, 0.6)]


# -- what worker and gateway say -------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=8))
def test_texts_arrive_as_they_were_sent(texts: list[str]) -> None:
    assert frames.get_texts(frames.put_texts(texts)) == texts


def answer(*spans: Span) -> bytes:
    return frames.put_spans([spans])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\0",
        frames.put_spans([]),
        frames.put_spans([(), ()]),
        answer(Span(0, 1, "PERSON", 0.5)) + b"\0",
        answer(Span(0, 1, "PERSON", 0.5))[:-1],
        answer(Span(3, 6, "PERSON", 0.5)),
        answer(Span(2, 2, "PERSON", 0.5)),
        answer(Span(2, 1, "PERSON", 0.5)),
        answer(Span(0, 3, "PERSON", 0.5), Span(2, 4, "PERSON", 0.5)),
        answer(Span(0, 1, "PERSON", 1.5)),
        answer(Span(0, 1, "PERSON", float("nan"))),
        answer(*[Span(0, 1, "PERSON", 0.5)] * 9),
        struct.pack("!II", 1, 0xFFFFFFFE),
        struct.pack("!IIIIBd", 1, 1, 0, 1, 200, 0.5),
    ],
)
def test_an_answer_that_cannot_be_is_not_taken(payload: bytes) -> None:
    with pytest.raises(ValueError):
        frames.get_spans(payload, ["12345"])


@given(st.binary(max_size=80), st.lists(st.text(max_size=6), max_size=3))
def test_no_bytes_from_a_worker_raise_anything_else(payload: bytes, texts: list[str]) -> None:
    with contextlib.suppress(ValueError):
        assert len(frames.get_spans(payload, texts)) == len(texts)


@pytest.mark.parametrize(
    ("label", "entity"),
    [
        ("PER", "PERSON"),
        ("B-PER", "PERSON"),
        ("I_PER", "PERSON"),
        ("persName", "PERSON"),
        ("GPE", "LOCATION"),
        ("LOC", "LOCATION"),
        ("E-LOC", "LOCATION"),
        ("ORG", "ORGANIZATION"),
        ("NORP", "NRP"),
        ("O", None),
        ("MISC", None),
        ("DATE", None),
        ("", None),
    ],
)
def test_labels_of_public_models_mean_presidios_entities(label: str, entity: str | None) -> None:
    assert entity_of(label) == entity


# -- beside the rules ------------------------------------------------------------------------------------


def place(
    text: str, value: str, rule: str, entity: str, score: float = 0.9, kind: Kind = Kind.PII
) -> Finding:
    start = text.index(value)
    return Finding(rule, kind, entity, Severity.MEDIUM, "/t", start, start + len(value), score)


def merged(text: str, *found: Finding, min_score: float = 0.5) -> list[tuple[str, str]]:
    names = [f for f in found if f.rule.startswith("pii.ner.")]
    rules = [f for f in found if not f.rule.startswith("pii.ner.")]
    both = merge([Segment("/t", Surface.USER, text)], rules, names, min_score)
    return [(f.entity, text[f.start : f.end]) for f in both]


MAIL = "From Marta Quill <marta.quill@example.com> in Lisbon"


def test_what_a_rule_found_is_no_name_and_the_rest_of_a_name_stays() -> None:
    mail = place(MAIL, "marta.quill@example.com", "pii.mail", "EMAIL_ADDRESS", 0.6)
    inside = place(MAIL, "quill", "pii.ner.PERSON", "PERSON", 1.0)
    over = place(MAIL, "Marta Quill <marta.quill", "pii.ner.PERSON", "PERSON", 1.0)
    city = place(MAIL, "Lisbon", "pii.ner.LOCATION", "LOCATION", 1.0)
    assert merged(MAIL, mail, inside) == [("EMAIL_ADDRESS", "marta.quill@example.com")]
    assert merged(MAIL, city, mail, over) == [
        ("PERSON", "Marta Quill"),
        ("EMAIL_ADDRESS", "marta.quill@example.com"),
        ("LOCATION", "Lisbon"),
    ]


def test_what_no_stage_would_count_does_not_hide_a_name() -> None:
    weak = place(MAIL, "Quill", "pii.guess", "US_PASSPORT", 0.5)
    name = place(MAIL, "Marta Quill", "pii.ner.PERSON", "PERSON", 0.9)
    assert merged(MAIL, weak, name, min_score=0.7) == [("PERSON", "Marta Quill")]
    assert merged(MAIL, weak, name) == [("PERSON", "Marta"), ("US_PASSPORT", "Quill")]


def test_findings_of_other_kinds_stay_as_they_are() -> None:
    secret = place(MAIL, "marta.quill", "secrets.x", "PASSWORD", 0.9, Kind.SECRET)
    name = place(MAIL, "marta.quill", "pii.ner.PERSON", "PERSON", 0.9)
    assert merged(MAIL, secret, name) == [("PASSWORD", "marta.quill"), ("PERSON", "marta.quill")]


SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12)


def apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for start, length in sorted(spans):
        if not kept or start >= kept[-1][1]:
            kept.append((start, start + length))
    return kept


@given(SPANS, SPANS, st.floats(0, 1))
def test_personal_data_of_one_text_never_overlaps_and_no_named_letter_is_lost(
    rules: list[tuple[int, int]], names: list[tuple[int, int]], min_score: float
) -> None:
    text = "ab cdef, ghi " * 8
    segment = Segment("/t", Surface.USER, text)
    found = [
        Finding("pii.rule", Kind.PII, "RULE", Severity.LOW, "/t", a, b, (a % 10) / 10)
        for a, b in apart(rules)
    ]
    named = [
        Finding("pii.ner.PERSON", Kind.PII, "PERSON", Severity.LOW, "/t", a, b, 0.9) for a, b in apart(names)
    ]
    both = merge([segment], found, named, min_score)
    assert all(one.end <= two.start for one, two in itertools.pairwise(both))
    counted = [f for f in both if f.score >= min_score or f.entity == "PERSON"]
    covered = {n for f in counted for n in range(f.start, f.end)}
    wanted = {n for f in named for n in range(f.start, f.end) if text[n].isalpha()}
    assert wanted <= covered


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("U.S.", "U.S."),
        ("Washington, D.C.", "Washington, D.C."),
        ("(J.R.)", "J.R."),
        ("John Smith.", "John Smith"),
        ("plan B.", "plan B"),
        ("abU.S.", "abU.S"),
        ("U.S.,", "U.S."),
        ("... ", ""),
    ],
)
def test_a_name_ends_with_a_letter_or_digit_or_with_the_full_stop_of_initials(text: str, kept: str) -> None:
    start, end = bare(f"in {text} now", 3, 3 + len(text))
    assert f"in {text} now"[start:end] == kept
