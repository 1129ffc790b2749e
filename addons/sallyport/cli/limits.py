"""`sallyport limits`: how full the limits are, and what can be done about it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.events import EventKind
from sallyport.audit.stored import StoredEvents
from sallyport.audit.text import printable
from sallyport.cli.behaviour import behaviour
from sallyport.cli.counters import compare, exhausted, forgotten, shown
from sallyport.cli.detection import read_policy
from sallyport.cli.last_run import policy_in_use
from sallyport.cli.ledger import LedgerOption, ask
from sallyport.cli.ledgerclock import clock
from sallyport.cli.moments import time_to_come
from sallyport.cli.operator import record
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.reading import names_here, open_to_read
from sallyport.cli.telling import tell
from sallyport.errors import OperatorError
from sallyport.policy.limits import Limit
from sallyport.policy.sections import Policy
from sallyport.stages.ledger import MAX_AMOUNT, Ledger, Level, limit_of

app = typer.Typer(
    help="Show how full limits are, reset them, grant more.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(behaviour)
app.command()(clock)

PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help="Policy for units and names of limits, preset or file; default: the one this gateway was started with.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one limit a line.")]
KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The counter, as `limits status` names it.")]


@app.command()
def status(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Only counters that begin so.")] = "",
    policy: PolicyOption = None,
    as_json: JsonOption = False,
    ledger: LedgerOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show every counter: used, under way, left, when it is full again, and when it will be used up."""
    rules = _rules(policy, confdir)
    levels = ask(ledger, confdir, lambda opened: opened.levels(key))
    _show(levels, rules, as_json)


@app.command()
def top(
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 10,
    policy: PolicyOption = None,
    as_json: JsonOption = False,
    ledger: LedgerOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show the fullest counters."""
    rules = _rules(policy, confdir)
    _show(ask(ledger, confdir, lambda opened: opened.top(count)), rules, as_json)


@app.command()
def reset(
    key: KeyArgument,
    policy: PolicyOption = None,
    ledger: LedgerOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Forget what was used under a counter; what is under way stays. Recorded in the audit."""
    limits = _policy(policy, confdir).limits

    def note() -> None:
        record(store, confdir, EventKind.LIMIT_CHANGED, stage="limits", reason=_reason(key), detail="reset")

    async def forget(opened: Ledger) -> None:
        used = key in {level.key for level in await opened.levels(key, ended=True)}
        if used:
            note()
        if not await opened.reset(key):
            raise OperatorError("KEY", "there is no such counter", "List them with: sallyport limits status")
        if not used:
            note()

    ask(ledger, confdir, forget)
    tell(limits, key, "reset")
    typer.echo("reset")


@app.command()
def grant(
    key: KeyArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="How much more, in the limit's own unit.")],
    until: Annotated[str, typer.Option(help="Until when: 12h, 7d, or a UTC time.")] = "1d",
    new: Annotated[bool, typer.Option("--new", help="Grant before the counter's first call.")] = False,
    policy: PolicyOption = None,
    ledger: LedgerOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Add to a limit for a time. Grants add up. Recorded in the audit."""
    limits = _policy(policy, confdir).limits
    rule = next((r for r in limits.rules if r.id == limit_of(key)), None)
    if rule is None:
        todo = "Give the policy in force with --policy"
        raise OperatorError("KEY", "the policy has no limit of that name", todo)
    more, now = _amount(amount, rule.unit), datetime.now(UTC)
    end = time_to_come("--until", until, now, "Write 12h, 7d, or a UTC time: 2026-12-01T09:00")

    async def add(opened: Ledger) -> None:
        if not new and key not in {level.key for level in await opened.levels(key)}:
            todo = "List counters with: sallyport limits status. For one that has not been used yet add --new"
            raise OperatorError("KEY", "there is no such counter", todo)
        until_ms = await opened.now_ms() + int((end - now).total_seconds() * 1000)
        record(store, confdir, EventKind.LIMIT_CHANGED, stage="limits", reason=_reason(key), detail="grant")
        await opened.grant(key, more, until_ms)

    ask(ledger, confdir, add)
    tell(limits, key, "grant")
    typer.echo(f"granted until {end:%Y-%m-%d %H:%M} UTC")


@app.command()
def reconcile(
    policy: PolicyOption = None,
    as_json: JsonOption = False,
    ledger: LedgerOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Compare the counters of calendar windows with the audit events. Exit code 1 where they differ.

    Exchanges under way are in neither. Limits by role, or with a condition, cannot be compared: events hold
    neither roles nor what a condition was asked about.
    """
    from sallyport.cli.parts import make_tariff

    in_force = _policy(policy, confdir)
    prices = make_tariff(in_force).prices
    levels = ask(ledger, confdir, lambda opened: opened.levels(ended=True))
    opened, untold = open_to_read(store, confdir, names=False), list[str]()
    opened.names = names_here(confdir, untold.append)
    try:
        found = compare(levels, {rule.id: rule for rule in in_force.limits.rules}, opened.booked, prices)
        left_out, now = len(levels) - len(found), datetime.now(UTC)
        if _was_lost(opened, now):
            found += forgotten(levels, in_force, opened.booked, prices, now)
    finally:
        opened.close()
    if untold:
        what = f"{untold[0]}, so what people used cannot be compared with their counters"
        raise OperatorError(
            "limits reconcile", what, "Run it where the keys are, when they answer", exit_code=3
        )
    for line in found:
        if as_json:
            typer.echo(json.dumps({**line.plain(), "agrees": line.agrees}))
        elif not line.agrees:
            typer.echo(
                f"{printable(line.key)}: ledger {shown(line.rule, line.ledger)}, events "
                f"{shown(line.rule, line.events)}"
            )
    differing = sum(not line.agrees for line in found)
    if not as_json:
        typer.echo(f"{len(found)} counters compared, {differing} differ, {left_out} left out")
    if differing:
        raise typer.Exit(1)


