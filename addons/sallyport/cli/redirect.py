"""`sallyport redirect`: the kernel rules of a choke point, shown, applied, checked and removed."""

import json
from typing import Annotated

import typer

from sallyport.choke import redirect
from sallyport.choke.nftables import FAMILY, TABLE, render
from sallyport.choke.point import DEFAULT_PORT, ChokePoint, ForwardPolicy, parse_choke_point

app = typer.Typer(
    name="redirect",
    help="Manage the nftables rules that leave clients no way but through the gateway. "
    "Works in the current network namespace.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Interfaces = Annotated[
    list[str] | None,
    typer.Option(
        "--interface", "-i", metavar="NAME", help="Interface that faces the clients; repeat for more."
    ),
]
_Port = Annotated[int, typer.Option("--port", help="Port of the gateway's transparent listener.")]
_Forward = Annotated[
    ForwardPolicy,
    typer.Option("--forward-policy", help="What happens to other forwarded packets of this host."),
]
_Sources = Annotated[
    list[str] | None,
    typer.Option(
        "--source", metavar="CIDR", help="Only clients in this network (CIDR); repeat for more. Default: all."
    ),
]
_Excludes = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="CIDR", help="Leave destinations in this network (CIDR) alone; repeat for more."
    ),
]
_Dot = Annotated[
    bool, typer.Option("--refuse-dot", help="Also refuse DNS over TLS and over QUIC (TCP and UDP 853).")
]
_Local = Annotated[
    bool, typer.Option("--local", help="Redirect this host's own traffic too; needs --uid-exempt.")
]
_Exempt = Annotated[
    str | None,
    typer.Option("--uid-exempt", help="User (name or uid) that the gateway runs as; not redirected."),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object.")]


@app.command("print")
def print_(
    interface: _Interfaces = None,
    port: _Port = DEFAULT_PORT,
    forward_policy: _Forward = ForwardPolicy.DROP,
    source: _Sources = None,
    exclude: _Excludes = None,
    refuse_dot: _Dot = False,
    local: _Local = False,
    uid_exempt: _Exempt = None,
) -> None:
    """Write the ruleset as nft reads it, and change nothing."""
    point = _point(interface, port, forward_policy, source, exclude, refuse_dot, local, uid_exempt)
    typer.echo(render(point), nl=False)


@app.command()
def apply(
    interface: _Interfaces = None,
    port: _Port = DEFAULT_PORT,
    forward_policy: _Forward = ForwardPolicy.DROP,
    source: _Sources = None,
    exclude: _Excludes = None,
    refuse_dot: _Dot = False,
    local: _Local = False,
    uid_exempt: _Exempt = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only ask whether the kernel would take it.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although another nat rule may decide first.")
    ] = False,
) -> None:
    """Put the choke point in force, in one transaction; twice is the same as once."""
    point = _point(interface, port, forward_policy, source, exclude, refuse_dot, local, uid_exempt)
    applied = redirect.apply(point, check=check, force=force)
    for warning in applied.warnings:
        typer.echo(f"warning: {warning}", err=True)
    name = f"table {FAMILY} {TABLE}"
    if check:
        typer.echo(f"{name}: the kernel would take it; nothing was changed")
    elif applied.changed:
        typer.echo(f"{name}: in force")
    else:
        typer.echo(f"{name}: was in force already, nothing was changed")


@app.command()
def status(as_json: _AsJson = False) -> None:
    """Say whether the choke point is in force as it was written; exit 0 if so, 1 if not."""
    found = redirect.status()
    if as_json:
        rules = [
            {"chain": rule.chain, "rule": rule.why, "packets": rule.packets, "bytes": rule.bytes}
            for rule in found.counts
        ]
        typer.echo(json.dumps({"table": f"{FAMILY} {TABLE}", "state": found.state, "rules": rules}))
    else:
        typer.echo(f"table {FAMILY} {TABLE}: {_STATES[found.state]}")
        for rule in found.counts:
            typer.echo(f"{rule.packets:>12} packets {rule.bytes:>14} bytes  {rule.chain}: {rule.why}")
    raise typer.Exit(0 if found.in_place else 1)


@app.command()
def remove() -> None:
    """Take the rules away; clients then reach the outside as the rest of this host allows."""
    there = redirect.remove()
    typer.echo(f"table {FAMILY} {TABLE}: {'removed' if there else 'was not there'}")


_STATES = {
    redirect.State.PRESENT: "in force",
    redirect.State.ABSENT: "not there; nothing is intercepted",
    redirect.State.CHANGED: "changed by somebody else since it was applied; apply it again",
}


def _point(
    interface: list[str] | None,
    port: int,
    forward_policy: ForwardPolicy,
    source: list[str] | None,
    exclude: list[str] | None,
    refuse_dot: bool,
    local: bool,
    uid_exempt: str | None,
) -> ChokePoint:
    return parse_choke_point(
        interface or (),
        port=port,
        forward_policy=forward_policy,
        sources=source or (),
        excludes=exclude or (),
        refuse_dot=refuse_dot,
        local=local,
        exempt_user=uid_exempt,
    )
