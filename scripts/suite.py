"""Run pytest, and what failed once more and alone: python scripts/suite.py [options of pytest]

A test that fails beside others and passes alone is unsteady: the machine was busy, or the test leans on another.
At most MOST_AGAIN such tests are forgiven, each named in a block of its own; more failures, or a second one, fail
the run. The last line counts as pytest's does. A JUnit file, if one is asked for, tells of the first run.
"""

import os
import subprocess
import sys
import time
from collections import Counter

import pytest

MOST_AGAIN = 5

_SHOWN = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings")


class Outcomes:
    """What became of each test, by node id; the worst of its phases. broken: what no test can be blamed for."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.broken = 0
        self.besides: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.of[report.nodeid] = "failed"
        elif report.when == "call" or report.skipped:
            expected = hasattr(report, "wasxfail")
            outcome = ("xfailed" if report.skipped else "xpassed") if expected else report.outcome
            self.of.setdefault(report.nodeid, outcome)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.broken += report.failed

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for kind in ("deselected", "warnings"):
            self.besides[kind] = len(terminalreporter.stats.get(kind, ()))

    @property
    def failed(self) -> list[str]:
        return [test for test, outcome in self.of.items() if outcome == "failed"]


def main(options: list[str]) -> int:
    began = time.monotonic()
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it
    outcomes = Outcomes()
    code = int(pytest.main(options, plugins=[outcomes]))
    first = outcomes.failed
    if code != pytest.ExitCode.TESTS_FAILED or outcomes.broken or not 1 <= len(first) <= MOST_AGAIN:
        return code
    print(f"\n== once more, alone: {len(first)} that failed", flush=True)
    for test in first:
        done = subprocess.run([sys.executable, "-m", "pytest", "-p", "no:xdist", test], check=False)
        if done.returncode == 0:
            outcomes.of[test] = "passed"
    unsteady = [test for test in first if outcomes.of[test] == "passed"]
    print("\n" + "=" * 100)
    for test in unsteady:
        print(f"UNSTEADY: {test} failed first and passed alone")
    for test in outcomes.failed:
        print(f"FAILED: {test} failed twice")
    print("=" * 100)
    print(closing_line(outcomes, len(first), time.monotonic() - began), flush=True)
    return 1 if outcomes.failed else 0


def closing_line(outcomes: Outcomes, rerun: int, took_s: float) -> str:
    """Return what pytest would say at its end, with the outcomes that hold now."""
    counts = Counter(outcomes.of.values()) + outcomes.besides
    said = [f"{counts[kind]} {kind}" for kind in _SHOWN if counts[kind]]
    minutes, seconds = divmod(int(took_s), 60)
    clock = f" ({minutes // 60}:{minutes % 60:02}:{seconds:02})" if took_s >= 60 else ""
    return f"{', '.join([*said, f'{rerun} rerun'])} in {took_s:.2f}s{clock}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
