"""`sallyport scan`: what detection finds in texts or files; never prints what was matched."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.scanning.crew import Crew, cores
from sallyport.cli.scanning.files import Read, Scanned, scan_file
from sallyport.cli.scanning.ignore import Left, walk
from sallyport.cli.scanning.lines import lines_of, scan_lines
from sallyport.cli.scanning.progress import Progress
from sallyport.cli.scanning.scanner import FALSE_ALARMS, Choice, Scanner
from sallyport.decision import Kind
from sallyport.errors import OperatorError

_TOLD_ERRORS = 20


class Wanted(StrEnum):
    """Kinds a scan can be limited to."""

    ALL = "all"
    PII = "pii"
    SECRETS = "secrets"
    INJECTION = "injection"


KINDS = {
    Wanted.ALL: frozenset(Kind),
    Wanted.PII: frozenset({Kind.PII}),
    Wanted.SECRETS: frozenset({Kind.SECRET}),
    Wanted.INJECTION: frozenset({Kind.INJECTION}),
}


def scan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", readable=False, help="Files or folders; none or - reads JSON lines on stdin."
        ),
    ] = None,
    kind: Annotated[Wanted, typer.Option(help="What to look for.")] = Wanted.ALL,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Report what this policy would act on: its levels, thresholds, entities, exclusions and "
            "recognisers. Without it, everything that is found counts.",
        ),
    ] = None,
    paranoia: Annotated[
        int | None,
        typer.Option(
            metavar="1-4",
            min=1,
            max=4,
            help="Highest level of rules that run. [default: the policy's, else 2]",
        ),
    ] = None,
    max_false_alarms: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=0.1,
            help="Injection: share of clean texts that the classifier may flag; 0 leaves it out, and rules "
            f"alone decide. [default: the policy's, else {FALSE_ALARMS}]",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            min=0,
            max=1,
            help="Injection: flag texts of this score and above, instead of what the policy or "
            "--max-false-alarms say.",
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            min=0,
            max=1,
            help="Personal data and secrets: score from which a finding counts. "
            "[default: the policy's, else 0.5, and 0.3 for names]",
        ),
    ] = None,
    ner: Annotated[
        bool | None,
        typer.Option(
            "--ner/--no-ner",
            help="Look for names and places too. [default: what the policy says; without one they are looked "
            "for where personal data is]",
        ),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", metavar="FOLDER", help="Packs in place of those that ship.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Files: one JSON object a file, as for stdin, with lines and columns."),
    ] = False,
    no_ignore: Annotated[
        bool, typer.Option("--no-ignore", help="Folders: scan also what .gitignore files leave out.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=256, help="Processes. [default: one a core]")
    ] = None,
) -> None:
    """Scan texts or files for personal data, secrets and prompt injections. No text is ever printed.

    On stdin: one JSON object a line, {"id", "text", "surface"?}; on stdout, in the same order,
    {"id", "flag", "score", "spans": [{"start", "end", "type", "rule"}]}. Offsets are code points of the text
    (what JSON's escapes stand for), end exclusive. The score is the highest of all kinds that are looked for,
    also where nothing is flagged. A text that could not be scanned whole is flagged and has "incomplete" with
    the reason; so has a line that is no request, and the exit code is then 2 at the end.
    Else it is 0, whatever was found.

    With files or folders: path:line:column, severity, type and rule of every finding, and a summary. Exit
    code 0: nothing found; 1: something found or a file not scanned whole; 2: wrong use; 3: a file could not
    be read, or something else outside is missing.
    """
    choice = Choice(KINDS[kind], policy, paranoia, max_false_alarms, threshold, min_score, ner, rules)
    processes = jobs or cores()
    given = [*(paths or ())]
    if not given or given == [Path("-")]:
        _scan_stdin(choice, processes, may_be_empty=bool(given))
    else:
        _scan_files(_checked(given), choice, processes, as_json=as_json, no_ignore=no_ignore)


def _scan_stdin(choice: Choice, processes: int, *, may_be_empty: bool) -> None:
    todo = 'Give files or folders, or pipe in lines such as {"id": 1, "text": "..."}'
    if sys.stdin is None or sys.stdin.closed:
        raise OperatorError("stdin", "it is closed, and no path was given", todo)
    if sys.stdin.isatty():
        raise OperatorError("stdin", "it is a terminal, and no path was given", todo)
    lines = lines_of(sys.stdin.buffer)
    wrong = 0
    scanner = Scanner(choice)
    for told in scan_lines(scanner, lines, processes if scanner.forks_well else 1):
        sys.stdout.write(told.output)
        sys.stdout.flush()
        for error in told.errors:
            wrong += 1
            if wrong <= _TOLD_ERRORS:
                typer.echo(error, err=True)
    if not lines.count and not may_be_empty:
        raise OperatorError(
            "stdin", "nothing came, and no path was given", f"{todo}; - allows an empty input"
        )
    if wrong > _TOLD_ERRORS:
        typer.echo(f"stdin: {wrong - _TOLD_ERRORS} more lines are no scan requests", err=True)
    if wrong:
        raise typer.Exit(2)


def _checked(paths: Sequence[Path]) -> Sequence[Path]:
    for path in paths:
        if path == Path("-"):
            raise OperatorError("-", "stdin cannot be read beside files", "Scan it alone")
        if not path.exists():
            raise OperatorError(str(path), "is neither a file nor a folder", "Check the path")
    return paths


def _scan_files(
    paths: Sequence[Path], choice: Choice, processes: int, *, as_json: bool, no_ignore: bool
) -> None:
    left = Left()
    scanner = Scanner(choice)
    with Progress(lambda: sum(1 for _ in _found(paths, Left(), no_ignore))) as progress:
        tally = _Tally()
        for scanned in _answers(
            scanner, _found(paths, left, no_ignore), processes if scanner.forks_well else 1
        ):
            tally.add(scanned)
            progress.clear()
            _tell(scanned, as_json)
            progress.show(tally.files, tally.findings)
    tally.unreadable += len(left.unreadable or ())
    for folder in left.unreadable or ():
        typer.echo(f"{_printable(folder)}: not scanned: it cannot be listed", err=True)
    typer.echo(tally.summary(left.ignored), err=as_json)
    if tally.findings or tally.incomplete:
        raise typer.Exit(1)
    if tally.unreadable:
        raise typer.Exit(3)


def _found(paths: Sequence[Path], left: Left, no_ignore: bool) -> Iterator[Path]:
    return chain.from_iterable(
        walk(path, left, ignored_too=no_ignore) if path.is_dir() else [path] for path in paths
    )


class _Paths:
    """Files as tasks. See crew.Source."""

    waits_on = None

    def __init__(self, paths: Iterator[Path]) -> None:
        self._paths = paths
        self._next = next(paths, None)

    @property
    def ended(self) -> bool:
        return self._next is None

    def take(self) -> Path | None:
        taken, self._next = self._next, next(self._paths, None)
        return taken


def _answers(scanner: Scanner, paths: Iterator[Path], processes: int) -> Iterator[Scanned]:
    first = [*islice(paths, 4)]
    if processes == 1 or len(first) < 4:
        yield from (scan_file(scanner, path) for path in chain(first, paths))
        return
    crew: Crew[Path, Scanned] = Crew(lambda path: scan_file(scanner, path), processes)
    with crew:
        yield from crew.answers(_Paths(chain(first, paths)))


@dataclass(slots=True)
class _Tally:
    """What was scanned and what came of it, for the summary."""

    files: int = 0
    findings: int = 0
    binary: int = 0
    incomplete: int = 0
    unreadable: int = 0

    def add(self, scanned: Scanned) -> None:
        self.files += 1
        self.findings += len(scanned.places)
        self.binary += scanned.read is Read.BINARY
        self.incomplete += scanned.read is Read.INCOMPLETE
        self.unreadable += scanned.read is Read.UNREADABLE

    def summary(self, ignored: int) -> str:
        notes = [
            f"{count} {what}"
            for count, what in (
                (self.incomplete, "not scanned whole"),
                (self.unreadable, "that cannot be read"),
                (self.binary, "binary, skipped"),
                (ignored, "left out by .gitignore (--no-ignore scans them)"),
            )
            if count
        ]
        scanned = self.files - self.binary - self.unreadable
        return f"{self.findings} findings in {scanned} files" + (f"; {', '.join(notes)}" if notes else "")


def _tell(scanned: Scanned, as_json: bool) -> None:
    path = _printable(scanned.path)
    if scanned.why:
        whole = " whole" if scanned.read is Read.INCOMPLETE else ""
        typer.echo(f"{path}: not scanned{whole}: {scanned.why}", err=True)
    if as_json and scanned.read is not Read.BINARY:
        typer.echo(json.dumps(_object(scanned)))
    elif not as_json:
        for p in scanned.places:
            typer.echo(f"{path}:{p.line}:{p.column}: {p.severity} {p.entity} {p.rule}")


def _object(scanned: Scanned) -> dict[str, object]:
    spans = [
        {"start": p.start, "end": p.end, "type": p.entity, "rule": p.rule}
        | {"line": p.line, "column": p.column, "severity": p.severity}
        for p in scanned.places
    ]
    flag = bool(spans or scanned.why)
    score = 1.0 if scanned.why else scanned.score
    members: dict[str, object] = {"id": str(scanned.path), "flag": flag, "score": score, "spans": spans}
    return members | ({"incomplete": scanned.why} if scanned.why else {})


def _printable(path: Path) -> str:
    """Return a path without the control characters and broken encodings that names of files may hold."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
