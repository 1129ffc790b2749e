"""`sallyport keys issue`, `rotate`, `revoke`: gateway keys, each shown once and stored as a fingerprint."""

import json
import secrets
import sys
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from sallyport.audit.text import printable
from sallyport.cli.gatewaykey import gateway_key
from sallyport.cli.keys.opening import changing_keys, listed_key, note_key
from sallyport.cli.keys.owning import LabelOption, RolesOption
from sallyport.cli.moments import end_or_never, now
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.exchange import Operation
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.catalogue import shipped_catalogue
from sallyport.stages.directory import Key, KeyKind
from sallyport.state.accesskeys import new_access_key
from sallyport.state.directory.credentials import load_credentials
from sallyport.state.directory.keys import KeyRecord, put_key
from sallyport.state.gatewaykeys import new_gateway_key
from sallyport.state.keyed import fingerprint
from sallyport.wire.sigv4 import AwsKey

_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

SigningOption = Annotated[
    bool,
    typer.Option("--signing", help="An access key id and its secret, for clients of AWS that sign (SigV4)."),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The key, as `keys list` names it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the key and what it is for as JSON.")]


def issue(
    provider: Annotated[
        str, typer.Option(help="Name of the provider it is for, `openai`; it has that one's format.")
    ],
    owner: Annotated[str, typer.Option(help="Principal id of whoever gets it.")],
    tenant: Annotated[str, typer.Option(help="Tenant of the owner.")] = "default",
    roles: RolesOption = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", help="Glob of models it may be used for; repeatable. Default: all."),
    ] = None,
    operations: Annotated[
        list[str] | None,
        typer.Option("--operations", help="Kind of call it is for, `chat`; repeatable. Default: all."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--network", help="CIDR range it may come from; repeatable. Default: any."),
    ] = None,
    expires: Annotated[str, typer.Option(help="Until when: 12h, 30d, a UTC time, or never.")] = "90d",
    credential: Annotated[
        str | None,
        typer.Option(help="Name of the real credential; default: the provider's, where there is one."),
    ] = None,
    label: LabelOption = None,
    signing: SigningOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Make a gateway key and print it, this once. It is exchanged for the real credential on the way out."""
    at = now()
    if not owner.strip() or not tenant.strip():
        raise OperatorError("--owner", "it is empty", "Name the principal")
    with changing_keys(store, confdir) as connection:
        made = _made_text(provider, signing, confdir)
        template = Key(
            fingerprint="",
            id=_new_id(),
            owner=owner.strip(),
            tenant=tenant.strip(),
            roles=tuple(roles or ()),
            kind=KeyKind.GATEWAY,
            expires_at=end_or_never("--expires", expires, at),
            credential=_credential(connection, provider, credential),
            providers=(provider,),
            models=_globs(models),
            operations=_operations(operations),
            networks=_networks(network),
        )
        record = _record(template, made, label or "", at, confdir)
        put_key(connection, record)
        note_key(connection, record, "issued")
    _print(made, record, as_json)


def rotate(
    id: IdArgument,
    grace: Annotated[str, typer.Option(help="How long the old key stays valid: 1h, 7d.")] = "24h",
    expires: Annotated[
        str | None, typer.Option(help="Until when the new one is; default: as long as the old.")
    ] = None,
    signing: SigningOption = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Make a key like another, print it this once, and let the old one expire after a grace."""
    at = now()
    end = end_or_never("--grace", grace, at)
    if end is None:
        raise OperatorError("--grace", "a key that is rotated must end", "Write a time: 24h")
    with changing_keys(store, confdir) as connection:
        old = _issued(connection, id)
        if old.key.retired or (old.key.expires_at is not None and old.key.expires_at <= at):
            raise OperatorError(
                "ID", "this key is not valid any more", "Issue a new one: sallyport keys issue"
            )
        template = replace(old.key, id=_new_id(), expires_at=_next_end(old, expires, at))
        made = _made_text(old.key.providers[0], signing, confdir)
        record = _record(template, made, old.label, at, confdir)
        put_key(connection, record)
        last = end if old.key.expires_at is None else min(end, old.key.expires_at)
        put_key(connection, replace(old, key=replace(old.key, expires_at=last)))
        note_key(connection, old, "rotated")
        note_key(connection, record, "issued")
    _print(made, record, as_json)
    typer.echo(f"{id} is valid until {last:%Y-%m-%d %H:%M} UTC", err=True)


def revoke(id: IdArgument, store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Refuse a gateway key from now on, for good. Recorded in the audit."""
    with changing_keys(store, confdir) as connection:
        old = _issued(connection, id)
        put_key(connection, replace(old, key=replace(old.key, retired=True)))
        note_key(connection, old, "revoked")
    typer.echo("revoked")


def _next_end(old: KeyRecord, expires: str | None, at: datetime) -> datetime | None:
    """Return when a key that takes another's place ends: after as long a life, unless it is said."""
    if expires is not None:
        return end_or_never("--expires", expires, at)
    if old.key.expires_at is None or old.issued_at is None:
        return old.key.expires_at
    return at + (old.key.expires_at - old.issued_at)


def _made_text(provider: str, signing: bool, confdir: Path | None) -> AwsKey | str:
    """Return a new key; an access key of AWS if clients are to sign with it."""
    secret = gateway_key(confdir or default_confdir())
    if not signing:
        return new_gateway_key(secret, provider)
    known = shipped_catalogue().named(provider)
    if known is None or not known.credentials.signing_service:
        raise OperatorError("--signing", "this provider takes no signatures of AWS", "Leave it out")
    return new_access_key(secret)


def _record(template: Key, made: AwsKey | str, label: str, at: datetime, confdir: Path | None) -> KeyRecord:
    secret = gateway_key(confdir or default_confdir())
    known = made if isinstance(made, str) else made.access_key_id
    return KeyRecord(replace(template, fingerprint=fingerprint(secret, known)), label, at)


def _new_id() -> str:
    return "gk-" + "".join(secrets.choice(_ID_LETTERS) for _ in range(10))


def _issued(connection: Connection, id: str) -> KeyRecord:
    found = listed_key(connection, id)
    if found.key.kind is not KeyKind.GATEWAY:
        raise OperatorError("ID", "it is a provider's own credential", "Retire it: sallyport keys retire")
    return found


def _credential(connection: Connection, provider: str, named: str | None) -> str:
    fitting = [c.name for c in load_credentials(connection) if c.provider == provider]
    if named is None and len(fitting) == 1:
        return fitting[0]
    if named in fitting:
        return str(named)
    if named is None and fitting:
        raise OperatorError("--credential", f"{provider} has several", f"Choose from: {', '.join(fitting)}")
    what = (
        "the provider has no credential" if named is None else "the provider has no credential of this name"
    )
    raise OperatorError(
        "--credential", what, f"Add one: sallyport credentials add NAME --provider {provider}"
    )


def _globs(texts: list[str] | None) -> tuple[str, ...]:
    for text in texts or ():
        if not text.strip() or not text.isprintable() or len(text) > 256:
            raise OperatorError("--models", "it is no glob of a model", "Write for example gpt-5*")
    return tuple(texts or ())


def _operations(texts: list[str] | None) -> tuple[str, ...]:
    known = [operation.value for operation in Operation]
    if set(texts or ()) - set(known):
        raise OperatorError(
            "--operations", "there is no such kind of call", f"Choose from: {', '.join(known)}"
        )
    return tuple(texts or ())


def _networks(texts: list[str] | None) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(text)) for text in texts or ())
    except ValueError:
        raise OperatorError("--network", "it is no network", "Write for example 10.2.0.0/16") from None


def _print(made: AwsKey | str, record: KeyRecord, as_json: bool) -> None:
    key = record.key
    text, secret = (made, "") if isinstance(made, str) else (made.access_key_id, made.secret)
    if as_json:
        members = {
            "id": key.id,
            "key": text,
            **({"secret": secret} if secret else {}),
            "fingerprint": key.fingerprint,
            "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        }
        typer.echo(json.dumps(members))
        return
    typer.echo(f"{text}\n{secret}" if secret else text)
    until = f"until {key.expires_at:%Y-%m-%d %H:%M} UTC" if key.expires_at else "without end"
    shown = printable(f"{key.id}: of {key.tenant}/{key.owner}, {until}. The key is shown this once.")
    sys.stdout.flush()
    typer.echo(shown, err=True)
