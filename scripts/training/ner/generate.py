"""Make prompt-like texts from the templates, and pad real sentences into longer messages."""

import random
import re
from functools import cache
from pathlib import Path

from training.ner import gazetteers
from training.ner.corpora import Sample
from training.ner.gazetteers import LANGUAGES
from training.ner.slots import Slots

_SLOT = re.compile(r"\{([a-z]+)\}")
SALAD = 0.05
SHARE = {"en": 0.62, "de": 0.11, "fr": 0.07, "es": 0.07, "it": 0.06, "nl": 0.07}


@cache
def templates(lang: str) -> tuple[str, ...]:
    """Return the templates of a language, line breaks unescaped."""
    path = Path(__file__).with_name("templates") / f"{lang}.txt"
    lines = (line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("# "))
    code = (line for line in path.read_text("utf-8").splitlines() if line.startswith("# {"))
    return tuple(line.replace("\\n", "\n").replace("\\t", "\t") for line in (*lines, *code))


def filled(template: str, slots: Slots, lang: str) -> Sample:
    """Return a template with its slots filled."""
    text, spans, at = "", [], 0
    for match in _SLOT.finditer(template):
        text += template[at : match.start()]
        at = match.end()
        for piece, entity in slots.fill(match[1]):
            if entity is not None:
                spans.append((len(text), len(text) + len(piece), entity))
            text += piece
    return Sample(text + template[at:], tuple(spans), "generated", lang)


def generated(count: int, seed: int) -> list[Sample]:
    """Return `count` texts of one to three templates of a language."""
    rng = random.Random(seed)  # noqa: S311
    out = []
    makers = {lang: Slots(lang, rng) for lang in LANGUAGES}
    for _ in range(count):
        if rng.random() < SALAD:
            out.append(salad(rng))
            continue
        lang = rng.choices(LANGUAGES, [SHARE[x] for x in LANGUAGES])[0]
        parts = [
            filled(rng.choice(templates(lang)), makers[lang], lang)
            for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))
        ]
        out.append(joined(parts, rng.choice((" ", "\n", "\n\n"))))
    return out


def salad(rng: random.Random) -> Sample:
    """Return everyday words without sense or names, some capitalised as nouns, headings or keys are."""
    lang = rng.choice(LANGUAGES)
    words = [rng.choice(gazetteers.lorem()[lang]) for _ in range(rng.randint(3, 14))]
    share = rng.choice((0.0, 0.0, 0.1, 0.3, 1.0)) if lang != "de" else rng.choice((0.0, 0.3, 0.6))
    words = [w.capitalize() if rng.random() < share else w for w in words]
    text = rng.choice((" ", " ", " ", ", ", "; ", " | ", "\n", "\t")).join(words)
    return Sample(text[0].upper() + text[1:] if rng.random() < 0.5 else text, (), "generated", lang)


def joined(parts: list[Sample], glue: str) -> Sample:
    """Return samples as one text."""
    text, spans = "", []
    for part in parts:
        if text:
            text += glue
        spans += [(a + len(text), b + len(text), e) for a, b, e in part.spans]
        text += part.text
    return Sample(text, tuple(spans), parts[0].source, parts[0].lang)
