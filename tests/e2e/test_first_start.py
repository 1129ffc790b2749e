"""What a gateway says of what it finds at its start: a folder with a key in it, a port that is taken."""

import socket
from pathlib import Path

from e2e.traffic import eventually
from e2e.zygote import Forked
from sallyport.audit.signing import KEY_FILE, Signer


def test_a_key_that_was_printed_before_the_first_start_is_no_proof_of_a_log_that_was_lost(
    tmp_path: Path,
) -> None:
    folder, log = tmp_path / "gateway", tmp_path / "log"
    folder.mkdir(mode=0o700)
    log.touch()
    Signer.of(folder)  # as `sallyport audit key` makes it for the auditor
    gateway = Forked(["run", "--confdir", str(folder), "--listen", "explicit@127.0.0.1:0"], log)
    try:
        eventually(lambda: "sallyport listens" in log.read_text(), 60, "it listens")
    finally:
        gateway.terminate()
        gateway.wait(30)
    said = log.read_text()
    assert f"holds no event, and {folder / KEY_FILE} is there already. If a gateway has signed a log" in said
    assert "signed checkpoints of a log before" not in said


def test_a_port_that_is_taken_is_told_once_and_in_the_systems_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"explicit@127.0.0.1:{taken.getsockname()[1]}"
        gateway = Forked(["run", "--confdir", str(tmp_path / "gateway"), "--listen", listen], log)
        assert gateway.wait(60) == 3
    last = log.read_text().splitlines()[-1]
    assert last.startswith(f"--listen {listen}: address already in use. Choose a free port and ")
