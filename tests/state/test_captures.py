"""Captures can be read by who has the key, whatever a crash, a full disk or a forger does to them."""

import os
import random
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from sallyport.errors import OperatorError
from sallyport.state.captures import MAGIC, CaptureFile, CaptureWriter, Rotation
from sallyport.state.content.keys import subject_keys_of
from sallyport.state.content.subjects import Subject
from sallyport.state.masterkey import MasterKeys

FLOWS = [b"flow %d " % n + bytes([n % 251]) * n for n in range(40)]


@pytest.fixture
def keys(tmp_path: Path) -> MasterKeys:
    made = MasterKeys(tmp_path, {})
    made.make()
    return made


def write(
    folder: Path, keys: MasterKeys, rotation: Rotation | None = None, flows: list[bytes] = FLOWS
) -> list[Path]:
    writer = CaptureWriter(folder, "gw-1", keys, lambda: rotation or Rotation())
    for flow in flows:
        writer.put(lambda flow=flow: flow)
    writer.close()
    assert writer.lost == 0
    return sorted(folder.glob("*.flows"), key=lambda path: path.stat().st_mtime_ns)


def test_what_is_written_is_read_and_closed_to_others(tmp_path: Path, keys: MasterKeys) -> None:
    (path,) = write(tmp_path / "c", keys)
    file = CaptureFile(path, keys)
    found = [*file.records()]
    assert [flow for _, flow in found] == FLOWS
    assert [file.read(at) for at, _ in found] == FLOWS
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert b"flow" not in path.read_bytes().partition(b"\n")[2].partition(b"\n")[2]


def test_a_new_file_seals_the_same_otherwise(tmp_path: Path, keys: MasterKeys) -> None:
    paths = write(tmp_path / "c", keys, Rotation(max_bytes=400))
    assert len(paths) > 3
    assert sorted(f for p in paths for _, f in CaptureFile(p, keys).records() if f) == sorted(FLOWS)
    heads = {path.read_bytes().splitlines()[1] for path in paths}
    assert len(heads) == len(paths)
    same = write(tmp_path / "d", keys, Rotation(max_bytes=1), [b"the same flow"] * 2)
    assert len({path.read_bytes()[-20:] for path in same}) == 2


def test_old_files_go_when_a_new_one_begins(tmp_path: Path, keys: MasterKeys) -> None:
    (old,) = write(tmp_path / "c", keys)
    os.utime(old, (time.time() - 100, time.time() - 100))
    foreign = tmp_path / "c" / "notes.txt"
    foreign.write_text("x")
    os.utime(foreign, (1, 1))
    write(tmp_path / "c", keys, Rotation(keep_s=50))
    assert not old.exists()
    assert foreign.exists()


def test_what_a_crash_cut_off_is_the_last_one_only(tmp_path: Path, keys: MasterKeys) -> None:
    (path,) = write(tmp_path / "c", keys)
    whole = path.read_bytes()
    last = [at for at, _ in CaptureFile(path, keys).records()][-1]
    for end in range(last + 1, len(whole), 7):
        path.write_bytes(whole[:end])
        assert [flow for _, flow in CaptureFile(path, keys).records()] == [*FLOWS[:-1], None]


def test_no_change_goes_unseen(tmp_path: Path, keys: MasterKeys) -> None:
    (path,) = write(tmp_path / "c", keys)
    whole = path.read_bytes()
    places = [at for at, _ in CaptureFile(path, keys).records()]
    chosen = random.Random(3)
    for _ in range(200):
        at = chosen.randrange(places[0], len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chosen.randrange(8))]) + whole[at + 1 :])
        found = [flow for _, flow in CaptureFile(path, keys).records()]
        assert found[-1] is None or len(found) < len(FLOWS)
        assert all(flow in FLOWS for flow in found if flow is not None)
    moved = (
        whole[: places[3]] + whole[places[4] : places[5]] + whole[places[3] : places[4]] + whole[places[5] :]
    )
    path.write_bytes(moved)
    kept = [flow for _, flow in CaptureFile(path, keys).records()]
    assert kept == [*FLOWS[:3], None]


def test_without_the_key_nothing_is_read(tmp_path: Path, keys: MasterKeys) -> None:
    (path,) = write(tmp_path / "c", keys)
    other = tmp_path / "other"
    other.mkdir()
    stranger = MasterKeys(other, {})
    stranger.make()
    with pytest.raises(OperatorError, match="keys of its subjects"):
        [*CaptureFile(path, stranger).records()]
    subject_keys_of(keys).scrub()  # all of it is in the one file now
    shutil.copy(tmp_path / "content-keys.db", other)
    stolen = MasterKeys(other, {})  # the keys of the subjects, without the master key above them
    with pytest.raises(OperatorError, match="master key"):
        [*CaptureFile(path, stolen).records()]


