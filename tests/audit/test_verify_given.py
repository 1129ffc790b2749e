"""Files that somebody else hands to an auditor: what clients wrote into them, and what was made up."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from audit.chains import checkpointed, some_events
from sallyport.audit import verifier
from sallyport.audit.checkpoints import Checkpoint
from sallyport.audit.events import Event, EventKind
from sallyport.audit.exporting import export_lines
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.cli.main import app


@dataclass
class Log:
    """A log of two checkpoints in a folder of its own, and the key that signs."""

    folder: Path
    store: Store
    key: Path

    def export(self) -> list[str]:
        with self.store.whole() as connection:
            return list(export_lines(connection, 0))

    def check(self, content: str, copy: Checkpoint | None = None) -> verifier.Report:
        """Verify what an auditor was handed."""
        given, copied = self.folder / "given", self.folder / "copy.jsonl"
        given.write_text(content)
        if copy is not None:
            line = {"number": copy.number, "body": copy.body, "signature": copy.signature}
            copied.write_text(json.dumps(line) + "\n")
        keys = verifier.read_keys(self.key)
        return verifier.check_file(given, keys, None if copy is None else copied, lambda done, total: None)


def log_in(folder: Path, signer: Signer, model: str) -> tuple[Log, list[Checkpoint]]:
    folder.mkdir()
    store = Store.open(f"sqlite:///{folder}/audit.db")
    store.write([Event(kind=EventKind.ADMITTED, gateway="gw-1", exchange="x", model=model)])
    made = [checkpointed(store, signer)]
    store.write(some_events("gw-1", 3, "b"))
    made.append(checkpointed(store, signer))
    (folder / "key.pem").write_text(signer.public_pem())
    return Log(folder, store, folder / "key.pem"), made


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path)


@pytest.fixture
def log(tmp_path: Path, signer: Signer) -> Iterator[Log]:
    made, _ = log_in(tmp_path / "ours", signer, "gpt-5")
    yield made
    made.store.close()


@pytest.fixture
def fork(tmp_path: Path, signer: Signer) -> Iterator[list[Checkpoint]]:
    """Checkpoints of the same numbers, signed with the same key, of another past."""
    other, made = log_in(tmp_path / "other", signer, "gpt-4")
    yield made
    other.store.close()


@pytest.mark.parametrize(
    "model", [verifier.PROOF_FORMAT, verifier.EXPORT_FORMAT, f'"format": "{verifier.PROOF_FORMAT}"']
)
def test_no_name_that_a_client_chose_makes_another_kind_of_file_of_it(
    tmp_path: Path, signer: Signer, model: str
) -> None:
    log, _ = log_in(tmp_path / "named", signer, model)
    report = log.check("".join(log.export()))
    assert (report.findings, report.events) == ([], 4)
    first = log.store.events()[-1].id
    proof = log.folder / "proof.json"
    words = ["audit", "prove", first, "--store", f"sqlite:///{log.folder}/audit.db", "-o", str(proof)]
    assert CliRunner().invoke(app, words).exit_code == 0
    for content in (proof.read_text(), json.dumps(json.loads(proof.read_text()), sort_keys=True)):
        assert log.check(content).findings == []
    log.store.close()


def test_a_proof_is_compared_with_the_copy(log: Log, fork: list[Checkpoint]) -> None:
    proof = log.folder / "proof.json"
    words = ["audit", "prove", log.store.events()[-1].id, "--store", f"sqlite:///{log.folder}/audit.db"]
    assert CliRunner().invoke(app, [*words, "-o", str(proof)]).exit_code == 0
    report = log.check(proof.read_text(), fork[0])
    assert [(each.kind, each.before) for each in report.findings] == [("fork", 1)]
    report = log.check(proof.read_text(), fork[1])
    assert report.is_sound
    assert "the copy does not hold checkpoint 1: it was compared with nothing" in report.notes
    (own,) = [line for line in log.export() if '"number":1' in line and '"checkpoint"' in line]
    same = json.loads(own)
    report = log.check(proof.read_text(), Checkpoint(1, same["body"], same["signature"]))
    assert (report.findings, report.notes) == ([], [])


def test_an_export_with_two_checkpoints_of_one_number_is_a_fork(log: Log, fork: list[Checkpoint]) -> None:
    lines = log.export()
    place = next(n for n, line in enumerate(lines) if line.startswith('{"type":"checkpoint"'))
    other = {"type": "checkpoint", "number": 1, "body": fork[0].body, "signature": fork[0].signature}
    end = json.loads(lines[-1])
    end["checkpoints"] += 1
    for at in (place, place + 1):
        both = [*lines[:at], json.dumps(other) + "\n", *lines[at:-1], json.dumps(end) + "\n"]
        findings = log.check("".join(both)).findings
        assert ("fork", "the log holds two different checkpoints 1") in [(f.kind, f.text) for f in findings]


def test_an_export_that_breaks_off_in_a_line_is_said_to(log: Log) -> None:
    whole = "".join(log.export())
    for lost in (2, 40, len(whole) // 2):
        line = whole[:-lost].count("\n") + 1
        with pytest.raises(
            verifier.Unusable, match=f"the export breaks off in line {line}: get the whole of it"
        ):
            log.check(whole[:-lost])
    with pytest.raises(verifier.Unusable, match="line 2 is none of an export"):
        log.check(whole.replace("\n", "\nx\n", 1))


@pytest.mark.parametrize(
    ("was", "now", "kind"),
    [
        ('"cursor":2', '"cursor":1', "cut_off"),
        ('"checkpoint","number":2', '"checkpoint","number":0', "checkpoint"),
    ],
)
def test_no_number_of_an_export_can_be_changed_unseen(log: Log, was: str, now: str, kind: str) -> None:
    whole = "".join(log.export())
    assert whole.count(was) == 1
    assert kind in [finding.kind for finding in log.check(whole.replace(was, now)).findings]


def test_a_log_without_a_checkpoint_is_said_to_prove_nothing(log: Log, tmp_path: Path) -> None:
    said = "nothing in it is signed"
    assert not any(said in note for note in log.check("".join(log.export())).notes)
    with log.store._at.writer.begin() as connection:
        connection.execute(text("DELETE FROM audit_checkpoints"))
    assert any(said in note for note in log.check("".join(log.export())).notes)
    Store.open(f"sqlite:///{tmp_path}/empty.db").close()
    done = CliRunner().invoke(app, ["audit", "verify", "--store", f"sqlite:///{tmp_path}/empty.db"])
    assert done.exit_code == 0
    assert said in done.stdout
