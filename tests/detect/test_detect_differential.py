"""Our findings beside stock Presidio's on generated texts: every class of difference has an argument."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "benchmarks"))

from quality.differential import MIN_SCORE, Difference, differences, stock
from quality.explained import EXPLAINED, unexplained
from quality.fresh import FRESH
from quality.texts import generate
from quality.third import THIRD
from quality.tuned import TUNED

PAGE = Path(__file__).parents[2] / "docs" / "detection-differences.md"


@pytest.fixture(scope="module")
def counted(packs: Packs) -> Counter[tuple[Difference, str]]:
    settings = DetectionSettings(kinds=frozenset({Kind.PII}), min_score=MIN_SCORE, deadline_s=60.0)
    theirs, types = stock()
    texts = [text for made in (TUNED, FRESH, THIRD) for text in generate(made, 11, 1, 6)]
    return differences(Detector(settings, packs), theirs, types, texts)


def test_every_difference_from_stock_presidio_has_an_argument(
    counted: Counter[tuple[Difference, str]],
) -> None:
    assert unexplained(counted) == []


def test_we_find_far_more_of_what_is_there_than_we_miss(counted: Counter[tuple[Difference, str]]) -> None:
    total = Counter[Difference]()
    for (kind, _), count in counted.items():
        total[kind] += count
    assert total[Difference.MORE] > 20 * total[Difference.MISSED]
    assert total[Difference.STRICTER] > 10 * total[Difference.FALSE]


def test_the_page_gives_an_argument_for_every_difference_met(
    counted: Counter[tuple[Difference, str]],
) -> None:
    page = PAGE.read_text("utf-8")
    absent = [f"{k} {e}" for k, e in counted if f"| {k} | {e} |" not in page and counted[k, e] > 3]
    assert absent == []
    assert all(
        why in page
        for kind, entity in counted
        if (why := EXPLAINED[kind][entity]) and counted[kind, entity] > 3
    )