def test_the_flows_of_who_was_forgotten_are_passed_over_in_every_copy(
    tmp_path: Path, keys: MasterKeys
) -> None:
    ann, bob = Subject("acme", "ann"), Subject("acme", "bob")
    writer = CaptureWriter(tmp_path / "c", "gw", keys)
    for number, flow in enumerate(FLOWS):
        writer.put(lambda flow=flow: flow, 0, ann if number % 3 else bob)
    writer.close()
    (path,) = (tmp_path / "c").glob("*.flows")
    copy = tmp_path / "copy.flows"
    shutil.copy(path, copy)
    of_ann = next(at for at, flow in CaptureFile(copy, keys).records() if flow == FLOWS[1])
    assert subject_keys_of(keys).destroy(ann, 1, "e")
    for each in (path, copy):
        for reader in (keys, MasterKeys(tmp_path, {})):
            file = CaptureFile(each, reader)
            assert [flow for _, flow in file.records()] == FLOWS[::3]
            assert file.forgotten == len(FLOWS) - len(FLOWS[::3])
            with pytest.raises(OperatorError, match="forgotten"):
                file.read(of_ann)
    anew = CaptureWriter(tmp_path / "d", "gw", keys)
    anew.put(lambda: b"later", 0, ann)
    anew.close()
    (later,) = (tmp_path / "d").glob("*.flows")
    assert [flow for _, flow in CaptureFile(later, keys).records()] == [b"later"]


def test_a_file_of_another_version_is_told_from_a_damaged_one(tmp_path: Path, keys: MasterKeys) -> None:
    path = tmp_path / "x.flows"
    path.write_bytes(MAGIC.replace(b"2", b"1") + b"{}\n")
    with pytest.raises(OperatorError, match="another version"):
        CaptureFile(path, keys)


@pytest.mark.parametrize("content", [b"", MAGIC, MAGIC + b"{}\n", MAGIC + b"[1]\n", b"x" * 99])
def test_what_is_no_capture_is_told(content: bytes, tmp_path: Path, keys: MasterKeys) -> None:
    path = tmp_path / "x.flows"
    path.write_bytes(content)
    with pytest.raises(OperatorError):
        CaptureFile(path, keys)


def test_a_folder_that_cannot_be_written_costs_flows_and_nothing_else(
    tmp_path: Path, keys: MasterKeys
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    writer = CaptureWriter(blocked / "c", "gw", keys)
    writer.put(lambda: b"x")
    writer.put(lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    writer.close()
    assert writer.lost == 2


def test_a_full_disk_costs_what_does_not_fit(keys: MasterKeys, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    writer = CaptureWriter(tmp_path / "c", "gw", keys)
    writer.put(lambda: b"fits")
    deadline = time.monotonic() + 30
    while writer._file is None or writer._file._number < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, writer._file._file.fileno())
    os.close(full)
    writer.put(lambda: b"does not fit")
    writer.put(lambda: b"goes into a new file")
    writer.close()
    assert writer.lost == 1
    kept = [f for p in (tmp_path / "c").glob("*.flows") for _, f in CaptureFile(p, keys).records()]
    assert sorted(kept) == [b"fits", b"goes into a new file"]


def test_a_disk_that_is_full_for_long_fills_with_no_files_and_all_that_was_lost_is_told(
    keys: MasterKeys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    flow = bytes(10_000)
    try:
        writer = CaptureWriter(disk / "c", "gw", keys)
        for _ in range(40):
            writer.put(lambda: flow)
        writer.close()
        files = list((disk / "c").glob("*.flows"))
        held = [f for path in files for _, f in CaptureFile(path, keys).records()]
        assert held == [flow] * (40 - writer.lost)
        assert 0 < len(held) < 8
        assert len(files) <= len(held)
        assert caplog.messages[-1].startswith(f"{writer.lost} flows were not captured so far")
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_what_waits_is_bounded_in_bytes_and_ends_within_its_time(tmp_path: Path, keys: MasterKeys) -> None:
    writer = CaptureWriter(tmp_path / "c", "gw", keys)
    begun, hold = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        hold.wait(60)
        return b"slow"

    writer.put(slow, 200 * 1024 * 1024)
    assert begun.wait(60)
    writer.put(lambda: b"large", 200 * 1024 * 1024)
    assert writer.lost == 1
    for _ in range(300):
        writer.put(lambda: None, 1)
    lost = writer.lost
    assert lost > 1
    writer.close(0.01)  # full, and nobody takes anything out
    hold.set()


def test_what_is_not_to_be_kept_is_not_lost(tmp_path: Path, keys: MasterKeys) -> None:
    writer = CaptureWriter(tmp_path / "c", "gw", keys)
    writer.put(lambda: None, 7)
    writer.close()
    assert writer.lost == 0
    assert not (tmp_path / "c").exists()
