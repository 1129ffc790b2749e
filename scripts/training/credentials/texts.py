# ruff: noqa: S311
"""What the trainer learns from: texts with the credentials in them marked, and ordinary texts, which hold none."""

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from training.injection import texts as injection
from training.injection.train import installed
from training.injection.written import written as honest_and_planted

from sallyport.data import rules_dir
from sallyport.decision import Kind
from sallyport.detect.credentials import around, tokens
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.normalise import normalise
from sallyport.detect.packs import Packs, Rule, load
from sallyport.exchange import Segment, Surface

RULE = "secrets.judged.credential"
FOLDER = Path(__file__).parent / "written"
EXAMPLES, ORDINARY = 0.4, 1.0
"""Shares of a token in the loss: of packs' examples, which are many and alike, and of ordinary texts."""

type Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Text:
    """text: normalised. spans: the credentials in it. source: what is left out together. weight: share of a
    token in the loss. is_written: whether by somebody for this trainer, credentials marked."""

    text: str
    spans: Spans
    source: str
    weight: float = 1.0
    is_written: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A token that the rule leaves to the model."""

    text: Text
    start: int
    end: int
    is_credential: bool


class Rules:
    """The rules for secrets: the one that leaves tokens to the model, and all others, which tell what is known."""

    def __init__(self, detector: Detector, rule: Rule) -> None:
        self._detector = detector
        self._rule = rule

    @classmethod
    def shipped(cls) -> Self:
        packs = load(rules_dir(), {Kind.SECRET})
        (judged,) = (rule for rule in packs.rules if rule.id == RULE)
        others = Packs(tuple(rule for rule in packs.rules if rule is not judged), packs.revision)
        settings = DetectionSettings(frozenset({Kind.SECRET}), deadline_s=60.0, cpu_s=60.0, cache_entries=0)
        return cls(Detector(settings, others), judged)

    def found(self, text: str) -> Spans:
        """Return what the other rules find."""
        return [(f.start, f.end) for f in self._detector.scan([Segment("/text", Surface.USER, text)])]

    def examples(self) -> Iterator[tuple[str, str]]:
        """Yield pack and text of every example of the other rules."""
        for rule in self._detector.rules:
            for example in (*rule.match, *rule.clean):
                yield rule.id.rsplit(".", 1)[0], example.text

    def left(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the tokens that are left to the model, each once."""
        found: dict[tuple[int, int], None] = {}
        for match in self._rule.pattern.finditer(text):
            found.update(dict.fromkeys(tokens(text, *around(text, *match.span()))))
        return [*found]


def written() -> Iterator[Text]:
    """Yield the texts that people wrote for this, one by one; every file is by another hand."""
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            text = normalise(row["text"]).text
            spans = [
                match.span()
                for value in row["values"]
                for match in re.finditer(re.escape(normalise(value).text), text)
            ]
            yield Text(text, spans, f"written, {path.stem}", is_written=True)


def examples(rules: Rules) -> Iterator[Text]:
    """Yield the examples of the other rules, with what these find in them."""
    for pack, example in rules.examples():
        text = normalise(example).text
        yield Text(text, rules.found(text), pack, EXAMPLES)


def ordinary(data: Path, seed: int) -> Iterator[Text]:
    """Yield texts in which nobody has put a credential. data: holds injection/."""
    for text in injection.shared(data / "injection"):
        if not text.attack:
            yield Text(text.text, (), text.source, ORDINARY)
    for text in honest_and_planted():
        if not text.attack:  # whoever orders something tells passwords now and then
            yield Text(text.text, (), f"injection, {text.group}", ORDINARY)
    for text in installed(random.Random(seed)):
        yield Text(text.text, (), text.source, ORDINARY)


def judged(text: Text, rules: Rules) -> Iterator[Token]:
    """Yield the tokens of a text that the model is to judge; in an ordinary text not those that rules find."""
    left = rules.left(text.text)
    if not left:
        return
    known = () if text.is_written or text.spans else rules.found(text.text)
    for start, end in left:
        if not _meets(known, start, end):
            yield Token(text, start, end, _meets(text.spans, start, end))


def _meets(spans: Spans, start: int, end: int) -> bool:
    return any(low < end and start < high for low, high in spans)
