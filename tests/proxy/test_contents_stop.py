"""What waits to be kept when a gateway ends is masked with all that looks for names."""

import os
from types import SimpleNamespace
from typing import Any, cast

from sallyport.cli.assembly import Assembled


def test_who_finds_names_ends_after_what_is_still_to_be_masked() -> None:
    ended: list[str] = []

    def closing(name: str) -> Any:
        return SimpleNamespace(close=lambda: ended.append(name))

    gateway = SimpleNamespace(capture_writer=closing("captures"), content_writer=closing("content"))
    parts = [closing(name) for name in ("log", "sink", "store")]
    lock = os.open(os.devnull, os.O_RDONLY)
    Assembled(cast(Any, gateway), *parts, lock, closing("names"), closing("keeper")).close()
    assert set(ended) == {"captures", "content", "log", "sink", "store", "names", "keeper"}
    assert ended.index("names") > max(ended.index("captures"), ended.index("content"))
    assert ended.index("log") > ended.index("content")
