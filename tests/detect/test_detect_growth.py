"""Work grows with the text, not faster: counted in calls and sizes, not in seconds."""

from collections.abc import Iterator

import pytest

from detect.scanning import findings
from sallyport.detect import decode, engine
from sallyport.detect.engine import Detector
from sallyport.detect.normalise import normalise

HOSTILE = [
    pytest.param("a.a.a.", id="url-like"),
    pytest.param("1 1 1 ", id="phone-like"),
    pytest.param("a" * 6, id="one-word"),
    pytest.param("aaaaa@", id="mail-like"),
    pytest.param("4111-1", id="card-like"),
    pytest.param("%41%42", id="percent"),
    pytest.param("QUJDRE", id="base64-like"),
    pytest.param("ignore", id="keyword"),
    pytest.param("pass: ", id="assignment"),
    pytest.param("\u200b\u200bé", id="invisible"),
    pytest.param("&amp;a", id="entities"),
    pytest.param("ﬁ\\n=", id="expansions"),
    pytest.param("<!-- -", id="comments"),
    pytest.param("-----B", id="pem"),
]


class Steps:
    """Counts every candidate a rule pattern yields."""

    def __init__(self) -> None:
        self.count = 0


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    counted = Steps()
    original = engine._excused

    def excused(*args: object) -> bool:
        counted.count += 1
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_excused", excused)
    return counted


@pytest.mark.parametrize("unit", HOSTILE)
def test_candidates_grow_linearly(detector: Detector, steps: Steps, unit: str) -> None:
    counts = []
    for size in (1_000, 8_000):
        steps.count = 0
        findings(detector, unit * (size // len(unit)))
        counts.append(steps.count)
    assert counts[1] <= 8 * max(counts[0], 8) + 8


@pytest.mark.parametrize("unit", HOSTILE)
def test_views_grow_linearly(unit: str) -> None:
    for size in (1_000, 16_000):
        text = unit * (size // len(unit))
        view = normalise(text)
        assert len(view.starts) <= len(text) + 1
        assert len(view.text) <= 3 * len(text)
        inner = decode.derived(view)
        assert inner is None or len(inner.text) <= 2 * len(view.text)


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_long_hostile_text_ends_within_the_deadline(detector: Detector, unit: str) -> None:
    findings(detector, unit * (100_000 // len(unit)))  # ScanIncomplete would fail the test
