"""`sallyport audit coverage`: how much of what went to AI hosts was read, what was not, and why."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.classes import Coverage
from sallyport.audit.coverage import CoverageDimension, Shares, Unparsed, together
from sallyport.audit.text import printable
from sallyport.cli.moments import check_period, moment
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TenantOption, TokenOption, open_to_read


def coverage(
    by: Annotated[
        list[CoverageDimension] | None,
        typer.Option(help="Break down by this; repeatable. Default: host.", metavar="DIMENSION"),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on: 1h, 30d, or a UTC time. Default: the beginning.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to, not including, this time.")] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            "--fail-under",
            min=0,
            max=1,
            help="Exit with 1 if a smaller share of what left was read, or if nothing left.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count what was read in part as not read.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=0, max=100_000, help="At most this many of what was not read.")
    ] = 20,
    tenant: TenantOption = None,
    tenant_token: TokenOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show how much of what went to AI hosts was read, and what was not."""
    now = datetime.now(UTC)
    start = None if since is None else moment(since, now)
    end = None if until is None else moment(until, now, "--until")
    check_period(start, end, now)
    dimensions = list(dict.fromkeys(by or (CoverageDimension.HOST,)))
    opened = open_to_read(store, confdir, tenant, tenant_token)
    try:
        shares = opened.coverage(dimensions, since=start, until=end)
        unparsed = opened.unparsed(since=start, until=end)
    finally:
        opened.close()
    share = together(shares).covered(strict=strict)
    if as_json:
        _print_json(shares, unparsed[:limit], share, strict=strict)
    else:
        _print_tables(shares, unparsed, dimensions, limit, strict=strict)
        _print_sum(together(shares), share, strict=strict)
    if fail_under is not None and (share is None or share < fail_under):
        raise typer.Exit(1)


def _print_json(
    shares: Sequence[Shares], unparsed: Sequence[Unparsed], share: float | None, *, strict: bool
) -> None:
    whole = together(shares)
    members = {
        "covered": share,
        "strict": strict,
        **_counts(whole),
        "shares": [{**each.by, **_counts(each), "covered": each.covered(strict=strict)} for each in shares],
        "not_parsed": [
            {
                "class": each.coverage.value,
                "count": each.count,
                "host": each.host,
                "endpoint": each.endpoint,
                "content_type": each.content_type,
                "reason": each.reason,
            }
            for each in unparsed
        ],
    }
    typer.echo(json.dumps(members, ensure_ascii=True))


def _counts(shares: Shares) -> dict[str, int]:
    counts = {each.value: shares.counts.get(each, 0) for each in Coverage}
    return {"requests": shares.total, **counts, "unclassified": shares.unclassified}


def _print_tables(
    shares: Sequence[Shares],
    unparsed: Sequence[Unparsed],
    dimensions: Sequence[CoverageDimension],
    limit: int,
    *,
    strict: bool,
) -> None:
    if not shares:
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 240
    table = Table(box=None, pad_edge=False, header_style="bold")
    for dimension in dimensions:
        table.add_column(dimension.value, overflow="fold")
    for heading in ("requests", *(c.value.replace("_", " ") for c in Coverage), "covered"):
        table.add_column(heading, justify="right")
    for each in shares:
        counts = (f"{each.counts.get(c, 0):,}" for c in Coverage)
        names = (Text(printable(value) or "-") for value in each.by.values())
        table.add_row(*names, f"{each.total:,}", *counts, _percent(each.covered(strict=strict)))
    console.print(table)
    if not unparsed or not limit:
        return
    listed = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for heading in ("not parsed", "requests", "host", "endpoint", "content type", "reason"):
        listed.add_column(heading, overflow="fold", justify="right" if heading == "requests" else "left")
    for one in unparsed[:limit]:
        texts = (one.host, one.endpoint, one.content_type, one.reason)
        cells = (Text(printable(text) or "-") for text in texts)
        listed.add_row(one.coverage.value.replace("_", " "), f"{one.count:,}", *cells)
    console.print()
    console.print(listed)
    if len(unparsed) > limit:
        typer.echo(f"and {len(unparsed) - limit} more kinds; --limit shows them.")


def _print_sum(whole: Shares, share: float | None, *, strict: bool) -> None:
    if not whole.total:
        typer.echo("No request went to an AI host.")
        return
    denied = whole.counts.get(Coverage.DENIED, 0)
    left = whole.total - denied
    read = "read whole" if strict else "read, whole or in part"
    typer.echo(
        f"{whole.total:,} requests: {denied:,} denied, {left:,} left"
        + (f", of which {_percent(share)} were {read}." if share is not None else ".")
    )
    if whole.unclassified:
        typer.echo(f"{whole.unclassified:,} were recorded before classes were, and count as not read.")


def _percent(share: float | None) -> str:
    """Return a share that is never rounded up to all."""
    return "-" if share is None else f"{int(share * 10_000) / 100:.2f} %"
