"""Telephone numbers: as the phonenumbers library sees them, at a fraction of its cost."""

import random
import re

import phonenumbers
import pytest

from sallyport.detect import telephone

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "IN", "BR", "AU")


def drawn(seed: int) -> list[str]:
    """Return national numbers: examples of every plan with some digits drawn anew, and plain digits."""
    rng = random.Random(seed)
    made = []
    for region in REGIONS:
        for kind in range(11):
            number = phonenumbers.example_number_for_type(region, kind)
            if number is None:
                continue
            written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            places = [n for n, c in enumerate(written) if c.isdigit()]
            for changed in (0, 3, 5, 7):
                chars = list(written)
                for place in places[len(places) - changed :]:
                    chars[place] = rng.choice("0123456789")
                made.append("".join(chars))
    made += [
        "".join(rng.choice("0123456789") for _ in range(rng.choice((9, 10, 11, 12)))) for _ in range(300)
    ]
    return made


def by_library(value: str, groups: list[str]) -> float:
    best = 0.0
    for region in REGIONS:
        try:
            number = phonenumbers.parse(value, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            grouped = len(groups) > 1 and groups[0][0] == "0" and re.findall(r"\d+", national) == groups
            best = max(best, 0.8 if grouped else 0.5)
    return best


@pytest.mark.parametrize("seed", range(4))
def test_national_numbers_weigh_what_the_library_would_give_them(seed: int) -> None:
    plans = telephone.plans(REGIONS)
    differing = []
    for value in drawn(seed):
        groups = re.findall(r"\d+", value)
        if plans.national(groups) != by_library(value, groups):
            differing.append(value)
    assert differing == []


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_an_example_of_every_country_is_valid(region: str) -> None:
    number = phonenumbers.example_number(region)
    assert number is not None
    digits = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
    assert telephone.international(digits) == (True, True)


@pytest.mark.parametrize("digits", ["", "0", "999", "1", "49", "12345678901234567890"])
def test_what_no_plan_has_is_no_number(digits: str) -> None:
    assert telephone.international(digits) == (False, False)
