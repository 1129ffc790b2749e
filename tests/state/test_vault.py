"""Originals behind placeholders: one scope's are unknown in every other, and the same key spells them alike."""

import pytest

from sallyport.state.vault import MAX_VALUES_PER_SCOPE, MemoryVault

KEY = b"k" * 32
ENTITY, VALUE = "EMAIL_ADDRESS", "marta.quill@example.com"
OTHERS = [
    ("u", "p", "c", "x"),
    ("t", "q", "c", "x"),
    ("t", "p", "d", "x"),
    ("t", "p", "c", "y"),
    ("t", "p", "c", ""),
]


@pytest.mark.parametrize("caller", ["", "x"])
def test_every_worker_with_the_same_key_spells_a_placeholder_alike(caller: str) -> None:
    one, other = (MemoryVault(KEY).scope("t", "p", "c", caller).placeholder(ENTITY, VALUE) for _ in "ab")
    assert one == other
    assert MemoryVault(b"x" * 32).scope("t", "p", "c", caller).placeholder(ENTITY, VALUE) != one


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("shared", [False, True])
def test_a_placeholder_is_unknown_in_every_other_scope(
    other: tuple[str, str, str, str], shared: bool
) -> None:
    vault = MemoryVault(KEY)
    mark = vault.scope("t", "p", "c", "x").placeholder(ENTITY, VALUE, shared)
    assert vault.scope("t", "p", "c", "x").original(mark) == VALUE
    assert vault.scope(*other).original(mark) is None
    assert vault.scope(*other).empty


@pytest.mark.parametrize("other", OTHERS)
def test_a_value_is_spelt_by_its_scope(other: tuple[str, str, str, str]) -> None:
    own, foreign = MemoryVault(KEY).scope("t", "p", "c", "x"), MemoryVault(KEY).scope(*other)
    assert own.placeholder(ENTITY, VALUE) != foreign.placeholder(ENTITY, VALUE)
    assert own.digest(ENTITY, VALUE) != foreign.digest(ENTITY, VALUE)


def test_what_a_provider_wrote_stays_its_own_when_a_caller_renews_its_token() -> None:
    """Signed reasoning must go back as it came, or the provider refuses the conversation."""
    vault = MemoryVault(KEY)
    vault.scope("t", "p", "c", "x").remember_answer("I think.")
    assert vault.scope("t", "p", "c", "y").came_from_provider("I think.")
    assert not vault.scope("t", "p", "d", "x").came_from_provider("I think.")
    assert not vault.scope("t", "q", "c", "x").came_from_provider("I think.")


class Timer:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.message for record in caplog.records if record.name == "sallyport.vault"]
    caplog.clear()
    return found


def test_values_that_are_dropped_for_room_are_told_now_and_then_and_never_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timer = Timer()
    scope = MemoryVault(KEY, clock=timer).scope("t", "p", "c")
    marks = [scope.placeholder(ENTITY, f"{n}{VALUE}") for n in range(MAX_VALUES_PER_SCOPE)]
    assert scope.placeholder(ENTITY, f"0{VALUE}") == marks[0], "which is not the oldest any more"
    assert lines(caplog) == []
    for n in range(3):
        scope.placeholder(ENTITY, f"more{n}{VALUE}")
    assert [scope.original(mark) for mark in marks[:5]] == [f"0{VALUE}", None, None, None, f"4{VALUE}"]
    (line,) = lines(caplog)
    assert (
        "dropped for room: 1 of conversations with more than 20000 of them or with very long ones, and all of 0 conv"
        in line
    )
    timer.now += 60
    scope.placeholder(ENTITY, f"last{VALUE}")
    (line,) = lines(caplog)
    assert "dropped for room: 3 of" in line
    assert VALUE not in line


def test_all_conversations_together_hold_no_more_than_fits_and_what_goes_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    timer = Timer()
    vault = MemoryVault(KEY, max_size=530, clock=timer)
    marks = {name: vault.scope("t", "p", name).placeholder(ENTITY, VALUE) for name in "abcdefghij"}
    assert vault.scope("t", "p", "a").original(marks["a"]) == VALUE, "used last, but for j"
    assert lines(caplog) == []
    vault.scope("t", "p", "k").placeholder(ENTITY, VALUE)
    (line,) = lines(caplog)
    assert "all of 2 conversations" in line
    assert [name for name in "abcdefghij" if vault.scope("t", "p", name).empty] == ["b", "c"]
    long = [f"{n}{VALUE * 20}" for n in range(60)]
    own = [vault.scope("t", "p", "l").placeholder(ENTITY, value) for value in long]
    assert [vault.scope("t", "p", "l").original(mark) for mark in own] == long, "never those in use"
    assert [vault.scope("t", "p", name).empty for name in "dak"] == [True, False, False]


def test_who_masks_long_lists_in_ever_new_conversations_costs_nobody_else_theirs() -> None:
    vault = MemoryVault(KEY, max_size=1000)
    others = [vault.scope(tenant, "p", "c") for tenant in "abc"]
    marks = [scope.placeholder(ENTITY, VALUE) for scope in others]
    for name in range(20):
        for n in range(100):
            vault.scope("t", "p", f"{name}").placeholder(ENTITY, f"{n}{VALUE}")
        assert not vault.scope("t", "p", f"{name}").empty
    assert [scope.original(mark) for scope, mark in zip(others, marks, strict=True)] == [VALUE] * 3


def test_what_is_masked_again_takes_no_more_room() -> None:
    vault = MemoryVault(KEY, max_size=104)
    for _ in range(5):
        for name in "ab":
            for n in range(2):
                vault.scope("t", "p", name).placeholder(ENTITY, f"{n}{VALUE}")
    assert [vault.scope("t", "p", name).empty for name in "ab"] == [False, False]


def test_one_conversation_of_long_values_costs_nobody_else_theirs() -> None:
    vault = MemoryVault(KEY, max_size=1000)
    others = [vault.scope("t", f"p{number}", "c") for number in range(3)]
    marks = [scope.placeholder(ENTITY, VALUE) for scope in others]
    hoard = vault.scope("t", "hoarder", "c")
    for number in range(50):
        last = hoard.placeholder(ENTITY, f"{number:04}" * 1500)
    assert [scope.original(mark) for scope, mark in zip(others, marks, strict=True)] == [VALUE] * 3
    assert hoard.original(last) == "0049" * 1500
    assert vault._size <= 1000
    assert vault._size == sum(values.size for values in vault._scopes.values())
