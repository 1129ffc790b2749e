"""What a gateway says of a folder in which it finds more than it expects."""

from pathlib import Path

from e2e.traffic import eventually
from e2e.zygote import Forked
from sallyport.audit.signing import KEY_FILE, Signer


def test_a_key_that_was_printed_before_the_first_start_is_no_proof_of_a_log_that_was_lost(
    tmp_path: Path,
) -> None:
    folder, log = tmp_path / "gateway", tmp_path / "log"
    folder.mkdir(mode=0o700)
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
