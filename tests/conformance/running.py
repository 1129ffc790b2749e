"""Runs the whole matrix outside of pytest, for scripts/conformance."""

import argparse
import re
import tempfile
from pathlib import Path

from conformance.cases import Case, cases
from conformance.judge import problems
from conformance.page import held, page, summary
from conformance.stand import Stand, missing, stand


def main() -> int:
    """Run the cases; 0 if all hold, 1 if one does not, 2 if one cannot run here."""
    parser = argparse.ArgumentParser(prog="scripts/conformance", description="Run the conformance matrix.")
    parser.add_argument("--write", type=Path, help="write the page to this file")
    parser.add_argument(
        "--only", default="", help="regular expression that an id must match; with --write, others stay"
    )
    options = parser.parse_args()
    chosen = [case for case in cases() if re.search(options.only, case.id)]
    absent = {reason for case in chosen if (reason := missing(case.client))}
    if absent:
        print("\n".join(sorted(absent)))
        return 2
    kept = held(options.write.read_text(encoding="utf-8")) if options.write and options.only else {}
    unknown = {case.id for case in cases()} - {case.id for case in chosen} - kept.keys()
    if options.write and unknown:
        print(f"{len(unknown)} cases are neither chosen nor on the page; {min(unknown)} is one")
        return 2
    failed: dict[Case, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder, stand(Path(folder)) as running:
        for number, case in enumerate(chosen):
            if number % 500 == 0:
                print(f"{number} of {len(chosen)}", flush=True)
            if wrong := _wrong(running, case):
                failed[case] = wrong
    print(summary(len(chosen), failed))
    if options.write:
        results = kept | {case.id: case not in failed for case in chosen}
        options.write.write_text(page(results), encoding="utf-8")
    return 1 if failed else 0


def _wrong(running: Stand, case: Case) -> list[str]:
    try:
        return problems(case, running.run(case))
    except AssertionError as error:
        return [str(error)]
