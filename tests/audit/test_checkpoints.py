"""Checkpoints: what they cover, how they follow each other, who signs, and how they get elsewhere."""

import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256, sha512
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from typer.testing import CliRunner

from audit.chains import WRITERS, assert_sound, checkpointed, filled, some_events, verified
from sallyport.audit import verifier
from sallyport.audit.checkpointing import Checkpointer, checkpoint_now
from sallyport.audit.checkpoints import Checkpoint, Unreadable, make_checkpoint
from sallyport.audit.copies import Copies, copied_lines
from sallyport.audit.merkle import leaf_hash, path_of, root_of
from sallyport.audit.signing import KEY_FILE, Signer
from sallyport.audit.store import Store
from sallyport.cli.audit import app
from sallyport.errors import OperatorError

OpenStore = Callable[[str], Store]


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.of(tmp_path / "conf")


def reference_root(data: list[bytes]) -> bytes:
    """Return the Merkle Tree Hash as RFC 9162, 2.1.1 defines it, by recursion."""
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\0" + data[0]).digest()
    left = 1
    while left * 2 < len(data):
        left *= 2
    return sha256(b"\1" + reference_root(data[:left]) + reference_root(data[left:])).digest()


@given(st.lists(st.binary(max_size=3), max_size=70))
def test_the_tree_is_that_of_rfc_9162_for_both(data: list[bytes]) -> None:
    tree = verifier.Tree()
    for one in data:
        tree.add(one)
    root = reference_root(data)
    assert root_of([leaf_hash(one) for one in data]) == root == bytes.fromhex(tree.root())
    for index, one in enumerate(data):
        path = path_of([leaf_hash(other) for other in data], index)
        assert verifier.root_by_path(one, index, len(data), path) == root.hex()
        assert verifier.root_by_path(one + b"!", index, len(data), path) != root.hex()
        assert verifier.root_by_path(one, index, len(data), [*path, b"\0" * 32]) != root.hex()


def test_a_checkpoint_covers_all_writers_since_the_last(store: Store, signer: Signer) -> None:
    made = filled(store, signer, checkpoints=3, each=3, tail=2)
    assert [one.members["count"] for one in made] == [12, 12, 12]
    assert [one.members["total"] for one in made] == [12, 24, 36]
    assert [one.members["previous"] for one in made][1:] == [one.digest for one in made][:-1]
    assert {name: head.seq for name, head in made[-1].heads.items()} == dict.fromkeys(WRITERS, 9)
    report = assert_sound(store, signer)
    assert (report.events, report.checkpoints, report.uncovered) == (40, 3, 4)


def test_nothing_new_makes_no_checkpoint(store: Store, signer: Signer) -> None:
    assert make_checkpoint(store._at, signer) is None
    store.write(some_events("gw-1", 1, "a"))
    checkpointed(store, signer)
    assert make_checkpoint(store._at, signer) is None


