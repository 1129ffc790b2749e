"""Commands on a log of pseudonyms: they name people to who has the keys, write none themselves, and send none out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sallyport.audit.events import Event, EventKind
from sallyport.audit.people import PersonalLog
from sallyport.audit.store import Store
from sallyport.cli.last_run import remember
from sallyport.cli.main import app
from sallyport.errors import OperatorError
from sallyport.state.content.people import Pseudonyms
from sallyport.state.content.subjects import Subject
from sallyport.state.directory.store import DirectoryStore
from state.content.conftest import Place

ANN, ADDRESS = "ann@example.org", "10.11.12.13"


@pytest.fixture
def told(tmp_path: Path) -> Place:
    """A gateway's folder whose log holds one event of Ann by her pseudonym."""
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    place.masters().make()
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\naudit: {people: pseudonymised}\n")
    remember(tmp_path, str(policy))
    write(
        place,
        Event(
            kind=EventKind.COMPLETED,
            gateway="gw",
            exchange="e1",
            principal=ANN,
            tenant="acme",
            source="header",
            client=ADDRESS,
        ),
    )
    return place


def write(place: Place, event: Event) -> None:
    keys = place.keys()
    store, people = Store.open(place.url), Pseudonyms(lambda: keys)
    log = PersonalLog(store, people, lambda: True, lambda: False)
    log.append_nowait(event)
    assert log.close()
    people.close()
    store.close()
    keys.close()


def done(place: Place, *words: str, env: dict[str, str] | None = None) -> Result:
    wide = {"COLUMNS": "200"} | (env or {})
    return CliRunner().invoke(app, [*words, "--confdir", str(place.folder)], env=wide, catch_exceptions=False)


def assert_nowhere(place: Place, *words: str) -> None:
    """Say that the log itself names nobody; the directory and the policy may."""
    store = Store.open(place.url, create=False)
    said = repr(store.events(1000))
    store.close()
    for word in words:
        assert word not in said


def last(place: Place, kind: EventKind) -> Event:
    store = Store.open(place.url, create=False)
    try:
        return store.events(1, kind=kind)[0]
    finally:
        store.close()


def test_who_has_the_keys_reads_names_and_others_pseudonyms(told: Place, tmp_path: Path) -> None:
    assert_nowhere(told, ANN, ADDRESS)
    for words in (
        ("list",),
        ("show", "e1"),
        ("list", "--principal", ANN),
        ("report", "--since", "1d", "--json"),
    ):
        assert ANN in done(told, "audit", *words).stdout
    assert ANN in done(told, "spend").stdout
    assert ADDRESS in done(told, "audit", "show", "e1", "--json").stdout
    bare = tmp_path / "elsewhere"
    bare.mkdir()
    shown = CliRunner().invoke(app, ["audit", "list", "--json", "--store", told.url, "--confdir", str(bare)])
    assert json.loads(shown.stdout)["principal"].startswith("person:")
    assert "names of people are not shown: there is no master key here" in shown.stderr
    assert list(bare.iterdir()) == []


def test_proofs_and_exports_hold_what_is_stored(told: Place, tmp_path: Path) -> None:
    assert done(told, "audit", "checkpoint").exit_code == 0
    for words in (
        ("export", "-o", str(tmp_path / "out")),
        ("prove", last(told, EventKind.COMPLETED).id, "-o", str(tmp_path / "out")),
    ):
        assert done(told, "audit", *words).exit_code == 0
        written = (tmp_path / "out").read_text()
        assert "person:" in written
        assert ANN not in written
        assert ADDRESS not in written
        (tmp_path / "out").unlink()
    assert done(told, "audit", "verify").exit_code == 0


@pytest.mark.parametrize("form", ["jsonl", "ecs", "ocsf", "cef"])
def test_what_is_sent_out_names_nobody_unless_it_is_asked_for(told: Place, tmp_path: Path, form: str) -> None:
    for name, more in (("plain", []), ("named", ["--names"])):
        out = tmp_path / f"{name}.txt"
        sent = done(
            told, "audit", "forward", name, "--to", f"file://{out}", "--format", form, "--once", *more
        )
        assert sent.exit_code == 0, sent.output
        assert (ANN in out.read_text()) is bool(more)
        assert (ADDRESS in out.read_text()) is bool(more)
        assert ("person:" in out.read_text()) is not bool(more)
    assert "Source IPv6" not in (tmp_path / "plain.txt").read_text()


