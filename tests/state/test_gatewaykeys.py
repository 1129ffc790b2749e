"""Gateway keys are told at sight: one's own, another gateway's, and what was mistyped on the way."""

import random
import re

import pytest

from sallyport.exchange import KeyForm
from sallyport.state.gatewaykeys import (
    GENERIC,
    MARK,
    MIN_RANDOM_CHARS,
    SHAPES,
    form_of,
    new_gateway_key,
    shape_for,
)

OWN, OTHER = b"o" * 32, b"x" * 32
PROVIDERS = [*SHAPES, "somebody-else"]


def anything(chars: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    return "".join(random.choice(letters) for _ in range(chars))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_has_the_format_and_160_bits_of_chance(provider: str) -> None:
    shape = shape_for(provider)
    keys = {new_gateway_key(OWN, provider) for _ in range(20)}
    assert len(keys) == 20
    assert {len(key) for key in keys} == {shape.chars}
    assert all(key.startswith(shape.prefix) and key.endswith(shape.suffix) for key in keys)
    assert shape.random_chars >= MIN_RANDOM_CHARS


def test_the_formats_are_those_of_the_providers() -> None:
    formats = {
        "openai": r"sk-proj-[A-Za-z0-9_-]{156}",
        "anthropic": r"sk-ant-api03-[A-Za-z0-9_-]{93}AA",
        "gemini": r"AIza[A-Za-z0-9_-]{35}",
        "azure_openai": r"[A-Za-z0-9]{84}",
        "groq": r"gsk_[A-Za-z0-9]{52}",
    }
    for provider, pattern in formats.items():
        assert re.fullmatch(pattern, new_gateway_key(OWN, provider)), provider


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_gateway_knows_its_own_and_sees_those_of_others(provider: str) -> None:
    key = new_gateway_key(OWN, provider)
    assert form_of(OWN, key) is KeyForm.GATEWAY
    assert form_of(OTHER, key) is KeyForm.FORGED


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_slip_anywhere_makes_it_neither_good_nor_a_credential_of_somebody(provider: str) -> None:
    key = new_gateway_key(OWN, provider)
    for at in range(len(key)):
        other = "b" if key[at] != "b" else "c"
        slips = [key[:at] + other + key[at + 1 :], key[:at] + key[at + 1 :], key[:at] + other + key[at:]]
        if at + 1 < len(key) and key[at] != key[at + 1]:
            slips.append(key[:at] + key[at + 1] + key[at] + key[at + 2 :])
        for slip in slips:
            assert form_of(OWN, slip) is KeyForm.FORGED, (at, slip)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_that_was_cut_or_changed_its_case_is_seen(provider: str) -> None:
    key, shape = new_gateway_key(OWN, provider), shape_for(provider)
    for chars in range(len(shape.prefix) + len(shape.mark), len(key)):
        assert form_of(OWN, key[:chars]) is KeyForm.FORGED
    assert form_of(OWN, key.lower()) is KeyForm.FORGED
    assert form_of(OWN, key.upper()) is KeyForm.FORGED


def test_a_checksum_that_is_tried_out_is_not_hit_by_chance() -> None:
    shape = GENERIC
    tries = (shape.prefix + MARK + anything(shape.chars - len(shape.prefix) - len(MARK)) for _ in range(5000))
    assert all(form_of(OWN, key) is KeyForm.FORGED for key in tries)


def test_credentials_of_providers_are_no_gateway_keys() -> None:
    makes = {"sk-proj-": 156, "sk-ant-api03-": 95, "AIza": 35, "gsk_": 52, "": 32, "ey": 900, "sk-": 48}
    for prefix, chars in makes.items():
        for _ in range(2000):
            assert form_of(OWN, prefix + anything(chars)) is KeyForm.PROVIDER, prefix
