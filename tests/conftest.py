"""For every test: what ships is read once a process, and what was imported to collect them is no garbage."""

import gc
from collections.abc import Generator

import pytest
from hypothesis import settings

from keeping import keep_what_is_read

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")  # a slow machine is no fault of the code


def pytest_configure() -> None:
    keep_what_is_read()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage only in what tests make: there are millions of objects before the first of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
