"""Change a sample a little every time it is seen: other names, other case, typing errors."""

import random

from training.ner.corpora import Sample
from training.ner.gazetteers import LANGUAGES
from training.ner.slots import Slots

REPLACED = 0.35
_SLOTS: dict[tuple[int, str], Slots] = {}


def augment(sample: Sample, rng: random.Random) -> Sample:
    """Return the sample, or a variant of it."""
    if sample.source != "generated" and sample.spans and rng.random() < REPLACED:
        sample = renamed(sample, rng)
    chance = rng.random()
    if chance < 0.14:
        return recased(sample, str.lower)
    if chance < 0.17:
        return recased(sample, str.upper)
    if chance < 0.19:
        return recased(sample, str.title)
    if chance < 0.25 and sample.source == "generated":
        return names_lowered(sample)
    if chance < 0.32:
        return mistyped(sample, rng)
    return sample


def recased(sample: Sample, change: object) -> Sample:
    """Return the sample in another case; unchanged where that would move offsets."""
    text = change(sample.text)  # type: ignore[operator]
    return replace_text(sample, text) if len(text) == len(sample.text) else sample


def names_lowered(sample: Sample) -> Sample:
    """Return the sample with its names in lower case."""
    text = sample.text
    for start, end, _ in sample.spans:
        lower = text[start:end].lower()
        if len(lower) == end - start:
            text = text[:start] + lower + text[end:]
    return replace_text(sample, text)


def mistyped(sample: Sample, rng: random.Random) -> Sample:
    """Return the sample with one or two letters exchanged with their neighbours."""
    text = list(sample.text)
    for _ in range(rng.choice((1, 2))):
        at = rng.randrange(len(text))
        if at + 1 < len(text) and text[at].isalpha() and text[at + 1].isalpha():
            text[at], text[at + 1] = text[at + 1], text[at]
    return replace_text(sample, "".join(text))


def replace_text(sample: Sample, text: str) -> Sample:
    """Return the sample with other text of the same length."""
    return Sample(text, sample.spans, sample.source, sample.lang)


def renamed(sample: Sample, rng: random.Random) -> Sample:
    """Return the sample with some of its persons, places and organisations replaced, the same name alike."""
    lang = sample.lang if sample.lang in LANGUAGES else "en"
    slots = _SLOTS.setdefault((id(rng), lang), Slots(lang, rng))
    chosen: dict[str, str] = {}
    text, spans, at = "", [], 0
    for start, end, entity in sorted(sample.spans):
        text += sample.text[at:start]
        old = sample.text[start:end]
        if old not in chosen:
            chosen[old] = _another(old, entity, slots) if rng.random() < 0.7 else old
        spans.append((len(text), len(text) + len(chosen[old]), entity))
        text += chosen[old]
        at = end
    return Sample(text + sample.text[at:], tuple(spans), sample.source, sample.lang)


def _another(old: str, entity: str, slots: Slots) -> str:
    words = len(old.split())
    if entity == "PERSON":
        new = slots.full() if words > 1 else (slots.last() if slots.rng.random() < 0.5 else slots.first())
    elif entity == "LOCATION":
        new = slots.country() if slots.rng.random() < 0.3 else slots.city()
    else:
        new = slots.org()
    if old.islower():
        return new.lower()
    return new.upper() if old.isupper() and len(old) > 4 else new
