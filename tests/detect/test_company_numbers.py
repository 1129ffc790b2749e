"""Numbers of companies by their check digits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sallyport.data import rules_dir
from sallyport.detect.checksums import eu_vat
from sallyport.detect.packs import load
from sallyport.detect.validators import VALIDATORS

VATS = [rule for rule in load(rules_dir()).rules if rule.validator == "eu_vat"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("de_vat", "DE 680 730 212", "DE 680 730 213"),
        ("fr_vat", "FR 08 936 044 502", "FR 09 936 044 502"),
        ("fr_siret", "936 044 502 00164", "936 044 502 00165"),
        ("fr_siret", "356 000 000 00001", "356 000 000 00003"),
        ("uk_vat", "GB 511 8828 47", "GB 511 8828 48"),
        ("nl_vat", "NL729573813B01", "NL729573814B01"),
        ("nl_vat", "NL391929389B26", "NL391929389B27"),
        ("pl_regon", "682803883", "682803884"),
        ("eu_vat", "ATU68138589", "ATU68138588"),
        ("eu_vat", "BE 0590.922.812", "BE 0590.922.813"),
        ("eu_vat", "DK89024617", "DK89024618"),
        ("eu_vat", "FI19238270", "FI19238271"),
        ("eu_vat", "IE7660330TH", "IE7660330TG"),
        ("eu_vat", "IE1646428D", "IE1646428E"),
        ("eu_vat", "SE556159836701", "SE556159836801"),
        ("eu_vat", "PL6761182897", "PL6761182898"),
        ("eu_vat", "PT559898223", "PT559898224"),
        ("eu_vat", "ESB47218110", "ESB47218111"),
        ("eu_vat", "ES55555555K", "ES55555555A"),
        ("pl_regon", "68280388300495", "68280388300496"),
    ],
)
def test_numbers_of_companies_by_their_check_digits(name: str, right: str, wrong: str) -> None:
    assert VALIDATORS[name](right)
    assert not VALIDATORS[name](wrong)


@pytest.mark.parametrize(
    "country", ["AT U", "BE", "DK", "ES", "ES X", "ES B", "FI", "IE", "IE 1", "PL", "PT", "SE"]
)
@given(body=st.text("0123456789ABWXZ .-", max_size=15))
def test_a_number_of_another_shape_is_not_one_and_nothing_breaks(country: str, body: str) -> None:
    assert eu_vat(country + body) in (True, False)


@pytest.mark.parametrize("name", sorted(VALIDATORS))
def test_a_rule_confirms_nothing_of_a_shape_that_its_validator_cannot_read(name: str) -> None:
    rule = replace(VATS[0], validator=name)
    for value in ("", "-", "A", "é", "١٢٣", "A-B C", "1.2.3", "ES", "NLB", "eyJ", "X" * 40):
        assert rule.validate(value) in (True, False)
