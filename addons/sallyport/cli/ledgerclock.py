"""`sallyport limits clock`: by which time the counters go, and how one that is wrong is set right."""

import logging
import time
from datetime import timedelta
from typing import Annotated

import typer

from sallyport.audit.events import EventKind
from sallyport.cli.detection import read_policy
from sallyport.cli.last_run import policy_in_use
from sallyport.cli.ledger import LedgerOption, ask
from sallyport.cli.operator import record
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.policy.sections import Policy
from sallyport.stages.ledger import Calendar, Ledger, Unit
from sallyport.state.ledger.righting import APART_MS, WATCH, Clocks, Rightable, moves_of, shown

_PATIENCE_S = 60.0
"""For a ledger of which every counter is moved."""


def clock(
    set_right: Annotated[
        bool,
        typer.Option("--set-right", help="Set it to its store's clock; counters move with it. Recorded."),
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", help="Policy for calendars of limits; default: the one this gateway was started with."
        ),
    ] = None,
    ledger: LedgerOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show the time by which counters go. Exit code 1 where it is more than a minute from its store's clock.

    A clock of the store that was ahead for a moment (the Redis server's; this host's at a boot) leaves days, weeks and
    months of limits too early for good, since counters never go back by themselves.
    """
    of_limits = read_policy(policy_in_use(policy, confdir)) if set_right else None

    async def look(opened: Ledger) -> Clocks:
        clocks = await _rightable(opened).clocks()
        if of_limits is not None and abs(clocks.apart_ms) > APART_MS:
            _check_host(clocks)
            moves = moves_of(await opened.levels(ended=True), _calendars(of_limits), clocks)
            record(
                store,
                confdir,
                EventKind.LIMIT_CHANGED,
                stage="limits",
                reason="ledger.clock",
                detail="set_right",
            )
            await _rightable(opened).set_right(moves)
        return clocks

    watch = logging.getLogger(WATCH)
    was_silent, watch.disabled = watch.disabled, True  # it would send the operator here
    try:
        clocks = ask(ledger, confdir, look, _PATIENCE_S)
    finally:
        watch.disabled = was_silent
    ahead = timedelta(seconds=round(abs(clocks.apart_ms) / 1000))
    typer.echo(f"counters  {shown(clocks.ledger_ms)}")
    typer.echo(f"store     {shown(clocks.right_ms)}")
    if abs(clocks.apart_ms) <= APART_MS:
        return
    typer.echo(f"The counters were {ahead} {'ahead' if clocks.apart_ms > 0 else 'behind'}.")
    if not set_right:
        typer.echo("If the store's clock is right: sallyport limits clock --set-right", err=True)
        raise typer.Exit(1)
    typer.echo("set right")


def _rightable(opened: Ledger) -> Rightable:
    assert isinstance(opened, Rightable)  # all that is outside of a process is
    return opened


def _check_host(clocks: Clocks) -> None:
    """Refuse to set a clock by a server's that is wrong itself, as far as this host can tell. Raises OperatorError."""
    here = time.time_ns() // 1_000_000
    if abs(here - clocks.right_ms) > APART_MS:
        raise OperatorError(
            "--set-right",
            f"the clock of the ledger's server says {shown(clocks.right_ms)}, and this host's {shown(here)}",
            "Set the one that is wrong right first",
            exit_code=3,
        )


def _calendars(policy: Policy) -> dict[str, Calendar]:
    return {
        rule.id: Calendar(Unit(rule.per.value), policy.limits.time_zone)
        for rule in policy.limits.rules
        if rule.kind == "calendar" and rule.per is not None
    }
