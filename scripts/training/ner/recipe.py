"""What the recogniser is trained on: annotated corpora and generated texts; plain texts for common words."""

import gzip
import json
import random
import re
from pathlib import Path

from training.ner.corpora import HISTORIC, Sample, read
from training.ner.generate import generated
from training.ner.written import written

TRAINED = ("broad_twitter_corpus", "wikigold")
IMPORTANCE = {
    "broad_twitter_corpus": 1.5,
    "wikigold": 4.0,
    "generated": 1.0,
    "written": 2.5,
    **dict.fromkeys(HISTORIC, 0.3),
}
GENERATED = 12_000
WRITTEN_TIMES = 2
"""How often a text written by hand comes in an epoch; it is changed a little each time."""
HISTORIC_EACH = 100
_PLAIN = (
    "agentdojo arena_hard deepset_prompt_injections hh_rlhf_redteam_questions jailbreak_classification"
    " oss_docs_about_security webarena_intents"
)


def labelled(data: Path, leave_out: str | None = None) -> list[Sample]:
    """Return the annotated and the generated samples, without the source left out. UNER EWT is never among them."""
    samples = [s for source in TRAINED if source != leave_out for s in read(data / "pii", source)]
    samples += generated(GENERATED, seed=11)
    samples += written() * WRITTEN_TIMES
    for source in HISTORIC:
        if source != leave_out:
            part = read(data / "pii", source)
            random.Random(1).shuffle(part)  # noqa: S311
            samples += part[:HISTORIC_EACH]
    return samples


def unlabelled(data: Path) -> list[str]:
    """Return paragraphs of benign prompts and documents without annotation, at most 700 characters each."""
    pieces: dict[str, None] = {}
    for name in _PLAIN.split():
        path = next(p for p in (data / "injection").glob(f"{name}.jsonl*"))
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row["label"] == "benign":
                    parts = (part.strip()[:700] for part in re.split(r"\n\s*\n", row["text"]))
                    pieces |= dict.fromkeys(part for part in parts if len(part) > 30)
    return list(pieces)


def without_made_up_names(sample: Sample) -> str:
    """Return the text that counts for the vocabulary: generated names are not to be learnt by heart."""
    if sample.source != "generated":
        return sample.text
    text = sample.text
    for start, end, _ in sorted(sample.spans, reverse=True):
        text = text[:start] + " " + text[end:]
    return text
