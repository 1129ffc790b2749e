"""Files are whole or absent, whoever looks, whatever fails, and whichever of the house's files it is."""

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from issuing import Idp
from sallyport.audit.checkpoints import Checkpoint
from sallyport.audit.copies import Copies
from sallyport.audit.forwarding.cursor import Cursor, only_one
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.cli.gatewaykey import gateway_key
from sallyport.cli.last_run import remember
from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, PUBLIC, clear_drafts, write_file, write_new
from sallyport.stages.directory import Person
from sallyport.state.directory.lastgood import LastGood
from sallyport.state.directory.snapshot import People, Snapshot
from sallyport.state.masterkey import MasterKeys
from sallyport.state.policybundles import Bundle, Serials
from sallyport.state.policydrift import DriftWatch, Settings, State
from sallyport.state.policyversions import PolicyVersions, Promoted, Promotions, Version
from sallyport.state.rulesversions import Rules, RulesVersions
from sallyport.state.tokens.sources import KeySources, Place

type Write = Callable[[Path, bytes, int], None]
WRITERS = pytest.mark.parametrize("write", [write_file, write_new])


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@WRITERS
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("asked", [PRIVATE, PUBLIC])
def test_the_mode_is_what_was_asked_for_under_any_umask(
    tmp_path: Path, write: Write, umask: int, asked: int
) -> None:
    former = os.umask(umask)
    try:
        write(tmp_path / "a", b"x", asked)
    finally:
        os.umask(former)
    assert (mode(tmp_path / "a"), (tmp_path / "a").read_bytes(), names(tmp_path)) == (asked, b"x", {"a"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files in the place of others")
def test_what_root_makes_in_the_folder_of_a_gateway_is_the_gateways(tmp_path: Path) -> None:
    """With sudo, its signing key was root's: the gateway could not read it, and signed nothing."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 12345, 23456)
    write_file(home / "cursor", b"x", PUBLIC)
    with pytest.raises(OperatorError, match="Run this as that user"):
        MasterKeys(home, {}).make()
    Signer.of(home)
    write_file(home / "cursor", b"replaced", PUBLIC)
    Cursor(home / "forward" / "siem.json").write({"gw": 1})
    with only_one(home / "forward" / "siem.json"):
        pass
    Promotions(home / "policies").keep(Promoted("b" * 12, "a" * 12, "", "enforce", "", "why", "root", "now"))
    Store.open(home / "audit.db").close()
    made = sorted(path for path in home.rglob("*") if not path.name.startswith("audit.db-"))
    assert len(made) == 8
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(12345, 23456)}
    assert mode(home / "audit-signing.key") == PRIVATE
    write_file(tmp_path / "own", b"x", PUBLIC)
    assert (tmp_path / "own").stat().st_uid == 0


def test_who_reads_while_it_is_replaced_reads_one_or_the_other(tmp_path: Path) -> None:
    path, texts, ended = tmp_path / "a", (b"a" * 200_000, b"b" * 100_000), threading.Event()
    write_file(path, texts[0], PRIVATE)

    def replace() -> None:
        for n in range(100):
            write_file(path, texts[n % 2], PRIVATE)
        ended.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not ended.is_set():
        assert path.read_bytes() in texts
    writer.join()


def test_a_link_at_its_place_is_replaced_and_what_it_led_to_is_left(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"old")
    (tmp_path / "a").symlink_to("other")
    write_file(tmp_path / "a", b"new", PRIVATE)
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "other").read_bytes() == b"old"


def test_what_cannot_take_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path / "a", b"x", PRIVATE)
    assert names(tmp_path) == {"a"}


def test_of_many_who_make_it_at_once_one_does_and_all_read_his(tmp_path: Path) -> None:
    def make(n: int) -> bool:
        content = b"%d" % n * 50_000
        try:
            write_new(tmp_path / "a", content, PRIVATE)
        except FileExistsError:
            pass
        else:
            return (tmp_path / "a").read_bytes() == content
        return False

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(8)))
    assert made.count(True) == 1
    assert names(tmp_path) == {"a"}


def test_gateways_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        for n in range(40):
            keys = set(pool.map(gateway_key, [tmp_path / str(n)] * 8))
            assert len(keys) == 1


def test_a_key_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gateway.key"
    path.write_bytes(b"short")
    with pytest.raises(OperatorError, match="5 bytes, not 32"):
        gateway_key(tmp_path)
    path.write_bytes(bytes(32))
    path.chmod(0o640)
    with pytest.raises(OperatorError, match="others may read it"):
        gateway_key(tmp_path)
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(OperatorError, match="cannot be read or made"):
        gateway_key(tmp_path)


# -- every file of a gateway's folder that is written as a whole ----------------------------------------

PROMOTED = Promoted("b" * 12, "a" * 12, "", "enforce", "", "because", "op", "2026-01-01")
WHOLE = Snapshot.of({"directory": 1}, People.of([Person("ada")], []), [], [], [])


def copy_checkpoint(folder: Path) -> None:
    Copies(folder, None, "true").send([Checkpoint(1, "{}", "")])


def fetch_keys(folder: Path) -> None:
    keys = json.dumps(Idp().jwks()).encode()
    sources = KeySources(folder, lambda: bytes(32), read=lambda place: keys)
    held = sources.use([Place("https://idp.example.com/keys")])
    sources.close()
    assert held[0].keys


def look_for_drift(folder: Path) -> None:
    state = State("a" * 12, "r1")
    DriftWatch(
        lambda: state, lambda: state, lambda: Settings(1, 1), lambda alarm: None, folder / "x.prom", "gw"
    ).look()


WRITTEN: dict[str, tuple[Callable[[Path], object], int]] = {
    "rules": (lambda at: RulesVersions(at).keep(Rules({"rules/a.yaml": "0"})), PRIVATE),
    "policies": (lambda at: PolicyVersions(at).keep(Version("a" * 12, "balanced", "", {})), PRIVATE),
    "promotions": (lambda at: Promotions(at).keep(PROMOTED), PRIVATE),
    "serials": (lambda at: Serials(at).keep(Bundle(1, "a" * 12, "p.yaml", {})), PUBLIC),
    "positions": (lambda at: Cursor(at / "x.json").write({"gw": 1}), PUBLIC),
    "copied": (copy_checkpoint, PUBLIC),
    "directory": (lambda at: LastGood(at / "copy", bytes(32)).write(WHOLE), PRIVATE),
    "issuers": (fetch_keys, PRIVATE),
    "metrics": (look_for_drift, PUBLIC),
    "last run": (lambda at: remember(at, "balanced"), PUBLIC),
    "gateway key": (gateway_key, PRIVATE),
    "master key": (lambda at: MasterKeys(at, {}).make(), PRIVATE),
    "signing key": (Signer.of, PRIVATE),
}


@pytest.mark.parametrize(("write", "asked"), WRITTEN.values(), ids=WRITTEN)
def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_then_its_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], object], asked: int
) -> None:
    before = names(tmp_path)
    synced: list[tuple[str, set[str]]] = []
    stock = os.fsync

    def fsync(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        synced.append((kind, {name for name in names(tmp_path) - before if not name.startswith(".")}))
        stock(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path)
    made = names(tmp_path) - before
    assert len(made) == 1
    assert synced == [("file", set()), ("folder", made)]
    assert mode(tmp_path / made.pop()) == asked


# -- writers that are killed -----------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from sallyport import files
if sys.argv[3] == "named":
    files._born = lambda *_: False
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
getattr(files, sys.argv[1])(Path(sys.argv[2]), b"secret", files.PRIVATE)
"""


def kill_a_writer(path: Path, writer: str, system: str) -> None:
    ran = subprocess.run([sys.executable, "-c", KILLED, writer, path, system], check=False)
    assert ran.returncode == -signal.SIGKILL


def test_of_a_new_file_nothing_is_left_by_a_writer_that_was_killed(tmp_path: Path) -> None:
    kill_a_writer(tmp_path / "gateway.key", "write_new", "unnamed")
    assert names(tmp_path) == set()


@pytest.mark.parametrize("writer", ["write_file", "write_new"])
def test_what_a_writer_that_was_killed_left_is_cleared_away_and_nothing_else(
    tmp_path: Path, writer: str
) -> None:
    (tmp_path / "in").mkdir()
    others = {".gateway.key.0123456789abcdef", ".a.draft", "gateway.key.0123456789abcdef.draft", "in"}
    for name in others - {"in"}:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / ".folder.0123456789abcdef.draft").mkdir()
    (tmp_path / ".link.0123456789abcdef.draft").symlink_to(tmp_path / ".a.draft")
    others |= {".folder.0123456789abcdef.draft", ".link.0123456789abcdef.draft"}
    kill_a_writer(tmp_path / "gateway.key", writer, "named")
    kill_a_writer(tmp_path / "in" / "a.json", writer, "named")
    assert (len(names(tmp_path) - others), len(names(tmp_path / "in"))) == (1, 1)
    clear_drafts(tmp_path)
    assert (names(tmp_path), names(tmp_path / "in")) == (others, set())


@WRITERS
def test_who_clears_while_others_write_takes_nothing_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setattr("sallyport.files._born", lambda *_: False)
    ended = threading.Event()

    def clear() -> None:
        while not ended.is_set():
            clear_drafts(tmp_path)

    clearing = threading.Thread(target=clear)
    clearing.start()
    try:
        for n in range(300):
            write(tmp_path / str(n), b"x", PRIVATE)
    finally:
        ended.set()
        clearing.join()
    assert names(tmp_path) == {str(n) for n in range(300)}


def test_a_draft_that_was_cleared_away_before_its_writer_locked_it_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, began = fcntl.flock, list[int]()

    def lock(handle: int, operation: int) -> None:
        if not began:
            began.append(handle)
            clear_drafts(tmp_path)  # another process comes first
            assert names(tmp_path) == set()
        stock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", lock)
    write_file(tmp_path / "a", b"x", PRIVATE)
    assert names(tmp_path) == {"a"}


def test_a_system_without_nameless_files_has_whole_ones_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    write_new(tmp_path / "a", b"x", PRIVATE)
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "a", b"y", PRIVATE)
    assert ((tmp_path / "a").read_bytes(), names(tmp_path)) == (b"x", {"a"})
