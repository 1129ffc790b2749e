"""Thresholds of the classifier: whose false alarms decide them."""

import random
from types import ModuleType

import pytest

from sallyport.detect.classifier.classifier import MOST, Calibration

PLAIN = Calibration(1.0, 0.0, 0.0, 0.0, ())


def rows(module: ModuleType, source: str, mean: float, count: int = 1000) -> list[object]:
    """Left-out clean texts whose log-odds lie around a mean."""
    rng = random.Random(source)
    return [module.Seen(source, "content", False, rng.gauss(mean, 1.0), 1, 0.0) for _ in range(count)]


def alarms(seen: list[object], least: float) -> float:
    return sum(PLAIN.probability(s.logit, 1, 0.0) >= least for s in seen) / len(seen)


def test_texts_made_to_look_like_attacks_decide_nothing_within_their_own_bound(
    calibrating: ModuleType,
) -> None:
    ordinary, alike = rows(calibrating, "mails", 0.0), rows(calibrating, "families, content", 0.6)
    together = dict(
        calibrating.thresholds(PLAIN, ordinary + alike, calibrating.NONE_ALIKE, calibrating.EACH, 0.0)
    )
    apart = dict(
        calibrating.thresholds(PLAIN, ordinary + alike, calibrating.ALIKE_CONTENT, calibrating.EACH, 0.0)
    )
    alone = dict(calibrating.thresholds(PLAIN, ordinary, calibrating.NONE_ALIKE, calibrating.EACH, 0.0))
    assert together[0.01] > apart[0.01]
    assert apart[0.01] == pytest.approx(alone[0.01], abs=0.005)
    assert alarms(ordinary, apart[0.01]) <= 0.01
    assert alarms(alike, apart[0.01]) <= calibrating.ALIKE_CONTENT.most(0.01)


@pytest.mark.parametrize("name", ["ALIKE_USER", "ALIKE_CONTENT"])
def test_texts_made_to_look_like_attacks_have_a_bound(calibrating: ModuleType, name: str) -> None:
    bound = getattr(calibrating, name)
    ordinary, alike = rows(calibrating, "mails", 0.0), rows(calibrating, "written, content", 3.0)
    for rate, least in calibrating.thresholds(PLAIN, ordinary + alike, bound, calibrating.EACH, 0.0):
        assert alarms(alike, least) <= bound.most(rate)


def test_no_ordinary_source_lies_far_above_the_rate(calibrating: ModuleType) -> None:
    quiet = [s for n in range(9) for s in rows(calibrating, f"quiet {n}", -3.0)]
    loud = rows(calibrating, "loud", 0.0)
    for rate, least in calibrating.thresholds(
        PLAIN, quiet + loud, calibrating.NONE_ALIKE, calibrating.EACH, 0.0
    ):
        assert alarms(loud, least) < calibrating.EACH * rate


def test_a_class_of_few_texts_is_held_below_the_rate_on_every_source(calibrating: ModuleType) -> None:
    ordinary = rows(calibrating, "functions", -3.0)
    few = [
        calibrating.Seen("few", "content", False, 9.0 if n == 0 else -9.0 - n / 100, 1, 0.0)
        for n in range(100)
    ]
    one = PLAIN.probability(9.0, 1, 0.0)
    loose = dict(calibrating.thresholds(PLAIN, ordinary + few, calibrating.NONE_ALIKE, calibrating.EACH, 0.0))
    strict = dict(
        calibrating.thresholds(PLAIN, ordinary + few, calibrating.NONE_ALIKE, calibrating.EACH_OF_FEW, 0.0)
    )
    assert loose[0.01] < one < strict[0.01]
    assert strict[0.02] < one


def test_what_the_rules_refuse_is_no_alarm_of_the_classifier(calibrating: ModuleType) -> None:
    ordinary = rows(calibrating, "mails", 0.0)
    refused = [calibrating.Seen("mails", "content", False, 9.0, 1, 1.0) for _ in range(100)]
    least = dict(
        calibrating.thresholds(PLAIN, ordinary + refused, calibrating.NONE_ALIKE, calibrating.EACH, 0.0)
    )[0.01]
    assert least < PLAIN.probability(9.0, 1, 0.0)


def test_one_document_asked_about_in_many_ways_is_no_source_of_its_own(calibrating: ModuleType) -> None:
    ordinary = rows(calibrating, "mails", 0.0)
    again = [calibrating.Seen("again", "content", False, 9.0, 1, 0.0) for _ in range(100)]
    apart = [calibrating.Seen("again", "content", False, 9.0 + n / 100, 1, 0.0) for n in range(100)]
    alone = calibrating.thresholds(PLAIN, ordinary, calibrating.NONE_ALIKE, calibrating.EACH, 0.0)
    same = calibrating.thresholds(PLAIN, ordinary + again, calibrating.NONE_ALIKE, calibrating.EACH, 0.0)
    assert [p for _, p in same] == pytest.approx([p for _, p in alone], abs=2e-4)
    loud = dict(
        calibrating.thresholds(PLAIN, ordinary + apart, calibrating.NONE_ALIKE, calibrating.EACH, 0.0)
    )
    assert loud[0.01] > dict(alone)[0.01]


def test_length_counts_by_what_is_found_among_long_and_short_attacks(calibrating: ModuleType) -> None:
    def some(source: str, attack: bool, mean: float, sentences: int, count: int = 400) -> list[object]:
        rng = random.Random(source)
        return [
            calibrating.Seen(source, "content", attack, rng.gauss(mean, 0.5), sentences, 0.0)
            for _ in range(count)
        ]

    seen = [*rows(calibrating, "mails", -2.0), *some("attacks", True, 1.0, 1)]
    assert calibrating.calibrate(seen).length == 0
    seen += some(calibrating.JOINED, False, 1.0, 400)
    short = calibrating.calibrate(seen, least=0.0)
    planted = [s for name in ("mails", "pages") for s in some(f"planted in {name}", True, 4.0, 400)]
    both = calibrating.calibrate(seen, least=0.0, planted=planted)
    assert short.length < both.length <= 0
    for calibration in (short, both):
        least = calibration.threshold(calibrating.RATE)
        long = [s for s in seen if s.source == calibrating.JOINED]
        flagged = sum(calibration.probability(s.logit, s.sentences, 0.0) >= least for s in long)
        assert flagged <= calibrating.EACH_JOINED * calibrating.RATE * len(long)


def test_a_long_text_asks_for_a_surer_order_and_a_longer_one_for_no_surer() -> None:
    calibration = Calibration(1.0, -0.7, 0.0, 0.0, ())
    one, some, many, more = (calibration.probability(2.0, count, 0.0) for count in (1, 20, MOST, 100 * MOST))
    assert one > some > many == more
