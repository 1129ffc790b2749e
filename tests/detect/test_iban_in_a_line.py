"""An IBAN is found whatever looks like the beginning of another one before it in its line."""

import pytest

from detect.scanning import findings
from sallyport.detect.engine import Detector

GERMAN, BELGIAN = "DE89370400440532013000", "BE68539007547034"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (f"refund order SO81971989 on IBAN {GERMAN}", [GERMAN]),
        (f"invoice FR20240088 is settled from {BELGIAN}", [BELGIAN]),
        (f"case BE20 and MX77123456, then {BELGIAN} and {GERMAN}", [BELGIAN, GERMAN]),
        ("order SO81971989 on IBAN DE88370400440532013000", []),
    ],
)
def test_an_iban_is_found_behind_other_numbers(detector: Detector, text: str, values: list[str]) -> None:
    found = [f for f in findings(detector, text) if f.entity == "IBAN_CODE"]
    assert [text[f.start : f.end] for f in found] == values
