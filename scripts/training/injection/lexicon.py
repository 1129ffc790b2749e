"""The concepts: concepts/LANGUAGE.txt, a line each, "name: word stem* two~words".

Entries are folded as the texts are ("löschen" is "loschen"). A stem is known by its first five letters. A word
that several concepts claim belongs to the first, in the order of languages and lines. Words are known by their
letters in any order, so ordinary English words that another language would claim ("out", for "tuo") are listed in
concepts/ordinary.txt and mean nothing.
"""

from pathlib import Path

from sallyport.detect.classifier.concepts import Concepts
from sallyport.detect.classifier.features import keys
from sallyport.detect.normalise import normalise

FOLDER = Path(__file__).parent / "concepts"
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "tr", "ar", "hi", "zh", "ja", "ko")
NOTHING = 0
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
            for entry in normalise(entries).text.split():
                known.setdefault(_key(entry), names.index(name) + 1)
        if language == "en":
            for entry in (FOLDER / "ordinary.txt").read_text("utf-8").split():
                known.setdefault(_key(entry), NOTHING)
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
