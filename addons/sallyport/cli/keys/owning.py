"""`sallyport keys claim`, `retire`, `unretire`, `personal`: what is known of a credential."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sallyport.cli.keys.opening import changing_keys, note_key
from sallyport.cli.moments import end_or_never, now
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.stages.directory import Key, KeyKind
from sallyport.state.directory.keys import KeyRecord, find_key, put_key

_FINGERPRINT = re.compile(r"key_[0-9a-f]{24}")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="Its fingerprint, or its id.")]
RolesOption = Annotated[list[str] | None, typer.Option("--roles", help="A role it gives; repeatable.")]
LabelOption = Annotated[str | None, typer.Option(help="What you call it.")]


def claim(
    key: KeyArgument,
    owner: Annotated[str, typer.Option(help="Principal id of its owner.")],
    tenant: Annotated[
        str | None, typer.Option(help="Tenant of the owner; default: as before, else `default`.")
    ] = None,
    roles: RolesOption = None,
    personal: Annotated[bool, typer.Option("--personal", help="It is the owner's own account's.")] = False,
    expires: Annotated[str | None, typer.Option(help="Not valid after: 30d, a UTC time, or never.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="A short id in place of the fingerprint.")] = None,
    label: LabelOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say whose a credential is. Recorded in the audit."""
    if not owner.strip():
        raise OperatorError("--owner", "it is empty", "Name the principal")
    with changing_keys(store, confdir, before_start=False) as connection:
        known = find_key(connection, key) or _new(key)
        if known.key.kind is KeyKind.GATEWAY:
            raise OperatorError(
                "KEY", "it is a gateway key and has an owner", "Issue another: sallyport keys issue"
            )
        end = known.key.expires_at if expires is None else end_or_never("--expires", expires, now())
        changed = replace(
            known.key,
            owner=owner.strip(),
            tenant=(tenant or known.key.tenant).strip(),
            roles=known.key.roles if roles is None else tuple(roles),
            personal=personal or known.key.personal,
            expires_at=end,
            id=id or known.key.id,
        )
        record = replace(known, key=changed, label=known.label if label is None else label)
        put_key(connection, record)
        note_key(connection, record, "claimed")
    typer.echo(f"{changed.fingerprint} belongs to {changed.tenant}/{changed.owner}")


def retire(key: KeyArgument, store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Refuse a credential from now on, whoever uses it. Recorded in the audit."""
    _set(store, confdir, key, "retired", retired=True)


def unretire(key: KeyArgument, store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Take a retirement back; a gateway key that was revoked stays so. Recorded in the audit."""
    _set(store, confdir, key, "unretired", retired=False)


def personal(
    key: KeyArgument,
    no: Annotated[bool, typer.Option("--no", help="Take the mark away.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Mark a credential as somebody's own account, which policy can forbid. Recorded in the audit."""
    _set(store, confdir, key, "not_personal" if no else "personal", personal=not no)


def _set(store: str | None, confdir: Path | None, named: str, done: str, **to: bool) -> None:
    with changing_keys(store, confdir, before_start=False) as connection:
        known = find_key(connection, named) or _new(named)
        if known.key.kind is KeyKind.GATEWAY and done != "retired":
            raise OperatorError("KEY", "it is a gateway key", "Issue a new one: sallyport keys issue")
        record = replace(known, key=replace(known.key, **to))  # type: ignore[arg-type]
        put_key(connection, record)
        note_key(connection, record, done)
    typer.echo(done.replace("_", " "))


def _new(named: str) -> KeyRecord:
    """Return a record of a credential nobody has said anything of. Raises OperatorError for no fingerprint."""
    if not _FINGERPRINT.fullmatch(named):
        raise OperatorError(
            "KEY",
            "it is neither a known id nor a fingerprint",
            "Copy the fingerprint from: sallyport keys list",
        )
    return KeyRecord(Key(named, named, ""), issued_at=now())
