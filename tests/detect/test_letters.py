"""Letters at random and words that somebody joined, told from words, names of code and labels."""

import random
import string

import pytest

from sallyport.detect.keys import assigned_key
from sallyport.detect.letters import is_random, is_short_random
from sallyport.detect.passwords import (
    chosen_word,
    given_password,
    password,
    spoken_password,
    word_key,
    word_password,
)
from sallyport.detect.toldwords import told_word


@pytest.mark.parametrize("letters", [string.ascii_lowercase, string.ascii_letters, string.ascii_uppercase])
@pytest.mark.parametrize("length", [12, 16, 24])
def test_letters_at_random_are_told(letters: str, length: int) -> None:
    rng = random.Random(f"{letters}{length}")
    drawn = ["".join(rng.choices(letters, k=length)) for _ in range(400)]
    assert sum(map(is_random, drawn)) >= 350


@pytest.mark.parametrize(
    "value",
    [
        "internationalization",
        "authenticationProvider",
        "silverlavender",
        "Benutzerverwaltung",
        "getElementsByTagName",
        "XMLHttpRequest",
        "niedogodnosci",
        "gebruiksaanwijzing",
        "CONNECTION_TIMEOUT",
        "CONNECTIONTIMEOUT",
        "qwertyuiopasdf",
        "asldkjaslkdjasld",
        "zqkvwxrtbnl",
        "zqkvwxrtbn1p",
        "žqkvwxrtbnlpq",
    ],
)
def test_words_and_names_are_not_random(value: str) -> None:
    assert not is_random(value)


@pytest.mark.parametrize("length", [8, 9, 10, 11])
def test_short_letters_of_both_cases_at_random_are_told(length: int) -> None:
    rng = random.Random(f"short{length}")
    drawn = ["".join(rng.choices(string.ascii_letters, k=length)) for _ in range(400)]
    assert sum(map(is_short_random, drawn)) >= 320


@pytest.mark.parametrize("value", ["kHbWqXjRzP", "VdkqTzoWpgK", "dkvcbuTQOk"])
def test_short_letters_at_random_are_passwords_where_one_is_expected(value: str) -> None:
    assert word_password(value)
    assert chosen_word(value)
    assert told_word(value)
    assert not is_random(value)


@pytest.mark.parametrize(
    "value",
    [
        "userName",
        "FormField",
        "getValues",
        "iOSAppId",
        "XMLParser",
        "setPwdHash",
        "newPassword",
        "QwErTyUi",
        "AbAbAbAb",
        "zqkvwxrt",
        "ZQKVWXRT",
        "Zqkvwxrt",
        "kHbWqXj",
        "kHbWqXj7",
    ],
)
def test_short_names_and_letters_of_one_case_are_not_random(value: str) -> None:
    assert not is_short_random(value)


@pytest.mark.parametrize(
    "value",
    [
        "otterharbour",
        "otter-harbour-lamp",
        "otter_harbour",
        "OtterHarbour",
        "otterHarbour!",
        "rote tulpen im keller",
        "zqkvwxrtbnlp",
    ],
)
def test_words_that_somebody_joined_are_passwords(value: str) -> None:
    assert word_password(value)


@pytest.mark.parametrize(
    "value",
    [
        "required",
        "password",
        "current-password",
        "changeme",
        "Kennwort",
        "handleSubmit",
        "loginForm",
        "unavailable",
        "confirmation",
        "errorhandler",
        "correcthorsebatterystaple",
        "otter",
        "Salasana",
        "wrongpassword",
    ],
)
def test_what_says_that_it_is_none_is_no_password(value: str) -> None:
    assert not word_password(value)


@pytest.mark.parametrize(
    "value",
    [
        "Sonnenblume",
        "Zizituk",
        "naranja",
        "HarvestHammer",
        "WindowWinter",
        "otterharbour",
        "walrusharbourpirate",
    ],
)
def test_one_word_is_a_password_where_its_place_leaves_no_doubt(value: str) -> None:
    assert chosen_word(value)
    assert given_password(value)


@pytest.mark.parametrize(
    "value",
    [
        "string",
        "required",
        "Encrypted",
        "medium",
        "FormControl",
        "MinLength",
        "userInput",
        "changeit",
        "wordpress",
        "testpass",
        "Lykilorð",
        "Slaptažodis",
        "Секрет",
        "Wachtwoord",
        "otter",
        "always",
        "otter7",
        "shhhhhh",
        "helloworld",
    ],
)
def test_types_labels_translations_and_defaults_are_no_words_that_somebody_chose(value: str) -> None:
    assert not chosen_word(value)


def test_what_is_given_for_a_password_may_have_figures_and_signs() -> None:
    assert given_password("Otter*Harbour_7")
    assert not given_password("os.environ")


def test_a_key_of_words_has_three_of_which_none_is_of_code() -> None:
    assert word_key("otter-harbour-lamp")
    assert not word_key("otter-harbour")
    assert not word_key("otter-harbour-key")
    assert not word_key("payments-tls-cert")


def test_letters_at_random_count_wherever_a_key_or_a_password_is_looked_for() -> None:
    for validator in (assigned_key, password, spoken_password):
        assert validator("QvKzWtRxBnLpMdGf")
        assert not validator("authenticationProvider")
