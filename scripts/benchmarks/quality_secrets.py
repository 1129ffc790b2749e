"""Secrets found when their vendor has no rule, and ordinary texts flagged: scripts/benchmarks/quality_secrets.py DATA.

For every secret the vendor rules that find it are switched off, one family at a time, and all others stay on:
what is still found is what a vendor nobody knows can hope for. DATA has secrets/, injection/ and pii/.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from evaluate.data import Row, rows

from sallyport.data import rules_dir
from sallyport.decision import Finding, Kind
from sallyport.detect.engine import DetectionSettings, Detector
from sallyport.detect.packs import Packs, load
from sallyport.exchange import Segment

ORDINARY_MAX = 0.002
"""Share of ordinary texts that may be flagged."""

LEFT_OUT_MIN = 0.95
"""Share of generated secrets that must be found with their own family of rules left out."""

_GENERIC = "secrets.generic."


@dataclass(slots=True)
class Tally:
    """Secrets of one family: how many, found by all rules, found with the family left out."""

    secrets: int = 0
    found: int = 0
    left_out: int = 0


class Detectors:
    """Detectors with some rules left out, each built once."""

    def __init__(self) -> None:
        self._rules = load(rules_dir(), {Kind.SECRET}).rules
        self._built: dict[frozenset[str], Detector] = {}

    def without(self, ids: frozenset[str]) -> Detector:
        """Return a detector of secrets that has all rules but these."""
        if ids not in self._built:
            kept = tuple(rule for rule in self._rules if rule.id not in ids)
            settings = DetectionSettings(kinds=frozenset({Kind.SECRET}), deadline_s=60.0, cache_entries=0)
            self._built[ids] = Detector(settings, Packs(kept, ",".join(sorted(ids))))
        return self._built[ids]


def found(detector: Detector, row: Row) -> tuple[bool, frozenset[str]]:
    """Say whether a row's secret is found, and which vendor rules fired anywhere in it."""
    findings = detector.scan([Segment("/text", row.surface, row.text)])
    hit = any(_overlaps(f, row) for f in findings) if row.spans else bool(findings)
    return hit, frozenset(f.rule for f in findings if not f.rule.startswith(_GENERIC))


def _overlaps(finding: Finding, row: Row) -> bool:
    return any(finding.start < end and finding.end > start for start, end, _ in row.spans)


def tallies(detectors: Detectors, secrets: Iterable[Row]) -> dict[str, Tally]:
    """Count per family; the family is the first word of the name of the rule a row was made for."""
    counted: defaultdict[str, Tally] = defaultdict(Tally)
    for row in secrets:
        hit, vendors = found(detectors.without(frozenset()), row)
        alone = hit
        while alone and vendors:
            out = vendors
            alone, more = found(detectors.without(out), row)
            vendors = out | more if more - out else frozenset()
        tally = counted[row.rule.partition("-")[0] or "(none)"]
        tally.secrets += 1
        tally.found += hit
        tally.left_out += alone
    return dict(counted)


def main() -> int:
    """Print the tables; 1 where a bound is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    detectors = Detectors()
    full = detectors.without(frozenset())
    labelled = list(rows(options.data / "secrets"))
    known = [row for row in labelled if row.bad]
    generated = [row for row in known if row.generated]
    kept = True
    for title, part in (("generated", generated), ("all", known)):
        families = tallies(detectors, part)
        total = Tally(*(sum(getattr(t, n) for t in families.values()) for n in Tally.__slots__))
        print(f"{title}: {total.secrets} secrets, {total.found / total.secrets:.1%} found, ", end="")
        print(f"{total.left_out / total.secrets:.1%} with their family left out")
        if part is generated:
            kept = total.left_out / total.secrets >= LEFT_OUT_MIN
            for family, tally in sorted(families.items()):
                if tally.left_out < tally.secrets:
                    print(f"  {family:<24}{tally.secrets:>5}{tally.found:>6}{tally.left_out:>6}")
    clean = [row for row in labelled if not row.bad]
    print(f"look-alikes of another scanner: {sum(found(full, r)[0] for r in clean)} of {len(clean)} flagged")
    for folder in ("injection", "pii"):
        texts = [row for row in rows(options.data / folder) if folder == "pii" or not row.bad]
        flagged: defaultdict[str, int] = defaultdict(int)
        for row in texts:
            flagged[row.source] += bool(full.scan([Segment("/text", row.surface, row.text)]))
        count = sum(flagged.values())
        where = ", ".join(f"{source} {n}" for source, n in sorted(flagged.items()) if n)
        print(
            f"ordinary texts of {folder}: {count} of {len(texts)} flagged ({count / len(texts):.2%}) {where}"
        )
        kept = kept and count / len(texts) <= ORDINARY_MAX
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
