"""`sallyport spend`: who used what, for how much, from the audit events."""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.spend import Spend, SpendDimension
from sallyport.audit.text import printable
from sallyport.cli.moments import moment
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TenantOption, TokenOption, open_to_read


class Format(StrEnum):
    """How spend is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    FOCUS = "focus"


def spend(
    by: Annotated[
        list[SpendDimension] | None,
        typer.Option(
            help="Break down by this; repeatable. Default: principal and model.", metavar="DIMENSION"
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="From this time on: 30d, 1w, or a UTC time. Default: the first of this month."),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to, not including, this time.")] = None,
    tenant: TenantOption = None,
    tenant_token: TokenOption = None,
    as_format: Annotated[
        Format,
        typer.Option("--format", help="table, csv, json (one object a line), or focus (CSV for finance)."),
    ] = Format.TABLE,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show what was used, and what it cost.

    Costs are those of the moment of the call, in US dollars, as recorded with it.
    """
    now = datetime.now(UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = start if since is None else moment(since, now)
    end = None if until is None else moment(until, now, "--until")
    dimensions = list(dict.fromkeys(by or (SpendDimension.PRINCIPAL, SpendDimension.MODEL)))
    if as_format is Format.FOCUS:
        dimensions = list(_FOCUS_BY)
    opened = open_to_read(store, confdir, tenant, tenant_token)
    try:
        found = opened.spend(dimensions, since=start, until=end)
    finally:
        opened.close()
    match as_format:
        case Format.TABLE:
            _print_table(found, dimensions, start, end)
        case Format.CSV:
            _print_csv(_plain(found), [*(d.value for d in dimensions), *_NUMBERS])
        case Format.JSON:
            for row in _plain(found):
                typer.echo(json.dumps(row))
        case Format.FOCUS:
            _print_csv(_focus(found), _FOCUS_COLUMNS)


_NUMBERS = (
    *("exchanges", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("cost_usd", "unpriced", "counted"),
)


def _plain(found: Iterable[Spend]) -> Iterable[dict[str, object]]:
    for each in found:
        yield {
            **each.by,
            **{name: getattr(each, name) for name in _NUMBERS if name != "cost_usd"},
            "cost_usd": _usd(each.cost_micro_usd),
        }


def _usd(micro: int) -> str:
    return f"{micro // 1_000_000}.{micro % 1_000_000:06d}"


def _print_csv(rows: Iterable[dict[str, object]], columns: Sequence[str]) -> None:
    writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})


def _cell(value: object) -> object:
    """Return a value that a spreadsheet reads as text, not as a formula."""
    text = value if isinstance(value, str) else ""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _print_table(
    found: Sequence[Spend], dimensions: Sequence[SpendDimension], start: datetime, end: datetime | None
) -> None:
    period = f"from {start:%Y-%m-%d %H:%M} UTC" + (f" to {end:%Y-%m-%d %H:%M} UTC" if end else "")
    if not found:
        typer.echo(f"Nothing was used {period}.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for dimension in dimensions:
        table.add_column(dimension.value, overflow="fold")
    for name in ("exchanges", "input", "cached", "output", "USD"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(
            *(Text(printable(value) or "-") for value in each.by.values()),
            *(
                f"{n:,}"
                for n in (each.exchanges, each.input_tokens, each.cache_read_tokens, each.output_tokens)
            ),
            _usd(each.cost_micro_usd)[:-2] + ("+" if each.unpriced else ""),
        )
    total = sum(each.cost_micro_usd for each in found)
    Console().print(table)
    typer.echo(f"{_usd(total)} USD in {sum(each.exchanges for each in found):,} exchanges {period}.")
    unpriced, counted = sum(e.unpriced for e in found), sum(e.counted for e in found)
    if unpriced:
        typer.echo(f"+ {unpriced:,} exchanges have no known price: give one in prices.contract.")
    if counted:
        typer.echo(f"{counted:,} exchanges were counted here, since the provider reported no usage.")


# FinOps FOCUS 1.0, the columns that apply to calls of a model.
_FOCUS_BY = (
    SpendDimension.DAY,
    SpendDimension.PROVIDER,
    SpendDimension.TENANT,
    SpendDimension.PRINCIPAL,
    SpendDimension.MODEL,
    SpendDimension.OPERATION,
)
_FOCUS_COLUMNS = (
    *("ChargePeriodStart", "ChargePeriodEnd", "ProviderName", "PublisherName", "SubAccountId", "ServiceName"),
    *("ServiceCategory", "ChargeCategory", "ChargeDescription", "ResourceId", "ConsumedQuantity"),
    *("ConsumedUnit", "BilledCost", "EffectiveCost", "BillingCurrency", "Tags"),
)


def _focus(found: Iterable[Spend]) -> Iterable[dict[str, object]]:
    for each in sorted(found, key=lambda s: tuple(s.by.values())):
        day = each.by["day"]
        cost = _usd(each.cost_micro_usd)
        yield {
            "ChargePeriodStart": f"{day}T00:00:00Z",
            "ChargePeriodEnd": f"{date.fromisoformat(day) + timedelta(days=1)}T00:00:00Z",
            "ProviderName": each.by["provider"],
            "PublisherName": each.by["provider"],
            "SubAccountId": each.by["tenant"],
            "ServiceName": each.by["operation"],
            "ServiceCategory": "AI and Machine Learning",
            "ChargeCategory": "Usage",
            "ChargeDescription": each.by["model"],
            "ResourceId": each.by["model"],
            "ConsumedQuantity": each.input_tokens + each.output_tokens,
            "ConsumedUnit": "Tokens",
            "BilledCost": cost,
            "EffectiveCost": cost,
            "BillingCurrency": "USD",
            "Tags": json.dumps({"principal": each.by["principal"]}),
        }
