"""The concepts: concepts/LANGUAGE.txt, a line each, "name: word stem* two~words".

A stem is known by its first five letters. A word that several concepts claim belongs to the first, in the
order of languages and lines.
"""

from pathlib import Path

from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import keys

FOLDER = Path(__file__).parent / "concepts"
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "tr", "ar", "hi", "zh", "ja", "ko")
_STEM = 5


def concepts() -> Concepts:
    """Return the concepts of all languages."""
    names: list[str] = []
    known: dict[int, int] = {}
    for language in LANGUAGES:
        for line in (FOLDER / f"{language}.txt").read_text("utf-8").splitlines():
            name, _, entries = line.partition(":")
            if name not in names:
                names.append(name)
            for entry in entries.split():
                known.setdefault(_key(entry), names.index(name) + 1)
    return Concepts.known(known)


def _key(entry: str) -> int:
    """Return the hash that stands for an entry."""
    if entry.endswith("*"):
        _, stems, _ = keys(entry[:_STEM] + "zz")
        return int(stems[0])
    words, _, pairs = keys(entry.replace("~", " "))
    if words.size not in (1, 2):
        raise ValueError(f"{entry}: neither a word nor a pair of words")
    return int(words[0] if words.size == 1 else pairs[1])
