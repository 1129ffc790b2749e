"""`sallyport credentials`: the real credentials that take the place of gateway keys. None is ever printed."""

import getpass
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from sallyport.audit.text import printable
from sallyport.cli.directory.opening import reading
from sallyport.cli.gatewaykey import gateway_key
from sallyport.cli.keys.opening import changing_keys, note
from sallyport.cli.moments import now
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.exchange import KeyForm
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.policy.hosts import HostError, normalise_host
from sallyport.state.accesskeys import aws_key
from sallyport.state.credentials import MAX_CREDENTIAL_CHARS, checked_value, read_file
from sallyport.state.directory.credentials import (
    SEALED,
    StoredCredential,
    find_credential,
    load_credentials,
    put_credential,
    remove_credential,
)
from sallyport.state.directory.keys import keys_with
from sallyport.state.gatewaykeys import form_of
from sallyport.state.masterkey import MasterKeys, NotOpened

app = typer.Typer(
    help="The real credentials that take the place of gateway keys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="What you call it.")]
FromEnvOption = Annotated[
    str | None,
    typer.Option(
        "--from-env", metavar="VAR", help="The gateway reads it from this variable of its own process."
    ),
]
FromFileOption = Annotated[
    Path | None, typer.Option("--from-file", metavar="PATH", help="The gateway reads it from this file.")
]
SealedOption = Annotated[
    bool,
    typer.Option(
        "--sealed", help="Read it here, without echo or from standard input, and store it encrypted."
    ),
]


@app.command()
def add(
    name: NameArgument,
    provider: Annotated[
        str, typer.Option(help="Name of the provider it is for: openai, anthropic, azure_openai.")
    ],
    from_env: FromEnvOption = None,
    from_file: FromFileOption = None,
    sealed: SealedOption = False,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="The only host it may go to; repeatable. Needed where anybody can have a host."
        ),
    ] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say where a real credential comes from. Recorded in the audit."""
    if not _NAME.fullmatch(name):
        raise OperatorError("NAME", "it is no plain name", "Use lower-case letters, digits, dots and hyphens")
    hosts = _hosts(provider, host or ())
    with changing_keys(store, confdir) as connection:
        if find_credential(connection, name) is not None:
            raise OperatorError("NAME", "there is one of this name", f"sallyport credentials rotate {name}")
        draft = StoredCredential(name, provider, "", now(), hosts)
        put_credential(connection, _filled(draft, connection, confdir, from_env, from_file, sealed))
        note(connection, f"credentials.{name}", "added", provider=provider)
    typer.echo("added")
    _tell_of_variable(from_env)


@app.command("list")
def list_credentials(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one credential a line.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List where credentials come from, and how many gateway keys stand for each."""
    with reading(store, confdir) as connection:
        found = [(each, len(keys_with(connection, each.name))) for each in load_credentials(connection)]
    for each, count in found:
        members = {
            "name": each.name,
            "provider": each.provider,
            "source": each.source,
            "hosts": list(each.hosts),
            "changed_at": each.changed_at.isoformat().replace("+00:00", "Z"),
            "keys": count,
        }
        if as_json:
            typer.echo(json.dumps(members))
        else:
            only = f"  only {', '.join(each.hosts)}" if each.hosts else ""
            line = f"{each.name}  {each.provider}  {each.source}  {count} keys  {each.changed_at:%Y-%m-%d %H:%M} UTC"
            typer.echo(printable(line + only))
    if not found and not as_json:
        typer.echo("There is no credential.")