def _was_lost(opened: StoredEvents, now: datetime) -> bool:
    """Say whether counters were lost in the longest calendar window under way, as far as gateways noticed."""
    told = opened.events(_MOST_TOLD, since=now - timedelta(days=32), kind=EventKind.LIMIT_CHANGED)
    return any(event.reason in ("ledger.file", "ledger.redis") for event in told)


_MOST_TOLD = 100_000


def _policy(named: str | None, confdir: Path | None) -> Policy:
    return read_policy(policy_in_use(named, confdir))


def _rules(named: str | None, confdir: Path | None) -> Mapping[str, Limit]:
    return {rule.id: rule for rule in _policy(named, confdir).limits.rules}


def _show(levels: Sequence[Level], rules: Mapping[str, Limit], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        for level in levels:
            rule = rules.get(limit_of(level.key))
            typer.echo(json.dumps(_plain(level, rule, now)))
        return
    if not levels:
        typer.echo("Nothing has been counted yet.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("counter", overflow="fold")
    for name in ("used", "under way", "limit", "left", "full again", "used up"):
        table.add_column(name, justify="right")
    for level in levels:
        rule = rules.get(limit_of(level.key))
        whole = level.limit + level.granted
        end = exhausted(level, now)
        table.add_row(
            Text(printable(level.key)),
            *(shown(rule, n) for n in (level.used, level.reserved, whole, level.remaining)),
            "" if not level.resets_in_ms else _moment(now + timedelta(milliseconds=level.resets_in_ms)),
            "" if end is None else _moment(end),
        )
    Console().print(table)


def _plain(level: Level, rule: Limit | None, now: datetime) -> dict[str, object]:
    end = exhausted(level, now)
    return {
        "key": level.key,
        "unit": rule.measure.value if rule else "counted",
        **{
            name: float(shown(rule, getattr(level, name)))
            for name in ("used", "reserved", "limit", "granted", "remaining")
        },
        "resets_in_ms": level.resets_in_ms,
        "exhausted_at": end.isoformat() if end else None,
    }


def _moment(at: datetime) -> str:
    return f"{at:%m-%d %H:%M}Z"


def _amount(text: str, unit: int) -> int:
    """Return an amount in counted units, of which `unit` are one of the limit's own."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal(0)
    counted = int(amount * unit) if amount.is_finite() and 0 < amount <= MAX_AMOUNT else 0
    if not 0 < counted <= MAX_AMOUNT:
        raise OperatorError(
            "AMOUNT", "it is no amount that can be granted", "Write a number above zero: 25 or 12.50"
        )
    return counted


def _reason(key: str) -> str:
    return f"limits.{limit_of(key)}"
