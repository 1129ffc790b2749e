"""Every shipped rule does on its examples what they say; each rule brings its own proof."""

import pytest

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect.packs import Rule, load
from sallyport.detect.presidio import Recognisers
from sallyport.detect.proof import prove

PACKS = load(rules_dir())


@pytest.mark.parametrize("rule", PACKS.rules, ids=lambda rule: rule.id)
def test_a_rule_fires_on_its_match_examples_and_on_no_other(rule: Rule) -> None:
    assert [str(failure) for failure in prove(rule)] == []


def test_ids_are_unique_and_say_where_the_rule_is() -> None:
    ids = [rule.id for rule in PACKS.rules]
    assert len(ids) == len(set(ids))
    for rule in PACKS.rules:
        path = rule.where.split(":")[0].removeprefix("rules/").removesuffix(".yaml")
        assert rule.id.rpartition(".")[0] == path.replace("/", ".")


def test_every_rule_bears_a_tag_or_is_about_persons() -> None:
    assert [rule.id for rule in PACKS.rules if not rule.tags and rule.kind is not Kind.PII] == []


def test_every_recogniser_exists() -> None:
    Recognisers([rule.recogniser for rule in PACKS.rules if rule.recogniser], ("US",)).warm()


@pytest.mark.parametrize(
    "entity",
    ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS", "CRYPTO", "UK_NHS"],
)
def test_the_usual_entities_bear_presidios_names(entity: str) -> None:
    assert entity in {rule.entity for rule in PACKS.rules}


def test_no_secret_is_stored_in_a_pack() -> None:
    """Examples of secrets come from shapes: the files hold nothing that a scanner would report."""
    stored = (rules_dir() / "secrets").rglob("*.yaml")
    for path in stored:
        text = path.read_text()
        assert "sk-ant-api03-{{" in text or "sk-ant-api03-" not in text
        assert "ghp_A" not in text
