"""Judge the shipped recogniser: left-out source, own prompts, thresholds, calibration, speed beside spaCy."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import spacy
from spacy.training import Example
from training.ner import score
from training.ner.corpora import HISTORIC, Sample, read

from sallyport.detect.ner import builtin
from sallyport.detect.ner.engine import Engine

PROMPTS = Path(__file__).parents[3] / "tests/detect/ner_prompts.jsonl"
BUSINESS = PROMPTS.with_name("ner_business.jsonl")
"""Tables, logs, code, forms and lists, three in five of them without any name."""

EVERYDAY = PROMPTS.with_name("ner_everyday.jsonl")
"""Notices, recipes, forms, minutes and the like in nine languages, without a name (short, long) and with names."""

TYPED = PROMPTS.with_name("ner_typed.jsonl")
"""Prompts of 24 genres in six languages, half of them without a name but full of look-alikes."""

RECORDED = PROMPTS.with_name("ner_recorded.json")
MASKED = ("PERSON", "LOCATION", "P+L")
THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def written(path: Path) -> list[tuple[str, str, Sample]]:
    """Return (genre, part, sample) of texts written by hand."""
    out = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        spans = tuple((s["start"], s["end"], s["type"]) for s in row["spans"])
        out.append((row["genre"], row["part"], Sample(row["text"], spans, "prompts", row["lang"])))
    return out


def by(title: str, engine: Engine, groups: dict[str, list[Sample]], threshold: float = 0.0) -> None:
    """Print a line of figures a group."""
    print(f"\n{title} (precision/recall/F1, score >= {threshold})")
    for name, samples in groups.items():
        print(f"  {name:24} {score.line(score.counts(engine, samples, threshold), MASKED)}")


def reliability(engine: Engine, samples: Sequence[Sample]) -> None:
    """Print how often names of a score are right, PERSON and LOCATION."""
    bands: dict[int, list[tuple[float, bool]]] = {}
    for sample, spans in zip(samples, engine.spans([s.text for s in samples]), strict=True):
        gold = set(sample.spans)
        for span in spans:
            if span.entity != "ORGANIZATION":
                right = (span.start, span.end, span.entity) in gold
                bands.setdefault(min(9, int(span.score * 10)), []).append((span.score, right))
    total = sum(len(b) for b in bands.values())
    error = 0.0
    for band, members in sorted(bands.items()):
        mean = statistics.mean(s for s, _ in members)
        share = statistics.mean(r for _, r in members)
        error += abs(mean - share) * len(members) / total
        print(
            f"  {band / 10:.1f}-{band / 10 + 0.1:.1f}: {len(members):4} names, mean score {mean:.2f}, right {share:.2f}"
        )
    print(f"  expected calibration error {error:.3f}")


def cost_ms_per_kb(run: Callable[[Sequence[str]], object], texts: Sequence[str], rounds: int = 3) -> float:
    """Return the median processor time of a round in milliseconds a KB of UTF-8."""
    size = sum(len(t.encode()) for t in texts) / 1024
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        run(texts)
        taken.append((time.process_time() - began) * 1000 / size)
    return statistics.median(taken)


def spacy_convolution() -> Callable[[Sequence[str]], object]:
    """Return a spaCy pipeline of the size of its small packages, tok2vec and ner only, with weights by chance."""
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    example = Example.from_dict(
        nlp.make_doc("Anna lives in Rome"), {"entities": [(0, 4, "PERSON"), (14, 18, "LOCATION")]}
    )
    nlp.initialize(lambda: [example])
    return lambda texts: list(nlp.pipe(texts))


def record(engine: Engine) -> None:
    """Write what the engine answers to the texts of the parity test into that test's file."""
    recorded = json.loads(RECORDED.read_text("utf-8"))
    recorded["revision"] = engine.revision
    for row in recorded["texts"]:
        (spans,) = engine.spans([row["text"]])
        row["spans"] = [[s.start, s.end, s.entity, s.score] for s in spans]
    RECORDED.write_text(json.dumps(recorded, ensure_ascii=False, indent=1) + "\n", "utf-8")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with pii/ and injection/")
    parser.add_argument("--record", action="store_true", help="only record the answers of the parity test")
    options = parser.parse_args()
    engine = builtin.load()
    if options.record:
        record(engine)
        return
    print(f"revision {engine.revision}")
    ewt = read(options.data / "pii", "uner_en_ewt")
    own = written(PROMPTS)
    business = [sample for _, _, sample in written(BUSINESS)]
    by("left-out source", engine, {"uner_en_ewt": ewt})
    historic = {h: read(options.data / "pii", h)[-500:] for h in HISTORIC}
    by("historic sources (trained on in part, optical reading)", engine, historic)
    by(
        "prompts by part",
        engine,
        {p: [s for _, q, s in own if p == q] for p in sorted({p for _, p, _ in own})},
    )
    by(
        "prompts by genre",
        engine,
        {g: [s for h, _, s in own if h == g] for g in sorted({g for g, _, _ in own})},
        0.3,
    )
    by(
        "prompts by language",
        engine,
        {x: [s for _, _, s in own if s.lang == x] for x in ("en", "de", "fr", "es", "it", "nl")},
        0.3,
    )
    for threshold in (0.3, 0.5):
        by("tables, logs, code and forms", engine, {"business": business}, threshold)
        flagged = sum(
            any(span.score >= threshold for span in spans)
            for sample, spans in zip(business, engine.spans([s.text for s in business]), strict=True)
            if not sample.spans
        )
        print(f"  {flagged} of {sum(not s.spans for s in business)} without names have one found")
        everyday = written(EVERYDAY)
        by("everyday", engine, {"with names": [s for _, part, s in everyday if part == "named"]}, threshold)
        for part in ("clean", "clean_long"):
            samples = [s for _, q, s in everyday if q == part]
            flagged = sum(
                any(span.score >= threshold and span.entity != "ORGANIZATION" for span in spans)
                for spans in engine.spans([s.text for s in samples])
            )
            print(f"  {flagged} of {len(samples)} everyday texts ({part}) have a PERSON or LOCATION found")
        typed = written(TYPED)
        for part in ("read", "unread"):
            samples = [s for _, q, s in typed if q == part]
            by("as people type", engine, {part: samples}, threshold)
            bare = [s.text for s in samples if not s.spans]
            flagged = sum(
                any(span.score >= threshold and span.entity != "ORGANIZATION" for span in spans)
                for spans in engine.spans(bare)
            )
            print(f"  {flagged} of {len(bare)} without names have a PERSON or LOCATION found")
    everything = [s for _, _, s in own]
    for threshold in THRESHOLDS:
        by("thresholds", engine, {"prompts": everything, "uner_en_ewt": ewt}, threshold)
    print("\nreliability on uner_en_ewt")
    reliability(engine, ewt)
    print("\nreliability on prompts")
    reliability(engine, everything)
    lines = (options.data / "injection/arena_hard.jsonl").read_text("utf-8").splitlines()[:300]
    texts = [json.loads(line)["text"] for line in lines]
    ours, theirs = cost_ms_per_kb(engine.spans, texts), cost_ms_per_kb(spacy_convolution(), texts)
    print(
        f"\nprompts of arena_hard: {ours:.2f} ms a KB; spaCy tok2vec + ner {theirs:.2f}; ratio {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
