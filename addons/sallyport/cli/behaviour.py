"""`sallyport limits behaviour`: how unusual everybody is now, and why, from the audit events."""

import json
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.text import printable
from sallyport.cli.moments import moment
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import open_to_read
from sallyport.proxy.watch import seen_of
from sallyport.state.behaviour import MIN_HOURS, Behaviour, Feature, Reason, Standing

MAX_EVENTS = 200_000


def behaviour(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Only this one.")] = "",
    since: Annotated[str, typer.Option(help="How far back to learn: 14d, 48h, or a UTC time.")] = "14d",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one principal a line.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show how unusual principals are now, 0 to 1, and what is unusual: its value in the last hour, and usually.

    Computed from the events of all gateways in the store; a gateway itself goes by what it saw, and by what the
    store held when it started.
    """
    now = datetime.now(UTC)
    opened = open_to_read(store, confdir)
    try:
        ends = opened.ended(moment(since, now), MAX_EVENTS)
    finally:
        opened.close()
    known = Behaviour()
    for event in ends:
        known.hear(seen_of(event))
    found = [each for each in known.all(now) if principal in ("", each[1])]
    if as_json:
        for tenant, who, standing in found:
            typer.echo(json.dumps(_plain(tenant, who, standing)))
        return
    if not found:
        typer.echo("Nobody was active.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("principal", "tenant"):
        table.add_column(name, overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("why, and what is usual", overflow="fold")
    for tenant, who, standing in found:
        table.add_row(
            Text(printable(who)), Text(printable(tenant)), f"{standing.score:.2f}", Text(_why(standing))
        )
    Console().print(table)


def _why(standing: Standing) -> str:
    if standing.hours < MIN_HOURS:
        return f"too little is known: {standing.hours} active hours of {MIN_HOURS}"
    return ", ".join(map(_said, standing.reasons))


def _said(reason: Reason) -> str:
    name = reason.feature.replace("_", " ")
    if reason.feature is Feature.SPEND:
        return f"{name} {reason.value / 1e6:.4f} USD ({reason.usual / 1e6:.4f})"
    if reason.feature is Feature.OFF_HOURS:
        return f"{name} {reason.value:.1%} of activity (from {reason.usual:.0%})"
    return f"{name} {reason.value:.0f} ({reason.usual:.1f})"


def _plain(tenant: str, who: str, standing: Standing) -> dict[str, object]:
    return {
        "principal": who,
        "tenant": tenant,
        "score": round(standing.score, 4),
        "hours": standing.hours,
        "reasons": [
            {
                "feature": r.feature.value,
                "value": round(r.value, 6),
                "usual": round(r.usual, 6),
                "share": round(r.share, 4),
            }
            for r in standing.reasons
        ],
    }
