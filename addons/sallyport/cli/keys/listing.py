"""`sallyport keys list` and `show`: every credential that was seen, or is listed, and what is known of it."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.keys import KeyUse
from sallyport.audit.text import printable
from sallyport.cli.keys.owning import KeyArgument
from sallyport.cli.moments import moment, now
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.reading import open_to_read
from sallyport.errors import OperatorError
from sallyport.stages.directory import KeyKind
from sallyport.state.directory.keys import KeyRecord, load_key_records
from sallyport.state.directory.store import DirectoryStore

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one key a line.")]


@dataclass(frozen=True, slots=True)
class Row:
    """A credential: what it was used for, None if never; what the directory says of it, None if nothing."""

    fingerprint: str
    use: KeyUse | None
    record: KeyRecord | None

    def state(self, at: datetime) -> str:
        """Return new (nobody has said anything of it), unclaimed, active, personal, expired or retired."""
        if self.record is None:
            return "new"
        key = self.record.key
        if key.retired:
            return "retired"
        if key.expires_at is not None and key.expires_at <= at:
            return "expired"
        if not key.owner:
            return "unclaimed"
        return "personal" if key.personal else "active"


def list_keys(
    unclaimed: Annotated[bool, typer.Option("--unclaimed", help="Only those without an owner.")] = False,
    retired: Annotated[
        bool, typer.Option("--retired", help="Only those that are retired or expired.")
    ] = False,
    since: Annotated[str | None, typer.Option(help="Only those used since: 30d, 1w, or a UTC time.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only what this tenant used or owns.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List every credential that was seen, or is listed, by its fingerprint; the one used last first."""
    at = now()
    start = None if since is None else moment(since, at)
    found = [
        row
        for row in rows(store, confdir, tenant)
        if (not unclaimed or row.record is None or not row.record.key.owner)
        and (not retired or row.state(at) in ("retired", "expired"))
        and (start is None or (row.use is not None and row.use.last_seen >= start))
    ]
    if as_json:
        for row in found:
            typer.echo(json.dumps(plain(row, at)))
    elif not found:
        typer.echo("No such key.")
    else:
        _print(found, at)


def show(
    key: KeyArgument, as_json: JsonOption = False, store: StoreOption = None, confdir: ConfdirOption = None
) -> None:
    """Show all that is known of one credential."""
    at = now()
    for row in rows(store, confdir, None):
        if key in (row.fingerprint, row.record.key.id if row.record else ""):
            members = plain(row, at)
            if as_json:
                typer.echo(json.dumps(members))
                return
            for name, value in members.items():
                text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
                if text not in ("", None):
                    typer.echo(printable(f"{name + ':':15} {text}"))
            return
    raise OperatorError("KEY", "no key has this id or fingerprint", "See: sallyport keys list")


def rows(store: str | None, confdir: Path | None, tenant: str | None) -> Sequence[Row]:
    """Return what the events and the directory say together. Raises OperatorError."""
    opened = open_to_read(store, confdir)
    try:
        used = {use.fingerprint: use for use in opened.key_use(tenant)}
    finally:
        opened.close()
    listed = {r.key.fingerprint: r for r in _records(store_address(store, confdir))}
    wanted = {f for f, r in listed.items() if tenant in (None, r.key.tenant)} | used.keys()
    found = [Row(f, used.get(f), listed.get(f)) for f in wanted]
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(found, key=lambda r: (r.use.last_seen if r.use else never, r.fingerprint), reverse=True)


def _records(url: str) -> tuple[KeyRecord, ...]:
    directory = DirectoryStore.open(url)
    try:
        with directory.read() as connection:
            return load_key_records(connection)
    finally:
        directory.close()


def plain(row: Row, at: datetime) -> dict[str, object]:
    """Return a row as JSON members."""
    use, record = row.use, row.record
    members: dict[str, object] = {"fingerprint": row.fingerprint, "state": row.state(at)}
    if record is not None:
        key = record.key
        members |= {
            "id": key.id,
            "kind": key.kind.value,
            "owner": key.owner,
            "tenant": key.tenant,
            "roles": list(key.roles),
            "personal": key.personal,
            "label": record.label,
            "issued_at" if key.kind is KeyKind.GATEWAY else "listed_at": _time(record.issued_at),
            "expires_at": _time(key.expires_at),
        }
        if key.kind is KeyKind.GATEWAY:
            members["credential"] = key.credential
            for scope in ("providers", "models", "operations", "networks"):
                members[f"for_{scope}"] = list(getattr(key, scope))
    if use is not None:
        members |= {
            "first_seen": _time(use.first_seen),
            "last_seen": _time(use.last_seen),
            "calls": use.calls,
            "refusals": use.refusals,
            "input_tokens": use.input_tokens,
            "output_tokens": use.output_tokens,
            "cost_usd": f"{use.cost_micro_usd / 1_000_000:.6f}",
            "principals": list(use.principals),
            "providers": list(use.providers),
            "hosts": list(use.hosts),
            "models": list(use.models),
        }
    return members


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def _print(found: Sequence[Row], at: datetime) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 240
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("key", no_wrap=True)
    for name in ("state", "owner", "first seen", "last seen"):
        table.add_column(name, overflow="fold")
    for name in ("calls", "refused", "USD"):
        table.add_column(name, justify="right")
    for name in ("tokens", "providers", "models", "used by") if wide else ():
        table.add_column(name, overflow="fold")
    for row in found:
        use, key = row.use, row.record.key if row.record else None
        owner = f"{key.tenant}/{key.owner}" if key is not None and key.owner else "-"
        cells = [row.fingerprint if key is None else key.id, row.state(at), owner]
        if use is None:
            cells += ["-"] * 5
        else:
            cells += [f"{use.first_seen:%Y-%m-%d}", f"{use.last_seen:%Y-%m-%d %H:%M}"]
            cells += [f"{use.calls:,}", f"{use.refusals:,}", f"{use.cost_micro_usd / 1_000_000:.2f}"]
        if wide:
            tokens = f"{use.input_tokens + use.output_tokens:,}" if use else "-"
            cells += [tokens, *(_few(names) for names in _names(use))]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)


_WIDE = 140
"""Terminals with fewer columns than this are told less; `keys show` and --json tell all."""


def _names(use: KeyUse | None) -> tuple[Sequence[str], ...]:
    return (use.providers, use.models, use.principals) if use else ((), (), ())


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" +{len(names) - 3}" if len(names) > 3 else "") or "-"
