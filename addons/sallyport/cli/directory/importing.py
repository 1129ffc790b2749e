"""`sallyport directory import` and `export`: people from files of other directories, and ours as a file."""

import io
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML
from sqlalchemy import Connection

from sallyport.audit.text import printable
from sallyport.cli.directory.opening import note, opened_for_change, pairs, reading
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory.importing import ldif, plain, scim
from sallyport.state.directory.importing.difference import (
    MAX_REMOVED,
    Difference,
    Wanted,
    carry_out,
    check_share,
    compare,
)
from sallyport.state.directory.importing.gathered import Gathered
from sallyport.state.directory.importing.mapping import LDIF_RULES, SCIM_RULES, Rules, people_of
from sallyport.state.directory.people import CLI_ORIGIN, load_entries, load_tenants

SHOWN_LINES = 200


class Form(StrEnum):
    """What a file is written in. AUTO: by its ending, and JSON by what it holds."""

    AUTO = "auto"
    YAML = "yaml"
    LDIF = "ldif"
    SCIM = "scim"


def import_people(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", readable=False, help="One export, in one file or in several: Users and Groups."
        ),
    ],
    form: Annotated[Form, typer.Option("--format", help="What the files are written in.")] = Form.AUTO,
    origin: Annotated[
        str, typer.Option(help="What to call where they come from; an import touches its own people only.")
    ] = "import",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would change, change nothing.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove people of this origin that the files lack.")
    ] = False,
    max_removed: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the origin's people that may be removed or switched off."),
    ] = MAX_REMOVED,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over people of other origins.")] = False,
    tenant: Annotated[str, typer.Option(help="The tenant of people of whom the file says none.")] = "default",
    tenant_attribute: Annotated[str, typer.Option(help="Attribute that holds a person's tenant.")] = "",
    id_attribute: Annotated[
        list[str] | None, typer.Option(help="Attribute that is the id; repeat it for second choices.")
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A name to give, kind:text{attribute}; repeatable, in place of the usual ones."),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option(help="A fact to keep, OURS=THEIRS; repeatable, besides the usual ones."),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="What a group gives, GROUP=ROLE; repeatable. Then other groups give nothing."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the difference as JSON.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Import people from YAML of our own shape, LDIF, or SCIM 2.0 resources in JSON. Recorded in the audit."""
    if origin == CLI_ORIGIN or not origin.strip():
        raise OperatorError(
            "--origin", "it is the name of what is typed by hand, or empty", "Give it a name of its own."
        )
    read = [(path, _bytes(path)) for path in files]
    forms = {_form(path, data, form) for path, data in read}
    if len(forms) != 1:
        raise OperatorError("FILE", "the files are of several formats", "Import one format at a time.")
    people: tuple[Person, ...]
    tenants: tuple[Tenant, ...] = ()
    remarks: list[str] = []
    if (found := forms.pop()) is Form.YAML:
        written = [plain.read(path, data, tenant) for path, data in read]
        people = tuple(p for each in written for p in each.people)
        tenants = tuple(t for each in written for t in each.tenants)
    else:
        usual = LDIF_RULES if found is Form.LDIF else SCIM_RULES
        mapped = people_of(
            _gathered(found, read),
            _rules(usual, tenant, tenant_attribute, id_attribute, name, attribute, role),
        )
        people = mapped.people
        if mapped.skipped:
            remarks.append(f"{mapped.skipped} entries are neither people nor groups")
        if mapped.strangers:
            remarks.append(f"{mapped.strangers} members of groups are not in the files")
    if not people and not tenants:
        raise OperatorError(
            str(files[0]), "there is nobody in it", "Export people, with objectClass or schemas."
        )
    wanted = Wanted(origin, people, tenants, prune, adopt, max_removed)
    difference = _try(store, confdir, wanted) if dry_run else _do(store, confdir, wanted)
    if as_json:
        typer.echo(json.dumps(_plain(difference, dry_run)))
    else:
        _show(difference, dry_run, remarks)
    if dry_run:
        check_share(difference, wanted)


def export(
    form: Annotated[str, typer.Option("--format", help="yaml or json.")] = "yaml",
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Print people and tenants in our own shape, which `import` reads. Keys and approvals are not in it."""
    if form not in ("yaml", "json"):
        raise OperatorError("--format", "it is neither yaml nor json", "Write yaml or json.")
    with reading(store, confdir) as connection:
        people = [e.person for e in load_entries(connection) if tenant in (None, e.person.tenant)]
        tenants = [t for t in load_tenants(connection) if tenant in (None, t.id)]
    data = plain.write(people, tenants)
    if form == "json":
        typer.echo(json.dumps(data, ensure_ascii=False, indent=1))
        return
    text = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(data, text)
    sys.stdout.write(text.getvalue())


def _try(store: str | None, confdir: Path | None, wanted: Wanted) -> Difference:
    with reading(store, confdir) as connection:
        return compare(connection, wanted)


def _do(store: str | None, confdir: Path | None, wanted: Wanted) -> Difference:
    def record(connection: Connection, difference: Difference) -> None:
        tenants = {person.tenant for person in wanted.people}
        counts = (
            len(difference.added),
            len(difference.changed) + len(difference.adopted),
            len(difference.removed),
        )
        note(
            connection,
            part="people",
            detail="import.added_{}.changed_{}.removed_{}".format(*counts),
            tenant=tenants.pop() if len(tenants) == 1 else "",
        )

    with opened_for_change(store, confdir) as opened:
        return carry_out(opened, wanted, record)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperatorError(
            str(path), f"it cannot be read ({error.strerror})", "Name a file that this user may read."
        ) from None


def _form(path: Path, data: bytes, told: Form) -> Form:
    if told is not Form.AUTO:
        return told
    ending = path.suffix.lower()
    if ending in (".yaml", ".yml"):
        return Form.YAML
    if ending in (".ldif", ".ldf"):
        return Form.LDIF
    if ending in (".json", ".jsonl", ".ndjson", ".scim"):
        ours = b'"people"' in data[:100_000] and b'"version"' in data[:1000]
        return Form.YAML if ours else Form.SCIM
    raise OperatorError(str(path), "its ending does not tell the format", "Give --format yaml, ldif or scim.")


def _gathered(form: Form, read: Iterable[tuple[Path, bytes]]) -> Gathered:
    now, found = datetime.now(UTC), Gathered()
    for path, data in read:
        found += ldif.gather(path, data, now) if form is Form.LDIF else scim.gather(path, data)
    return found


def _rules(
    usual: Rules,
    tenant: str,
    tenant_attribute: str,
    ids: list[str] | None,
    names: list[str] | None,
    attributes: list[str] | None,
    roles: list[str] | None,
) -> Rules:
    granted = {}
    for text in roles or ():
        group, equals, role = text.rpartition("=")
        if not equals or not group.strip() or not role.strip():
            raise OperatorError("--role", "it is not GROUP=ROLE", "Write for example 'AI Users=ai-user'.")
        granted[ldif.normal_dn(group)] = role.strip()
    return replace(
        usual,
        ids=tuple(ids or usual.ids),
        names=tuple(names or usual.names),
        attributes={**usual.attributes, **pairs("--attribute", attributes)},
        roles=granted,
        tenant=tenant,
        tenant_attribute=tenant_attribute,
    )


def _show(difference: Difference, dry_run: bool, remarks: Iterable[str]) -> None:
    lines = [f"+ tenant {tenant.id}" for tenant in difference.tenants]
    lines += [f"+ {_called(p)}{_with('roles', p.roles)}{_with('names', p.names)}" for p in difference.added]
    lines += [f"~ {_called(after)}  {_changes(before, after)}" for before, after in difference.changed]
    lines += [f"> {_called(p)}  taken over" for p in difference.adopted]
    lines += [f"- {_called(p)}" for p in difference.removed]
    for line in lines[:SHOWN_LINES]:
        typer.echo(printable(line))
    if len(lines) > SHOWN_LINES:
        typer.echo(f"... and {len(lines) - SHOWN_LINES} more; --json has them all")
    changed = len(difference.changed) + len(difference.adopted)
    typer.echo(
        f"{'would be ' if dry_run else ''}added {len(difference.added)}, changed {changed}, "
        f"removed {len(difference.removed)}; as before {difference.unchanged}"
    )
    if difference.gone:
        typer.echo(f"{len(difference.gone)} people of this origin are not in the files; --prune removes them")
    for remark in remarks:
        typer.echo(remark)


def _called(person: Person) -> str:
    return f"{person.tenant}/{person.id}{'' if person.active else ' (not active)'}"


def _with(what: str, texts: tuple[str, ...]) -> str:
    return f"  {what} {' '.join(texts)}" if texts else ""


def _changes(before: Person, after: Person) -> str:
    parts = []
    for what, old, new in (
        ("role", set(before.roles), set(after.roles)),
        ("name", set(before.names), set(after.names)),
        (
            "attribute",
            {f"{k}={v}" for k, v in before.attributes},
            {f"{k}={v}" for k, v in after.attributes},
        ),
    ):
        parts += [f"+{what} {text}" for text in sorted(new - old)]
        parts += [f"-{what} {text}" for text in sorted(old - new)]
    if before.active != after.active:
        parts.append("active again" if after.active else "not active any more")
    return ", ".join(parts)


def _plain(difference: Difference, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "tenants": [tenant.id for tenant in difference.tenants],
        "added": [f"{p.tenant}/{p.id}" for p in difference.added],
        "changed": [
            {"person": f"{a.tenant}/{a.id}", "changes": _changes(b, a)} for b, a in difference.changed
        ],
        "adopted": [f"{p.tenant}/{p.id}" for p in difference.adopted],
        "removed": [f"{p.tenant}/{p.id}" for p in difference.removed],
        "gone": [f"{p.tenant}/{p.id}" for p in difference.gone],
        "unchanged": difference.unchanged,
    }
