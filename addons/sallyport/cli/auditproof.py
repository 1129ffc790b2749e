"""`sallyport audit checkpoint|key|verify|export|prove`: what lets others rely on the log without trusting us."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Connection, select

from sallyport.audit import verifier
from sallyport.audit.checkpoints import Unreadable, proof_of
from sallyport.audit.exporting import StoreSource, export_lines
from sallyport.audit.schema import events
from sallyport.audit.signing import Signer
from sallyport.audit.text import printable
from sallyport.cli import replacing
from sallyport.cli.last_run import policy_in_use, was_run
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.reading import TokenOption, open_to_read
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.state.rulesversions import RulesVersions

KeysOption = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="PEM file with the keys that may have signed."),
]
OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="File to write; - for stdout.")
]


def make(
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Sign what was written since the last checkpoint, and copy it to the places the policy names."""
    from sallyport.audit.checkpointing import checkpoint_now
    from sallyport.audit.copies import Copies
    from sallyport.cli.detection import read_policy

    home = confdir or default_confdir()
    url = store_address(store, confdir)
    policy = read_policy(policy_in_use(None, home)) if was_run(home) else None
    copies = Copies(home, None, "") if policy is None else Copies.of(policy, home)
    made = checkpoint_now(url, home, copies)
    if made is None:
        typer.echo("Nothing is new since the last checkpoint.")
    else:
        typer.echo(f"Checkpoint {made.number}: {made.members['count']} events.")


def show_key(confdir: ConfdirOption = None) -> None:
    """Print the public key that checkpoints of this gateway are verified with; make the pair if there is none."""
    typer.echo(Signer.of(confdir or default_confdir()).public_pem(), nl=False)


def verify(
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="An export, a proof or a SQLite file instead."),
    ] = None,
    public_key: KeysOption = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            "--checkpoints",
            metavar="FILE|URL",
            help="Copy of the checkpoints from elsewhere: a file, also of syslog, or a database.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Find every event that was changed, removed, inserted, reordered or cut off. Exit code 1 if there is one."""
    try:
        keys = [] if public_key is None else verifier.read_keys(public_key)
        with _copy_at(checkpoints) as copied, _bar() as progress:
            if export is not None:
                report = verifier.check_file(export, keys, copied, progress)
            else:
                copy, notes = ([], []) if copied is None else verifier.read_copy(copied)
                with _opened(store, confdir, tenant_token) as connection:
                    source = StoreSource(connection)
                    report = verifier.verify(source, keys=keys, copy=copy, progress=progress)
                report.notes += notes
    except verifier.Unusable as error:
        raise OperatorError("audit verify", str(error), "Give the right file.", exit_code=2) from None
    if as_json:
        typer.echo(verifier.as_json(report))
    else:
        for line in verifier.said(report):
            typer.echo(line)
    if not report.is_sound:
        raise typer.Exit(1)


@contextmanager
def _copy_at(place: str | None) -> Iterator[Path | None]:
    """Yield the file that holds a copy; what lies in a database is written to one that is removed again."""
    if place is None or "://" not in place:
        yield None if place is None else Path(place)
        return
    from sallyport.audit.copies import copied_lines

    with NamedTemporaryFile("w", encoding="utf-8", suffix=".jsonl") as file:
        for line in copied_lines(place):
            file.write(f"{line}\n")
        file.flush()
        yield Path(file.name)


def export(
    output: OutputOption = Path("-"),
    after: Annotated[
        int,
        typer.Option("--after", min=0, help="Only what is behind this checkpoint: the cursor of an export."),
    ] = 0,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Write all events and checkpoints as lines of JSON, as they are stored, for a verifier elsewhere."""
    unreadable: list[int] = []
    with _opened(store, confdir, tenant_token) as connection, _written(output) as write:
        for line in export_lines(connection, after, unreadable=unreadable.append):
            write(line)
    if unreadable:
        raise OperatorError(
            "audit export",
            f"all was written, but {len(unreadable)} checkpoints cannot be read, the first of them {unreadable[0]}",
            "Look closer: sallyport audit verify",
            exit_code=1,
        )


def prove(
    id: Annotated[str, typer.Argument(help="The id of an event, or a beginning of it that is unique.")],
    output: OutputOption = Path("-"),
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Write the proof of one event: the event, its place in a checkpoint's tree, the signature and the key.

    Where the folder is the gateway's, the digests of all rule files that decided are in it as well.
    """
    with _opened(store, confdir, tenant_token) as connection:
        query = select(events).where(events.c.id >= id, events.c.id < id + "\U0010ffff").limit(2)
        found = list(connection.execute(query).mappings()) if id.strip() else []
        if len(found) != 1:
            raise _not_one(connection, id, bool(found))
        bundle = proof_of(connection, dict(found[0]))
    rules = RulesVersions((confdir or default_confdir()) / "policies").find(bundle["rules_revision"] or "")
    if rules is not None:
        bundle["rules"] = dict(rules.parts)
    with _written(output) as write:
        write(json.dumps(bundle, indent=1) + "\n")


def _not_one(connection: Connection, begin: str, several: bool) -> OperatorError:
    """Say why an id is not that of one event; the id of a decision has several, which are named."""
    if several:
        return OperatorError("ID", "more than one event begins with it", "Give more characters.", exit_code=2)
    within = events.c.exchange.between(begin, begin + "\U0010ffff")
    query = (
        select(events.c.exchange, events.c.kind, events.c.id).where(within).order_by(events.c.id).limit(20)
    )
    rows = list(connection.execute(query)) if begin.strip() else []
    if len({row.exchange for row in rows}) != 1:
        todo = "List the ids of events with: sallyport audit list --json"
        return OperatorError("ID", "no event begins with it", todo, exit_code=2)
    named = ", ".join(printable(f"{row.kind} {row.id}") for row in rows)
    return OperatorError(
        "ID", f"it is that of a decision, with these events: {named}", "Give one.", exit_code=2
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "checkpoint": make,
    "key": show_key,
    "verify": verify,
    "export": export,
    "prove": prove,
}


@contextmanager
def _opened(store: str | None, confdir: Path | None, token: Path | None) -> Iterator[Connection]:
    """Open one state of the whole log. Raises OperatorError, also for who may read one tenant only."""
    opened = open_to_read(store, confdir, None, token)
    try:
        with opened.whole() as connection:
            yield connection
    except Unreadable as error:
        raise OperatorError(f"audit store {opened.name}", str(error), "See: sallyport audit verify") from None
    finally:
        opened.close()


@contextmanager
def _written(output: Path) -> Iterator[Callable[[str], object]]:
    if str(output) == "-":
        yield sys.stdout.write
        return
    with replacing.output(output, "--output") as file:
        yield file.write


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("events"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
