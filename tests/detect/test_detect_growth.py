"""Work grows with the text, not faster: counted in calls and sizes, not in seconds."""

import random
from collections.abc import Iterator

import pytest

from detect.scanning import findings
from evasion.hostile import Hostile, of_shapes
from sallyport.detect import decode, engine
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete
from sallyport.detect.normalise import normalise
from sallyport.detect.seams import REACH, ribbons
from sallyport.exchange import Segment, Surface
from sallyport.fold import FOLD

HOSTILE = [pytest.param(hostile, id=hostile.name) for hostile in of_shapes()]


class Steps:
    """Counts every candidate a rule pattern yields."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    counted = Steps()
    original = engine.excused

    def excused(*args: object) -> bool:
        counted.count += 1
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "excused", excused)
    return counted


@pytest.mark.parametrize("hostile", HOSTILE)
def test_candidates_grow_linearly(detector: Detector, steps: Steps, hostile: Hostile) -> None:
    counts = []
    for size in (4_000, 32_000):
        steps.count = 0
        findings(detector, hostile.text(size))
        counts.append(steps.count)
    assert counts[1] <= 8**1.2 * max(counts[0], 200)  # an exponent of 1.2; below 200 chance decides


@pytest.mark.parametrize("hostile", HOSTILE)
def test_views_grow_linearly(hostile: Hostile) -> None:
    for size in (1_000, 16_000):
        text = hostile.text(size)
        view = normalise(text)
        longest = max(len(FOLD[char]) for char in {*text, "\n"})
        assert len(view.starts) <= len(text) + 1
        assert len(view.text) <= longest * len(text)
        inner = decode.derived(view)
        assert inner is None or len(inner.text) <= 4 * len(view.text) + 8


def test_many_short_strings_are_joined_into_hardly_more_text() -> None:
    segments = [Segment(f"/notes/{n}", Surface.DOCUMENT, f"{n % 1000:03d}") for n in range(20_000)]
    joined = [*ribbons(segments)]
    assert sum(len(r.text) for r in joined) <= 1.3 * sum(len(s.text) for s in segments)
    assert sum(len(r.pieces) for r in joined) <= 1.3 * len(segments)


def test_every_meeting_of_two_segments_is_read_with_its_reach() -> None:
    rng = random.Random(5)
    lengths = [rng.choice((1, 3, 40, 300, 321, 2000, 5000)) for _ in range(60)]
    segments = [Segment(f"/n/{n}", Surface.USER, "x" * length) for n, length in enumerate(lengths)]
    whole = [(ribbon, meeting) for ribbon in ribbons(segments) for meeting in ribbon.pieces[1:]]
    for index in range(1, len(segments)):
        before, after = sum(lengths[:index]), sum(lengths[index:])
        assert any(
            piece == index and at >= min(before, REACH) and len(ribbon.text) - at >= min(after, REACH)
            for ribbon, (at, piece, _) in whole
        )


def test_more_findings_than_anybody_could_look_through_are_not_scanned(
    detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MAX_FOUND", 50)
    text = " ".join(f"user{n}@example.com" for n in range(60))
    with pytest.raises(ScanIncomplete):
        findings(detector, text + " not seen before")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_long_hostile_text_ends_within_the_deadline(detector: Detector, hostile: Hostile) -> None:
    findings(detector, hostile.text(30_000))  # ScanIncomplete would fail the test


def test_a_scan_that_has_used_up_its_processor_time_is_not_finished() -> None:
    detector = Detector(DetectionSettings(deadline_s=60.0, cpu_s=0.02, cache_entries=0))
    findings(detector, "short")
    with pytest.raises(ScanIncomplete, match="processor time"):
        findings(detector, " ".join(f"user{n}@example.com" for n in range(9_000)))


def test_one_escape_behind_a_name_does_not_make_another_value(detector: Detector) -> None:
    assert not [f for f in findings(detector, "HOST=255.255.255.0") if f.entity == "IP_ADDRESS"]
    assert [f for f in findings(detector, "ada.lovelace=40example.com") if f.entity == "EMAIL_ADDRESS"]