@app.command()
def remove(
    name: NameArgument,
    force: Annotated[bool, typer.Option("--force", help="Although gateway keys stand for it.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Forget a credential; its gateway keys are refused from then on. Recorded in the audit."""
    with changing_keys(store, confdir) as connection:
        stored = _found(connection, name)
        using = keys_with(connection, name)
        if using and not force:
            raise OperatorError(
                "NAME", f"{len(using)} gateway keys stand for it", "Revoke them, or add --force"
            )
        remove_credential(connection, name)
        note(connection, f"credentials.{name}", "removed", provider=stored.provider)
    typer.echo("removed")


@app.command()
def rotate(
    name: NameArgument,
    from_env: FromEnvOption = None,
    from_file: FromFileOption = None,
    sealed: SealedOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Put another credential in the place of one; gateway keys stay as they are. Recorded in the audit."""
    with changing_keys(store, confdir) as connection:
        stored = replace(_found(connection, name), changed_at=now(), sealed="")
        put_credential(connection, _filled(stored, connection, confdir, from_env, from_file, sealed))
        note(connection, f"credentials.{name}", "rotated", provider=stored.provider)
    typer.echo("rotated")
    _tell_of_variable(from_env)


@app.command()
def reseal(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Seal everything anew under the first of several master keys, so that the others can go. Recorded."""
    masters = _masters(confdir)
    with changing_keys(store, confdir) as connection:
        stale = [
            each
            for each in load_credentials(connection)
            if each.source == SEALED and not masters.is_under_first(each.sealed)
        ]
        for each in stale:
            try:
                value = masters.open(each.sealed, *each.about)
            except NotOpened as problem:
                raise OperatorError(
                    each.name,
                    str(problem).rstrip("."),
                    "Add the master key it was sealed under, or rotate it",
                ) from None
            anew = masters.seal(value, *each.about)
            put_credential(connection, replace(each, sealed=anew, changed_at=now()))
            note(connection, f"credentials.{each.name}", "resealed", provider=each.provider)
    typer.echo(f"{len(stale)} sealed anew")


def _masters(confdir: Path | None) -> MasterKeys:
    return MasterKeys(confdir or default_confdir())


def _found(connection: Connection, name: str) -> StoredCredential:
    stored = find_credential(connection, name)
    if stored is None:
        raise OperatorError("NAME", "there is no credential of this name", "See: sallyport credentials list")
    return stored


def _filled(
    draft: StoredCredential,
    connection: Connection,
    confdir: Path | None,
    from_env: str | None,
    from_file: Path | None,
    sealed: bool,
) -> StoredCredential:
    """Return a credential with its source. Raises OperatorError unless exactly one is named, and sound."""
    if sum((from_env is not None, from_file is not None, sealed)) != 1:
        raise OperatorError(
            "--from-env", "say where it comes from, once", "Give --from-env, --from-file or --sealed"
        )
    if from_env is not None:
        if not _VARIABLE.fullmatch(from_env):
            raise OperatorError(
                "--from-env", "it is no name of a variable", "Give the name, not the credential"
            )
        _check_variable(from_env, confdir)
        return replace(draft, source=f"env:{from_env}")
    if from_file is not None:
        path = from_file.expanduser().absolute()
        _check_real(read_file(path), confdir)
        return replace(draft, source=f"file:{path}")
    masters = _masters(confdir)
    if not masters.is_configured:
        if any(each.source == SEALED for each in load_credentials(connection)):
            raise OperatorError(
                "--sealed", "the master key of what is sealed already is not here", "See docs/keys.md"
            )
        typer.echo(f"made a master key: {masters.make()}; keep a copy of it elsewhere", err=True)
    value = _asked(confdir)
    return replace(draft, source=SEALED, sealed=masters.seal(value, *draft.about))


def _check_variable(name: str, confdir: Path | None) -> None:
    """Look at a variable that is set here, too. Raises OperatorError where it could be nobody's credential."""
    if name not in os.environ:
        return
    try:
        value = checked_value(os.environ[name])
    except ValueError as problem:
        raise OperatorError(
            "--from-env",
            f"the variable is set here, and {problem}",
            "Set it to the credential alone, or unset it",
        ) from None
    _check_real(value, confdir)


def _tell_of_variable(name: str | None) -> None:
    """Say who has to have the variable: not the shell in which this was typed."""
    if name is None:
        return
    here = (
        "is set here, which does not count"
        if name in os.environ
        else "is not set here, which need not matter"
    )
    typer.echo(
        f"note: the gateway reads {name} from the environment its own process was started with; it {here}. Where the "
        "gateway lacks it, calls get 503 credentials.variable_missing: set it in its unit or container, and restart "
        "it. A file (--from-file) needs no restart.",
        err=True,
    )


def _asked(confdir: Path | None) -> str:
    """Return what is typed without echo, or what standard input holds."""
    try:
        text = (
            getpass.getpass("Credential: ")
            if sys.stdin.isatty()
            else sys.stdin.read(MAX_CREDENTIAL_CHARS + 2)
        )
        value = checked_value(text)
    except (ValueError, EOFError) as problem:
        what = str(problem) if type(problem) is ValueError else "it cannot be read"
        raise OperatorError("--sealed", what, "Give the credential alone, on one line") from None
    _check_real(value, confdir)
    return value


def _check_real(value: str, confdir: Path | None) -> None:
    if form_of(gateway_key(confdir or default_confdir()), value) is not KeyForm.PROVIDER:
        raise OperatorError(
            "credential", "it is a gateway key, which no provider takes", "Give the provider's own credential"
        )
    if value.startswith(("AKIA", "ASIA")) and aws_key(value) is None:
        raise OperatorError(
            "credential",
            "it begins like an access key of AWS and is none",
            "Write ID:SECRET or ID:SECRET:TOKEN, or give the JSON of AWS's tools",
        )


def _hosts(provider: str, given: Sequence[str]) -> tuple[str, ...]:
    """Return the hosts a credential is held to. Raises OperatorError where it must be held to some, and is not."""
    catalogue = shipped_catalogue()
    if catalogue.named(provider) is None:
        names = ", ".join(sorted(each.name for each in catalogue))
        raise OperatorError("--provider", "there is no such provider", f"Choose from: {names}")
    try:
        hosts = tuple(normalise_host(text) for text in given)
    except HostError:
        raise OperatorError("--host", "it is no host", "Write for example acme.openai.azure.com") from None
    owners = {getattr(catalogue.provider(host), "name", "") for host in hosts}
    if owners - {provider}:
        raise OperatorError("--host", f"it is no host of {provider}", "Name one of its hosts")
    if not hosts and provider not in catalogue.with_fixed_hosts:
        raise OperatorError(
            "--host",
            "anybody can have a host of this provider, and would be sent the credential",
            "Name your own: --host acme.openai.azure.com",
        )
    return hosts
