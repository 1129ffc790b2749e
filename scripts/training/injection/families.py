# ruff: noqa: S311
"""Texts by family: one trick, or one honest look-alike, in many wordings (families/*.txt).

A file's "# name | surface class | attack or benign [| language [| carried]]" begins a family; every line after it
is a template of grammar.py, with ¦ for a bar and \\n for a new line. What is carried is a bare order or note that
stands in some document, row or field; the same carriers hold both labels. A family is left out as a whole: what
is found of it then is what to expect of tricks that nobody has thought of.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from training.injection import lists_en, more_content_en, more_user_en, planted_en, user_en
from training.injection.generate import GENRES
from training.injection.grammar import Grammar, numbers
from training.injection.languages import joined
from training.injection.texts import CONTENT, USER, Text

from sallyport.detect.normalise import normalise

FOLDER = Path(__file__).parent / "families"
SLOTS = ("slots", "slots_plain", "slots_lang")
FOLDS = 3
EACH = 6
"""Texts made of one template."""

ASKED = 0.55
"""Share of carried orders that begin with a request."""

WEIGHT = 1.0
_CLASSES = {"user": USER, "content": CONTENT}
_SLOTS = "do|plant|hush"
_BARE = re.compile(rf"(?<=\|)({_SLOTS})(?=[|}}])|(?<=\{{)({_SLOTS})(?=\|)", re.I)


def families(seed: int, each: int = EACH) -> Iterator[Text]:
    """Yield so many texts of every template, families in groups that are left out together."""
    rng = random.Random(seed)
    for path in sorted(FOLDER.glob("*.txt")):
        if path.stem.startswith("slots"):
            continue
        seen: dict[str, int] = {}
        for head, templates in sections(path):
            parts = [part.strip() for part in head.split("|")]
            name, surface, label, lang, carried = [*parts, *("en", "")[len(parts) - 3 :]]
            if surface not in _CLASSES or label not in ("attack", "benign"):
                raise ValueError(f"{path.name}: {head}: no such surface class or label")
            number = seen[lang] = seen.get(lang, -1) + 1
            for template in templates:
                grammar = _grammar(rng)
                for text in dict.fromkeys(
                    _carried(rng, grammar, template, label == "attack")
                    if carried
                    else _expand(rng, grammar, template)
                    for _ in range(each * (1 + (label == "benign")))
                ):
                    yield Text(
                        normalise(text).text,
                        label == "attack",
                        _CLASSES[surface],
                        f"families, {surface if lang == 'en' else 'lang'}",
                        f"written {number % FOLDS}",
                        lang,
                        weight=WEIGHT,
                        family=name,
                    )


def sections(path: Path) -> list[tuple[str, list[str]]]:
    """Return the heads of a file and the templates under each."""
    out: list[tuple[str, list[str]]] = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# {"):
            out.append((line[2:], []))
        elif line:
            out[-1][1].append(_BARE.sub(lambda m: "{" + m.group() + "}", line))
    return out


def _grammar(rng: random.Random) -> Grammar:
    lists = joined(lists_en.LISTS, user_en.LISTS, more_user_en.LISTS, planted_en.LISTS, more_content_en.LISTS)
    slots = [dict(sections(FOLDER / f"{name}.txt")) for name in SLOTS]
    return Grammar(GENRES, lists, *slots, numbers(rng))


def _carried(rng: random.Random, grammar: Grammar, template: str, attack: bool) -> str:
    """Return a document that holds the template; orders are mostly asked for, notes are mostly not."""
    said = _expand(rng, grammar, template)
    whole = said[-1] in "?!."
    ends = "" if whole else grammar.one(rng, "ending") if attack else rng.choice([".", "", ";"])
    if attack and not whole and rng.random() < ASKED:
        said = f"{grammar.one(rng, 'opening')} {said}"
    elif not attack and rng.random() < 0.2:
        said = f"please {said}"
    if rng.random() < 0.8:
        said = said[:1].upper() + said[1:]
    gap = " " if ends[:1].isalpha() else ""
    return _expand(rng, grammar, grammar.one(rng, "carrier")).replace("{ask}", said + gap + ends)


def _expand(rng: random.Random, grammar: Grammar, template: str) -> str:
    return grammar.expand(rng, template).replace("\\n", "\n").replace("¦", "|")
