"""The families of texts that the classifier learns from: every template can be read and leaves no slot open."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, bool, str, str, str, str]]:
    """(text, attack, surface class, group, language, family) of one text a template."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from training.injection.families import families
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    return [(t.text, t.attack, t.surface, t.group, t.lang, t.family) for t in families(1, 1)]


def test_no_template_leaves_a_slot_open(texts: list[tuple[str, bool, str, str, str, str]]) -> None:
    meant = {"{text}", "{context}", "{DATA}"}
    left = {found for row in texts for found in re.findall(r"\{[A-Za-z][A-Za-z ]{0,30}\}", row[0])} - meant
    assert not left
    assert not [row[0] for row in texts if "¦" in row[0] or "\\n" in row[0]]


def test_a_family_is_left_out_as_a_whole(texts: list[tuple[str, bool, str, str, str, str]]) -> None:
    groups: dict[tuple[str, str, str, bool], set[str]] = {}
    for _, attack, surface, group, lang, family in texts:
        groups.setdefault((family, surface, lang, attack), set()).add(group)
    assert all(len(found) == 1 for found in groups.values())
    assert len({group for found in groups.values() for group in found}) == 3


def test_every_language_has_attacks_and_honest_texts_on_both_surfaces(
    texts: list[tuple[str, bool, str, str, str, str]],
) -> None:
    kinds: dict[str, set[tuple[bool, str]]] = {}
    for _, attack, surface, _, lang, _ in texts:
        kinds.setdefault(lang, set()).add((attack, surface))
    assert len(kinds) >= 10
    assert all(len(found) == 4 for found in kinds.values())


def test_no_text_is_both_an_attack_and_honest(texts: list[tuple[str, bool, str, str, str, str]]) -> None:
    attacks = {(row[0], row[2]) for row in texts if row[1]}
    assert not attacks & {(row[0], row[2]) for row in texts if not row[1]}
