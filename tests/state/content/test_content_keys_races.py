"""Keys of people whose first transaction failed, who speak while they are forgotten, whose file was put elsewhere."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from sallyport.errors import OperatorError
from sallyport.state.content import keys as keys_module
from sallyport.state.content.keys import SubjectKeys
from sallyport.state.content.subjects import Forgotten, Subject
from state.content.conftest import Place

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")


@pytest.fixture
def postgres_place(postgres_url: str, tmp_path: Path) -> Place:
    place = Place(tmp_path, postgres_url, {keys_module.VARIABLE: postgres_url})
    place.masters().make()
    return place


def test_who_stands_for_whom_is_kept_with_the_first_key_or_not_at_all(place: Place) -> None:
    gateway = place.keys()

    def full(_: object, __: object, statement: str, *___: object) -> None:
        if statement.startswith("INSERT INTO content_keys"):
            raise OSError("disk full")

    engine = gateway._opened._at.writer
    event.listen(engine, "before_cursor_execute", full)
    with pytest.raises(OperatorError):
        gateway.key_of(ANN)
    event.remove(engine, "before_cursor_execute", full)
    key = gateway.key_of(ANN)
    digest, own, _ = place.keys().find(ANN)
    assert own == [key.id], "another process finds her key"
    assert digest == gateway.digest_of(ANN)


def after(keys: SubjectKeys, beginning: str, act: list[object]) -> None:
    """Have a connection that changes keys do something else once, after a statement."""

    def then(_: object, __: object, statement: str, *___: object) -> None:
        if act and statement.startswith(beginning):
            act.pop()()  # type: ignore[operator]

    event.listen(keys._opened._at.writer, "after_cursor_execute", then)


def test_who_speaks_while_being_forgotten_has_a_key_that_stays(postgres_place: Place) -> None:
    gateway, operator = postgres_place.keys(), postgres_place.keys()
    gateway.key_of(BOB)
    after(operator, "SELECT content_keys", [lambda: gateway.key_of(ANN)])
    operator.destroy(ANN, 7, "event-1")
    key = gateway.key_of(ANN)
    assert postgres_place.keys().open(key.id).secret == key.secret
    assert postgres_place.keys().unknown([key.id]) == ()


def test_two_who_are_forgotten_at_once_are_both_seen_to_be(
    postgres_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    gateway, one, other = (postgres_place.keys() for _ in range(3))
    ids = [gateway.key_of(who).id for who in (ANN, BOB)]
    second = threading.Thread(target=lambda: other.destroy(BOB, 8, "event-2"))

    def meanwhile() -> None:
        second.start()
        second.join(1)  # over by then, where it need not wait for this one
        gateway.key_of(ANN)

    after(one, "INSERT INTO content_erasures", [meanwhile])
    one.destroy(ANN, 7, "event-1")
    second.join()
    for id in ids:
        with pytest.raises(Forgotten):
            gateway.open(id)


def test_keys_whose_file_is_not_there_any_more_seal_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    place.masters().make()
    gateway = place.keys()
    gateway.key_of(ANN)
    for file in tmp_path.glob("content-keys.db*"):
        file.unlink()
    keys = {who: gateway.key_of(who) for who in (ANN, BOB)}
    for who, key in keys.items():
        assert place.keys().find(who)[1] == [key.id]
