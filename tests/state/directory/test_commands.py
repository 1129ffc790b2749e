"""`sallyport directory` as an operator uses it: what it changes, what it says, and what it leaves in the audit."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, text
from typer.testing import CliRunner

from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.stages.directory import Person, Tenant
from sallyport.state.directory import schema as tables
from sallyport.state.directory.importing.difference import Difference, Wanted, carry_out
from sallyport.state.directory.people import Entry, load_entries, put_people, put_person
from sallyport.state.directory.snapshot import Snapshot
from sallyport.state.directory.store import DirectoryStore


def run(*words: str) -> tuple[int, str]:
    """Run a command; return its exit code and what it said, errors included."""
    done = CliRunner().invoke(app, ["directory", *words])
    return (
        2 if isinstance(done.exception, OperatorError) else done.exit_code
    ), f"{done.output}{done.exception or ''}"


def people(url: str) -> dict[str, Entry]:
    store = DirectoryStore.open(url, create=False)
    try:
        with store.read() as connection:
            return {f"{e.person.tenant}/{e.person.id}": e for e in load_entries(connection)}
    finally:
        store.close()


def told(url: str) -> list[tuple[str, str]]:
    """Return reason and detail of every change that the audit knows, oldest first."""
    store = Store.open(url, create=False)
    try:
        return [(e.reason, e.detail) for e in store.events(kind=EventKind.DIRECTORY_CHANGED)[::-1]]
    finally:
        store.close()


@pytest.mark.parametrize("gone", [False, True], ids=["an empty file", "no file"])
@pytest.mark.parametrize(
    "words",
    [
        ("directory", "people", "add", "bob"),
        ("directory", "prepare"),
        ("stop", "model", "gpt-5", "--reason", "incident"),
        ("keys", "issue", "--provider", "openai", "--owner", "ann", "--credential", "prod"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_no_command_makes_a_new_directory_over_one_that_was_lost(
    words: tuple[str, ...], gone: bool, tmp_path: Path
) -> None:
    home, store = tmp_path / "conf", tmp_path / "conf" / "audit.db"
    home.mkdir(mode=0o700)
    (home / "policy.in-use").write_text("balanced")
    (home / "gateway.key").touch(0o600)
    copy = home / "directory.copy"
    copy.write_bytes(b"of the gateway")
    if not gone:
        store.touch(0o600)
    done = CliRunner().invoke(app, [*words, "--confdir", str(home), "--store", f"sqlite:///{store}"])
    assert isinstance(done.exception, OperatorError)
    assert (done.exception.exit_code, str(copy) in str(done.exception)) == (3, True)
    assert (store.read_bytes() if store.exists() else None) == (None if gone else b"")

    copy.unlink()
    assert run("prepare", "--confdir", str(home), "--store", f"sqlite:///{store}")[0] == 0


def test_people_by_hand_and_every_change_is_in_the_audit(url: str) -> None:
    where = ("--store", url)
    assert run("tenants", "add", "acme", "--title", "Acme", "--attribute", "region=eu", *where)[0] == 0
    words = ("--role", "dev", "--name", "email:Ada@x.com", "--attribute", "team=blue")
    assert run("people", "add", "ada", "--tenant", "acme", *words, *where)[0] == 0
    more = (
        "--add-role",
        "ops",
        "--remove-role",
        "dev",
        "--add-name",
        "user:ada",
        "--remove-attribute",
        "team",
    )
    assert run("people", "change", "ada", "--tenant", "acme", "--inactive", *more, *where)[0] == 0
    ada = people(url)["acme/ada"]
    assert ada == Entry(
        Person("ada", "acme", ("ops",), (), ("email:ada@x.com", "user:ada"), active=False), "cli"
    )
    assert "email:ada@x.com" in run("people", "show", "ada", "--tenant", "acme", *where)[1]
    assert json.loads(run("people", "list", "--role", "ops", "--json", *where)[1])["id"] == "ada"
    assert run("people", "list", "--role", "dev", *where)[1] == "No such person.\n"
    assert run("tenants", "change", "acme", "--inactive", "--title", "", *where)[0] == 0
    assert "acme  region=eu  (not active)" in run("tenants", "list", *where)[1]
    assert run("people", "remove", "ada", "--tenant", "acme", *where)[0] == 0
    assert told(url) == [
        ("directory.tenants", "add"),
        ("directory.people", "add:ada"),
        ("directory.people", "change:ada"),
        ("directory.tenants", "change"),
        ("directory.people", "remove:ada"),
    ]


@pytest.mark.parametrize(
    ("id", "spelt"),
    [
        ("ada@example.com", "ada_x40_example.com"),
        ("https://idp|sub 1", "https://idp_x7c_sub_x20_1"),
        ("\u00e9mile", "_xe9_mile"),
    ],
)
def test_the_event_says_whom_whatever_the_id_is_made_of(url: str, id: str, spelt: str) -> None:
    assert run("people", "add", id, "--store", url)[0] == 0
    assert told(url) == [("directory.people", f"add:{spelt}")]


def test_ids_too_long_for_an_event_remain_two(url: str) -> None:
    for last in "ab":
        assert run("people", "add", "x" * 119 + last, "--store", url)[0] == 0
    (_, one), (_, two) = told(url)
    assert one.startswith("add:xxxx")
    assert one != two


@pytest.mark.parametrize(("id", "noted"), [("ada lovelace", True), ("ada@example.com", False)])
def test_an_odd_id_is_taken_with_a_note(url: str, id: str, noted: bool) -> None:
    code, said = run("people", "add", id, "--store", url)
    assert code == 0
    assert ("note: the id" in said) is noted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("people", "add", "ada"), "such a person already"),
        (("people", "change", "eve"), "has no such person"),
        (("people", "change", "ada"), "nothing is given that is to change"),
        (("tenants", "change", "acme"), "nothing is given that is to change"),
        (("tenants", "change", "acme", "--remove-attribute", "x"), "no such thing"),
        (("people", "change", "ada", "--remove-role", "x"), "no such thing"),
        (("people", "add", "eve", "--name", "user:ada"), "belongs to default/ada"),
        (("people", "add", "eve", "--tenant", "x"), "no such tenant"),
        (("people", "add", "eve", "--attribute", "x"), "not NAME=VALUE"),
        (("people", "remove", "ada", "--tenant", "x"), "has no such person"),
        (("tenants", "change", "x"), "no such tenant"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_refused_changes_nothing_and_leaves_no_event(
    url: str, words: tuple[str, ...], said: str
) -> None:
    run("people", "add", "ada", "--name", "user:ada", "--store", url)
    run("tenants", "add", "acme", "--store", url)
    before, events = people(url), told(url)
    code, answer = run(*words, "--store", url)
    assert code == 2
    assert said in answer
    assert (people(url), told(url)) == (before, events)


# -- import --------------------------------------------------------------------------------------------


def file(folder: Path, *ids: str, roles: str = "dev", inactive: tuple[str, ...] = ()) -> str:
    members = [
        {"id": id, "roles": [roles], "names": [f"user:{id}"], "active": id not in inactive} for id in ids
    ]
    path = folder / "people.json"
    path.write_text(json.dumps({"version": 1, "people": members}))
    return str(path)


TEN = tuple(f"p{n}" for n in range(10))


def test_an_import_adds_changes_and_prunes_its_own_people_only(url: str, tmp_path: Path) -> None:
    where = ("--store", url)
    run("people", "add", "byhand", *where)
    assert run("import", file(tmp_path, *TEN), "--origin", "hr", *where)[0] == 0
    code, said = run("import", file(tmp_path, *TEN[1:], "new", roles="ops"), "--origin", "hr", *where)
    assert code == 0
    assert "~ default/p1  +role ops, -role dev" in said
    assert "1 people of this origin are not in the files; --prune removes them" in said
    assert "default/p0" in people(url)
    code, said = run(
        "import", file(tmp_path, *TEN[1:], "new", roles="ops"), "--origin", "hr", "--prune", *where
    )
    assert code == 0
    assert "- default/p0" in said
    assert set(people(url)) == {"default/byhand", *(f"default/{id}" for id in TEN[1:]), "default/new"}
    again = run("import", file(tmp_path, *TEN[1:], "new", roles="ops"), "--origin", "hr", "--prune", *where)
    assert again[1].startswith("added 0, changed 0, removed 0; as before 10")
    assert told(url)[1:] == [
        ("directory.people", "import.added_10.changed_0.removed_0"),
        ("directory.people", "import.added_1.changed_9.removed_0"),
        ("directory.people", "import.added_0.changed_0.removed_1"),
    ]


def test_a_dry_run_says_the_same_and_changes_nothing(url: str, tmp_path: Path) -> None:
    where = ("--origin", "hr", "--prune", "--store", url)
    run("import", file(tmp_path, *TEN), *where)
    before, events = people(url), told(url)
    words = ("import", file(tmp_path, *TEN[1:], "new", roles="ops"), *where)
    code, said = run(*words, "--dry-run")
    assert code == 0
    assert (people(url), told(url)) == (before, events)
    assert said.replace("would be ", "") == run(*words)[1]


def test_half_an_export_does_not_remove_half_the_staff(url: str, tmp_path: Path) -> None:
    where = ("--origin", "hr", "--store", url)
    run("import", file(tmp_path, *TEN), *where)
    before = people(url)
    for words in (("--prune",), ("--prune", "--dry-run")):
        code, said = run("import", file(tmp_path, *TEN[:7]), *words, *where)
        assert code == 2
        assert "would remove 3 and switch off 0 of 10 people, and may 20%" in said
        assert people(url) == before
    code, said = run("import", file(tmp_path, *TEN, inactive=TEN[:3]), *where)
    assert code == 2
    assert "switch off 3" in said
    assert run("import", file(tmp_path, *TEN[:7]), "--prune", "--max-removed", "0.3", *where)[0] == 0
    assert len(people(url)) == 7


def test_people_of_others_are_taken_over_only_when_told(url: str, tmp_path: Path) -> None:
    where = ("--origin", "hr", "--store", url)
    run("people", "add", "p1", "--store", url)
    code, said = run("import", file(tmp_path, *TEN), *where)
    assert code == 2
    assert "it came from cli, not from hr" in said
    assert set(people(url)) == {"default/p1"}
    assert run("import", file(tmp_path, *TEN), "--adopt", *where)[0] == 0
    assert {entry.origin for entry in people(url).values()} == {"hr"}
    run("people", "add", "eve", "--name", "user:taken", "--store", url)
    for more in ((), ("--dry-run",)):
        code, said = run("import", file(tmp_path, "taken"), *where, *more)
        assert code == 2
        assert "belongs to default/eve" in said


def test_a_name_passes_from_one_person_to_another_in_one_import(url: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("version: 1\npeople:\n  - {id: a, names: ['user:x']}\n  - {id: b, names: ['user:y']}\n")
    assert run("import", str(path), "--store", url)[0] == 0
    path.write_text("version: 1\npeople:\n  - {id: a, names: ['user:y']}\n  - {id: b, names: ['user:x']}\n")
    assert run("import", str(path), "--store", url)[0] == 0
    assert people(url)["default/a"].person.names == ("user:y",)


def test_what_is_exported_is_imported_as_it_was(url: str, tmp_path: Path) -> None:
    store = DirectoryStore.open(url)
    odd = Person(
        "no: really", "acme", ("1", "yes"), (("n", "007"), ("on", "off")), ("cn:#x 'y\"",), active=False
    )
    with store.change() as connection:
        from sallyport.state.directory.people import put_tenant

        put_tenant(connection, Tenant("acme", "Acme: & Co", (("a", "true"),), active=False))
        put_person(connection, odd)
    store.close()
    for form, ending in (("yaml", "yaml"), ("json", "json")):
        path = tmp_path / f"out.{ending}"
        path.write_text(run("export", "--format", form, "--store", url)[1])
        other = f"sqlite:///{tmp_path}/{form}.db"
        code, said = run("import", str(path), "--store", other)
        assert code == 0, said
        assert people(other)["acme/no: really"].person == odd


def test_each_format_is_known_by_its_file(url: str, tmp_path: Path) -> None:
    ldif = tmp_path / "p.ldif"
    ldif.write_text(
        "dn: uid=ada,dc=x\nobjectClass: person\nuid: ada\nmail: ada@x.com\nmemberOf: cn=AI Users,dc=x\n"
    )
    users, groups = tmp_path / "u.json", tmp_path / "g.json"
    user = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "id": "1", "userName": "bob"}
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "g", "displayName": "AI Users"}
    users.write_text(json.dumps({"Resources": [user], "totalResults": 1}))
    groups.write_text(json.dumps({"Resources": [{**group, "members": [{"value": "1"}]}], "totalResults": 1}))
    where = ("--store", url)
    assert run("import", str(ldif), "--origin", "ldap", *where)[0] == 0
    assert run("import", str(users), str(groups), "--origin", "idp", "--role", "AI Users=ai", *where)[0] == 0
    assert people(url)["default/ada"].person.roles == ("ai-users",)
    assert people(url)["default/bob"].person.roles == ("ai",)
    for words, said in (
        ((str(ldif), str(users)), "several formats"),
        ((str(tmp_path / "none.ldif"),), "cannot be read"),
        ((str(tmp_path),), "cannot be read"),
        ((str(ldif), "--origin", "cli"), "typed by hand"),
        ((str(ldif), "--role", "x"), "not GROUP=ROLE"),
    ):
        code, answer = run("import", *words, *where)
        assert code == 2
        assert said in answer


def test_check_finds_what_fits_together_badly(url: str, tmp_path: Path) -> None:
    store = DirectoryStore.open(url)
    with store.change() as connection:
        put_people(
            connection,
            [
                Entry(Person("ada", roles=("dev",), names=("email:ada@x.com",)), "cli"),
                Entry(Person("Ada", names=("upn:ada@x.com",)), "cli"),
                Entry(Person("bob"), "cli"),
            ],
        )
        key = {
            "fingerprint": "key_1",
            "id": "k1",
            "kind": "provider",
            "owner": "gone",
            "tenant": "default",
            "roles": "[]",
        }
        rest = {"personal": False, "retired": False, "credential": "", "scopes": "{}"}
        connection.execute(insert(tables.keys), {**key, **rest})
        stop = {
            "id": "s1",
            "kind": "principal",
            "value": "typo",
            "tenant": "default",
            "by": "",
            "reason": "",
            "since_us": 0,
        }
        connection.execute(insert(tables.stops), stop)
    store.close()
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "version: 1\naccess:\n  rules:\n    - {id: r, effect: forbid, message: no, when: '\"dev\" in principal.roles'}\n"
    )
    code, said = run("check", "--store", url)
    assert code == 1
    for line in (
        "name ada@x.com: it is used for default/Ada, default/ada",
        "differs from Ada in case only",
        "person default/bob: it has no name",
        "role dev: no rule of the policy speaks of it",
        "key k1: its owner default/gone is nobody",
        "kill switch s1: default/typo is nobody",
    ):
        assert line in said
    said = run("check", "--policy", str(policy), "--store", url)[1]
    assert "problems" in said
    assert "role dev" not in said
    assert "dev  1 people, 0 keys\n" in run("roles", "--policy", str(policy), "--store", url)[1]


# -- at the same time, and cut off ---------------------------------------------------------------------


def test_an_import_sees_what_others_change_while_it_compares(url: str) -> None:
    store = DirectoryStore.open(url)
    wanted = Wanted("hr", tuple(Person(f"p{n}", names=(f"user:p{n}",)) for n in range(300)))
    done, errors = threading.Event(), list[BaseException]()

    def meddle() -> None:
        number = 0
        try:
            other = DirectoryStore.open(url)
            while not done.is_set():
                number += 1
                with other.change() as connection:
                    put_person(connection, Person(f"other{number}"))
            other.close()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=meddle)
    thread.start()
    try:
        carry_out(store, wanted, lambda connection, difference: None)
    finally:
        done.set()
        thread.join()
    assert not errors
    found = people(url)
    assert sum(entry.origin == "hr" for entry in found.values()) == 300
    assert sum(entry.origin == "cli" for entry in found.values()) == len(found) - 300
    store.close()


def test_two_imports_of_one_origin_leave_one_of_them_whole(url: str) -> None:
    stores = [DirectoryStore.open(url) for _ in range(2)]
    wanted = [
        Wanted(
            "hr", tuple(Person(f"p{n}", roles=(f"import{k}",)) for n in range(200)), prune=True, max_removed=1
        )
        for k in range(2)
    ]
    threads = [
        threading.Thread(target=carry_out, args=(s, w, lambda connection, difference: None))
        for s, w in zip(stores, wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({entry.person.roles for entry in people(url).values()}) == 1
    assert len(people(url)) == 200
    for store in stores:
        store.close()


def test_a_kill_switch_does_not_wait_for_an_import(postgres_url: str) -> None:
    importer, other = DirectoryStore.open(postgres_url), DirectoryStore.open(postgres_url, patience_s=2)
    wanted = Wanted("hr", tuple(Person(f"p{n}") for n in range(50)))

    def pull(connection: Connection, difference: Difference) -> None:
        """Runs inside the import's transaction, when everybody is written."""
        row = {
            "id": "s1",
            "kind": "everything",
            "value": "",
            "tenant": "",
            "by": "",
            "reason": "",
            "since_us": 0,
        }
        with other.change() as own:
            own.execute(insert(tables.stops), row)

    carry_out(importer, wanted, pull)
    with other.read() as connection:
        found = Snapshot.read(connection)
    assert len(found.stops()) == 1
    assert len(found.who.people) == 50
    for store in (importer, other):
        store.close()


