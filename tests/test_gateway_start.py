"""What a start finds in the gateway's folder: its name, and what a writer that was killed has left."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sallyport.audit.signing import Signer
from sallyport.cli.assembly import assemble
from sallyport.cli.gatewayname import gateway_name, known_name
from sallyport.cli.last_run import remember
from sallyport.errors import OperatorError
from sallyport.state.masterkey import MasterKeys


def start(folder: Path) -> None:
    """Start as far as the store, which cannot be opened."""
    store = f"sqlite:///{folder}"
    assemble(policy="balanced", mode=None, confdir=folder, store_url=store, ledger_url=None, connect_to={})


def test_a_start_clears_away_what_a_writer_that_was_killed_left(tmp_path: Path) -> None:
    drafts = [
        tmp_path / ".gateway.key.0123456789abcdef.draft",
        tmp_path / "policies" / ".a.json.0123456789abcdef.draft",
    ]
    for draft in drafts:
        draft.parent.mkdir(exist_ok=True)
        draft.write_bytes(b"secret")
    with pytest.raises(OperatorError, match="audit"):
        start(tmp_path)
    assert not any(draft.exists() for draft in drafts)


def test_what_a_start_warns_of_stands_in_the_log_as_a_warning(tmp_path: Path) -> None:
    """Whoever watches the log goes by the first word of its lines: docs/operations.md, Watch."""
    Signer.of(tmp_path)  # of a log that is not there any more
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"explicit@127.0.0.1:{taken.getsockname()[1]}"
        command = [
            sys.executable,
            "-P",
            "-m",
            "sallyport",
            "run",
            "--confdir",
            str(tmp_path),
            "--listen",
            listen,
        ]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 3
    assert [line for line in ran.stderr.splitlines() if "holds no event" in line] == [
        line for line in ran.stderr.splitlines() if line.startswith("WARNING the audit store ")
    ]
    assert "WARNING the audit store " in ran.stderr


def test_a_start_beside_a_gateway_that_runs_clears_nothing(tmp_path: Path) -> None:
    draft = tmp_path / ".gateway.key.0123456789abcdef.draft"
    draft.write_bytes(b"secret")
    with (tmp_path / "gateway.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OperatorError, match="another gateway runs"):
            start(tmp_path)
    assert draft.exists()


def test_a_gateway_keeps_the_name_that_it_was_given_at_its_first_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SALLYPORT_GATEWAY_ID", raising=False)
    assert known_name(tmp_path) is None
    name = gateway_name(tmp_path)
    assert name.startswith("gw-")
    assert (gateway_name(tmp_path), known_name(tmp_path)) == (name, name)
    monkeypatch.setenv("SALLYPORT_GATEWAY_ID", "edge-1")
    assert (gateway_name(tmp_path), known_name(tmp_path)) == ("edge-1", "edge-1")


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", "gw-münchen\n".encode(), b"\xff\xfe", b"g" * 65, b"g" * 10_000_000, b"a b", b"gw\x00"],
    ids=["empty", "blank", "not ASCII", "not UTF-8", "long", "huge", "two words", "control"],
)
def test_a_file_that_holds_no_name_is_told_with_its_place_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.delenv("SALLYPORT_GATEWAY_ID", raising=False)
    (tmp_path / "gateway.id").write_bytes(content)
    with pytest.raises(OperatorError) as told:
        gateway_name(tmp_path)
    assert (told.value.where, told.value.exit_code) == (str(tmp_path / "gateway.id"), 3)
    assert "Restore it" in told.value.todo


@pytest.mark.parametrize("named", ["a b", "g" * 65, "gw-m\u00fcnchen", "gw\n", "\udcff"])
def test_a_name_from_the_environment_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("SALLYPORT_GATEWAY_ID", named)
    with pytest.raises(OperatorError, match="SALLYPORT_GATEWAY_ID: it holds no name") as told:
        gateway_name(tmp_path)
    assert told.value.exit_code == 3


def test_a_pipe_in_the_place_of_the_name_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SALLYPORT_GATEWAY_ID", raising=False)
    os.mkfifo(tmp_path / "gateway.id")
    with pytest.raises(OperatorError, match="it holds no name"):
        gateway_name(tmp_path)


def test_a_name_that_cannot_be_read_or_made_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALLYPORT_GATEWAY_ID", raising=False)
    (tmp_path / "gateway.id").mkdir()
    with pytest.raises(OperatorError, match="cannot be read or made"):
        gateway_name(tmp_path)
    with pytest.raises(OperatorError, match="cannot be read or made"):
        gateway_name(tmp_path / "absent")


def test_a_master_key_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """As on a full disk, or in a folder that may not be written."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OperatorError, match="no master key can be made there") as caught:
        MasterKeys(tmp_path / "file", {}).make()
    assert caught.value.exit_code == 3


def test_a_policy_that_cannot_be_noted_is_told(tmp_path: Path) -> None:
    (tmp_path / "policy.in-use").mkdir()
    with pytest.raises(OperatorError, match=r"policy\.in-use: it cannot be written") as told:
        remember(tmp_path, "balanced")
    assert told.value.exit_code == 3


@pytest.mark.parametrize("listen", ["explicit@99999", "wireguard@x"])
def test_a_listener_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, listen: str) -> None:
    folder = tmp_path / "gateway"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "sallyport", "run", "--confdir", str(folder), "--listen", listen]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"--listen: '{listen}'")
    assert not folder.exists(), "the next start would take its keys for those of a gateway that has run"
