"""`sallyport audit report`: a period of the log, for who has to answer for it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from sallyport import __version__
from sallyport.audit.events import Event
from sallyport.audit.reporting import Direction, Report, ranked, report
from sallyport.audit.reportpage import as_object, html
from sallyport.audit.text import printable
from sallyport.cli.moments import check_period, moment
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TenantOption, TokenOption, open_to_read
from sallyport.cli.replacing import output
from sallyport.errors import OperatorError
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.hosts import HostError


def write_report(
    since: Annotated[str, typer.Option(help="Beginning: 30d, 1w, or a UTC time such as 2026-05-01.")] = "30d",
    until: Annotated[str | None, typer.Option(help="End, not included. [default: now]")] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page; print it for a PDF.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    tenant: TenantOption = None,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Tell of a period: who used what, what was refused, which data went where, what was changed and by whom.

    Each part names the clauses of GDPR, HIPAA, SOC 2, the EU AI Act and ISO 42001 that it is asked for by. It is
    evidence for them, and no judgement.
    """
    now = datetime.now(UTC)
    start, end = moment(since, now), now if until is None else moment(until, now, "--until")
    check_period(start, end, now)
    opened = open_to_read(store, confdir, tenant, tenant_token)
    try:
        if tenant is not None and not opened.events(1):
            what = "the log has no event of this tenant"
            raise OperatorError("--tenant", what, "Look for its name: sallyport directory tenants list")
        found = report(opened.between(start, end), start, end, tenant=tenant or "", region=_regions())
        name = opened.name
    finally:
        opened.close()
    about = {"sallyport": __version__, "store": name, "made_at": now.isoformat()}
    if page is not None:
        lines = [
            f"Made {now:%Y-%m-%d %H:%M} UTC by Sallyport {__version__} from {name}: {found.events:,} events.",
            "Whether the events are as they were written: sallyport audit verify.",
        ]
        with output(page, "--html") as file:
            file.write(html(found, lines))
    if as_json:
        typer.echo(json.dumps(as_object(found, about), indent=1))
    else:
        _tell(found)


def _regions() -> Callable[[Event], str]:
    """Return what says where a call is processed, as host and model tell it."""
    catalogue = shipped_catalogue()

    @cache
    def region(host: str, model: str) -> str:
        try:
            provider = catalogue.provider(host)
        except HostError:
            return ""
        return provider.regions.of(host, {}, model or None) if provider is not None else ""

    return lambda event: region(event.host, event.model)


def _tell(found: Report) -> None:
    refused = sum(found.refusals.values())
    typer.echo(f"{found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC: {found.events:,} events")
    cost = sum(usage.cost_micro_usd for usage in found.by_principal.values()) / 1e6
    people = len(found.by_principal)
    typer.echo(
        f"{found.exchanges:,} exchanges of {people:,} principals, {refused:,} refused, {cost:,.2f} USD"
    )
    for title, rows in (
        ("refused", ranked(found.refusals)),
        ("would be refused", ranked(found.would_refuse)),
        ("only tried", ranked(found.tried)),
    ):
        for stage, reason, count in rows[:10]:
            typer.echo(f"  {title}: {printable(reason or stage)}  {count:,}")
    data: dict[str, int] = {}
    for each, count in found.data.items():
        way = "to" if each.direction is Direction.SENT else "from"
        key = f"{each.treatment}: {each.entity} {way} {each.provider} {each.region}".rstrip()
        data[key] = data.get(key, 0) + count
    for key, count in sorted(data.items(), key=lambda item: (-item[1], item[0]))[:20]:
        typer.echo(f"  {printable(key)}  {count:,}")
    typer.echo(f"{len(found.acts) + found.acts_left_out} acts. Everything: --json, or --html FILE.")
