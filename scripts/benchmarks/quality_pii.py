"""Precision, recall and F1 per entity on generated texts: scripts/benchmarks/quality_pii.py [--set fresh|third]."""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from quality.measure import Tally, mistakes, table
from quality.texts import generate
from quality.tuned import TUNED

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector


def main() -> None:
    """Print the table, and with --show some mistakes (generated texts, nobody's data)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=["tuned", "fresh", "third"], default="tuned")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--show", type=int, default=0, help="mistakes to print per entity and sort")
    parser.add_argument("--only", help="print mistakes of this entity only")
    options = parser.parse_args()
    surroundings = TUNED
    if options.set == "fresh":
        from quality.fresh import FRESH

        surroundings = FRESH
    elif options.set == "third":
        from quality.third import THIRD

        surroundings = THIRD
    texts = generate(surroundings, options.seed, options.rounds, options.rounds * 5)
    detector = Detector(DetectionSettings(kinds=frozenset({Kind.PII}), deadline_s=60.0))
    tallies: dict[str, Tally] = {}
    shown: Counter[tuple[str, bool]] = Counter()
    for mistake in mistakes(detector, texts, tallies):
        key = (mistake.span.entity, mistake.wanted)
        shown[key] += 1
        if shown[key] <= options.show and options.only in (None, mistake.span.entity):
            start, end = mistake.span.start, mistake.span.end
            text = mistake.text.text
            near = f"{text[max(0, start - 45) : start]}>>{text[start:end]}<<{text[end : end + 15]}"
            print(
                f"{'missed' if mistake.wanted else 'false '} {key[0]:<20} {mistake.text.surrounding:<12} {near!r}"
            )
    print(table(tallies))


if __name__ == "__main__":
    main()
