"""Versions that look like addresses, addresses from their first word, and check digits of companies' numbers."""

import pytest
from tests.detect.scanning import findings

from sallyport.decision import Kind
from sallyport.detect import validators
from sallyport.detect.engine import DetectionSettings, Detector

ADDRESSES = [
    "rolled back to the old config, server 88.14.120.77 answers again",
    "Accepted publickey for root from 84.17.52.119 port 22",
    "upstream api { server 93.184.21.34:8080; }",
    "user upgraded from 84.17.52.119",
    "edit reverted from 84.17.52.119",
    "We moved the resolver from 80.12.55.3 to 80.12.55.9 last night",
    "Released the build 4.1.2 to 84.17.52.119",
    "Release notes were read by 84.17.52.119 (2026-03-02)",
    "name=84.17.52.119\nrole=edge",
    "targets=84.17.52.119-120",
    "docker run -e DB_HOST:84.17.52.119 api",
    "upgrade the client at 84.17.52.119 and 84.17.52.120",
    "rev shell to 45.83.12.90 suspected",
    "fw=84.17.52.119",
    "edge 84.17.52.119",
    "dispatch 84.17.52.119",
]
VERSIONS = [
    "the app crashed, downgraded to 8.2.41.7 and all is well",
    "We upgraded from 6.0.3.12 to 6.1.0.44 on Friday",
    "Compare versions 9.10.28.250 and 6.15.9.177",
    "docker pull redis:11.7.5.61",
    "Our changelog says 1.4.8.62 (2022-10-03), 1.4.8.71 (2022-11-02)",
    '{"releases":[{"tagName":"12.4.6.91"}]}',
    'expect(semver("8.5.8.41")).toBeTruthy()',
    "<rev>10.11.36.182</rev>",
    '{"mac":"3C:44:7D:3E:90:62","ip":"::1","fw":"14.16.87.209"}',
    "at x.Y(Y.java:1) [core-3.1.4.12.jar:5.2.1.88]",
]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(DetectionSettings(kinds=frozenset({Kind.PII}), cache_entries=0))


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_found_whatever_stands_around_it(detector: Detector, text: str) -> None:
    assert "IP_ADDRESS" in {f.entity for f in findings(detector, text)}


@pytest.mark.parametrize("text", VERSIONS)
def test_a_version_is_no_address(detector: Detector, text: str) -> None:
    assert "IP_ADDRESS" not in {f.entity for f in findings(detector, text)}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("zam. os. Piastowskie 186, 00-238 Warszawa", "os. Piastowskie 186, 00-238 Warszawa"),
        ("wonende Lange Voorhout 183, 1017 AB Amsterdam", "Lange Voorhout 183, 1017 AB Amsterdam"),
        ("Anschrift Kleine Gasse 8, 4020 Linz", "Kleine Gasse 8, 4020 Linz"),
    ],
)
def test_an_address_is_found_from_its_first_word(detector: Detector, text: str, address: str) -> None:
    assert [text[f.start : f.end] for f in findings(detector, text)] == [address]


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
        ("pl_regon", "68280388300495", "68280388300496"),
    ],
)
def test_numbers_of_companies_by_their_check_digits(name: str, right: str, wrong: str) -> None:
    assert validators.VALIDATORS[name](right)
    assert not validators.VALIDATORS[name](wrong)
