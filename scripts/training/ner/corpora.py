"""Read the annotated corpora and bring their habits to one convention.

The convention: a PERSON is a personal name without title or handle; a LOCATION is a geographic or political place,
street or building; @handles, #tags and common nouns ("mum") are no names. Marks around a name are not part of it.
"""

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

from training.ner.wordlists import word_list

ENTITIES = ("PERSON", "LOCATION", "ORGANIZATION")
ENGLISH = ("broad_twitter_corpus", "wikigold", "uner_en_ewt")
HISTORIC = ("europeana_de_lft", "europeana_de_onb", "europeana_de_sbb", "europeana_fr_bnf", "europeana_nl_kb")

_OUTSIDE = " \t.,;:!?\"'()[]{}«»„“”‚‘’<>*-–—|/\\&^_~=+»"
_TITLES = re.compile(
    r"(?:(?:Mr|Mrs|Ms|Miss|Dr|Prof|Sir|President|Pres|Senator|Sen|Gov|Governor|Lord|Lady|Captain|Capt|Rev|Sgt|Gen|"
    r"Herrn?|Frau|Graf|Prinz|Prinzen|König|Kaiser|Keizer|Koning|Prins|Baron|Mlle|Mme|M|MM|Dhr|Mej|General|Dr)\b\.?\s+)+"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A text with its names: (start, end, entity) in code points."""

    text: str
    spans: tuple[tuple[int, int, str], ...]
    source: str
    lang: str


def read(folder: Path, source: str) -> list[Sample]:
    """Return the harmonised samples of one source."""
    path = next(p for p in (folder / f"{source}.jsonl", folder / f"{source}.jsonl.gz") if p.exists())
    opener = gzip.open if path.suffix == ".gz" else open
    samples = []
    with opener(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            text = row["text"]
            spans = tuple(
                span
                for raw in _joined(text, [(s["start"], s["end"], s["type"]) for s in row["spans"]], source)
                if (span := _harmonised(text, *raw, source))
            )
            if source in HISTORIC and _unreadable(text):
                continue
            samples.append(Sample(text, spans, source, row["lang"]))
    return samples


def _joined(text: str, spans: list[tuple[int, int, str]], source: str) -> list[tuple[int, int, str]]:
    """Join the pieces into which the historic sources cut a name (Jan | van | Dam)."""
    spans = sorted(s for s in spans if s[2] in ENTITIES)
    if source not in HISTORIC:
        return spans
    out: list[tuple[int, int, str]] = []
    for start, end, entity in spans:
        if out and out[-1][2] == entity == "PERSON" and not text[out[-1][1] : start].strip():
            out[-1] = (out[-1][0], end, entity)
        else:
            out.append((start, end, entity))
    return out


def _harmonised(text: str, start: int, end: int, entity: str, source: str) -> tuple[int, int, str] | None:
    name = text[start:end]
    if source == "broad_twitter_corpus" and (
        "@" in name
        or "#" in name
        or text[start - 1 : start] in ("@", "#")
        or name.lower() in word_list("kin")
    ):
        return None
    if source != "uner_en_ewt":
        if entity == "PERSON" and (title := _TITLES.match(name)):
            start += title.end()
        while start < end and text[start] in _OUTSIDE:
            start += 1
        while end > start and text[end - 1] in _OUTSIDE and not re.search(r"\b\w\.$", text[start:end]):
            end -= 1
    if start == end or (source in HISTORIC and end - start < 2):
        return None
    return start, end, entity


def _unreadable(text: str) -> bool:
    """Say whether the optical reading of a historic page is too poor to learn from."""
    odd = len(re.findall(r"[^\w\s.,;:'\"()!?-]|\w[A-ZÄÖÜ]\w*[a-zäöü]|\b\w\b", text))
    return odd > max(2, len(text) * 0.02)
