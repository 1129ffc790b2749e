"""Requests, approvals, broken glass and kill switches in the tables, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sallyport.cli.main import app
from sallyport.decision import Need
from sallyport.errors import OperatorError
from sallyport.policy.approvals import Approvals
from sallyport.stages.directory import Person, StopKind
from sallyport.state.directory.approvals import (
    MAX_OPEN,
    Registered,
    RequestState,
    approve,
    break_glass,
    deny,
    find_request,
    load_approvals,
    register,
    revoke,
)
from sallyport.state.directory.people import put_person
from sallyport.state.directory.stops import let_go, load_pulled, load_stops, pull
from sallyport.state.directory.store import DirectoryStore

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NEED = Need("apr-aaaaaaaaaa", "default", "ada", "big", "model:gpt-5")
ANYBODY = Approvals()
TWO = Approvals(min_approvers=2, approvers=("Bob", "carol", "ada"))


def open_request(store: DirectoryStore, need: Need = NEED, at: datetime = NOW) -> Registered:
    with store.change() as connection:
        return register(connection, need, "exchange-1", at)


def state(store: DirectoryStore, at: datetime = NOW, id: str = NEED.id) -> RequestState:
    with store.read() as connection:
        found = find_request(connection, id, at)
    assert found is not None
    return found.state


def test_a_request_is_new_once_and_again_when_its_approval_has_expired(store: DirectoryStore) -> None:
    assert open_request(store) is Registered.NEW
    assert open_request(store) is Registered.KNOWN
    with store.change() as connection:
        assert approve(connection, NEED.id, "bob", "fine", NOW, NOW + HOUR, ANYBODY) is not None
    assert state(store) is RequestState.APPROVED
    assert open_request(store, at=NOW + HOUR / 2) is Registered.KNOWN
    assert state(store, NOW + HOUR) is RequestState.EXPIRED
    assert open_request(store, at=NOW + HOUR) is Registered.NEW
    assert state(store, NOW + HOUR) is RequestState.OPEN


def test_a_denied_or_revoked_request_stays_closed_however_often_it_is_asked(store: DirectoryStore) -> None:
    open_request(store)
    with store.change() as connection:
        deny(connection, NEED.id, "bob", "no", NOW, ANYBODY)
    assert open_request(store) is Registered.KNOWN
    with store.change() as connection:
        given = approve(connection, NEED.id, "bob", "after all", NOW, NOW + HOUR, ANYBODY)
        assert given is not None
    with store.change() as connection:
        assert load_approvals(connection) == (given.approval,)
        revoke(connection, NEED.id, "bob", "left", NOW)
        assert load_approvals(connection) == ()
    assert open_request(store) is Registered.KNOWN
    assert state(store) is RequestState.DENIED


def test_two_approvers_are_two_people(store: DirectoryStore) -> None:
    open_request(store)
    with store.change() as connection:
        assert approve(connection, NEED.id, "bob", "a", NOW, NOW + 2 * HOUR, TWO) is None
        assert approve(connection, NEED.id, "BOB", "b", NOW, NOW + 2 * HOUR, TWO) is None
        assert load_approvals(connection) == ()
        given = approve(connection, NEED.id, "carol", "c", NOW, NOW + HOUR, TWO)
        assert given is not None
        assert given.approval.expires_at == NOW + HOUR
        assert load_approvals(connection) == (given.approval,)


def test_an_approver_who_said_yes_until_yesterday_does_not_count(store: DirectoryStore) -> None:
    open_request(store)
    with store.change() as connection:
        approve(connection, NEED.id, "bob", "a", NOW, NOW + HOUR, TWO)
        later = NOW + HOUR
        assert approve(connection, NEED.id, "carol", "c", later, later + HOUR, TWO) is None


def test_who_approves_is_told_how_many_more_must_and_old_votes_do_not_count(
    store: DirectoryStore, url: str, tmp_path: Path
) -> None:
    open_request(store)
    ago = datetime.now(UTC) - 2 * HOUR
    with store.change() as connection:
        approve(connection, NEED.id, "bob", "a", ago, ago + HOUR, TWO)
    (tmp_path / "policy.yaml").write_text("version: 1\napprovals: {min_approvers: 2}\n")
    where = ("--store", url, "--policy", str(tmp_path / "policy.yaml"), "--confdir", str(tmp_path))
    for _ in range(2):
        done = CliRunner().invoke(app, ["approvals", "approve", NEED.id, "--reason", "r", *where])
        assert "1 more must approve" in done.stdout
        shown = CliRunner().invoke(app, ["approvals", "list", *where[:2], *where[4:]])
        assert "open (1 so far)" in shown.stdout


def test_only_approvers_approve_and_nobody_what_is_their_own(store: DirectoryStore) -> None:
    open_request(store)
    other = Need("apr-bbbbbbbbbb", "default", "staff-17", "big", "")
    open_request(store, other)
    with store.change() as connection:
        put_person(connection, Person("staff-17", names=("user:bob",)))
    for id, by, policy in (
        (NEED.id, "mallory", TWO),
        (NEED.id, "ada", TWO),
        (NEED.id, "ADA", ANYBODY),
        (other.id, "Bob", ANYBODY),
    ):
        with pytest.raises(OperatorError), store.change() as connection:
            approve(connection, id, by, "r", NOW, NOW + HOUR, policy)
    with pytest.raises(OperatorError), store.change() as connection:
        deny(connection, NEED.id, "mallory", "r", NOW, TWO)
    with store.change() as connection:
        own = ANYBODY.model_copy(update={"not_own": False})
        assert approve(connection, NEED.id, "ada", "r", NOW, NOW + HOUR, own) is not None


@pytest.mark.parametrize(
    ("reason", "end"),
    [("", NOW + HOUR), ("two\nlines", NOW + HOUR), ("r", NOW), ("r", NOW + timedelta(days=31))],
)
def test_an_approval_needs_a_reason_and_an_end_within_bounds(
    store: DirectoryStore, reason: str, end: datetime
) -> None:
    open_request(store)
    with pytest.raises(OperatorError), store.change() as connection:
        approve(connection, NEED.id, "bob", reason, NOW, end, ANYBODY)
    assert state(store) is RequestState.OPEN


def test_an_id_that_was_guessed_approves_nothing(store: DirectoryStore) -> None:
    open_request(store)
    with pytest.raises(OperatorError), store.change() as connection:
        approve(connection, "apr-zzzzzzzzzz", "bob", "r", NOW, NOW + HOUR, ANYBODY)


def test_a_principal_cannot_fill_the_store_with_requests(store: DirectoryStore) -> None:
    with store.change() as connection:
        for number in range(MAX_OPEN):
            need = replace(NEED, id=f"apr-{number}", resource=f"model:gpt-{number}")
            assert register(connection, need, "", NOW) is Registered.NEW
    assert open_request(store, replace(NEED, resource="model:other")) is Registered.FULL
    assert open_request(store, replace(NEED, id="apr-bob", principal="bob")) is Registered.NEW


def test_broken_glass_lasts_as_long_as_the_policy_allows_and_can_be_mended(store: DirectoryStore) -> None:
    some = ANYBODY.model_copy(update={"break_glass_by": ("bob",)})
    for by, end in (("mallory", NOW + HOUR), ("bob", NOW + 5 * HOUR)):
        with pytest.raises(OperatorError), store.change() as connection:
            break_glass(connection, "default", "ada", "*", by, "r", NOW, end, some)
    with store.change() as connection:
        given = break_glass(connection, "default", "ada", "*", "bob", "r", NOW, NOW + HOUR, some)
        (held,) = load_approvals(connection)
        assert (held.break_glass, held.rule, held.resource) == (True, "*", "")
        revoke(connection, given.approval.id, "carol", "over", NOW)
        assert load_approvals(connection) == ()


def test_approving_does_not_mend_broken_glass(store: DirectoryStore) -> None:
    open_request(store)
    with store.change() as connection:
        break_glass(connection, "default", "ada", "big", "bob", "r", NOW, NOW + HOUR, ANYBODY)
        approve(connection, NEED.id, "bob", "r", NOW, NOW + HOUR, ANYBODY)
        assert len(load_approvals(connection)) == 2


def test_a_kill_switch_is_pulled_once_and_let_go(store: DirectoryStore) -> None:
    with store.change() as connection:
        one = pull(connection, StopKind.MODEL, "gpt-*", "", "bob", "r", NOW)
        assert pull(connection, StopKind.MODEL, "gpt-*", "", "bob", "again", NOW) == one
        two = pull(connection, StopKind.EVERYTHING, "", "", "bob", "r", NOW)
    with store.change() as connection:
        assert set(load_stops(connection)) == {one, two}
        assert let_go(connection, one.id, "eve", NOW) == (one,)
        assert load_stops(connection) == (two,)
        assert let_go(connection, None, "eve", NOW) == (two,)
        again = pull(connection, StopKind.MODEL, "gpt-*", "", "bob", "r", NOW)
        assert again.id != one.id
        assert load_stops(connection) == (again,)
        kept = {
            each.stop.id: (each.resumed_by, each.resumed_at) for each in load_pulled(connection, every=True)
        }
        assert kept == {one.id: ("eve", NOW), two.id: ("eve", NOW), again.id: ("", None)}
    for kind, value in ((StopKind.EVERYTHING, "x"), (StopKind.MODEL, "")):
        with pytest.raises(OperatorError), store.change() as connection:
            pull(connection, kind, value, "", "bob", "r", NOW)
    with pytest.raises(OperatorError), store.change() as connection:
        let_go(connection, one.id, "eve", NOW)