def test_checkpoints_of_several_gateways_at_once_follow_each_other(
    url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    def one(number: int) -> None:
        store, signer = open_store(url), Signer.of(tmp_path / f"conf{number}")
        for round in range(8):
            store.write(some_events(f"gw-{number}", 5, f"r{round}"))
            make_checkpoint(store._at, signer)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    report = assert_sound(open_store(url))
    assert len(report.keys) == 3
    assert report.events == 120


def test_no_checkpoint_is_made_over_missing_events(store: Store, signer: Signer) -> None:
    filled(store, signer, checkpoints=1, tail=0)
    with store._at.writer.begin() as connection:
        connection.execute(text("DELETE FROM audit_events WHERE gateway = 'gw-1' AND seq = 3"))
    with pytest.raises(Unreadable):
        make_checkpoint(store._at, signer)


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first, second = Signer.of(tmp_path), Signer.of(tmp_path)
    assert first.public_key == second.public_key
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [KEY_FILE]
    (tmp_path / "public.pem").write_text(first.public_pem())
    assert verifier.read_keys(tmp_path / "public.pem") == [first.public_key]
    path.chmod(0o644)
    with pytest.raises(OperatorError, match="others may read"):
        Signer.of(tmp_path)
    path.write_text("no key")
    path.chmod(0o600)
    with pytest.raises(OperatorError, match="no Ed25519 key"):
        Signer.of(tmp_path)


RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        sha512(b"abc").hexdigest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
"""Section 7.1: secret key, public key, message, signature (1, 2, 3 and SHA(abc))."""


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_ed25519_of_the_verifier_agrees_with_rfc_8032(
    secret: str, public: str, message: str, signature: str
) -> None:
    key, text, mark = (bytes.fromhex(one) for one in (public, message, signature))
    assert Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)).sign(text) == mark
    assert verifier.is_signed(key, mark, text)
    assert not verifier.is_signed(key, mark, text + b"\0")
    for place in range(0, 64, 5):
        bent = bytearray(mark)
        bent[place] ^= 1
        assert not verifier.is_signed(key, bytes(bent), text)
    beyond = int.from_bytes(mark[32:], "little") + verifier._L
    assert not verifier.is_signed(key, mark[:32] + beyond.to_bytes(32, "little"), text)


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
def test_ed25519_of_the_verifier_agrees_with_the_library(message: bytes, seed: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert verifier.is_signed(key.public_key().public_bytes_raw(), key.sign(message), message)


@pytest.mark.parametrize("small", ["01" + "00" * 31, "00" * 32, "ec" + "ff" * 30 + "7f"])
def test_a_key_of_small_order_signs_nothing(small: str) -> None:
    assert not verifier.is_signed(bytes.fromhex(small), bytes.fromhex("01" + "00" * 63), b"x")


def test_a_copy_that_a_filling_disk_takes_in_part_is_not_taken_for_one(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    """The kernel writes what there is room for, and says so by its length alone."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("cannot mount a small disk here")
    conf, file = tmp_path / "conf", disk / "copy.jsonl"
    copies = Copies(conf, file, "")
    try:
        file.write_bytes(b"\n" * 4000)  # of the last page of this disk the beginning is free
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        open_store(sqlite_url).write(some_events("gw-1", 2, "a"))
        with pytest.raises(OperatorError, match="No space"):
            checkpoint_now(sqlite_url, conf, copies)
        assert copies.after() == 0
        (disk / "filler").unlink()
        checkpoint_now(sqlite_url, conf, copies)
        assert [signed.number for signed in verifier.read_copy(file)[0]] == [1]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_checkpoints_are_copied_and_what_failed_is_copied_later(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    store, conf = open_store(sqlite_url), tmp_path / "conf"
    file, sent, down = tmp_path / "copy.jsonl", tmp_path / "sent", tmp_path / "down"
    program = f"import sys,os; os.path.exists({str(down)!r}) and sys.exit(3); open({str(sent)!r}, 'a').write(sys.stdin.read())"
    copies = Copies(conf, file, f'{sys.executable} -c "{program}"')
    store.write(some_events("gw-1", 2, "a"))
    checkpoint_now(sqlite_url, conf, copies)
    down.touch()
    for name in "bc":
        store.write(some_events("gw-1", 2, name))
        with pytest.raises(OperatorError, match="it failed"):
            checkpoint_now(sqlite_url, conf, copies)
    down.unlink()
    file.write_bytes(file.read_bytes() + b'{"cut off')
    assert checkpoint_now(sqlite_url, conf, copies) is None
    numbers = [json.loads(line)["number"] for line in sent.read_text().splitlines()]
    assert numbers == [1, 2, 3]
    copied, notes = verifier.read_copy(file)
    assert {one.number for one in copied} == {1, 2, 3}
    assert len(notes) == 1
    report = verified(store, Signer.of(conf))
    assert report.is_sound
    with store.whole() as connection:
        from sallyport.audit.exporting import StoreSource

        assert verifier.verify(StoreSource(connection), copy=copied).is_sound


def test_a_thread_makes_checkpoints_and_a_last_one_and_outlives_failures() -> None:
    made, enough = [], threading.Event()

    def make() -> None:
        made.append(1)
        if len(made) >= 3:
            enough.set()
        raise OSError

    checkpointer = Checkpointer(make, lambda: 0.01)
    assert enough.wait(10)
    checkpointer.close()
    count = len(made)
    silent = Checkpointer(make, lambda: 0)
    silent.close()
    assert len(made) == count + 1


def test_a_failure_says_where_and_what_to_do_and_once_that_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures = iter(
        [
            OperatorError("/var/lib/x/audit-signing.key", "others may read it", "chmod 600 it"),
            OperatorError("/var/lib/x/audit-signing.key", "others may read it", "chmod 600 it"),
            OperatorError("audit.checkpoints.copy_file", "cannot be written", "Name a file to append to"),
        ]
    )
    enough = threading.Event()

    def make() -> None:
        for failure in failures:
            raise failure
        enough.set()

    checkpointer = Checkpointer(make, lambda: 0.01)
    assert enough.wait(10)
    checkpointer.close()
    assert [record.getMessage() for record in caplog.records] == [
        "no checkpoint of the audit could be made or copied: /var/lib/x/audit-signing.key: others may read it. "
        "chmod 600 it",
        "no checkpoint of the audit could be made or copied: audit.checkpoints.copy_file: cannot be written. "
        "Name a file to append to",
        "checkpoints of the audit are made and copied again",
    ]


def test_the_commands_work_together(sqlite_url: str, open_store: OpenStore, tmp_path: Path) -> None:
    store, conf = open_store(sqlite_url), str(tmp_path / "conf")
    store.write(some_events("gw-1", 5, "a"))
    place = ["--store", sqlite_url]

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    assert "Checkpoint 1: 5 events" in run("checkpoint", *place, "--confdir", conf)
    assert "Nothing is new" in run("checkpoint", *place, "--confdir", conf)
    pem, export, proof = tmp_path / "key.pem", tmp_path / "export.jsonl", tmp_path / "proof.json"
    pem.write_text(run("key", "--confdir", conf))
    assert "nothing is wrong" in run("verify", *place, "--public-key", str(pem))
    run("export", *place, "-o", str(export))
    run("prove", store.events()[0].id, *place, "-o", str(proof))
    script = Path(__file__).parents[2] / "scripts" / "verify_audit"
    for file in (export, proof, Path(sqlite_url.removeprefix("sqlite:///"))):
        command = [sys.executable, "-I", str(script), str(file), "--public-key", str(pem), "--json"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done
        assert json.loads(done.stdout)["sound"] is True
    with store._at.writer.begin() as connection:
        connection.execute(text("UPDATE audit_events SET principal = 'eve' WHERE seq = 3"))
    found = json.loads(run("verify", *place, "--public-key", str(pem), "--json", code=1))
    assert [(one["kind"], one["writer"], one["last"]) for one in found["findings"]] == [
        ("changed", "gw-1", 3)
    ]
    run("prove", "nope", *place, code=1)
    store.write(some_events("gw-1", 1, "b"))
    run("prove", store.events()[0].id, *place, code=1)


@pytest.mark.parametrize(
    "text",
    ["", "x\n", '{"hello": 1}\n{"hello": 2}\n', '{"number": 1', "[" * 100_000],
    ids=["empty", "text", "other", "cut", "deep"],
)
def test_a_copy_without_a_checkpoint_is_told_and_is_none_that_agrees(
    text: str, sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    store, conf = open_store(sqlite_url), tmp_path / "conf"
    store.write(some_events("gw-1", 2, "a"))
    checkpoint_now(sqlite_url, conf, Copies(conf, None, ""))
    copy, export = tmp_path / "copy.jsonl", tmp_path / "export.jsonl"
    copy.write_text(text)
    runner = CliRunner()
    assert runner.invoke(app, ["export", "--store", sqlite_url, "-o", str(export)]).exit_code == 0
    script = Path(__file__).parents[2] / "scripts" / "verify_audit"
    for words in (["--store", sqlite_url], ["--export", str(export)]):
        with pytest.raises(OperatorError, match="holds no checkpoint") as raised:
            runner.invoke(app, ["verify", *words, "--checkpoints", str(copy)], catch_exceptions=False)
        assert raised.value.exit_code == 2
    command = [sys.executable, "-I", str(script), str(export), "--checkpoints", str(copy)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no checkpoint" in done.stderr


def test_a_database_of_copies_that_holds_none_is_told(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    store, conf = open_store(sqlite_url), tmp_path / "conf"
    to = f"sqlite:///{tmp_path / 'elsewhere' / 'copies.db'}"
    store.write(some_events("gw-1", 2, "a"))
    checkpoint_now(sqlite_url, conf, Copies(conf, None, "", to))
    with sqlite3.connect(tmp_path / "elsewhere" / "copies.db") as connection:
        connection.execute("DELETE FROM audit_checkpoint_copies")
    with pytest.raises(OperatorError, match="holds no checkpoint"):
        CliRunner().invoke(
            app, ["verify", "--store", sqlite_url, "--checkpoints", to], catch_exceptions=False
        )


def test_a_copy_that_ends_early_is_noted(sqlite_url: str, open_store: OpenStore, tmp_path: Path) -> None:
    store, conf, copy = open_store(sqlite_url), tmp_path / "conf", tmp_path / "copy.jsonl"
    copies = Copies(conf, copy, "")
    for number in range(3):
        store.write(some_events("gw-1", 2, f"x{number}"))
        checkpoint_now(sqlite_url, conf, copies if number == 0 else Copies(conf, None, ""))
    said = CliRunner().invoke(app, ["verify", "--store", sqlite_url, "--checkpoints", str(copy)])
    assert said.exit_code == 0, said.output
    assert "note: the copy ends with checkpoint 1, the log with 3" in said.output


@pytest.mark.parametrize(
    "text",
    ['"x": ' + "[" * 100_000, '"a": 1, "a": 2}', '"checkpoint": {"body": "' + "[" * 100_000 + '"}}'],
    ids=["deep", "twice", "deep body"],
)
def test_what_only_looks_like_a_proof_is_told(tmp_path: Path, text: str) -> None:
    proof = tmp_path / "proof.json"
    proof.write_text(f'{{"type": "{verifier.PROOF_FORMAT}", "event": {{}}, "index": 0, {text}')
    with pytest.raises(verifier.Unusable):
        verifier.check_file(proof, [], None, lambda done, total: None)


@pytest.mark.parametrize("after", [0, 2])
def test_an_export_from_a_cursor_verifies_by_itself(
    store: Store, signer: Signer, tmp_path: Path, after: int
) -> None:
    from sallyport.audit.exporting import export_lines

    filled(store, signer)
    with store.whole() as connection:
        lines = list(export_lines(connection, after))
    path = tmp_path / "export.jsonl"
    path.write_text("".join(lines))
    report = verifier.check_file(path, [signer.public_key], None, lambda done, total: None)
    assert report.is_sound, report.findings
    assert report.events == 52 - after * 12
    assert json.loads(lines[-1])["cursor"] == 4


def test_a_proof_holds_for_every_event_and_for_no_other(store: Store, signer: Signer) -> None:
    from sqlalchemy import select

    from sallyport.audit.checkpoints import proof_of
    from sallyport.audit.schema import events

    filled(store, signer, checkpoints=3, tail=0)
    with store.whole() as connection:
        rows = [dict(row) for row in connection.execute(select(events)).mappings()]
        bundles = [json.loads(json.dumps(proof_of(connection, row))) for row in rows]
    keys = [signer.public_key]
    for bundle in bundles:
        assert verifier.verify_proof(bundle, keys).is_sound
        assert not verifier.verify_proof(bundle, [bytes(range(32))]).is_sound
        assert not verifier.verify_proof(
            {**bundle, "event": {**bundle["event"], "principal": "eve"}}, keys
        ).is_sound
        assert not verifier.verify_proof({**bundle, "index": bundle["index"] + 1}, keys).is_sound
        assert not verifier.verify_proof({**bundle, "policy_revision": "other"}, keys).is_sound
    assert not verifier.verify_proof({**bundles[0], "path": bundles[-1]["path"]}, keys).is_sound


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_checkpoints_are_copied_to_another_database_and_verified_from_there(
    kind: str, request: pytest.FixtureRequest, sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    to = f"sqlite:///{tmp_path / 'elsewhere' / 'copies.db'}"
    if kind == "postgresql":
        to = request.getfixturevalue("postgres_url")
    store, conf = open_store(sqlite_url), tmp_path / "conf"
    for number in range(3):
        store.write(some_events("gw-1", 2, f"x{number}"))
        checkpoint_now(sqlite_url, conf, Copies(conf, None, "", to))
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f"{line}\n" for line in copied_lines(to)))
    copied, notes = verifier.read_copy(lines)
    assert ([one.number for one in copied], notes) == ([1, 2, 3], [])
    (tmp_path / "again").mkdir()
    Copies(tmp_path / "again", None, "", to).send(
        [Checkpoint(one.number, one.body, one.signature) for one in copied]
    )
    assert len(list(copied_lines(to))) == 3  # at least once, and each of them once
    said = CliRunner().invoke(app, ["verify", "--store", sqlite_url, "--checkpoints", to])
    assert said.exit_code == 0, said.output
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM audit_checkpoints WHERE number = 3")
    said = CliRunner().invoke(app, ["verify", "--store", sqlite_url, "--checkpoints", to])
    assert said.exit_code == 1, said.output


def test_a_database_that_is_away_gets_its_checkpoints_later(
    sqlite_url: str, open_store: OpenStore, tmp_path: Path
) -> None:
    store, conf, place = open_store(sqlite_url), tmp_path / "conf", tmp_path / "elsewhere"
    place.write_text("a file where a folder should be")
    copies = Copies(conf, None, "", f"sqlite:///{place / 'copies.db'}")
    store.write(some_events("gw-1", 2, "a"))
    with pytest.raises(OperatorError):
        checkpoint_now(sqlite_url, conf, copies)
    place.unlink()
    assert checkpoint_now(sqlite_url, conf, copies) is None
    assert len(list(copied_lines(f"sqlite:///{place / 'copies.db'}"))) == 1


def test_what_a_syslog_wrote_is_a_copy(sqlite_url: str, open_store: OpenStore, tmp_path: Path) -> None:
    store, conf = open_store(sqlite_url), tmp_path / "conf"
    with socket.create_server(("127.0.0.1", 0)) as server:
        heard: list[bytes] = []

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                while piece := connection.recv(65536):
                    heard.append(piece)

        thread = threading.Thread(target=listen)
        thread.start()
        store.write(some_events("gw-1", 2, "a"))
        checkpoint_now(
            sqlite_url, conf, Copies(conf, None, "", f"syslog+tcp://127.0.0.1:{server.getsockname()[1]}")
        )
        thread.join(10)
    message = b"".join(heard).decode()
    assert " sallyport - checkpoint - {" in message
    written = tmp_path / "messages"
    written.write_text(f"Nov 21 17:00:00 gw {message.partition(' ')[2]}\n")
    copied, notes = verifier.read_copy(written)
    assert ([one.number for one in copied], notes) == ([1], [])
