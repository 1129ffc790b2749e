"""Compare with stock Presidio and write docs/detection-differences.md. Argument: a data folder, or nothing."""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from evaluate.data import rows
from quality.differential import MIN_SCORE, differences, stock
from quality.explained import table
from quality.fresh import FRESH
from quality.texts import Span, Text, generate
from quality.third import THIRD
from quality.tuned import TUNED

from sallyport.decision import Kind
from sallyport.detect.engine import DetectionSettings, Detector

_PAGE = Path(__file__).parents[2] / "docs" / "detection-differences.md"
_INTRO = """\
# How detection differs from Presidio

Written by `scripts/benchmarks/quality_differences.py`; do not edit. Stock Presidio is its analyzer with the
recognisers it loads for English and a blank spaCy pipeline, at the same least score as ours (0.5); counted are the
types it knows. The truth of generated texts is known, so a finding only one side has is right or wrong. A class of
difference without an argument fails `tests/detect/test_detect_differential.py`.

## Generated texts
"""
_TESTS = """
## Presidio's own recogniser tests

Literals of its unit tests, most of them a bare value without a word around it. Rules that want a word miss those by
design: a bare run of ten digits in a prompt is seldom what one test of its type says it is.
"""


def _literals(data: Path) -> Iterator[Text]:
    for row in rows(data / "pii"):
        if row.source == "presidio_recognizer_tests":
            yield Text(row.source, row.text, tuple(Span(*span) for span in row.spans))


def main() -> None:
    """Write the page; with a data folder also the table on Presidio's own tests."""
    settings = DetectionSettings(kinds=frozenset({Kind.PII}), min_score=MIN_SCORE, deadline_s=60.0)
    detector, (theirs, types) = Detector(settings), stock()
    texts = [text for made in (TUNED, FRESH, THIRD) for text in generate(made, 11, 3, 12)]
    page = f"{_INTRO}\n{len(texts)} texts.\n\n{table(differences(detector, theirs, types, texts))}\n"
    if len(sys.argv) > 1:
        literals = list(_literals(Path(sys.argv[1])))
        page += (
            f"{_TESTS}\n{len(literals)} texts.\n\n{table(differences(detector, theirs, types, literals))}\n"
        )
    _PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
