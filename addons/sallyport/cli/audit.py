"""`sallyport audit`: here list and show, what was decided and why; beside it what proves it, and what was read.

Everything a client could choose is shown with its control characters written out, and never as markup.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.events import DecisionRecord, Event, EventKind, FindingRecord
from sallyport.audit.ids import SHORT_CHARS
from sallyport.audit.schema import event_json
from sallyport.audit.stored import Outcome
from sallyport.audit.text import printable
from sallyport.cli import (
    auditcoverage,
    auditforget,
    auditforward,
    auditproof,
    auditreport,
    auditreveal,
    auditstore,
)
from sallyport.cli.moments import moment
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import TenantOption, TokenOption, open_to_read
from sallyport.errors import OperatorError

app = typer.Typer(
    help="Ask the audit what happened.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one event a line.")]


_NAMES = {
    "allow": Outcome.ALLOWED,
    "modify": Outcome.MODIFIED,
    "deny": Outcome.REFUSED,
    "denied": Outcome.REFUSED,
    "refuse": Outcome.REFUSED,
    "would-deny": Outcome.WOULD_REFUSE,
    **{outcome.value: outcome for outcome in Outcome},
}


def _outcome_named(word: str) -> Outcome:
    """Return the outcome a word stands for: that of the option, or that of the column `decision`."""
    outcome = _NAMES.get(word.strip().lower())
    if outcome is None:
        raise OperatorError("--decision", "it is none of the words", f"Choose from: {', '.join(Outcome)}.")
    return outcome


@app.command("list")
def list_events(
    since: Annotated[
        str | None, typer.Option(help="Only events younger than this: 30s, 15m, 1h, 2d, 1w, or a UTC time.")
    ] = None,
    kind: Annotated[EventKind | None, typer.Option(help="Only events of this kind.")] = None,
    principal: Annotated[str | None, typer.Option(help="Only events of this principal.")] = None,
    decision: Annotated[
        Outcome | None,
        typer.Option(
            parser=_outcome_named,
            metavar="|".join(Outcome),
            help="Only exchanges that fared so; the words of the column (allow, modify, deny) do as well.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most this many events.")] = 50,
    tenant: TenantOption = None,
    tenant_token: TokenOption = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List events, newest first."""
    opened = open_to_read(store, confdir, tenant, tenant_token)
    try:
        found = opened.events(
            limit,
            since=None if since is None else moment(since, datetime.now(UTC)),
            kind=kind,
            principal=principal,
            outcome=decision,
        )
    finally:
        opened.close()
    if as_json:
        _print_json(found)
    elif not found:
        typer.echo(f"No such event in {printable(opened.name)}.")
    else:
        console = _console()
        console.print(_table(found, console))


