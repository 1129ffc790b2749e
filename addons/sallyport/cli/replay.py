"""`sallyport replay`: recorded traffic against another policy, and what would be decided otherwise."""

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sallyport.audit.text import printable
from sallyport.cli.benches import Setup, Side
from sallyport.cli.gatewaykey import key_of
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.replacing import output
from sallyport.cli.replayers import interruptible
from sallyport.cli.replaying import RECORDED, in_order, workers
from sallyport.decision import Mode
from sallyport.pki.paths import confdir as default_confdir
from sallyport.replay.costs import latency, latency_line
from sallyport.replay.difference import Difference, difference
from sallyport.replay.flows import Index, digest, files_of, find_flows
from sallyport.replay.pages import NAMES, html, junit, said
from sallyport.replay.report import About, report
from sallyport.replay.ruling import Change, Judged, Sort
from sallyport.replay.samples import contents_of
from sallyport.replay.thresholds import Result, Threshold, result_of
from sallyport.state.masterkey import MasterKeys

SHOWN = 10
"""Rows of one table on the terminal; --json has all of them."""


def replay(
    flows: Annotated[
        list[Path],
        typer.Argument(
            metavar="FLOWS", readable=False, help="Captures, a folder of them, `mitmdump -w`, HAR."
        ),
    ],
    policy: Annotated[
        str,
        typer.Option("--policy", metavar="FILE", help="The candidate: a file, or observe, balanced, strict."),
    ],
    against: Annotated[
        str,
        typer.Option(metavar="FILE", help=f"Policy to compare with, or {RECORDED}: what happened then."),
    ] = RECORDED,
    mode: Annotated[Mode | None, typer.Option(help="Read both policies in this mode.")] = None,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0: one for each core.")] = 0,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler; its workers must see the same files."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANGE=AMOUNT", help="Exit code 1 above it: newly_refused=0, masks_changed=2%."
        ),
    ] = None,
    allow_unread: Annotated[
        int,
        typer.Option(min=0, help="So many cut files, unreadable flows and sessions do not fail --fail-on."),
    ] = 0,
    samples: Annotated[int, typer.Option(min=0, max=1000, help="Samples of each change and rule.")] = 5,
    content: Annotated[
        bool,
        typer.Option(
            "--content", help="Show the text of samples in JSON and HTML, as far as it was captured."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    report_file: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the same report to a file.")
    ] = None,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the thresholds as JUnit XML.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    latency_file: Annotated[
        Path | None,
        typer.Option(
            "--latency", metavar="FILE", help="Write what deciding cost as JSON; never twice the same."
        ),
    ] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say what a policy would have decided on recorded traffic, and what changes. Nothing is sent or recorded.

    All stages decide at the time of each flow, limits, budgets and answers included, with the identities of the
    recording, and with people and keys of the store if there is one. Exit code 0: done; 1: a threshold was passed,
    or there is one and no flow, or not all flows could be read; 2: a file cannot be used.
    """
    thresholds = [Threshold.parse(text) for text in fail_on or ()]
    home = confdir or default_confdir()
    address = store_address(store, confdir)
    known = store is not None or Path(address).exists()
    setup = Setup(
        candidate=Side.of(policy, mode),
        base=None if against == RECORDED and not Path(RECORDED).exists() else Side.of(against, mode),
        mode=mode,
        store=address if known else "",
        home=str(home),
        key=key_of(home) or bytes(32),
    )
    files, keys = files_of(flows), MasterKeys(home)
    with ExitStack() as stack:
        bar = stack.enter_context(_bar())
        finding = bar.add_task("finding flows", total=None)
        read = digest(files)
        index = stack.enter_context(find_flows(files, keys, lambda done: bar.update(finding, completed=done)))
        bar.remove_task(finding)
        found = _replayed(setup, index, jobs or os.cpu_count() or 1, dask, samples, bar)
    contents = contents_of(found.samples, keys) if content else ()
    base = RECORDED if setup.base is None else setup.base.revision
    rules = RECORDED if setup.base is None else setup.base.rules
    left_out, cut = index.left_out, len(index.cut)
    about = About(
        setup.candidate.revision, base, read, left_out, cut, setup.candidate.rules, rules, allow_unread
    )
    unread = about.unread(found)
    told = report(found, about, thresholds, contents)
    lines = _lines(found, about, policy, against)
    _write(junit_file, "--junit", lambda: junit(found, thresholds, unread))
    _write(html_file, "--html", lambda: html(found, "Replay", lines, thresholds, contents), private=content)
    _write(report_file, "--report", lambda: told, private=content)
    _write(latency_file, "--latency", lambda: json.dumps(latency(*found.costs), indent=1) + "\n")
    if as_json:
        typer.echo(told, nl=False)
    else:
        _tell(found, lines, thresholds)
    _tell_aside(found, index, told if as_json or report_file is not None else "")
    result = result_of(found, thresholds, unread)
    if result is Result.NO_FLOWS:
        typer.echo("--fail-on: no flow was replayed, so that no threshold can be kept", err=True)
    if result is Result.INCOMPLETE and thresholds:
        what = "so that no threshold can be kept. Restore the files, or allow for it: --allow-unread"
        typer.echo(f"--fail-on: {unread}, {what}", err=True)
    if thresholds and result is not Result.KEPT:
        raise typer.Exit(1)


def _tell_aside(found: Difference, index: Index, told: str) -> None:
    """Say on stderr what is no part of the report. told: the report, "" where nobody has got it."""
    for place in index.cut:
        unread = Path(place.file).stat().st_size - place.at
        what = "is cut off, damaged or changed; it and what stands behind it was not read"
        typer.echo(f"{place.file}: the flow at byte {place.at} {what} ({unread} bytes)", err=True)
    if line := latency_line(*found.costs):
        typer.echo(line, err=True)
    if told:
        typer.echo(f"SHA-256 of the report: {hashlib.sha256(told.encode()).hexdigest()}", err=True)


def _replayed(
    setup: Setup, index: Index, jobs: int, dask: str | None, samples: int, bar: Progress
) -> Difference:
    task = bar.add_task("judging", total=len(index))

    def shown(judged: Iterator[Judged]) -> Iterator[Judged]:
        for each in judged:
            bar.advance(task)
            yield each

    with workers(setup, jobs, dask) as (submit, ahead), interruptible():
        return asyncio.run(difference(shown(in_order(index, submit, ahead)), samples))


def _lines(found: Difference, about: About, policy: str, against: str) -> list[str]:
    base = "what was recorded" if about.base == RECORDED else f"{against} ({about.base})"
    lines = [f"{found.flows} flows: {policy} ({about.candidate}) against {base}."]
    if elsewhere := found.sorts[Sort.TUNNELLED]:
        lines.append(
            f"{elsewhere} of them go to hosts that are no AI providers: nobody reads what is in these."
        )
    left = {**about.left(found), "unreadable": found.sorts[Sort.UNREADABLE]}
    what = ", ".join(f"{count} {name}" for name, count in sorted(left.items()) if count)
    if what:
        lines.append(f"Left out, since they cannot be judged: {what}.")
    if about.cut_files:
        lines.append(f"{about.cut_files} files are cut off or damaged: what stands behind was not read.")
    return [*lines, *_about_rules(found, about)]


def _about_rules(found: Difference, about: About) -> Iterator[str]:
    """Yield what is to be said where not only the policies differ."""
    ours = about.candidate_rules
    others = {revision: count for revision, count in found.rules.items() if revision != ours}
    if about.base == RECORDED and others:
        told = ", ".join(f"{revision[:12]} ({count})" for revision, count in sorted(others.items()))
        yield (
            f"{sum(others.values())} flows were decided under other rules than these ({ours[:12]}): {told}. "
            "What changes may come of them and not of the policy: sallyport policy diff RULES RULES."
        )
    elif about.base != RECORDED and about.base_rules != ours:
        yield f"The policies have other rules: {about.base_rules[:12]} and {ours[:12]}."


def _tell(found: Difference, lines: list[str], thresholds: list[Threshold]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 200
    for line in lines:
        console.print(printable(line), soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "base", "candidate"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("refused", *map(str, found.refused))
    table.add_row("places masked", *(str(sum(counts.values())) for counts in found.masked))
    table.add_row("answers cut off or refused", *map(str, found.ended))
    table.add_row("places changed in answers", *(str(sum(counts.values())) for counts in found.edited))
    table.add_row("cost, USD", *(f"{spent / 1e6:.2f}" for spent in found.spent))
    table.add_row("at an unknown price", *map(str, found.unpriced))
    if any(waited.flows for waited in found.waited):
        table.add_row("let in after a wait", *(str(waited.flows) for waited in found.waited))
        table.add_row("seconds waited", *(f"{waited.seconds:.1f}" for waited in found.waited))
    console.print(table)
    console.print()
    for change in Change:
        console.print(f"{found.changes[change]:>9}  {NAMES[change]}")
    for dimension in ("rule", "principal", "model"):
        if found.by[dimension]:
            console.print()
            console.print(_ranking(found, dimension))
    if found.samples:
        console.print()
        console.print(_sampled(found))
    for threshold in thresholds:
        if threshold.is_passed(found):
            count = found.changes[threshold.change]
            console.print(f"Too much: {threshold} ({count} of {found.flows} flows).", style="red")


def _ranking(found: Difference, dimension: str) -> Table:
    values = found.by[dimension]
    shown = [change for change in Change if any(counts[change] for counts in values.values())]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(dimension, overflow="fold")
    for change in shown:
        table.add_column(NAMES[change], justify="right")
    ranked = sorted(values.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    for value, counts in ranked[:SHOWN]:
        table.add_row(printable(value) or "(none)", *(str(counts[change]) for change in shown))
    if len(ranked) > SHOWN:
        table.add_row(f"{len(ranked) - SHOWN} more: see --json", *("" for _ in shown))
    return table


def _sampled(found: Difference) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("sample", "change", "to", "principal", "base", "candidate"):
        table.add_column(heading, overflow="fold")
    for sample in found.samples[:SHOWN]:
        judged = sample.judged
        cells = (judged.id, NAMES[sample.change], judged.host, judged.principal)
        table.add_row(*map(printable, (*cells, said(sample.base), said(sample.candidate))))
    return table


def _write(path: Path | None, option: str, made: Callable[[], str], *, private: bool = False) -> None:
    """Write a file. private: one that is new is for its owner alone, as the captures are whose text is in it."""
    if path is not None:
        with output(path, option, private=private) as file:
            file.write(made())


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
