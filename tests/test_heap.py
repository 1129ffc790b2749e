"""When the collector of garbage is kept still."""

import gc
from collections.abc import Iterator

import pytest

from sallyport.heap import no_collection


@pytest.fixture(autouse=True)
def on_again() -> Iterator[None]:
    yield
    gc.enable()


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