@app.command("show")
def show_event(
    id: Annotated[str, typer.Argument(help="An event or exchange id, or a beginning of one that is unique.")],
    tenant: TenantOption = None,
    tenant_token: TokenOption = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Explain one decision: who asked what of whom, what every stage said, and what happened then."""
    opened = open_to_read(store, confdir, tenant, tenant_token)
    try:
        found = opened.decision(id)
    finally:
        opened.close()
    if as_json:
        _print_json(found)
        return
    console = _console()
    for line in _explanation(found):
        console.print(line, soft_wrap=True)


for _name, _command in (
    *auditproof.COMMANDS.items(),
    *auditreveal.COMMANDS.items(),
    *auditstore.COMMANDS.items(),
):
    app.command(_name)(_command)
app.command("coverage")(auditcoverage.coverage)
app.command("forward")(auditforward.forward)
app.command("report")(auditreport.write_report)
app.command("forget")(auditforget.forget)
app.add_typer(auditforget.keys_app, name="keys")
app.add_typer(auditforget.content_app, name="content")


def _console() -> Console:
    """Return a console as wide as the terminal; without a terminal nothing is cut off."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 240
    return console


def _print_json(found: Iterable[Event]) -> None:
    for event in found:
        typer.echo(json.dumps(event_json(event), ensure_ascii=True))


_NARROW = 110
"""Terminals with fewer columns than this get fewer columns of the table, each event on one line."""

_LAYOUTS = (frozenset[str](), frozenset({"model"}), frozenset({"model", "to"}))
"""What is left out, in this order, until the table fits. Last of all the id is shortened."""

_SHORTER_CHARS = 13
"""Of an id: its milliseconds, nearly always enough for `show`."""


def _table(found: Sequence[Event], console: Console) -> Table:
    if console.width >= _NARROW:
        return _wide(found)
    tables = (
        *(_narrow(found, SHORT_CHARS, out) for out in _LAYOUTS),
        _narrow(found, _SHORTER_CHARS, _LAYOUTS[-1]),
    )
    endless = console.options.update(max_width=10_000)
    fits = (table for table in tables if console.measure(table, options=endless).maximum <= console.width)
    return next(fits, tables[-1])


def _wide(found: Iterable[Event]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in _FIXED:
        table.add_column(heading, no_wrap=True)
    for heading in ("principal", "to", "model", "decision", "reason"):
        table.add_column(heading, overflow="fold", min_width=len(heading))
    for event in found:
        table.add_row(*_cells(event, SHORT_CHARS).values())
    return table


def _narrow(found: Iterable[Event], id_chars: int, left_out: frozenset[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    rows = [_cells(event, id_chars) for event in found]
    for heading in (name for name in rows[0] if name not in left_out):
        # Only columns that may wrap are made narrower; that none does wrap is the texts' own doing.
        table.add_column(heading, no_wrap=heading in (*_FIXED, "decision", "reason"))
    for row in rows:
        for cell in row.values():
            cell.no_wrap, cell.overflow = True, "ellipsis"
        table.add_row(*(cell for name, cell in row.items() if name not in left_out))
    return table


def _cells(event: Event, id_chars: int) -> dict[str, Text]:
    return {
        "time (UTC)": Text(f"{event.at:%Y-%m-%d %H:%M:%S}"),
        "id": _shown(event.id[:id_chars]),
        "event": _shown(event.kind.value, style=_COLOURS.get(event.kind, "")),
        "principal": _shown(event.principal or event.client),
        "to": _shown(event.host),
        "model": _shown(event.model),
        "decision": _shown(_decided(event)),
        "reason": _shown(event.reason or event.detail),
    }


_FIXED = ("time (UTC)", "id", "event")


_COLOURS = {EventKind.REFUSED: "red", EventKind.CONNECTION_REFUSED: "red", EventKind.BROKEN: "yellow"}


def _shown(text: str, *, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _decided(event: Event) -> str:
    """Return the enforced action, and the one that observe mode kept from being enforced."""
    if event.action is None:
        return ""
    action = event.action.name.lower()
    if event.would_be is None or event.would_be is event.action:
        return action
    return f"{action} (would {event.would_be.name.lower()})"


def _explanation(found: list[Event]) -> Iterable[Text]:
    """Yield the lines that explain one exchange, or one event that belongs to none."""
    first = next((event for event in found if event.decisions), found[0])
    yield _shown(f"{first.kind.value} {first.id}", style="bold")
    for name, value in _facts(first):
        if value:
            yield _shown(f"  {name:<12}{value}")
    for event in found:
        if event.decisions:
            yield Text()
            yield _shown(f"stages at {event.kind.value}", style="bold")
            for decision in event.decisions:
                yield from _stage_lines(decision)
    yield Text()
    yield _shown("what happened", style="bold")
    for event in found:
        yield _shown(f"  {_time(event)}  {event.kind.value:<12}{_outcome(event)}".rstrip())
    if first.exchange and not any(event.is_end for event in found):
        yield _shown("  no end yet: still in flight, or cut off and not yet closed by the next start")


def _facts(event: Event) -> Iterable[tuple[str, str]]:
    yield "time", _time(event)
    yield "exchange", event.exchange
    yield "gateway", event.gateway
    proof = f"{event.source or 'unknown source'}, confidence {event.confidence:.2f}"
    tenant = f", tenant {event.tenant}" if event.tenant else ""
    yield "who", f"{event.principal} ({proof}{tenant})" if event.principal else ""
    yield "from", f"{event.client} ({event.client_mode})" if event.client_mode else event.client
    yield "credential", event.credential
    yield "to", f"{event.host}, in fact {event.connected_to}" if event.connected_to else event.host
    yield "provider", " / ".join(part for part in (event.provider, event.dialect, event.operation) if part)
    yield "endpoint", event.endpoint
    yield "model", event.model
    yield "decision", _decided(event)
    if event.coverage is not None:
        yield (
            "coverage",
            " ".join(part for part in (event.coverage, event.content_type, event.unread) if part),
        )
    yield "because", " ".join(part for part in (event.stage, event.reason) if part)
    yield "detail", event.detail
    yield "policy", event.policy_revision
    yield "rules", event.rules_revision


def _stage_lines(decision: DecisionRecord) -> Iterable[Text]:
    yield _shown(
        f"  {decision.stage:<12}{decision.action.name.lower():<8}{decision.mode.value:<9}"
        f"{decision.reason or '-'}  {decision.duration_us} us"
    )
    counts = Counter((f.rule, f.entity, f.severity.value) for f in decision.findings)
    for (rule, entity, severity), count in counts.items():
        yield _shown(f"    {rule}  {entity}  {severity}  {count} found")
        for finding in decision.findings:
            if (finding.rule, finding.entity, finding.severity.value) == (rule, entity, severity):
                yield _shown(f"      {_place(finding)}  score {finding.score:.2f}")
    if decision.omitted:
        yield _shown(f"    and {decision.omitted} more findings")


def _place(finding: FindingRecord) -> str:
    ordinal = "?" if finding.segment is None else str(finding.segment)
    surface = f" ({finding.surface.value})" if finding.surface else ""
    return f"segment {ordinal}{surface} {finding.start}-{finding.end}"


_COUNTED = {"counted": " (counted here)", "estimated": " (estimated)"}


def _outcome(event: Event) -> str:
    usage = event.usage
    counts = (
        []
        if usage is None
        else [
            f"{count} {name}"
            for name, count in (
                ("input", usage.input),
                ("cache read", usage.cache_read),
                ("cache write", usage.cache_write),
                ("output", usage.output),
                ("reasoning", usage.reasoning),
            )
            if count is not None
        ]
    )
    parts = (
        "" if event.status is None else f"status {event.status}",
        f"finish {event.finish_reason}" if event.finish_reason else "",
        f"tokens: {', '.join(counts)}{_COUNTED.get(event.usage_source, '')}" if counts else "",
        "" if not event.cost_micro_usd else f"{event.cost_micro_usd / 1_000_000:.6f} USD",
        "" if event.request_bytes is None else f"{event.request_bytes} bytes up",
        "" if event.response_bytes is None else f"{event.response_bytes} bytes down",
        "" if event.duration_us is None else f"{event.duration_us / 1000:.1f} ms",
        event.detail,
    )
    return "; ".join(part for part in parts if part)


def _time(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M:%S.%f}Z"
