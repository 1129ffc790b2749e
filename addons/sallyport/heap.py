"""When the memory is not looked through for garbage, and which part of it never is."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collection() -> Iterator[None]:
    """Import, build and read without collections; afterwards they are as they were.

    Nearly all that comes up lives on. Looking at it again and again takes a tenth of the time of a start, and with a
    directory of 100,000 people each round holds the event loop for some 100 ms.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def keep_what_lives() -> None:
    """Leave out of every collection what lives now, for as long as the process does.

    A start makes 300,000 things that stay. To look at all of them holds every thread for some 0.4 s.
    """
    gc.freeze()
