"""`sallyport replay`: recorded traffic against another policy, and what would be decided otherwise."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from sallyport.audit.text import printable
from sallyport.cli.detection import read_policy
from sallyport.cli.gatewaykey import key_of
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.replaying import RECORDED, Setup, in_order, workers
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.replay.difference import Difference, Threshold, as_object, difference
from sallyport.replay.flows import Index, find_flows
from sallyport.replay.pages import NAMES, html, junit, said
from sallyport.replay.ruling import Change, Judged
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
    samples: Annotated[int, typer.Option(min=0, max=1000, help="Samples of each change and rule.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    junit_file: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the thresholds as JUnit XML.")
    ] = None,
    html_file: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page.")] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say what a policy would have decided on recorded traffic, and what changes. Nothing is sent or recorded.

    All stages decide at the time of each flow, limits and budgets included, with the identities of the recording,
    and with people and keys of the store if there is one. Exit code 0: done; 1: a threshold was passed, or
    there is one and no flow; 2: a file cannot be used.
    """
    thresholds = [Threshold.parse(text) for text in fail_on or ()]
    home = confdir or default_confdir()
    address = store_address(store, confdir)
    known = store is not None or Path(address).exists()
    setup = Setup(
        candidate=policy,
        base=None if against == RECORDED and not Path(RECORDED).exists() else against,
        mode=mode,
        store=address if known else "",
        home=str(home),
        key=key_of(home) or bytes(32),
    )
    about: dict[str, object] = {"candidate_policy": read_policy(policy, mode).revision}
    about["base_policy"] = RECORDED if setup.base is None else read_policy(setup.base, mode).revision
    with _bar() as bar:
        finding = bar.add_task("finding flows", total=None)
        index = find_flows(flows, MasterKeys(home), lambda done: bar.update(finding, completed=done))
        bar.remove_task(finding)
        found = _replayed(setup, index, jobs or os.cpu_count() or 1, dask, samples, bar)
    about |= {"left_out": dict(sorted(index.left_out.items())), "cut_files": len(index.cut)}
    _write(junit_file, "--junit", lambda: junit(found, thresholds))
    lines = _lines(index, about, policy, against)
    _write(html_file, "--html", lambda: html(found, "Replay", lines, thresholds))
    if as_json:
        typer.echo(json.dumps(as_object(found, about), indent=1, ensure_ascii=True))
    else:
        _tell(found, lines, thresholds)
    for place in index.cut:
        typer.echo(
            f"{place.file}: it ends inside a flow at byte {place.at}; what stands before was read", err=True
        )
    if thresholds and not found.flows:
        typer.echo("--fail-on: no flow was replayed, so that no threshold can be kept", err=True)
        raise typer.Exit(1)
    if any(threshold.is_passed(found) for threshold in thresholds):
        raise typer.Exit(1)


def _replayed(
    setup: Setup, index: Index, jobs: int, dask: str | None, samples: int, bar: Progress
) -> Difference:
    task = bar.add_task("judging", total=len(index.places))

    def shown(judged: Iterator[Judged]) -> Iterator[Judged]:
        for each in judged:
            bar.advance(task)
            yield each

    with workers(setup, jobs, dask) as (submit, ahead):
        return asyncio.run(difference(shown(in_order(index.places, submit, ahead)), samples))


def _lines(index: Index, about: dict[str, object], policy: str, against: str) -> list[str]:
    base = "what was recorded" if about["base_policy"] == RECORDED else f"{against} ({about['base_policy']})"
    lines = [f"{len(index.places)} flows: {policy} ({about['candidate_policy']}) against {base}."]
    if index.left_out:
        what = ", ".join(f"{count} {name}" for name, count in sorted(index.left_out.items()))
        lines.append(f"Left out, since they cannot be judged: {what}.")
    return lines


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
    table.add_row("cost, USD", *(f"{spent / 1e6:.2f}" for spent in found.spent))
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


def _write(path: Path | None, option: str, made: Callable[[], str]) -> None:
    if path is None:
        return
    try:
        path.write_text(made(), encoding="utf-8")
    except OSError as error:
        raise OperatorError(option, f"it cannot be written ({error.strerror})", "Name another file") from None


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
