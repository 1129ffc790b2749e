"""It is told once in a window when a second person uses a credential, and memory stays bounded."""

from datetime import UTC, datetime, timedelta

from sallyport.state.keysharing import MAX_KEYS, MAX_PEOPLE, KeySharing

AT, DAY = datetime(2026, 11, 1, tzinfo=UTC), timedelta(days=1)


def test_two_people_within_the_window_are_told_once() -> None:
    sharing = KeySharing()
    assert sharing.hear("k", "t", "ann", AT, DAY) == ()
    assert sharing.hear("k", "t", "ann", AT + DAY / 2, DAY) == ()
    assert set(sharing.hear("k", "t", "bob", AT + DAY / 2, DAY)) == {("t", "ann"), ("t", "bob")}
    assert sharing.hear("k", "t", "eve", AT + DAY / 2, DAY) == ()
    assert sharing.hear("k", "t", "ann", AT + 2 * DAY, DAY) == ()
    assert sharing.hear("k", "t", "bob", AT + 2 * DAY, DAY)


def test_people_of_the_same_id_in_two_tenants_are_two() -> None:
    sharing = KeySharing()
    sharing.hear("k", "one", "ann", AT, DAY)
    assert sharing.hear("k", "two", "ann", AT, DAY)


def test_two_people_far_apart_or_with_two_keys_are_not_told_of() -> None:
    sharing = KeySharing()
    sharing.hear("k", "t", "ann", AT, DAY)
    assert sharing.hear("other", "t", "bob", AT, DAY) == ()
    assert sharing.hear("k", "t", "bob", AT + DAY, DAY) == ()


def test_a_clock_that_was_ahead_and_is_set_right_keeps_nothing_from_being_told() -> None:
    sharing = KeySharing()
    for who in ("ann", "bob"):
        sharing.hear("k", "t", who, AT + 3650 * DAY, DAY)
    assert sharing.hear("k", "t", "ann", AT, DAY) == ()
    assert set(sharing.hear("k", "t", "eve", AT, DAY)) == {("t", "ann"), ("t", "eve")}, "and not bob"


def test_memory_is_bounded() -> None:
    sharing = KeySharing()
    for number in range(MAX_KEYS + 50):
        sharing.hear(f"k{number}", "t", "ann", AT, DAY)
    for number in range(MAX_PEOPLE + 50):
        sharing.hear("k", "t", f"p{number}", AT, DAY)
    assert len(sharing._keys) <= MAX_KEYS
    assert max(len(use.people) for use in sharing._keys.values()) <= MAX_PEOPLE