def test_changes_of_the_directory_hold_a_pseudonym_and_are_read_with_the_name(told: Place) -> None:
    people = ("directory", "people")
    assert done(told, *people, "add", "bob@example.org").exit_code == 0
    detail = last(told, EventKind.DIRECTORY_CHANGED).detail
    assert detail == f"add:{told.keys().pseudonyms('bob@example.org', 'default')[0]}"
    assert "add:bob_x40_example.org" in done(told, "audit", "list", "--json").stdout
    assert done(told, "audit", "forget", "bob@example.org").exit_code == 0
    assert done(told, *people, "remove", "bob@example.org").exit_code == 0
    assert last(told, EventKind.DIRECTORY_CHANGED).detail == "remove", (
        "who was forgotten is not known again by it"
    )
    assert told.keys().pseudonyms("bob@example.org") == []
    assert "bob" not in done(told, "audit", "list", "--json").stdout
    assert_nowhere(told, "bob")


def test_a_kill_switch_for_a_person_is_recorded_by_its_id(told: Place) -> None:
    stopped = done(told, "stop", "principal", "ann", "--tenant", "acme", "--reason", "case 7")
    assert stopped.exit_code == 0, stopped.output
    assert last(told, EventKind.KILL_SWITCH).detail == f"stopped:{stopped.stdout.strip()}"
    known = done(told, "stop", "principal", ANN, "--tenant", "acme", "--reason", "case 7")
    assert "Never seen" not in known.stderr
    assert "Never seen" in stopped.stderr
    assert_nowhere(told, "ann")


@pytest.mark.parametrize(
    "name", [ANN, "ü" * 300, "\x01" * 200, "DOMAIN\\ann"], ids=["mail", "long", "controls", "domain"]
)
def test_a_person_is_forgotten_by_its_id_however_it_is_spelt(told: Place, name: str) -> None:
    write(
        told,
        Event(
            kind=EventKind.COMPLETED, gateway="gw", exchange="e2", principal=name, tenant="acme", source="key"
        ),
    )
    assert len(done(told, "audit", "forget", name, "--tenant", "acme", "--dry-run").stdout) > 0
    assert done(told, "audit", "forget", name, "--tenant", "acme").exit_code == 0
    shown = json.loads(
        done(told, "audit", "list", "--limit", "1000", "--json", "--kind", "completed").stdout.splitlines()[0]
    )
    assert shown["principal"].startswith("person:")


def test_a_person_is_forgotten_by_its_pseudonym_and_a_caller_by_its_address(told: Place) -> None:
    write(told, Event(kind=EventKind.CONNECTION_REFUSED, gateway="gw", client="10.9.9.9"))
    stands = told.keys().pseudonyms(ANN)[0]
    assert done(told, "audit", "forget", stands, "--tenant", "acme").stdout.startswith("destroyed 1 keys")
    assert "10.9.9.9" in done(told, "audit", "list").stdout
    assert done(told, "audit", "forget", "client:10.9.9.9", "--tenant", "").stdout.startswith(
        "destroyed 1 keys"
    )
    listed = done(told, "audit", "list").stdout
    assert ANN not in listed
    assert "10.9.9.9" not in listed


def test_a_policy_that_names_people_leaves_everything_as_it_was(tmp_path: Path) -> None:
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    (tmp_path / "policy.yaml").write_text("version: 1\n")
    remember(tmp_path, str(tmp_path / "policy.yaml"))
    Store.open(place.url).close()
    assert done(place, "directory", "people", "add", "bob@example.org").exit_code == 0
    assert done(place, "stop", "principal", "bob", "--reason", "x").exit_code == 0
    assert last(place, EventKind.DIRECTORY_CHANGED).detail == "add:bob_x40_example.org"
    assert last(place, EventKind.KILL_SWITCH).detail.endswith(":bob")
    assert not (tmp_path / "content-keys.db").exists()
    assert place.keys().pseudonyms("bob") == []


