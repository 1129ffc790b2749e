"""`sallyport scan`: what the rule packs find in texts or files; never prints what was matched."""

import json
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sallyport.decision import Finding, Kind
from sallyport.detect.engine import DetectionSettings, Detector, ScanIncomplete, injection_score
from sallyport.errors import OperatorError
from sallyport.exchange import Segment, Surface

_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"})


class Wanted(StrEnum):
    """Kinds a scan can be limited to."""

    ALL = "all"
    PII = "pii"
    SECRETS = "secrets"
    INJECTION = "injection"


_KINDS = {
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
    paranoia: Annotated[int, typer.Option(min=1, max=4, help="Highest level of rules that run.")] = 2,
    threshold: Annotated[
        float, typer.Option(min=0.1, help="Sum of injection scores in one text that counts.")
    ] = 1.0,
) -> None:
    """Scan texts or files with the rule packs.

    On stdin: one JSON object a line, {"id", "text", "surface"?}; on stdout, in the same order,
    {"id", "flag", "score", "spans": [{"start", "end", "type", "rule"}]}, offsets in code points.
    With files: one line per finding, and exit code 1 if there is any, or a file could not be scanned.
    """
    detector = Detector(
        DetectionSettings(
            kinds=_KINDS[kind],
            paranoia_secrets=paranoia,
            paranoia_pii=paranoia,
            paranoia_injection=paranoia,
            deadline_s=60.0,
            cache_entries=0,
        )
    )
    detector.warm()
    if not paths or paths == [Path("-")]:
        _lines(detector, threshold)
        return
    counts = [_file(detector, path, threshold) for root in paths for path in _walk(root)]
    found, missed = sum(count or 0 for count in counts), counts.count(None)
    if missed:
        typer.echo(f"{found} findings, {missed} files not scanned")
        typer.echo("Turn them into UTF-8 text that this user may read, or leave them out.", err=True)
    else:
        typer.echo(f"{found} findings")
    if found or missed:
        raise typer.Exit(1)


def _lines(detector: Detector, threshold: float) -> None:
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        id_, segment = _read(line, number)
        sys.stdout.write(json.dumps({"id": id_, **_answer(detector, segment, threshold)}) + "\n")
        sys.stdout.flush()


def _read(line: bytes, number: int) -> tuple[object, Segment]:
    try:
        given: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise _no_request(number, "it is not UTF-8") from None
    except (ValueError, RecursionError):
        raise _no_request(number, "it is not JSON") from None
    if not isinstance(given, dict):
        raise _no_request(number, "it is not an object")
    if "id" not in given:
        raise _no_request(number, "it has no id")
    text, surface = given.get("text"), given.get("surface") or "user"
    if not isinstance(text, str):
        raise _no_request(number, "its text is not a string" if "text" in given else "it has no text")
    if surface not in [*Surface]:
        raise _no_request(number, f"its surface is none of {', '.join(Surface)}")
    return given["id"], Segment("", Surface(surface), text)


def _no_request(number: int, why: str) -> OperatorError:
    todo = 'Write {"id": ..., "text": "...", "surface": "user"} on one line'
    return OperatorError(f"stdin:{number}", f"is no scan request: {why}", todo)


def _answer(detector: Detector, segment: Segment, threshold: float) -> dict[str, object]:
    try:
        findings = detector.scan([segment])
    except ScanIncomplete as error:
        return {"flag": True, "score": 1.0, "spans": [], "incomplete": error.why}
    points = injection_score(findings).get(segment.at, 0.0)
    others = [f.score for f in findings if f.kind is not Kind.INJECTION]
    return {
        "flag": bool(others) or _reaches(points, threshold),
        "score": round(min(1.0, max([points, *others])), 3),
        "spans": [{"start": f.start, "end": f.end, "type": f.entity, "rule": f.rule} for f in findings],
    }


def _reaches(points: float, threshold: float) -> bool:
    return points >= threshold - 1e-9


def _walk(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    elif root.is_dir():
        for path in sorted(root.rglob("*")):
            if path.is_file() and not _SKIPPED & set(path.relative_to(root).parts):
                yield path
    else:
        raise OperatorError(str(root), "is neither a file nor a folder", "Check the path")


def _file(detector: Detector, path: Path, threshold: float) -> int | None:
    """Print the findings of a file and return how many there are; None where it was not scanned whole."""
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        typer.echo(f"{path}: not scanned: it is not UTF-8 text", err=True)
        return None
    except OSError as error:
        typer.echo(f"{path}: not scanned: {error.strerror}", err=True)
        return None
    try:
        findings = detector.scan([Segment("", Surface.DOCUMENT, text)])
    except ScanIncomplete as error:
        typer.echo(f"{path}: not scanned whole: {error.why}", err=True)
        return None
    counted = _counted(findings, threshold)
    starts = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")] if counted else []
    for finding in counted:
        line = bisect_right(starts, finding.start)
        column = finding.start - starts[line - 1] + 1
        typer.echo(f"{path}:{line}:{column}: {finding.severity} {finding.entity} {finding.rule}")
    return len(counted)


def _counted(findings: Sequence[Finding], threshold: float) -> list[Finding]:
    injected = _reaches(sum(injection_score(findings).values()), threshold)
    return [f for f in findings if f.kind is not Kind.INJECTION or injected]
