"""The laws of detection and masking, on fewer texts than scripts/fuzz_detect takes."""

from evasion.fuzz import run


def test_the_laws_hold_on_generated_texts() -> None:
    fuzz = run(400, seed=0)
    assert fuzz.texts == 400
    assert fuzz.findings > 200, "the texts hold too little to break anything"
    assert fuzz.incomplete == 0
