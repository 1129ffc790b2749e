"""`sallyport ca`: make, show and explain the gateway's certificate authority."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from cryptography.hazmat.primitives import serialization

from sallyport.cli import options
from sallyport.errors import OperatorError
from sallyport.pki import Authority, ca_paths, confdir, ensure_ca, load_ca, rotate_ca, write_bundle
from sallyport.pki.constraints import subtree
from sallyport.pki.create import MAX_DAYS
from sallyport.pki.trust import recipes
from sallyport.policy.catalogue import Catalogue, shipped_catalogue
from sallyport.policy.restrictions import restricted

app = typer.Typer(
    name="ca",
    help="The certificate authority that clients trust.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_Confdir = Annotated[
    Path | None,
    typer.Option(
        "--confdir",
        parser=options.folder,
        metavar="FOLDER",
        help="Folder of the authority. Default: $SALLYPORT_CONFDIR, else ~/.sallyport.",
    ),
]


@app.command()
def init(
    folder: _Confdir = None,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="HOST",
            help="Host to vouch for, and no other (repeat). Default: every AI host of the catalogue.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Vouch also for the hosts that the restrictions of this policy are sent to (preset or file)."
        ),
    ] = None,
    days: Annotated[int, typer.Option("--days", help="Days until it expires, at most 365.")] = MAX_DAYS,
    key: Annotated[Literal["ec", "rsa"], typer.Option("--key", help="P-256 (ec) or RSA-3072 (rsa).")] = "ec",
    extra_ca: Annotated[
        list[Path] | None,
        typer.Option(
            "--extra-ca",
            metavar="FILE",
            readable=False,
            help="PEM file with a company root to add to the bundle (repeat).",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the one that is there; the old files go to a backup.")
    ] = False,
) -> None:
    """Make the authority if there is none; keep the one that is there.

    It may vouch for the AI hosts of the catalogue, never for an address, and lives a year at most. Where a
    host has a changing part, the whole domain is permitted, such as amazonaws.com or googleapis.com; --host
    narrows it to the hosts that are named. A new one must be trusted by all clients, so an old one is
    replaced only with --force.
    """
    where = folder or confdir()
    catalogue = shipped_catalogue()
    hosts = (*(host or catalogue.host_patterns), *_restricted_hosts(policy, catalogue))
    had_one = ca_paths(where).authority.exists()
    if force:
        _, backup = rotate_ca(where, hosts, days=days, key=key)
        if backup:
            typer.echo(f"Moved the old authority to {backup}. Delete it once all clients trust the new one.")
    else:
        ensure_ca(where, hosts, days=days, key=key)
    authority = load_ca(where)
    _refresh_bundle(authority, extra_ca or ())
    kept = had_one and not force
    typer.echo(f"{'Kept' if kept else 'Made'} {authority.paths.authority}")
    typer.echo(f"SHA-256 {authority.fingerprint}, valid until {authority.not_after:%Y-%m-%d}")
    if not kept:
        _tell_wide(hosts)
    elif host or policy or (days, key) != (MAX_DAYS, "ec"):
        typer.echo(
            "Warning: it stays as it was made, and what was asked for was not applied. See what it may vouch for "
            "with: sallyport ca show. To replace it, which all clients must trust anew: --force.",
            err=True,
        )
    known = {subtree(pattern) for pattern in catalogue.host_patterns}
    for name in host or ():
        if subtree(name) not in known and catalogue.provider(subtree(name)) is None:
            typer.echo(f"Warning: {name} is no AI host of the catalogue, so it is not intercepted.", err=True)
    for warning in _warnings(authority, hosts):
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo("Next: sallyport ca install-help")


def _restricted_hosts(policy: str | None, catalogue: Catalogue) -> tuple[str, ...]:
    if policy is None:
        return ()
    from sallyport.cli.detection import places_of, read_policy

    return restricted(catalogue.restrictions, read_policy(policy).restrictions, places_of(policy)).hosts


@app.command()
def show(
    folder: _Confdir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
    pem: Annotated[bool, typer.Option("--pem", help="Write the certificate alone, for clients.")] = False,
) -> None:
    """Show who the authority is, until when, and what it may vouch for."""
    if as_json and pem:
        raise OperatorError("--json and --pem", "they exclude each other", "Give one of them.")
    authority = load_ca(folder or confdir())
    if pem:
        typer.echo(_pem(authority).decode(), nl=False)
        return
    warnings = _warnings(authority, _catalogue_hosts())
    if as_json:
        typer.echo(json.dumps(_description(authority, warnings), indent=2))
        return
    rows = [
        ("File", str(authority.paths.authority)),
        ("For clients", str(authority.paths.certificate)),
        ("Subject", authority.subject),
        ("SHA-256", authority.fingerprint),
        ("Key", authority.key_type),
        ("Valid", f"{authority.not_before:%Y-%m-%d} to {authority.not_after:%Y-%m-%d}"),
        ("Path length", str(authority.path_length)),
        ("May vouch for", f"{len(authority.permitted_dns)} DNS subtrees, no IP address"),
    ]
    for label, value in rows:
        typer.echo(f"{label + ':':<15}{value}")
    for name in authority.permitted_dns:
        typer.echo(f"{'':<15}{name}")
    for warning in warnings:
        typer.echo(f"Warning: {warning}", err=True)


@app.command("install-help")
def install_help(
    client: Annotated[
        list[str] | None,
        typer.Argument(metavar="CLIENT", help="debian, windows, python, node, java ... Default: all."),
    ] = None,
    folder: _Confdir = None,
) -> None:
    """Say how each kind of client is told to trust the authority."""
    authority = load_ca(folder or confdir())
    _refresh_bundle(authority, ())
    known = recipes(authority.paths)
    names = [recipe.client for recipe in known]
    unknown = [name for name in client or () if name.lower() not in names]
    if unknown:
        raise OperatorError(
            f"client {unknown[0]!r}", "there is no such recipe", f"Choose from: {', '.join(names)}."
        )
    chosen = {name.lower() for name in client or names}
    typer.echo(f"Certificate: {authority.paths.certificate}")
    typer.echo(f"SHA-256:     {authority.fingerprint} (compare it on the client)")
    typer.echo(f"Bundle:      {authority.paths.bundle} (public roots and ours)")
    typer.echo(
        f"Only this user can read {authority.paths.confdir}: copy the file for other users and machines."
    )
    for recipe in known:
        if recipe.client in chosen:
            typer.echo(f"\n{recipe.title} [{recipe.client}]")
            for step in recipe.steps:
                typer.echo(f"  {step}")


def _catalogue_hosts() -> tuple[str, ...]:
    return shipped_catalogue().host_patterns


def _refresh_bundle(authority: Authority, extra_ca: Sequence[Path]) -> None:
    """Write the bundle if it is absent, holds another authority, or is to hold a company root."""
    bundle = authority.paths.bundle
    if extra_ca or not bundle.is_file() or _pem(authority) not in bundle.read_bytes():
        write_bundle(authority.paths.confdir, extra_ca)


def _pem(authority: Authority) -> bytes:
    return authority.certificate.public_bytes(serialization.Encoding.PEM)


def _warnings(authority: Authority, hosts: Sequence[str]) -> tuple[str, ...]:
    uncovered = authority.uncovered(hosts)
    if not uncovered:
        return authority.warnings
    shown = ", ".join(uncovered[:5]) + (", ..." if len(uncovered) > 5 else "")
    missing = f"clients would refuse {len(uncovered)} hosts that it may not vouch for: {shown}"
    return (*authority.warnings, missing)


def _tell_wide(hosts: Sequence[str]) -> None:
    """Say which subtrees are wider than the hosts they are for: constraints have no wildcards inside."""
    wide = {subtree(host): host for host in sorted(hosts) if subtree(host) != host.removeprefix("*.")}
    if wide:
        example = next(iter(wide.values()))
        typer.echo(
            f"It may vouch for every host of {', '.join(sorted(wide))}: names such as {example} have no "
            "narrower constraint. To leave these out, name the hosts you use with --host.",
            err=True,
        )


def _description(authority: Authority, warnings: Sequence[str]) -> dict[str, object]:
    return {
        "file": str(authority.paths.authority),
        "certificate": str(authority.paths.certificate),
        "bundle": str(authority.paths.bundle) if authority.paths.bundle.is_file() else None,
        "subject": authority.subject,
        "sha256": authority.fingerprint,
        "key": authority.key_type,
        "not_before": authority.not_before.isoformat(),
        "not_after": authority.not_after.isoformat(),
        "path_length": authority.path_length,
        "permitted_dns": [*authority.permitted_dns],
        "excluded": ["0.0.0.0/0", "::/0"],
        "warnings": [*warnings],
    }
