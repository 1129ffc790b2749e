"""A place of a text as the provider wrote it is found again in the text that the client gets."""

import random

import pytest

from sallyport.stages.restoring import restore
from sallyport.stages.shifts import Shifts
from sallyport.state.vault import MemoryVault

SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
VALUES = {
    SCOPE.placeholder("EMAIL_ADDRESS", v): v
    for v in ("a@b.example", "marta.quill@long-name.example.org", "é🙂")
}


@pytest.mark.parametrize("in_bytes", [False, True])
def test_what_stands_between_two_places_is_the_same_before_and_after(in_bytes: bool) -> None:
    rng = random.Random(7)
    words = [*VALUES, "see", "the", "sky", "ünd", "数据", "https://x.example/?q=", "now\n"]
    for _ in range(500):
        pieces = [rng.choice(words) + rng.choice([" ", "", ", "]) for _ in range(rng.randint(1, 12))]
        said = "".join(pieces)
        sent = restore(said, SCOPE.original)
        shifts = Shifts(said, sent, SCOPE.original, in_bytes=in_bytes)
        start = len("".join(pieces[: (first := rng.randrange(len(pieces)))]))
        end = start + len("".join(pieces[first : rng.randint(first, len(pieces))]))
        plain = said[start:end]

        def at(place: int, said: str = said, sent: str = sent, shifts: Shifts = shifts) -> int:
            if not in_bytes:
                new = shifts.moved(place)
                return place if new is None else new
            count = len(said[:place].encode())
            new = shifts.moved(count)
            return len(sent.encode()[: count if new is None else new].decode())

        cut = sent[at(start) : at(end)]
        for placeholder, value in VALUES.items():
            plain, cut = plain.replace(placeholder, "#"), cut.replace(placeholder, "#").replace(value, "#")
        assert cut == plain


def test_behind_what_was_changed_otherwise_nothing_is_known() -> None:
    (one, *_), (value, *_) = VALUES, VALUES.values()
    shifts = Shifts(f"{one} and secret, {one} end", f"{value} and [SECRET], {value} end", SCOPE.original)
    assert shifts.moved(len(one) + 5) == len(value) + 5
    assert shifts.moved(len(one) + 12) is None


def test_a_place_in_a_value_lies_at_its_end_and_one_before_it_stays() -> None:
    (one, *_), (value, *_) = VALUES, VALUES.values()
    shifts = Shifts(f"to {one}!", f"to {value}!", SCOPE.original)
    assert (shifts.moved(3), shifts.moved(5), shifts.moved(3 + len(one))) == (
        None,
        3 + len(value),
        3 + len(value),
    )
