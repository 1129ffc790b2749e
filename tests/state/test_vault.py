"""Originals behind placeholders: one scope's are unknown in every other, and the same key spells them alike."""

import pytest

from sallyport.state.vault import MemoryVault

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
