"""Texts written by hand for training, names marked in them: `[P Ada] went to [L Bath] for [O Acme].`"""

import re
from pathlib import Path

from training.ner.corpora import Sample

_MARK = re.compile(r"\[([PLO]) ([^\]]+)\]")
_ENTITY = {"P": "PERSON", "L": "LOCATION", "O": "ORGANIZATION"}


def written() -> list[Sample]:
    """Return the texts of texts/, one a line in a file a language; line breaks are written \\\\n, tabs \\\\t."""
    samples = []
    for path in sorted(Path(__file__).with_name("texts").glob("*.txt")):
        for line in path.read_text("utf-8").splitlines():
            if line:
                samples.append(_sample(line.replace("\\n", "\n").replace("\\t", "\t"), path.stem))
    return samples


def _sample(marked: str, lang: str) -> Sample:
    text, spans, at = "", [], 0
    for match in _MARK.finditer(marked):
        text += marked[at : match.start()]
        spans.append((len(text), len(text) + len(match[2]), _ENTITY[match[1]]))
        text += match[2]
        at = match.end()
    return Sample(text + marked[at:], tuple(spans), "written", lang)
