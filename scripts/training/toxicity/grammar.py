"""Sentences made from templates: `{a|b}` is a choice and may hold others, `{GROUP}` a group of people.

The word lists of rules/output/words.yaml are put into templates as well, so that the scorer knows the words.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from sallyport.data import rules_dir

LANGUAGES = ("en", "de", "fr", "es")
PER_TEMPLATE = 60

_CHOICE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A labelled sentence. template: identifies where it comes from, so that it can be left out."""

    text: str
    hostile: bool
    language: str
    template: str


def sentences(seed: int) -> list[Sentence]:
    """Return the distinct sentences of all languages, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret depends on it
    made: dict[str, Sentence] = {}
    for language in LANGUAGES:
        groups, families = _written(language)
        for hostile in (True, False):
            for text, template in _of(families["hostile" if hostile else "harmless"], groups, chance):
                made.setdefault(text, Sentence(text, hostile, language, f"{language}/{hostile}/{template}"))
    for text, hostile, language, template in _listed():
        made.setdefault(text, Sentence(text, hostile, language, f"{language}/{hostile}/listed/{template}"))
    return [*made.values()]


def _listed() -> Iterator[tuple[str, bool, str, int]]:
    """Yield sentences with every listed slur and insult: text, whether hostile, language, template."""
    lists = YAML(typ="safe").load((rules_dir() / "output" / "words.yaml").read_text("utf-8"))["define"]
    for language in LANGUAGES:
        _, families = _written(language)
        hostile, harmless = families["listed"]["hostile"], families["listed"]["harmless"]
        found = "|".join((lists[f"slur_{language}"], lists[f"insult_{language}"]))
        for word in re.sub(r"\(\?:[^()]*\)|\?", "", found).split("|"):
            for number, template in enumerate((*hostile, *harmless)):
                yield template.replace("{W}", word), number < len(hostile), language, number


def _written(language: str) -> tuple[list[str], dict[str, dict[str, list[str]]]]:
    """Return the groups of people, and per side and family the templates: written/LANGUAGE.txt."""
    first, *lines = (Path(__file__).parent / "written" / f"{language}.txt").read_text("utf-8").splitlines()
    families: dict[str, dict[str, list[str]]] = {}
    templates: list[str] = []
    for line in filter(None, lines):
        if line.startswith("["):
            side, family = line.strip("[]").split("/")
            templates = families.setdefault(side, {}).setdefault(family, [])
        else:
            templates.append(line)
    return first.removeprefix("groups: ").split("|"), families


def _of(
    families: Mapping[str, Sequence[str]], groups: Sequence[str], chance: random.Random
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for family, templates in families.items():
        for number, template in enumerate(templates):
            for _ in range(PER_TEMPLATE):
                text = template.replace("{GROUP}", chance.choice(groups))
                while match := _CHOICE.search(text):
                    choice = chance.choice(match[1].split("|"))
                    text = text[: match.start()] + choice + text[match.end() :]
                found.append((_varied(text, chance), f"{family}/{number}"))
    return found


def _varied(text: str, chance: random.Random) -> str:
    """Return a sentence as people type it: now and then in capitals, in small letters, without its end."""
    match chance.randrange(10):
        case 0:
            return text.upper()
        case 1 | 2:
            return text.lower().rstrip(".")
        case 3:
            return text.rstrip(".") + "!"
        case _:
            return text
