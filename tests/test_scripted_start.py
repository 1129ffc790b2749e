"""What mitmdump says when the gateway cannot start as its script."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ports import free_port

ADDONS = Path(__file__).parents[1] / "addons"


@pytest.mark.parametrize("flags", [(), ("-q",)], ids=["loud", "quiet"])
def test_what_keeps_it_from_starting_is_on_stderr_and_mitmdump_ends(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nnonsense: 1\n")
    environment = os.environ | {
        "PYTHONPATH": str(ADDONS),
        "SALLYPORT_POLICY": str(policy),
        "SALLYPORT_CONFDIR": str(tmp_path / "conf"),
    }
    command = [str(Path(sys.executable).parent / "mitmdump"), *flags]
    command += ["--mode", f"regular@127.0.0.1:{free_port()}", "-s", str(ADDONS / "gateway.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{policy}:2:1: nonsense: the key is not known." in done.stderr
    assert "recognizer" not in done.stdout
