"""An answer leaves without the real credential, however it was spelt and wherever its pieces were cut."""

import json
import random
import string
from urllib.parse import quote

import pytest

from sallyport.proxy.cleaning import Cleaner, CleanTap
from sallyport.proxy.stream import Step

LETTERS = string.ascii_letters + string.digits


def real(extra: str = "") -> str:
    return "sk-" + "".join(random.choice(LETTERS + extra) for _ in range(60)) + extra


class Passing:
    """A tap that changes nothing."""

    def feed(self, data: bytes) -> Step:
        return Step([data])

    def end(self) -> Step:
        return Step([])

    def broken(self) -> Step:
        return Step([b"error"], finish=True)


SPELLINGS = {
    "plain": lambda value: value,
    "percent": lambda value: quote(value, safe=""),
    "percent_lower": lambda value: value.replace("/", "%2f").replace("+", "%2b").replace("=", "%3d"),
    "json_slash": lambda value: value.replace("/", "\\/"),
    "json_java": lambda value: value.replace("=", "\\u003d"),
    "json_net": lambda value: value.replace("+", "\\u002B"),
    "json_all": lambda value: value.replace("/", "\\u002f").replace("+", "\\u002b").replace("=", "\\u003d"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_starred_out_in_its_own_length(spelling: str) -> None:
    value = real("/+=")
    spelt = SPELLINGS[spelling](value)
    data = f'{{"a":"{spelt}","b":"{spelt}"}}'.encode()
    cleaner = Cleaner(value)
    clean = cleaner.whole(data)
    assert spelt.encode() not in clean
    assert len(clean) == len(data)
    assert cleaner.found == 2
    json.loads(clean)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 30, 64, 1000])
def test_a_stream_is_clean_wherever_it_was_cut(size: int) -> None:
    value = real()
    data = (
        b"data: "
        + value.encode() * 2
        + b" s sk sk- "
        + value[:-1].encode()
        + b" end "
        + value.encode()
        + b"sk"
    )
    tap = CleanTap(Passing(), Cleaner(value))
    out = b""
    for at in range(0, len(data), size):
        step = tap.feed(data[at : at + size])
        out += b"".join(step.out)
        assert value.encode() not in out
    out += b"".join(tap.end().out)
    assert out == data.replace(value.encode(), b"*" * len(value))


def test_prose_is_not_held_back() -> None:
    tap = CleanTap(Passing(), Cleaner(real()))
    assert b"".join(tap.feed(b'data: {"x":1}\n\n').out) == b'data: {"x":1}\n\n'


def test_what_waits_when_the_upstream_breaks_stays_here() -> None:
    value = real()
    tap = CleanTap(Passing(), Cleaner(value))
    tap.feed(value[:40].encode())
    assert b"".join(tap.broken().out) == b"error"


def test_pieces_of_it_are_starred_out_in_errors_alone() -> None:
    value = real()
    text = f"Incorrect API key provided: {value[:20]}...{value[-4:]}. You can find it".encode()
    clean = Cleaner(value).error(text)
    assert value[:8].encode() not in clean
    assert value[12:20].encode() not in clean
    assert b"Incorrect API key provided: ****" in clean
    assert clean.endswith(b"You can find it")
    assert Cleaner(value).whole(text) == text
