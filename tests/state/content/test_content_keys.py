"""A person has one key, whoever asks for it; it can be sealed anew, and is gone for all once it is destroyed."""

import base64
import secrets
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sallyport.errors import OperatorError
from sallyport.state.content import keys as keys_module
from sallyport.state.content.keys import SubjectKeys, subject_keys_of
from sallyport.state.content.subjects import Forgotten, Subject, SubjectKey, UnknownKey
from sallyport.state.masterkey import NotOpened
from state.content.conftest import Place

ANN, BOB = Subject("acme", "ann"), Subject("acme", "bob")


def test_each_person_of_each_tenant_has_a_key_of_its_own_that_stays(place: Place) -> None:
    keys = place.keys()
    subjects = [ANN, BOB, Subject("other", "ann"), Subject("", "acme ann"), Subject("acmea", "nn")]
    made = {keys.key_of(subject).secret for subject in subjects}
    assert len(made) == len(subjects)
    again = place.keys()
    assert {again.key_of(subject).secret for subject in subjects} == made
    assert again.open(keys.key_of(ANN).id).secret == keys.key_of(ANN).secret
    assert {key.id for key in again.each("acme")} == {keys.key_of(ANN).id, keys.key_of(BOB).id}
    assert len(list(again.each())) == len(subjects)


def test_many_who_ask_at_once_get_the_same_key(place: Place) -> None:
    found: list[SubjectKey] = []

    def ask() -> None:
        found.append(place.keys().key_of(ANN))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({key.secret for key in found}) == 1


def test_a_destroyed_key_is_forgotten_by_those_who_hold_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "FRESH_S", 0.0)
    running, operator = place.keys(), place.keys()
    old, other = running.key_of(ANN), running.key_of(BOB)
    assert operator.destroy(ANN, 7, "event-1")
    with pytest.raises(Forgotten):
        running.open(old.id)
    with pytest.raises(Forgotten):
        place.keys().open(old.id)
    assert running.open(other.id).secret == other.secret
    anew = running.key_of(ANN)
    assert (anew.id, anew.secret) != (old.id, old.secret)
    assert operator.erased_ids() == [old.id]


def test_it_is_held_for_a_second_and_not_longer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now[0])
    running = place.keys()
    key = running.key_of(ANN)
    place.keys().destroy(ANN, 7, "event-1")
    now[0] += keys_module.FRESH_S
    running.refresh()
    assert not running._by_id
    with pytest.raises(Forgotten):
        running.open(key.id)


def test_what_was_never_there_is_told_from_what_was_destroyed(place: Place) -> None:
    with pytest.raises(UnknownKey):
        place.keys().open("0" * 32)
    place.keys().key_of(ANN)
    with pytest.raises(UnknownKey):
        place.keys().open("0" * 32)


def test_rows_name_nobody(place: Place) -> None:
    keys = place.keys()
    keys.key_of(ANN)
    url = keys_module.keys_address(place.masters())
    with create_engine(url.replace("postgresql://", "postgresql+psycopg://")).connect() as connection:
        rows = connection.execute(text("SELECT * FROM content_keys")).all()
    assert "ann" not in repr(rows)
    assert keys.key_of(ANN).secret not in base64.b64decode(rows[0].sealed)


def test_a_new_master_key_takes_over_and_the_old_one_can_go(place: Place) -> None:
    secret = place.keys().key_of(ANN).secret
    digest = place.keys().digest_of(ANN)
    file = place.folder / "master.key"
    old, new = file.read_text(), base64.b64encode(secrets.token_bytes(32)).decode() + "\n"
    file.write_text(new)
    with pytest.raises(NotOpened):
        place.keys().key_of(ANN)
    file.write_text(new + old)
    assert place.keys().rotate() == 2  # hers, and the one of the digests
    assert place.keys().rotate() == 0
    file.write_text(new)
    assert place.keys().key_of(ANN).secret == secret
    assert place.keys().digest_of(ANN) == digest


def test_a_newer_schema_is_refused(place: Place) -> None:
    place.keys().key_of(ANN)
    url = keys_module.keys_address(place.masters()).replace("postgresql://", "postgresql+psycopg://")
    with create_engine(url).begin() as connection:
        connection.execute(text("UPDATE sallyport_schema SET version = 99 WHERE part = 'content_keys'"))
    with pytest.raises(OperatorError, match="version 99"):
        place.keys().key_of(ANN)


def test_nothing_of_a_destroyed_key_stays_in_the_files(tmp_path: Path) -> None:
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    place.masters().make()
    keys = place.keys()
    for number in range(50):
        keys.key_of(Subject("acme", f"p{number}"))
    target = keys.key_of(ANN)
    with create_engine(keys_module.keys_address(place.masters())).connect() as connection:
        row = connection.execute(text(f"SELECT sealed FROM content_keys WHERE id = '{target.id}'")).one()
    sealed: str = row.sealed
    files = list(tmp_path.glob("content-keys.db*"))
    assert any(sealed.encode() in file.read_bytes() for file in files)
    assert keys.destroy(ANN, 7, "event-1")
    for file in tmp_path.glob("content-keys.db*"):
        assert sealed[20:60].encode() not in file.read_bytes(), file.name


def test_who_reads_meanwhile_is_told_and_it_is_tried_again(tmp_path: Path) -> None:
    place = Place(tmp_path, str(tmp_path / "audit.db"), {})
    place.masters().make()
    keys = place.keys()
    keys.key_of(ANN)
    keys._opened.scrub(keys_module.subject_keys)
    with create_engine(keys_module.keys_address(place.masters())).connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.execute(text("SELECT count(*) FROM content_keys")).all()
        slow = SubjectKeys(keys_module.keys_address(place.masters()), place.masters())
        slow._opened._at.writer.dispose()
        assert not slow.destroy(ANN, 7, "event-1")
    assert slow.scrub()


def test_one_set_of_master_keys_has_one_set_of_subjects_keys(place: Place) -> None:
    masters = place.masters()
    assert subject_keys_of(masters) is subject_keys_of(masters)


@pytest.mark.parametrize("source", ["file", "variable", "command"])
def test_the_master_key_may_come_from_elsewhere(source: str, tmp_path: Path) -> None:
    text_of_key = base64.b64encode(secrets.token_bytes(32)).decode()
    file = tmp_path / "elsewhere.key"
    file.write_text(text_of_key + "\n")
    file.chmod(0o600)
    variables = {
        "file": {"SALLYPORT_MASTER_KEY_FILE": str(file)},
        "variable": {"SALLYPORT_MASTER_KEY": text_of_key},
        "command": {"SALLYPORT_MASTER_KEY_COMMAND": f"cat {file}"},
    }[source]
    place = Place(tmp_path, str(tmp_path / "audit.db"), variables)
    assert place.keys().key_of(ANN).secret == place.keys().key_of(ANN).secret
    assert not (tmp_path / "master.key").exists()
    without_it = Place(tmp_path, place.url, {})
    with pytest.raises(OperatorError, match="no master key"):
        without_it.keys().key_of(ANN)
