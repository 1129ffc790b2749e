"""An address begins with its first word, and not before it."""

import pytest

from detect.scanning import findings
from sallyport.detect.engine import Detector


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("zam. os. Piastowskie 186, 00-238 Warszawa", "os. Piastowskie 186, 00-238 Warszawa"),
        ("wonende Lange Voorhout 183, 1017 AB Amsterdam", "Lange Voorhout 183, 1017 AB Amsterdam"),
        ("Woont op Van Goghweg 179.", "Van Goghweg 179"),
        ("Ik woon op Van Goghweg 53A, 3511 BT Utrecht en werk hier", "Van Goghweg 53A, 3511 BT Utrecht"),
        ("Woont op Molenweg 5A.", "Molenweg 5A"),
        ("osoite Puistotie 163 B 12.", "Puistotie 163 B 12"),
        ("Anschrift Kleine Gasse 8, 4020 Linz", "Kleine Gasse 8, 4020 Linz"),
    ],
)
def test_an_address_is_found_from_its_first_word(detector: Detector, text: str, address: str) -> None:
    assert [text[f.start : f.end] for f in findings(detector, text)] == [address]
