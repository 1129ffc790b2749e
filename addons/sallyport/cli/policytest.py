"""`sallyport policy test`: the cases that stand beside a policy."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as Xml

import typer

from sallyport.audit.text import printable
from sallyport.cli.rehearsing import make_rehearsal
from sallyport.cli.replacing import output
from sallyport.data import policies_dir
from sallyport.errors import OperatorError
from sallyport.rehearsal.cases import SUFFIX, found
from sallyport.rehearsal.suite import Outcome, Rule, Run, Suite, UnderTest


def run_cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            readable=False,
            help=f"Files that end in {SUFFIX}, policies they stand beside, folders, or presets. [default: .]",
        ),
    ] = None,
    only: Annotated[str, typer.Option("-k", metavar="TEXT", help="Only cases with this in their name.")] = "",
    fail_uncovered: Annotated[
        bool, typer.Option("--fail-uncovered", help="Fail also where a rule was made to speak by no case.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one file of tests a line.")] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the results as JUnit XML.")
    ] = None,
) -> None:
    """Run the cases beside policies. Exit code 0: all passed; 1: some failed; 2: a file cannot be used.

    Nothing is sent, no store is asked, and no text of a case is printed.
    """
    suite = Suite(make_rehearsal(), only)
    runs, unusable = asyncio.run(_run(suite, [*found(paths or [Path(".")], policies_dir())]))
    if not unusable and not any(run.outcomes for run in runs):
        raise OperatorError("-k", "no case has this in its name", "Give another part of a name")
    for error in unusable:
        typer.echo(str(error), err=True)
    for run in runs:
        typer.echo(json.dumps(_object(run)) if as_json else _text(run))
    silent = [rule for tested in suite.tested.values() if tested.whole for rule in tested.silent]
    summary = _summary(runs, list(suite.tested.values()))
    if as_json:
        typer.echo(json.dumps({"uncovered": [{"rule": r.id, "where": r.where} for r in silent]}))
    else:
        _tell_silent(silent)
        typer.echo(summary)
    if junit is not None:
        _write(junit, runs)
    if unusable:
        raise typer.Exit(max(error.exit_code for error in unusable))
    if any(run.failed for run in runs) or (fail_uncovered and silent):
        raise typer.Exit(1)


async def _run(suite: Suite, files: Sequence[Path]) -> tuple[list[Run], list[OperatorError]]:
    runs: list[Run] = []
    unusable: list[OperatorError] = []
    for file in files:
        try:
            runs.append(await suite.run(file))
        except OperatorError as error:
            unusable.append(error)
    return runs, unusable


def _text(run: Run) -> str:
    lines = []
    for outcome in run.failed:
        lines.append(f"FAILED {outcome.where}: {printable(outcome.name)}")
        width = max(len(d.key) for d in outcome.differences)
        lines += [
            f"    {d.key:<{width}}  expected {printable(d.expected)}, got {printable(d.got)}"
            for d in outcome.differences
        ]
        lines.append(f"    decided: {printable(', '.join(outcome.decided))}")
    passed = len(run.outcomes) - len(run.failed)
    lines.append(f"{run.path}: {passed} passed, {len(run.failed)} failed")
    return "\n".join(lines)


def _tell_silent(silent: Sequence[Rule]) -> None:
    for rule in silent:
        typer.echo(f"{rule.where}: no case made {rule.id} speak")


def _summary(runs: Sequence[Run], tested: Sequence[UnderTest]) -> str:
    outcomes = [o for run in runs for o in run.outcomes]
    failed = sum(len(run.failed) for run in runs)
    whole = [t for t in tested if t.whole]
    rules = sum(len(t.rules) for t in whole)
    spoke = rules - sum(len(t.silent) for t in whole)
    seconds = sum(o.duration_s for o in outcomes)
    covered = f"; {spoke} of {rules} rules and limits spoke" if rules else ""
    return f"{len(outcomes)} cases, {failed} failed, {seconds:.2f} s{covered}"


def _object(run: Run) -> dict[str, object]:
    return {
        "file": str(run.path),
        "policy": str(run.policy),
        "passed": len(run.outcomes) - len(run.failed),
        "failed": len(run.failed),
        "cases": [_case(outcome) for outcome in run.outcomes],
    }


def _case(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "where": outcome.where,
        "passed": not outcome.differences,
        "differences": [{"key": d.key, "expected": d.expected, "got": d.got} for d in outcome.differences],
        "decided": list(outcome.decided),
        "duration_s": round(outcome.duration_s, 6),
    }


def _write(path: Path, runs: Sequence[Run]) -> None:
    root = Xml.Element("testsuites")
    for run in runs:
        seconds = sum(o.duration_s for o in run.outcomes)
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=str(run.path),
            tests=str(len(run.outcomes)),
            failures=str(len(run.failed)),
            errors="0",
            time=f"{seconds:.3f}",
        )
        for outcome in run.outcomes:
            case = Xml.SubElement(
                suite,
                "testcase",
                classname=str(run.path),
                name=printable(outcome.name),
                time=f"{outcome.duration_s:.6f}",
            )
            if outcome.differences:
                told = [f"{d.key}: expected {d.expected}, got {d.got}" for d in outcome.differences]
                failure = Xml.SubElement(case, "failure", message=outcome.differences[0].key, type="expect")
                failure.text = "\n".join(printable(line) for line in (outcome.where, *told))
    Xml.indent(root)
    with output(path, "--junit") as file:
        file.write("<?xml version='1.0' encoding='utf-8'?>\n")
        Xml.ElementTree(root).write(file, encoding="unicode")
