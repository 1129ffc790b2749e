"""Files that a policy depends on, and the policy's own: nobody changes what decides unseen, or who may read it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from policy.policy_sites import told
from sallyport.cli import replacing, rulesinforce
from sallyport.cli.detection import read_policy
from sallyport.cli.replacing import replacement
from sallyport.cli.rulesinforce import rules_there


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "rules"
    (folder / "pii").mkdir(parents=True)
    monkeypatch.setattr(rulesinforce, "rules_dir", lambda: folder)
    return folder


def test_a_pack_that_is_changed_under_its_old_time_of_writing_changes_the_rules(packs: Path) -> None:
    file = packs / "pii" / "own.yaml"
    file.write_text("rules: [1]\n")
    policy = read_policy("balanced")
    before, stat = rules_there(policy).revision, file.stat()
    with file.open("r+") as opened:
        opened.write("rules: [2]\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (stat.st_mtime_ns, stat.st_ino)
    assert rules_there(policy).revision != before


def test_a_pack_that_is_read_is_in_the_rules_whatever_it_is_called(packs: Path) -> None:
    policy = read_policy("balanced")
    before = rules_there(policy).revision
    hidden = packs / "pii" / ".own.yaml"
    hidden.write_text("rules: []\n")
    assert hidden in list(packs.rglob("*.yaml")), "packs are found so"
    assert rules_there(policy).revision != before


def test_a_file_that_is_replaced_stays_its_owners_and_nobody_else_reads_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("old")
    file.chmod(0o640)
    given: list[tuple[int, int, int]] = []
    fchown = os.fchown

    def noted(handle: int, user: int, group: int) -> None:
        given.append((os.fstat(handle).st_mode & 0o777, user, group))
        fchown(handle, user, group)

    monkeypatch.setattr(replacing.os, "fchown", noted)
    if os.geteuid() == 0:
        os.chown(file, 12345, 12346)
    was = file.stat()
    with replacement(file, "new") as draft:
        draft.put()
    now = file.stat()
    assert given == [(0o600, was.st_uid, was.st_gid)]
    assert (now.st_uid, now.st_gid, now.st_mode & 0o777) == (was.st_uid, was.st_gid, 0o640)
    assert file.read_text() == "new"


def test_a_draft_that_somebody_else_put_there_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, theirs = tmp_path / "policy.yaml", tmp_path / f".policy.yaml.{0:016x}.draft"
    file.write_text("old")
    theirs.write_text("theirs")
    monkeypatch.setattr("secrets.token_hex", lambda n: f"{0:0{2 * n}x}")
    with theirs.open() as opened, replacement(file, "new") as draft:
        draft.put()
        assert opened.read() == "theirs"
    assert file.read_text() == "new"


KILLED = """
import os, signal, sys
from sallyport.cli.main import app
from sallyport.cli import policypromote
policypromote._in_force = policypromote._write_draft = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
app(sys.argv[1:], standalone_mode=False)
"""


@pytest.mark.parametrize("words", [(), ("--draft", "candidate.yaml")], ids=["promote", "draft"])
def test_what_a_promotion_that_was_killed_left_is_gone_after_the_next(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        "version: 1\naccess: {rules: [{id: a, effect: forbid, models: [x], mode: shadow, message: No.}]}\n"
    )
    words = tuple(str(tmp_path / word) if word.endswith(".yaml") else word for word in words)
    given = [
        "policy",
        "promote",
        "access.a",
        "--to",
        "enforce",
        "-f",
        str(file),
        "--confdir",
        str(tmp_path / "c"),
    ]
    ran = subprocess.run([sys.executable, "-c", KILLED, *given, *words], check=False, env=os.environ)
    assert ran.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*"))) == 1, "killed while it lay there"
    told("promote", "access.a", "--to", "enforce", "-f", str(file), "--draft", str(tmp_path / "next.yaml"))
    assert not list(tmp_path.glob(".*"))
