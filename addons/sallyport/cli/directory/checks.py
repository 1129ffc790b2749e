"""`sallyport directory roles` and `check`: which roles there are, and what in the directory fits together badly."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from sallyport.audit.text import printable
from sallyport.cli.detection import read_policy
from sallyport.cli.directory.opening import reading
from sallyport.cli.last_run import policy_in_use
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.policy.sections import Policy
from sallyport.stages.directory import Person, StopKind
from sallyport.state.directory.snapshot import Snapshot

PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help="Policy whose roles count, preset or file; default: the one the gateway was last run with.",
    ),
]

_QUOTED = re.compile(r"""(['"])((?:(?!\1).)*)\1""")


def roles(
    policy: PolicyOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one role a line.")] = False,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List the roles that people and keys have, with how many have them, and whether the policy speaks of them."""
    spoken = spoken_of(read_policy(policy_in_use(policy, confdir)))
    with reading(store, confdir) as connection:
        held = Snapshot.read(connection)
    people = Counter(role for person in held.who.people for role in person.roles)
    keys = Counter(role for key in held.keys for role in key.roles)
    for role in sorted(people | keys):
        if as_json:
            members = {"role": role, "people": people[role], "keys": keys[role], "in_policy": role in spoken}
            typer.echo(json.dumps(members))
        else:
            used = "" if role in spoken else "  no rule speaks of it"
            typer.echo(printable(f"{role}  {people[role]} people, {keys[role]} keys{used}"))
    if not (people or keys) and not as_json:
        typer.echo("Nobody has a role.")


def check(
    policy: PolicyOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say what fits together badly; change nothing. Exit code 1 if anything does."""
    spoken = spoken_of(read_policy(policy_in_use(policy, confdir)))
    with reading(store, confdir) as connection:
        held = Snapshot.read(connection)
    found = [*problems(held, spoken)]
    for line in found:
        typer.echo(printable(line))
    typer.echo(f"{len(held.who.people)} people, {len(held.keys)} keys looked at; {len(found)} problems")
    if found:
        raise typer.Exit(1)


def problems(held: Snapshot, spoken: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong, a line each."""
    yield from _same_values(held.who.people)
    yield from _people(held)
    given = {role for person in held.who.people for role in person.roles}
    given |= {role for key in held.keys for role in key.roles}
    yield from (f"role {role}: no rule of the policy speaks of it" for role in sorted(given - spoken))
    for key in held.keys:
        if not key.retired and held.person(key.tenant, key.owner) is None:
            yield f"key {key.id}: its owner {key.tenant}/{key.owner} is nobody; sallyport keys claim gives it one"
    for approval in held.approved:
        if held.person(approval.tenant, approval.principal) is None:
            yield f"approval {approval.id}: {approval.tenant}/{approval.principal} is nobody"
    for stop in held.pulled:
        if stop.kind is StopKind.PRINCIPAL and held.person(stop.tenant, stop.value) is None:
            yield f"kill switch {stop.id}: {stop.tenant}/{stop.value} is nobody; is it spelt right?"


def spoken_of(policy: Policy) -> frozenset[str]:
    """Return every word that stands alone, or in quotes inside a condition, anywhere in a policy."""
    return frozenset(_words(policy.model_dump(mode="json")))


def _words(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from _words(each)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each)
    elif isinstance(value, str):
        yield value
        yield from (found[2] for found in _QUOTED.finditer(value))


def _same_values(people: Iterable[Person]) -> Iterator[str]:
    """Yield names that differ in their kind only and belong to different people, and ids that names hide."""
    owners: dict[str, set[tuple[str, str]]] = {}
    for person in people:
        for name in person.names:
            owners.setdefault(name.partition(":")[2], set()).add((person.tenant, person.id))
    for value, whose in sorted(owners.items()):
        if len(whose) > 1:
            each = ", ".join(f"{tenant}/{id}" for tenant, id in sorted(whose))
            yield f"name {value}: it is used for {each}, under different kinds"


def _people(held: Snapshot) -> Iterator[str]:
    folded: dict[tuple[str, str], Person] = {}
    for person in held.who.people:
        called = f"person {person.tenant}/{person.id}"
        other = folded.setdefault((person.tenant, person.id.casefold()), person)
        if other is not person:
            yield f"{called}: differs from {other.id} in case only"
        if not person.names:
            yield f"{called}: it has no name, so only a header or a policy's own words can name it"
        tenant = held.tenant(person.tenant)
        if tenant is not None and not tenant.active and person.active:
            yield f"{called}: it is active, and its tenant is not"
