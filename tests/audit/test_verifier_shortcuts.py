"""Where the verifier takes a shorter way, it says what the longer one says."""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from audit.chains import filled, signed
from audit.tampering import SqliteHands, Tamperer
from sallyport.audit.checkpoints import Checkpoint
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.verifier import Report, SqliteSource, Tree, canonical, canonical_by, is_signed, verify

SEEDS = range(80)


class LongWay(SqliteSource):
    """The same log, read without the shortcut."""

    def prints(self, writer: str, after: int, until: int | None) -> Iterator[tuple[int, Any, Any, bytes]]:
        return iter(())


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path / "conf")


@pytest.fixture
def log(tmp_path: Path, signer: Signer) -> tuple[Path, list[Checkpoint]]:
    """A log in a file, and its checkpoints."""
    path = tmp_path / "log.db"
    with closing(Store.open(path)) as store:
        made = filled(store, signer, each=5, tail=3)
    return path, made


@pytest.fixture
def both_ways(
    log: tuple[Path, list[Checkpoint]], signer: Signer
) -> Callable[[Callable[[sqlite3.Connection], None]], tuple[Report, Report]]:
    """Do something to a copy of the log and return what is said of it, by the short way and by the long one."""
    path, made = log
    work = path.with_name("work.db")

    def check(act: Callable[[sqlite3.Connection], None]) -> tuple[Report, Report]:
        shutil.copyfile(path, work)
        with closing(sqlite3.connect(work, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            act(connection)
        reports = []
        for kind in (SqliteSource, LongWay):
            with closing(kind(work)) as source:
                reports.append(verify(source, keys=[signer.public_key], copy=signed(made)))
        return reports[0], reports[1]

    return check


def test_an_untouched_log_is_sound_both_ways(both_ways: Any) -> None:
    short, long = both_ways(lambda connection: None)
    assert short == long
    assert short.is_sound


def test_the_short_way_is_taken(log: tuple[Path, list[Checkpoint]], monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr("sallyport.audit.verifier.event_hash", lambda *of: looked.append(of))
    with closing(SqliteSource(log[0])) as source:
        assert verify(source).is_sound
    assert looked == []


@pytest.mark.parametrize("seed", SEEDS)
def test_both_ways_say_the_same_of_every_act(
    both_ways: Any, log: tuple[Path, list[Checkpoint]], signer: Signer, seed: int
) -> None:
    def act(connection: sqlite3.Connection) -> None:
        Tamperer(SqliteHands(connection), log[1], signer, random.Random(seed)).act()

    short, long = both_ways(act)
    assert short == long
    assert not short.is_sound


@pytest.mark.parametrize("number", [1, 4, 5, 6, 20, 23])
@pytest.mark.parametrize("leaves", [2, 1024])
@pytest.mark.parametrize(
    "change",
    ["", ", principal = 'eve'", ", hash = gateway"],
    ids=["same", "changed", "no-hash"],
)
def test_a_second_event_of_a_number_is_seen(
    both_ways: Any, monkeypatch: pytest.MonkeyPatch, number: int, change: str, leaves: int
) -> None:
    monkeypatch.setattr("sallyport.audit.verifier._LEAVES", leaves)

    def act(connection: sqlite3.Connection) -> None:
        connection.execute("DROP INDEX audit_chain")
        connection.execute("CREATE TEMP TABLE second AS SELECT * FROM audit_events WHERE gateway = 'gw-1'")
        connection.execute("DELETE FROM second WHERE seq != ?", (number,))
        connection.execute(f"UPDATE second SET id = 'second', exchange = 'second'{change}")
        connection.execute("INSERT INTO audit_events SELECT * FROM second")

    short, long = both_ways(act)
    assert short == long
    assert ("inserted", number) in {(finding.kind, finding.first) for finding in short.findings}


@pytest.mark.parametrize("number", [1, 5, 20, 23])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", 1.5),
        ("principal", b"\x00\xff"),
        ("detail", "a\x00b"),
        ("request_bytes", "many"),
        ("hash", 7),
    ],
    ids=["real", "blob", "nul", "text", "number"],
)
def test_a_value_of_another_kind_is_seen(both_ways: Any, number: int, column: str, value: object) -> None:
    def act(connection: sqlite3.Connection) -> None:
        statement = f"UPDATE audit_events SET {column} = ? WHERE gateway = 'gw-1' AND seq = ?"
        connection.execute(statement, (value, number))

    short, long = both_ways(act)
    assert short == long
    assert not short.is_sound


VALUES = st.none() | st.text() | st.integers() | st.floats() | st.binary(max_size=2) | st.booleans()


@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(["confidence", "hash", "period"]), VALUES))
def test_the_bytes_of_a_row_are_the_same_from_its_values(row: dict[str, Any]) -> None:
    names = sorted(name for name in row if name not in ("hash", "period"))
    try:
        wanted = canonical(row)
    except ValueError:
        wanted = b""
    assert canonical_by(names)([row[name] for name in names]) == wanted


def _root(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01" + _root(leaves[:left]) + _root(leaves[left:])).digest()


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 5000])
def test_a_tree_has_the_root_that_its_definition_gives(size: int) -> None:
    tree, leaves = Tree(), [number.to_bytes(32) for number in range(size)]
    for leaf in leaves:
        tree.add(leaf)
    assert (tree.root(), tree.size) == (_root(leaves).hex(), size)


def test_a_key_that_is_used_often_signs_as_before() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    chance = random.Random(7)
    for _ in range(40):
        message = chance.randbytes(chance.randrange(100))
        signature = key.sign(message)
        assert is_signed(public, signature, message)
        assert not is_signed(public, signature, message + b".")
        at = chance.randrange(64)
        changed = bytearray(signature)
        changed[at] ^= 1 << chance.randrange(8)
        assert not is_signed(public, bytes(changed), message)
