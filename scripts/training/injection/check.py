# ruff: noqa: S311
"""scripts/check_injection FILE: the shipped classifier on hand-written texts, by surface, language and length."""

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector, injection_score
from sallyport.detect.packs import Packs
from sallyport.exchange import Segment, Surface

RATE = 0.01
RATES = (0.001, 0.005, 0.01, 0.02, 0.05)
LENGTHS = (1_000, 5_000, 20_000, 50_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="JSON lines with text, label, surface, lang")
    parser.add_argument("--show", action="store_true", help="print the ids of what went wrong")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.file.read_text("utf-8").splitlines()]
    kinds = frozenset({Kind.INJECTION})
    rules = Detector(DetectionSettings(kinds, paranoia_injection=1, deadline_s=60.0))
    both = Detector(
        DetectionSettings(kinds, paranoia_injection=1, deadline_s=60.0, injection_false_alarms=RATE)
    )
    tallies: defaultdict[tuple[str, str], list[tuple[bool, bool, bool]]] = defaultdict(list)
    for row in rows:
        segment = Segment("", Surface(row["surface"]), row["text"])
        refused = [injection_score(d.scan([segment])).get("", 0.0) >= 1.0 - 1e-9 for d in (rules, both)]
        alone = both.classifier_probability(segment) >= both.injection_threshold(segment.surface)
        for key in (
            "all",
            row["surface"],
            f"language {'en' if row['lang'] == 'en' else 'other'}",
            row["lang"],
            f"{row['surface']}, {row['kind']}" if "kind" in row else "",
        ):
            if not key:
                continue

            tallies[row["label"], key].append((refused[0], alone, refused[1]))
        if given.show and refused[1] is not (row["label"] == "attack"):
            print(
                row["id"],
                row["label"],
                f"{both.injection_probability(segment):.3f}",
                row["text"][:110].replace("\n", "/"),
            )
    _roc(rows, both)
    for name, found in _planted(rows, rules, both).items():
        tallies["attack", name] = found
    print("| | texts | | rules | classifier | both |\n| --- | --- | --- | --- | --- | --- |")
    for (label, key), found in sorted(tallies.items()):
        shares = " | ".join(f"{sum(f[i] for f in found) / len(found):.1%}" for i in range(3))
        print(f"| {label} | {key} | {len(found)} | {shares} |")


def _roc(rows: list[dict[str, str]], both: Detector) -> None:
    """Print, by permitted rate, what the classifier alone finds and wrongly reports on each surface."""
    judged: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        segment = Segment("", Surface(row["surface"]), row["text"])
        judged[row["surface"], row["label"]].append(both.classifier_probability(segment))
    kinds = frozenset({Kind.INJECTION})
    print("| surface | rate | threshold | attacks found | false alarms |\n| --- | --- | --- | --- | --- |")
    for surface in ("user", "tool_result", "document", "tool_definition"):
        for rate in RATES:
            settings = DetectionSettings(kinds, paranoia_injection=1, injection_false_alarms=rate)
            threshold = Detector(settings, Packs((), "none")).injection_threshold(Surface(surface))
            found, wrong = (
                sum(p >= threshold for p in judged[surface, label]) / max(1, len(judged[surface, label]))
                for label in ("attack", "benign")
            )
            print(f"| {surface} | {rate} | {threshold} | {found:.1%} | {wrong:.1%} |")
    print()


def _planted(
    rows: list[dict[str, str]], rules: Detector, both: Detector
) -> dict[str, list[tuple[bool, bool, bool]]]:
    """Put every indirect attack into the middle of clean text of each length."""
    rng = random.Random(1)
    clean = [
        r["text"] for r in rows if r["label"] == "benign" and r["surface"] in ("tool_result", "document")
    ]
    attacks = [r for r in rows if r["label"] == "attack" and r["surface"] in ("tool_result", "document")]
    out: dict[str, list[tuple[bool, bool, bool]]] = {}
    for chars in LENGTHS:
        found = []
        for row in attacks:
            around: list[str] = []
            while sum(map(len, around)) < chars:
                around.append(rng.choice(clean))
            middle = len(around) // 2
            text = "\n".join([*around[:middle], row["text"], *around[middle:]])
            segment = Segment("", Surface(row["surface"]), text)
            refused = [injection_score(d.scan([segment])).get("", 0.0) >= 1.0 - 1e-9 for d in (rules, both)]
            alone = both.classifier_probability(segment) >= both.injection_threshold(segment.surface)
            found.append((refused[0], alone, refused[1]))
        if found:
            out[f"planted in {chars // 1000} KB"] = found
    return out


if __name__ == "__main__":
    main()
