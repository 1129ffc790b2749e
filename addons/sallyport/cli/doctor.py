"""`sallyport doctor`: what is wrong here, and what to do about it."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.connectto import parse_connect_to
from sallyport.cli.options import folder
from sallyport.doctor.examination import examine
from sallyport.doctor.findings import DEFAULT_HOSTS, Address, Check, Level, Situation
from sallyport.doctor.proxies import https_proxy, proxy_address
from sallyport.errors import OperatorError
from sallyport.pki import confdir as default_confdir
from sallyport.policy.hosts import HostError, normalise_host


def doctor(
    transparent: Annotated[
        bool, typer.Option("--transparent", help="Traffic is redirected by the network (nftables).")
    ] = False,
    from_client: Annotated[
        bool, typer.Option("--from-client", help="This is a client: look for ways around the gateway.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="Provider host to try; repeat for more."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="Port of the transparent listener.")
    ] = 8080,
    proxy: Annotated[
        str | None, typer.Option("--proxy", help="URL of the explicit proxy. On a client: $HTTPS_PROXY.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", readable=False, help="On a client: the gateway's CA certificate (PEM)."),
    ] = None,
    connect_to: Annotated[
        list[str] | None,
        typer.Option(
            "--connect-to",
            metavar="HOST:PORT:ADDRESS:PORT",
            help="Reach ADDRESS instead of HOST, as curl and `sallyport run` do; repeat for more.",
        ),
    ] = None,
    upstream_ca: Annotated[
        Path | None,
        typer.Option("--upstream-ca", readable=False, help="Roots for providers instead of the public ones."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", help="URL or file of the audit store. Default: audit.db in the confdir."),
    ] = None,
    confdir: Annotated[
        Path | None,
        typer.Option(
            "--confdir",
            parser=folder,
            metavar="FOLDER",
            help="Folder of the CA. Default: $SALLYPORT_CONFDIR, else ~/.sallyport.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for each connection.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Try what a gateway or a client needs, and say what to do where it fails; exit 1 if anything did."""
    if timeout <= 0:
        raise OperatorError("--timeout", "is not a positive number of seconds", "Give seconds, such as 5.")
    where = confdir or default_confdir()
    situation = Situation(
        confdir=where,
        transparent=transparent,
        from_client=from_client,
        hosts=_hosts(host or DEFAULT_HOSTS),
        port=port,
        proxy=_proxy(proxy, from_client and not transparent),
        ca=ca,
        connect_to=parse_connect_to(connect_to or ()),
        upstream_ca=upstream_ca,
        store=store or (None if from_client else str(where / "audit.db")),
        timeout_s=timeout,
    )
    checks = examine(situation, os.environ)
    worst = _write_json(checks) if as_json else _write_lines(checks)
    raise typer.Exit(1 if worst is Level.FAIL else 0)


def _hosts(named: Iterable[str]) -> tuple[str, ...]:
    """Return each host once. Raises OperatorError for what no name on the wire can be, which no check could try."""
    try:
        return tuple(dict.fromkeys(map(normalise_host, named)))
    except HostError:
        raise OperatorError("--host", "it is no host", "Write for example api.openai.com") from None


def _proxy(url: str | None, from_environment: bool) -> Address | None:
    if url is None:
        return https_proxy(os.environ) if from_environment else None
    address = proxy_address(url)
    if address is None:
        raise OperatorError("--proxy", "is no proxy URL", "Write it like http://gateway.example:3128.")
    return address


def _write_lines(checks: Iterable[Check]) -> Level:
    found = []
    for check in checks:
        found.append(check)
        level = "FAIL" if check.level is Level.FAIL else check.level
        typer.echo(f"{level:<8}{check.name}: {check.what}")
        if check.todo:
            typer.echo(f"{'':<8}  {check.todo}")
    failures = sum(check.level is Level.FAIL for check in found)
    warnings = sum(check.level is Level.WARN for check in found)
    left_out = sum(check.level is Level.SKIPPED for check in found)
    typer.echo(f"{len(found)} checks: {failures} failed, {warnings} warnings, {left_out} skipped")
    return _worst(found)


def _write_json(checks: Iterable[Check]) -> Level:
    found = [*checks]
    worst = _worst(found)
    typer.echo(json.dumps({"ok": worst is not Level.FAIL, "checks": [asdict(check) for check in found]}))
    return worst


def _worst(checks: Iterable[Check]) -> Level:
    order = [*Level]
    return max((check.level for check in checks), key=order.index, default=Level.OK)