def test_from_a_folder_of_no_gateway_the_log_tells_whether_people_are_named(
    told: Place, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = ("--store", told.url, "--confdir", str(elsewhere))
    for words in (
        ("stop", "principal", "eve", "--reason", "case 7"),
        ("directory", "people", "add", "eve"),
    ):
        ran = CliRunner().invoke(app, [*words, *store], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
    assert last(told, EventKind.KILL_SWITCH).detail.count(":") == 1
    assert last(told, EventKind.DIRECTORY_CHANGED).detail == "add", (
        "no key is here that a pseudonym is made with"
    )
    assert_nowhere(told, "eve")


@pytest.mark.parametrize("is_there", [True, False], ids=["named", "new"])
def test_from_a_folder_of_no_gateway_people_are_named_in_a_log_that_names_them(
    tmp_path: Path, is_there: bool
) -> None:
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    if is_there:
        Store.open(place.url).close()
    words = ["directory", "people", "add", "eve", "--store", place.url, "--confdir", str(tmp_path / "other")]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    assert last(place, EventKind.DIRECTORY_CHANGED).detail == "add:eve"


def no_policy(folder: Path) -> None:
    (folder / "policy.yaml").unlink()


def broken_policy(folder: Path) -> None:
    (folder / "policy.yaml").write_text("version: 1\naudit: {people: pseudonymised\n")


def nobody_knows_which(folder: Path) -> None:
    (folder / "policy.in-use").unlink()
    (folder / "policy.in-use").mkdir()


def half_written(folder: Path) -> None:
    (folder / "policy.in-use").write_text("")


UNREADABLE = pytest.mark.parametrize(
    "spoil", [no_policy, broken_policy, nobody_knows_which, half_written], ids=lambda f: f.__name__
)


@pytest.fixture
def untold(tmp_path: Path) -> Place:
    """A gateway's folder whose policy wants pseudonyms, before it has written any."""
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    (tmp_path / "policy.yaml").write_text("version: 1\naudit: {people: pseudonymised}\n")
    remember(tmp_path, str(tmp_path / "policy.yaml"))
    Store.open(place.url).close()
    DirectoryStore.open(place.url).close()
    return place


@UNREADABLE
def test_a_kill_switch_acts_and_names_nobody_where_the_policy_cannot_be_read(
    untold: Place, spoil: Callable[[Path], None]
) -> None:
    spoil(untold.folder)
    stopped = done(untold, "stop", "principal", "ann", "--tenant", "acme", "--reason", "case 7")
    assert stopped.exit_code == 0, stopped.output
    assert last(untold, EventKind.KILL_SWITCH).detail == f"stopped:{stopped.stdout.strip()}"
    assert "ann" in done(untold, "stops").stdout
    assert done(untold, "resume", "--all").exit_code == 0
    assert last(untold, EventKind.KILL_SWITCH).detail == f"resumed:{stopped.stdout.strip()}"
    assert_nowhere(untold, "ann")


@UNREADABLE
def test_a_change_of_people_is_refused_where_nobody_can_tell_whether_to_name_them(
    untold: Place, spoil: Callable[[Path], None]
) -> None:
    spoil(untold.folder)
    for words in (("add",), ("change", "--inactive"), ("remove",)):
        with pytest.raises(OperatorError, match=r"whether the log may name people.*sallyport stop principal"):
            done(untold, "directory", "people", words[0], "bob", *words[1:])
    assert "No such person" in done(untold, "directory", "people", "list").output
    assert not (untold.folder / "content-keys.db").exists()
    assert_nowhere(untold, "bob")


@UNREADABLE
def test_where_pseudonyms_were_written_the_policy_need_not_be_read(
    told: Place, spoil: Callable[[Path], None]
) -> None:
    spoil(told.folder)
    assert done(told, "directory", "people", "add", "bob@example.org").exit_code == 0
    detail = last(told, EventKind.DIRECTORY_CHANGED).detail
    assert detail == f"add:{told.keys().pseudonyms('bob@example.org', 'default')[0]}"


def test_names_can_be_told_again_for_a_person_who_was_let_in_again(told: Place) -> None:
    assert done(told, "audit", "forget", ANN, "--tenant", "acme").exit_code == 0
    write(
        told,
        Event(
            kind=EventKind.COMPLETED, gateway="gw", exchange="e2", principal=ANN, tenant="acme", source="key"
        ),
    )
    found = [
        json.loads(line)
        for line in done(told, "audit", "list", "--json", "--principal", ANN).stdout.splitlines()
    ]
    assert [event["exchange"] for event in found] == ["e2"]
    assert told.keys().key_of(Subject("acme", ANN)).forgotten_us > 0
