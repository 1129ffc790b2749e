"""What is usual and what is not: the statistics of behaviour, with times of our own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from sallyport.state.behaviour import MAX_NAMES, MIN_HOURS, Behaviour, Feature, Seen, Standing

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
USUAL = {"spend": 20_000, "tokens": 5_000, "model": "gpt-4o", "host": "api.openai.com"}
CALLS = 4


def working_hours(days: int, start: datetime = MONDAY) -> Iterator[datetime]:
    """Yield the beginnings of the hours from nine to five, on working days."""
    for day in range(days):
        for hour in range(9, 17):
            at = start + timedelta(days=day, hours=hour)
            if at.weekday() < 5:
                yield at


def spend_hour(
    behaviour: Behaviour, at: datetime, calls: int = CALLS, who: str = "ann", **changes
) -> datetime:
    """Let somebody make calls spread over an hour; return when the last was made."""
    for number in range(calls):
        when = at + timedelta(minutes=59 * number / max(1, calls - 1))
        behaviour.hear(Seen("acme", who, when, **(USUAL | changes)))
    return when


def known(days: int = 10, who: str = "ann", start: datetime = MONDAY) -> Behaviour:
    behaviour = Behaviour()
    for at in working_hours(days, start):
        spend_hour(behaviour, at, who=who)
    return behaviour


NEXT_DAY = MONDAY + timedelta(days=10, hours=10)  # a Thursday, ten in the morning
assert NEXT_DAY.weekday() < 5


def features(standing: Standing) -> list[Feature]:
    return [reason.feature for reason in standing.reasons]


def test_somebody_nobody_heard_of_is_not_unusual():
    assert Behaviour().standing("acme", "ann", MONDAY) == Standing()


def test_a_usual_hour_is_not_unusual():
    behaviour = known()
    at = spend_hour(behaviour, NEXT_DAY)
    assert behaviour.standing("acme", "ann", at).score == 0


def test_a_cold_start_is_silent_whatever_happens():
    behaviour = Behaviour()
    hours = list(working_hours(4))[:MIN_HOURS]
    for number, at in enumerate(hours):
        last = spend_hour(behaviour, at, calls=10 ** min(number, 3), model=f"m{number}", host=f"h{number}")
        assert behaviour.standing("acme", "ann", last).score == 0
    assert behaviour.standing("acme", "ann", last).hours == MIN_HOURS - 1


@pytest.mark.parametrize(
    ("feature", "change"),
    [
        (Feature.SPEND, {"spend": 400_000}),
        (Feature.TOKENS, {"tokens": 100_000}),
        (Feature.REFUSALS, {"refused": True}),
    ],
)
def test_what_grows_is_the_reason(feature: Feature, change: dict):
    behaviour = known()
    at = spend_hour(behaviour, NEXT_DAY, calls=8, **change)
    standing = behaviour.standing("acme", "ann", at)
    assert features(standing) == [feature]
    assert standing.score == pytest.approx(standing.reasons[0].share)
    assert standing.score > 0.6


def test_more_of_the_same_calls_is_a_reason_for_requests_tokens_and_spend():
    behaviour = known()
    standing = behaviour.standing("acme", "ann", spend_hour(behaviour, NEXT_DAY, calls=80))
    assert set(features(standing)) == {Feature.REQUESTS, Feature.TOKENS, Feature.SPEND}
    assert standing.score > 0.95
    requests = next(r for r in standing.reasons if r.feature is Feature.REQUESTS)
    assert (requests.value, requests.usual) == (pytest.approx(80), pytest.approx(CALLS))


def test_new_models_and_hosts_are_reasons_and_stop_being_new():
    behaviour = known()
    for number in range(3):
        spend_hour(behaviour, NEXT_DAY, calls=1, model=f"new-{number}", host=f"new-{number}.example.com")
    at = NEXT_DAY + timedelta(minutes=30)
    standing = behaviour.standing("acme", "ann", at)
    assert set(features(standing)) == {Feature.NEW_MODELS, Feature.NEW_HOSTS}
    assert 0.6 < standing.score < 0.8
    fading = [behaviour.standing("acme", "ann", at + timedelta(minutes=m)).score for m in (0, 60, 80, 100)]
    assert fading == sorted(fading, reverse=True)
    assert fading[-1] == 0
    spend_hour(behaviour, NEXT_DAY + timedelta(hours=2), model="new-1", host="new-1.example.com")
    assert behaviour.standing("acme", "ann", NEXT_DAY + timedelta(hours=2, minutes=30)).score == 0


@pytest.mark.parametrize("hours", [17, 3 * 24], ids=["three at night", "a Sunday morning"])
def test_an_hour_in_which_nobody_was_ever_seen_is_a_reason(hours: int):
    behaviour = known()
    at = spend_hour(behaviour, NEXT_DAY + timedelta(hours=hours))
    standing = behaviour.standing("acme", "ann", at)
    assert features(standing) == [Feature.OFF_HOURS]
    assert standing.score == pytest.approx(0.3)


def test_a_score_lasts_over_the_turn_of_the_hour_and_fades_within_the_next():
    behaviour = known()
    spend_hour(behaviour, NEXT_DAY, calls=200)
    end = NEXT_DAY + timedelta(hours=1)
    scores = [
        behaviour.standing("acme", "ann", end + timedelta(minutes=m)).score for m in (0, 10, 50, 59, 60)
    ]
    assert scores[0] > 0.95
    assert scores[1] > 0.95
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] == 0
    ten_past = spend_hour(behaviour, end + timedelta(minutes=10), calls=1)
    assert behaviour.standing("acme", "ann", ten_past).score > 0.95


def test_one_flood_moves_the_baseline_no_further_than_a_busy_hour():
    calm, flooded, busy = known(), known(), known()
    spend_hour(calm, NEXT_DAY)
    spend_hour(flooded, NEXT_DAY, calls=5_000)
    spend_hour(busy, NEXT_DAY, calls=20)
    later = NEXT_DAY + timedelta(hours=3)
    scores = [b.standing("acme", "ann", spend_hour(b, later, calls=30)).score for b in (calm, flooded, busy)]
    assert scores[0] > 0.3
    assert scores[1] == pytest.approx(scores[2], abs=0.02)


def test_a_week_of_floods_still_leaves_the_next_unusual():
    behaviour = known(30)
    start = MONDAY + timedelta(days=35)
    scores = [
        behaviour.standing("acme", "ann", spend_hour(behaviour, at, calls=400)).score
        for at in working_hours(5, start)
    ]
    assert min(scores) > 0.8


@pytest.mark.parametrize("days", [3, 30])
def test_a_baseline_under_attack_for_days_holds_however_young_it_is(days: int):
    behaviour = known(days)
    for at in list(working_hours(40, MONDAY + timedelta(days=35)))[:30]:
        standing = behaviour.standing("acme", "ann", spend_hour(behaviour, at, calls=60))
        assert standing.score > 0.8
    requests = next(r for r in standing.reasons if r.feature is Feature.REQUESTS)
    assert requests.usual < 2 * CALLS


def test_people_and_tenants_are_apart():
    behaviour = known(who="ann")
    at = spend_hour(behaviour, NEXT_DAY, calls=500, who="bob")
    assert behaviour.standing("acme", "ann", at).score == 0
    assert behaviour.standing("other", "ann", at) == Standing()
    behaviour.hear(Seen("acme", "", at))
    assert {who for _, who, _ in behaviour.all(at)} == {"ann", "bob"}


def test_only_so_many_principals_and_names_are_kept():
    behaviour = Behaviour(most=3)
    for name in ("a", "b", "c", "a", "d"):
        behaviour.hear(Seen("acme", name, MONDAY))
    assert {who for _, who, _ in behaviour.all(MONDAY)} == {"a", "c", "d"}
    for number in range(3 * MAX_NAMES):
        behaviour.hear(Seen("acme", "a", MONDAY, model=f"m{number}", host=f"h{number}"))
    profile = behaviour._profiles["acme", "a"]
    assert (len(profile.models), len(profile.hosts)) == (MAX_NAMES, MAX_NAMES)


def test_an_episode_begins_once_and_may_begin_again_after_its_end():
    behaviour = known()
    begun = []
    for at in (NEXT_DAY, NEXT_DAY + timedelta(hours=4)):
        for number in range(200):
            when = at + timedelta(seconds=10 * number)
            behaviour.hear(Seen("acme", "ann", when, **USUAL))
            if behaviour.begins("acme", "ann", when, 0.8):
                begun.append(when)
        calm = at + timedelta(hours=2)
        behaviour.hear(Seen("acme", "ann", calm, **USUAL))
        assert behaviour.begins("acme", "ann", calm, 0.8) is None
    assert len(begun) == 2


def test_what_comes_late_counts_for_the_hour_under_way():
    behaviour = known()
    spend_hour(behaviour, NEXT_DAY)
    behaviour.hear(Seen("acme", "ann", NEXT_DAY - timedelta(hours=5), **USUAL))
    assert behaviour.standing("acme", "ann", NEXT_DAY + timedelta(minutes=59)).score == 0


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=3650)])
def test_a_clock_that_was_ahead_and_is_set_right_makes_nobody_unusual_for_long(ahead: timedelta):
    """One call of the future kept its hour open for years, and everything after it counted as one hour."""
    behaviour = known()
    behaviour.hear(Seen("acme", "ann", NEXT_DAY + ahead, **USUAL))
    for hour in range(6):
        at = spend_hour(behaviour, NEXT_DAY + timedelta(hours=hour))
        if hour:
            assert behaviour.standing("acme", "ann", at).score == 0


def test_the_same_history_gives_the_same_standing():
    one, two = known(), known()
    for behaviour in (one, two):
        at = spend_hour(behaviour, NEXT_DAY, calls=30, model="new")
    assert one.all(at) == two.all(at)
