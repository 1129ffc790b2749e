"""How well detection detects, on a folder of labelled texts: scripts/evaluate DATA_FOLDER [--kind K] [--out FILE].

Figures depend on the data, the rules and the weights alone, so the page is the same every time.
"""

import argparse
import sys
from pathlib import Path

from evaluate import injection, pii, presets, secrets
from evaluate.page import Part
from sallyport.errors import OperatorError

KINDS = ("pii", "secrets", "injection", "presets")

HEAD = """\
# Quality of detection

Written by `scripts/evaluate`; do not edit. The rows are development data: rules were written and thresholds
were chosen with them at hand, and some were trained on, which the tables say. They tell where detection is
strong and weak and whether a change made it better; they are no promise for other texts.
What the words mean, and how to choose levels and thresholds, is in [detection.md](detection.md).
Sources are not part of this repository; the tables name their licences.
"""


def main() -> int:
    """Print or write the page. Exit code 1 where a preset refuses too many benign texts, 2 for a wrong folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="has injection/, pii/, secrets/ and LICENSES.md")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this; may be repeated")
    parser.add_argument("--out", type=Path, help="file to write; default: stdout")
    given = parser.parse_args()
    for needed in ("injection", "pii", "secrets", "LICENSES.md"):
        if not (given.folder / needed).exists():
            print(f"{given.folder}: has no {needed}. Give a folder of labelled texts", file=sys.stderr)
            return 2
    kinds = given.kind or KINDS
    parts: list[Part] = []
    within = True
    try:
        if "pii" in kinds:
            parts.append(pii.part(given.folder))
        if "secrets" in kinds:
            parts.append(secrets.part(given.folder))
        if "injection" in kinds:
            parts.append(injection.part(given.folder))
        if "presets" in kinds:
            part, within = presets.part(given.folder)
            parts.append(part)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    page = "\n".join([HEAD, *(part.markdown() for part in parts)])
    if given.out is None:
        sys.stdout.write(page)
    else:
        given.out.write_text(page, "utf-8")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
