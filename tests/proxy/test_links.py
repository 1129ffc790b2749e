"""Ids of answers are remembered for as many as fit, and what is in use is forgotten last."""

import pytest

from sallyport.proxy import links
from sallyport.proxy.links import Link, Links

ANN, BOB = ("acme", "ann"), ("acme", "bob")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Links:
    monkeypatch.setattr(links, "MAX_LINKS", 2)
    known = Links(bytes(32))
    known.remember("openai", "one", Link("c1", 1, ANN))
    known.remember("openai", "two", Link("c2", 2, ANN))
    return known


def test_an_id_that_is_asked_for_outlives_one_that_is_not(few: Links) -> None:
    assert few.known("openai", "one") is not None
    few.remember("openai", "three", Link("c3", 3, ANN))
    assert few.known("openai", "one") == Link("c1", 1, ANN)
    assert few.known("openai", "two") is None


def test_an_id_that_is_given_again_outlives_one_that_is_not(few: Links) -> None:
    few.remember("openai", "one", Link("c1", 9, BOB))
    few.remember("openai", "three", Link("c3", 3, ANN))
    assert few.known("openai", "one") == Link("c1", 9, ANN), "who was given it first stays so"
    assert few.known("openai", "two") is None


def test_what_an_answer_said_of_its_own_id_stays(few: Links) -> None:
    few.remember("openai", "one", Link("c1", 9, ANN, grows=True))
    assert few.known("openai", "one") == Link("c1", 1, ANN)


def test_ids_of_two_providers_are_two(few: Links) -> None:
    assert few.known("anthropic", "one") is None
