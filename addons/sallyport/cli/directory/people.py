"""`sallyport directory people`: who may be proved, under which names, with which roles."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sallyport.audit.text import printable
from sallyport.cli.directory.opening import changing, lacks_none, pairs, reading, some_change
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.stages.directory import Person
from sallyport.state.directory.people import (
    CLI_ORIGIN,
    Entry,
    find_person,
    load_entries,
    put_person,
    remove_person,
)

app = typer.Typer(
    help="List, add, change and remove people.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

_SEE = "See: sallyport directory people show"

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="What events and rules call the person.")]
TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant of the person.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one person a line.")]
RoleOption = Annotated[list[str] | None, typer.Option("--role", help="A role; repeatable.")]
NameOption = Annotated[
    list[str] | None,
    typer.Option("--name", help="A name that proves it, kind:value, email:ada@example.com; repeatable."),
]
AttributeOption = Annotated[
    list[str] | None, typer.Option("--attribute", help="A fact, NAME=VALUE; repeatable.")
]


@app.command("list")
def list_people(
    tenant: Annotated[str | None, typer.Option(help="Only people of this tenant.")] = None,
    role: Annotated[str | None, typer.Option(help="Only people with this role.")] = None,
    origin: Annotated[str | None, typer.Option(help="Only people that came from there.")] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List people, by tenant and id."""
    with reading(store, confdir) as connection:
        found = [
            entry
            for entry in load_entries(connection)
            if (tenant is None or entry.person.tenant == tenant)
            and (role is None or role in entry.person.roles)
            and (origin is None or entry.origin == origin)
        ]
    if as_json:
        for entry in found:
            typer.echo(json.dumps(plain(entry)))
    elif not found:
        typer.echo("No such person.")
    else:
        _show_table(found)


@app.command()
def show(
    id: IdArgument,
    tenant: TenantOption = "default",
    as_json: JsonOption = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Show one person: names, roles, attributes, and where it came from."""
    with reading(store, confdir) as connection:
        entry = find_person(connection, tenant, id)
    if entry is None:
        raise _unknown(tenant)
    if as_json:
        typer.echo(json.dumps(plain(entry)))
        return
    person = entry.person
    typer.echo(printable(f"{person.tenant}/{person.id}{'' if person.active else ' (not active)'}"))
    for what, texts in (
        ("roles", person.roles),
        ("names", person.names),
        ("attributes", tuple(f"{name}={value}" for name, value in person.attributes)),
        ("from", (entry.origin,)),
    ):
        for number, text in enumerate(texts):
            typer.echo(f"  {'' if number else what:<12}{printable(text)}")


@app.command()
def add(
    id: IdArgument,
    tenant: TenantOption = "default",
    role: RoleOption = None,
    name: NameOption = None,
    attribute: AttributeOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Add a person. Recorded in the audit."""
    person = Person(
        id, tenant, tuple(role or ()), tuple(pairs("--attribute", attribute).items()), tuple(name or ())
    )
    with changing(store, confdir, part="people", detail="add", tenant=tenant, id=id) as connection:
        if find_person(connection, tenant, id) is not None:
            raise OperatorError(
                "ID", "there is such a person already", "Use: sallyport directory people change"
            )
        put_person(connection, person)
    typer.echo("added")
    _note_odd(id, tenant)


@app.command()
def change(
    id: IdArgument,
    tenant: TenantOption = "default",
    add_role: Annotated[list[str] | None, typer.Option(help="Give a role; repeatable.")] = None,
    remove_role: Annotated[list[str] | None, typer.Option(help="Take a role; repeatable.")] = None,
    add_name: Annotated[list[str] | None, typer.Option(help="Give a name, kind:value; repeatable.")] = None,
    remove_name: Annotated[list[str] | None, typer.Option(help="Take a name; repeatable.")] = None,
    attribute: AttributeOption = None,
    remove_attribute: Annotated[list[str] | None, typer.Option(help="Forget a fact; repeatable.")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether it may be let in at all.")
    ] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Change what is given, and keep the rest. Recorded in the audit.

    What an import brought, its next run brings again; change that at its source.
    """
    with changing(store, confdir, part="people", detail="change", tenant=tenant, id=id) as connection:
        entry = find_person(connection, tenant, id)
        if entry is None:
            raise _unknown(tenant)
        some_change(add_role, remove_role, add_name, remove_name, attribute, remove_attribute, active)
        person = entry.person
        lowered = [text.lower() for text in remove_name or ()]
        lacks_none("--remove-role", person.roles, remove_role or (), _SEE)
        lacks_none("--remove-name", person.names, lowered, _SEE)
        attributes = dict(person.attributes)
        lacks_none("--remove-attribute", attributes, remove_attribute or (), _SEE)
        attributes.update(pairs("--attribute", attribute))
        changed = replace(
            person,
            roles=_changed(person.roles, add_role or (), remove_role or ()),
            names=_changed(person.names, add_name or (), lowered),
            attributes=tuple((k, v) for k, v in attributes.items() if k not in (remove_attribute or ())),
            active=person.active if active is None else active,
        )
        put_person(connection, changed, entry.origin)
    if entry.origin != CLI_ORIGIN:
        typer.echo(f"changed; the next import of {printable(entry.origin)} sets it back", err=True)
    else:
        typer.echo("changed")
    _note_odd(id, tenant)


@app.command()
def remove(
    id: IdArgument,
    tenant: TenantOption = "default",
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Remove a person and its names. Recorded in the audit."""
    with changing(store, confdir, part="people", detail="remove", tenant=tenant, id=id) as connection:
        if not remove_person(connection, tenant, id):
            raise _unknown(tenant)
    typer.echo("removed")


def plain(entry: Entry) -> dict[str, object]:
    """Return a person as JSON members."""
    person = entry.person
    return {
        "id": person.id,
        "tenant": person.tenant,
        "roles": list(person.roles),
        "attributes": dict(person.attributes),
        "names": list(person.names),
        "active": person.active,
        "origin": entry.origin,
    }


def _note_odd(id: str, tenant: str) -> None:
    """Tell of an id with a blank in it: perhaps a full name where an id was meant, and rules must spell it so."""
    if any(char.isspace() for char in id):
        typer.echo(
            "note: the id has a blank in it; rules, events and other commands must name the person just so. If it is "
            f"not meant: sallyport directory people remove {shlex.quote(printable(id))} --tenant "
            f"{shlex.quote(printable(tenant))}, then add the person with another id (a full name can be an "
            "--attribute)",
            err=True,
        )


def _changed(before: Iterable[str], more: Iterable[str], less: Iterable[str]) -> tuple[str, ...]:
    return tuple((set(before) | set(more)) - set(less))


def _unknown(tenant: str) -> OperatorError:
    return OperatorError(
        "ID",
        f"tenant {printable(tenant)} has no such person",
        "List them with: sallyport directory people list, and give --tenant",
    )


def _show_table(found: Iterable[Entry]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("tenant", "id", "roles", "names", "active", "from"):
        table.add_column(heading, overflow="fold")
    for entry in found:
        person = entry.person
        cells = (person.tenant, person.id, " ".join(person.roles), " ".join(person.names))
        table.add_row(
            *(Text(printable(cell)) for cell in cells),
            "yes" if person.active else "no",
            Text(printable(entry.origin)),
        )
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 240
    console.print(table)