def test_an_import_that_meets_a_change_of_its_people_begins_anew(postgres_url: str) -> None:
    importer, other = DirectoryStore.open(postgres_url), DirectoryStore.open(postgres_url)
    with other.change() as connection:
        put_person(connection, Person("p1"), "hr")
    tries = []

    def meddle(connection: Connection, difference: Difference) -> None:
        tries.append(difference)
        if len(tries) == 1:
            with other.change() as own:
                put_person(own, Person("late"), "hr")

    wanted = Wanted("hr", (Person("p1", roles=("dev",)), Person("p2")), prune=True, max_removed=1)
    carry_out(importer, wanted, meddle)
    assert [len(each.removed) for each in tries] == [0, 1]
    assert set(people(postgres_url)) == {"default/p1", "default/p2"}
    for store in (importer, other):
        store.close()


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.15, 0.4])
def test_a_kill_during_an_import_leaves_all_of_it_or_nothing(
    url: str, tmp_path: Path, delay_s: float
) -> None:
    """The child says when its transaction is open, and is killed some time after."""
    DirectoryStore.open(url).close()
    Store.open(url).close()
    count = 4000
    script = f"""
import sys
from sallyport.cli.directory.opening import note
from sallyport.stages.directory import Person
from sallyport.state.directory.importing import difference
from sallyport.state.directory.store import DirectoryStore
write = difference.write_rows
def told(connection, rows):
    print("writing", flush=True)
    write(connection, rows)
difference.write_rows = told
people = tuple(Person(f"p{{n}}", names=(f"user:p{{n}}",)) for n in range({count}))
store = DirectoryStore.open(sys.argv[1])
difference.carry_out(store, difference.Wanted("hr", people), lambda c, d: note(c, part="people", detail="import"))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", script, url], stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == b"writing\n"
    time.sleep(delay_s)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    found, events = len(people(url)), len(told(url))
    assert (found, events) in ((0, 0), (count, 1))
    store = DirectoryStore.open(url)
    with store.read() as connection:
        assert Snapshot.read(connection).revision == events
    people_ = tuple(Person(f"p{n}", names=(f"user:p{n}",)) for n in range(count))
    carry_out(store, Wanted("hr", people_), lambda connection, difference: None)
    assert len(people(url)) == count
    store.close()


def test_an_audit_that_cannot_be_written_keeps_the_change_from_happening(url: str) -> None:
    run("people", "add", "ada", "--store", url)
    with create_engine(url).begin() as connection:
        connection.execute(text("ALTER TABLE audit_events RENAME COLUMN detail TO missing"))
    code, _ = run("people", "add", "eve", "--store", url)
    assert code == 2
    assert set(people(url)) == {"default/ada"}
