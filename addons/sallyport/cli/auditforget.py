"""`sallyport audit forget`, `audit keys rotate`, `audit content sweep`: ends of what is kept of people."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from sallyport.audit.events import EventKind
from sallyport.audit.ids import new_id
from sallyport.audit.naming import PSEUDONYM
from sallyport.audit.people import subject_name
from sallyport.cli.contentopening import opened_content
from sallyport.cli.moments import passed
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.state.content.forgetting import Tell, finish, kept_of
from sallyport.state.content.forgetting import forget as forget_subject
from sallyport.state.content.keys import SubjectKeys
from sallyport.state.content.store import Counts
from sallyport.state.content.subjects import Subject
from sallyport.state.content.writing import sweep as sweep_content

keys_app: typer.Typer = typer.Typer(
    help="The keys under which content and captures are sealed.", no_args_is_help=True, rich_markup_mode=None
)
content_app: typer.Typer = typer.Typer(
    help="Content that is kept.", no_args_is_help=True, rich_markup_mode=None
)


_NOT_SCRUBBED = (
    "SQLite's write-ahead log is being read, or PostgreSQL does not let this role rewrite the table (VACUUM FULL is "
    "its owner's). Run this again, as the owner."
)


def forget(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="Whom: a principal's id, client:ADDRESS of callers nobody knew, or a pseudonym of either in events.",
        ),
    ],
    tenant: Annotated[
        str | None,
        typer.Option(help="The tenant of the principal: `default`, or of a pseudonym the one it is of."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and do nothing.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Destroy a person's key: all content and captures of it are gone, in every copy. Cannot be undone. Recorded."""
    with opened_content(store, confdir) as content:
        content.check_keys()

        def tell_of(tenant: str) -> Tell:
            def tell(id: str, digest: str, at_us: int, keys: int, rows: Counts) -> None:
                content.tell(
                    EventKind.ERASED,
                    f"keys_{keys}.records_{rows.records}.index_{rows.tokens}",
                    reason=f"subject.{digest}",
                    tenant=tenant,
                    id=id,
                    at=datetime.fromtimestamp(at_us / 1_000_000, UTC),
                )

            return tell

        named = _named(content.keys, subject, tenant)
        if named is None:
            done = None if dry_run else finish(content.keys, content.store, tell_of)
            if done is None:
                what = "nobody is known by this pseudonym: it was forgotten, or never here"
                raise OperatorError("SUBJECT", what, "Give the id itself")
            typer.echo(
                f"nobody is known by this pseudonym any more; finished {done.keys} interrupted erasures"
            )
            if not done.scrubbed:
                typer.echo(f"The key is destroyed, but not its bytes: {_NOT_SCRUBBED}", err=True)
                raise typer.Exit(1)
            return
        names = dict.fromkeys((named.principal, subject_name(named.principal)))
        whoms = [Subject(named.tenant, name) for name in names]
        if dry_run:
            kept = [kept_of(whom, content.keys, content.store) for whom in whoms]
            count = sum(len(each.keys) for each in kept)
            rows = _sum(each.counts for each in kept)
            typer.echo(f"would destroy {count} keys, {rows.records} records and {rows.tokens} index entries")
            if any(each.unfinished for each in kept):
                typer.echo("an erasure was interrupted and would be finished")
            return

        gone = [
            forget_subject(whom, content.keys, content.store, new_id, tell_of(named.tenant)) for whom in whoms
        ]
        elsewhere = content.keys.unknown(content.store.keys())
    rows, count = _sum(each.counts for each in gone), sum(each.keys for each in gone)
    if count:
        typer.echo(f"destroyed {count} keys, {rows.records} records and {rows.tokens} index entries")
        typer.echo(
            "captures of it cannot be read any more, and pseudonyms of it are nobody's; running gateways drop its key "
            "within two seconds"
        )
    else:
        typer.echo("no key of it is here; that it was asked for is recorded")
    if elsewhere:
        typer.echo(
            f"In this store are contents under {len(elsewhere)} keys that are not in {content.keys.name}: of another "
            "gateway, with keys of its own. Run this there too (SALLYPORT_CONTENT_KEYS or --confdir).",
            err=True,
        )
        raise typer.Exit(1)
    if not all(each.scrubbed for each in gone):
        typer.echo(f"The key is destroyed, but not its bytes: {_NOT_SCRUBBED}", err=True)
        raise typer.Exit(1)


def _sum(counts: Iterable[Counts]) -> Counts:
    each = list(counts)
    return Counts(sum(c.records for c in each), sum(c.tokens for c in each))


def _named(keys: SubjectKeys, subject: str, tenant: str | None) -> Subject | None:
    """Return whom a pseudonym stands for, or an id of a tenant; None for a pseudonym of nobody.

    Raises OperatorError.
    """
    if not subject.startswith(PSEUDONYM):
        return Subject("default" if tenant is None else tenant, subject)
    person = keys.whose(subject)
    if person is None:
        return None
    if tenant not in (None, person.tenant):
        todo = "Leave --tenant out: a pseudonym is of one tenant"
        raise OperatorError("--tenant", "the pseudonym is of another tenant", todo)
    return person


@keys_app.command()
def rotate(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Seal all keys anew under the first of several master keys, so that the others can go. Contents stay. Recorded."""
    with opened_content(store, confdir) as content:
        content.check_keys()
        count = content.keys.rotate()
        content.tell(EventKind.CONTENT_CHANGED, f"resealed_{count}", reason="content.keys")
    typer.echo(f"{count} sealed anew")


@content_app.command()
def init(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Make the tables of content and of its keys, as the role that is to own them, where the gateway's may not."""
    with opened_content(store, confdir) as content:
        content.store.make()
        content.keys.make()
        typer.echo(f"content: {content.store.name}\nkeys: {content.keys.name}")


@content_app.command()
def sweep(store: StoreOption = None, confdir: ConfdirOption = None) -> None:
    """Remove what was kept long enough, as a running gateway does by itself. Recorded."""
    with opened_content(store, confdir) as content:
        count = sweep_content(content.store, content.keys, passed(confdir or default_confdir()))
        content.tell(EventKind.CONTENT_CHANGED, f"swept_{count}", reason="content.sweep")
    typer.echo(f"{count} rows removed")
