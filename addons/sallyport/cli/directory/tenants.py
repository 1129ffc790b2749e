"""`sallyport directory tenants`: the organisations whose people, keys, limits and events are kept apart."""

import json
from dataclasses import replace
from typing import Annotated

import typer

from sallyport.audit.text import printable
from sallyport.cli.directory.opening import changing, lacks_none, pairs, reading, some_change
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.stages.directory import Tenant
from sallyport.state.directory.people import load_tenants, put_tenant

app = typer.Typer(
    help="List, add and change tenants.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="What events and rules call the tenant.")]
TitleOption = Annotated[str | None, typer.Option(help="Its name for people.")]
AttributeOption = Annotated[
    list[str] | None, typer.Option("--attribute", help="A fact, NAME=VALUE; repeatable.")
]


@app.command("list")
def list_tenants(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one tenant a line.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List tenants. `default` is there without being listed: it holds whoever is in no other."""
    with reading(store, confdir) as connection:
        found = load_tenants(connection)
    for tenant in found:
        if as_json:
            members = {"id": tenant.id, "title": tenant.title, "attributes": dict(tenant.attributes)}
            typer.echo(json.dumps({**members, "active": tenant.active}))
        else:
            facts = " ".join(f"{name}={value}" for name, value in tenant.attributes)
            state = "" if tenant.active else "(not active)"
            parts = (tenant.id, tenant.title, facts, state)
            typer.echo(printable("  ".join(part for part in parts if part)))
    if not found and not as_json:
        typer.echo("No tenant has been added.")


@app.command()
def add(
    id: IdArgument,
    title: TitleOption = None,
    attribute: AttributeOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Add a tenant. Recorded in the audit."""
    tenant = Tenant(id, title or "", tuple(pairs("--attribute", attribute).items()))
    with changing(store, confdir, part="tenants", detail="add", tenant=id) as connection:
        if any(each.id == id for each in load_tenants(connection)):
            raise OperatorError(
                "ID", "there is such a tenant already", "Use: sallyport directory tenants change"
            )
        put_tenant(connection, tenant)
    typer.echo("added")


@app.command()
def change(
    id: IdArgument,
    title: TitleOption = None,
    attribute: AttributeOption = None,
    remove_attribute: Annotated[list[str] | None, typer.Option(help="Forget a fact; repeatable.")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether its people may be let in at all.")
    ] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Change what is given, and keep the rest. Recorded in the audit."""
    with changing(store, confdir, part="tenants", detail="change", tenant=id) as connection:
        tenant = next((each for each in load_tenants(connection) if each.id == id), None)
        if tenant is None:
            todo = "List them with: sallyport directory tenants list"
            raise OperatorError("ID", "there is no such tenant", todo)
        some_change(title, attribute, remove_attribute, active)
        facts = dict(tenant.attributes)
        lacks_none(
            "--remove-attribute", facts, remove_attribute or (), "See: sallyport directory tenants list"
        )
        facts.update(pairs("--attribute", attribute))
        changed = replace(
            tenant,
            title=tenant.title if title is None else title,
            attributes=tuple((k, v) for k, v in facts.items() if k not in (remove_attribute or ())),
            active=tenant.active if active is None else active,
        )
        put_tenant(connection, changed)
    typer.echo("changed")
