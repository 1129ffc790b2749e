"""When the collector of garbage is kept still."""

import gc
from collections.abc import Iterator

import pytest

from sallyport.heap import keep_what_lives, no_collection


@pytest.fixture(autouse=True)
def on_again() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_nothing_is_collected_meanwhile_and_afterwards_it_is_again() -> None:
    with no_collection():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_fails_meanwhile_leaves_the_collector_on() -> None:
    with pytest.raises(KeyError), no_collection():
        raise KeyError
    assert gc.isenabled()


def test_within_another_only_the_outer_one_ends_it() -> None:
    with no_collection():
        with no_collection():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_process_that_collects_nothing_is_left_so() -> None:
    gc.disable()
    with no_collection():
        pass
    assert not gc.isenabled()


def test_what_lives_is_not_looked_at_again_and_what_comes_is() -> None:
    lives = [[]]
    keep_what_lives()
    comes = [[]]
    looked_at = {id(one) for one in gc.get_objects()}
    assert id(lives) not in looked_at
    assert id(comes) in looked_at
