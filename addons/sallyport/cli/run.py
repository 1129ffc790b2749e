"""sallyport run: the gateway itself."""

import asyncio
import json
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.last_run import remember
from sallyport.cli.ledger import LedgerOption
from sallyport.cli.options import folder
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.heap import keep_what_lives, no_collection

logger = logging.getLogger("sallyport.run")


def run(
    policy: Annotated[str, typer.Option(help="Policy file, or observe, balanced, strict.")] = "balanced",
    policy_key: Annotated[
        Path | None,
        typer.Option(
            metavar="PUB", help="Take --policy as a bundle signed with this key (PEM), and nothing else."
        ),
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="Override the mode of the whole policy.")] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="MODE@PORT",
            help="explicit@3128, transparent@8080, reverse:https://HOST@8443, tun:NAME, wireguard@51820; an "
            "address may stand before the port (explicit@127.0.0.1:3128). Repeatable.",
        ),
    ] = None,
    confdir: Annotated[
        Path | None,
        typer.Option(parser=folder, metavar="FOLDER", help="Folder of the CA, the key and the audit log."),
    ] = None,
    store: Annotated[str | None, typer.Option(help="Audit store URL, sqlite:/// or postgresql://.")] = None,
    ledger: LedgerOption = None,
    upstream_ca: Annotated[
        Path | None, typer.Option("--upstream-ca", help="Trust these CAs for providers (labs).")
    ] = None,
    connect_to: Annotated[
        list[str] | None,
        typer.Option(
            "--connect-to", metavar="H:P:H2:P2", help="HOST:PORT:HOST2:PORT2 as in curl; audited. Repeatable."
        ),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write listening ports as JSON here once ready.", hidden=True)
    ] = None,
) -> None:
    """Run the gateway. SIGTERM drains streams in flight, SIGHUP reloads the policy."""
    _settle_process()
    _take_descriptors()
    # Until the host handles it, a reload that comes while we start must not end us.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with no_collection():
        from sallyport.cli.assembly import assemble, vouched_hosts
        from sallyport.cli.connectto import parse_connect_to
        from sallyport.cli.policybundle import BundledPolicy
        from sallyport.pki.authority import load_ca
        from sallyport.pki.create import ensure_ca
        from sallyport.pki.expiry import METRICS, ExpiryWatch
        from sallyport.pki.paths import ca_paths
        from sallyport.pki.paths import confdir as default_confdir
        from sallyport.proxy import logs
        from sallyport.proxy.host import GatewayMaster, HostSettings
        from sallyport.proxy.listeners import listener_modes, listener_name
        from sallyport.proxy.tunnels import ensure_keys, is_tunnel

    logs.speak()  # what is met at the start is told as what is met later: its level first
    home = confdir or default_confdir()
    if upstream_ca is not None:
        _check_certificates("--upstream-ca", upstream_ca)
    modes = listener_modes(listen or ["explicit@3128"])
    overrides = parse_connect_to(connect_to or [])
    if policy_key is None and Path(policy).suffix == ".bundle":
        todo = "Give the key that signs your policies, as PEM"
        raise OperatorError("--policy-key", "a bundle runs only where its signature is checked", todo)
    if Path(policy).exists() and not Path(policy).is_file():
        todo = "Name a file: it is read again at each reload"
        raise OperatorError("--policy", f"{policy} is a pipe, a device or a folder", todo)
    bundled = None if policy_key is None else BundledPolicy(Path(policy), policy_key, home)
    named = policy if bundled is None else bundled.file()
    vouched = vouched_hosts(named, mode)
    if not ca_paths(home).authority.exists():
        typer.echo(
            f"{home} has no authority yet: making one. Clients must trust it: sallyport ca install-help",
            err=True,
        )
    ensure_ca(home, vouched)
    authority = load_ca(home)
    for warning in authority.warnings:
        logger.warning("%s", warning)
    with no_collection():
        assembled = assemble(
            policy=policy,
            mode=mode,
            confdir=home,
            store_url=store,
            ledger_url=ledger,
            connect_to=overrides,
            bundled=bundled,
        )
        keep_what_lives()
    expiry = ExpiryWatch(authority, home / METRICS, assembled.gateway.id)
    for spec in modes:
        if spec.startswith("wireguard"):
            typer.echo(f"the configuration of WireGuard's one client: {ensure_keys(home, spec)}", err=True)
    remember(home, named)
    settings = HostSettings(
        modes=modes,
        confdir=home,
        upstream_ca=upstream_ca,
    )

    async def serve() -> None:
        master = GatewayMaster(assembled.gateway, settings)

        def started() -> None:
            if bundled is not None:
                bundled.taken()
            live = assembled.gateway.live
            ports = master.ports
            where = ", ".join(
                f"{listener_name(spec)} on port {port}" if port else listener_name(spec)
                for spec, port in ports.items()
            )
            typer.echo(
                f"sallyport listens: {where}. Policy {live.policy.revision}, mode {live.policy.mode}. "
                f"{len(live.catalogue)} providers.",
                err=True,
            )
            if ready_file is not None:
                ready_file.write_text(
                    json.dumps({listener_name(s): p for s, p in ports.items()}), encoding="utf-8"
                )

        await master.serve(started)

    try:
        expiry.start()
        asyncio.run(serve())
    finally:
        expiry.close()
        if not assembled.close():
            logger.warning("some audit events could not be written before the time was up")
    if any(is_tunnel(spec) for spec in modes):
        # Native threads of a tunnel outlive it. One that calls into an interpreter under destruction crashes it.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _settle_process() -> None:
    """Open what a careless parent closed, and leave no memory behind in a core file.

    A file that took the place of a closed stderr would get its messages.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


WANTED_DESCRIPTORS = 65_536
"""File descriptors to ask for: as many as the systemd unit has."""

FEW_DESCRIPTORS = 4096
"""An exchange takes two, so that this is enough for nearly 2,000 at a time; a start with fewer warns."""


def _take_descriptors() -> None:
    """Raise the number of files and connections that may be open as far as the system lets us; warn if it is low.

    Shells give 1024, and a gateway that has no descriptor left takes no connection.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_DESCRIPTORS if hard == unlimited else min(hard, WANTED_DESCRIPTORS)
    if soft != unlimited and soft < wanted:
        with suppress(OSError, ValueError):  # a sandbox may forbid it, or the kernel have a limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != unlimited and soft < FEW_DESCRIPTORS:
        typer.echo(
            f"WARNING only {soft} files and connections may be open at a time, two for each exchange. Beyond that "
            f"new connections wait. Raise it to {WANTED_DESCRIPTORS}: LimitNOFILE= of a systemd unit, "
            "--ulimit nofile= of a container, `ulimit -Hn`",
            err=True,
        )


def _check_certificates(option: str, path: Path) -> None:
    """Refuse at the start what would fail every connection later."""
    from cryptography import x509

    if not path.is_file():
        raise OperatorError(option, "there is no such file", "Give the path of a PEM file")
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise OperatorError(
            option, f"no PEM certificate can be read from {path}", "Give a file with BEGIN CERTIFICATE blocks"
        ) from None
