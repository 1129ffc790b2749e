"""The systemd units keep the promises of the hardening checklist."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parents[2] / "deploy/systemd"
CHECKLIST = """
NoNewPrivileges=yes ProtectSystem=strict ProtectHome=yes PrivateTmp=yes PrivateDevices=yes
ProtectKernelLogs=yes ProtectKernelModules=yes ProtectKernelTunables=yes RestrictNamespaces=yes
LockPersonality=yes SystemCallArchitectures=native UMask=0077 LimitCORE=0 MemoryDenyWriteExecute=yes
User=sallyport CapabilityBoundingSet= StateDirectoryMode=0700
"""


def test_the_gateway_unit_has_every_line_of_the_checklist() -> None:
    lines = UNITS.joinpath("sallyport.service").read_text(encoding="utf-8").splitlines()
    assert [wanted for wanted in CHECKLIST.split() if wanted not in lines] == []
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX" in lines
    assert "IPAddressDeny=link-local multicast" in lines


def test_stopping_the_redirect_unit_opens_nothing() -> None:
    text = UNITS.joinpath("sallyport-redirect.service").read_text(encoding="utf-8")
    assert "\nExecStop" not in text
    assert "Before=network-pre.target" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_exposure_of_the_gateway_unit_is_at_most_1_5() -> None:
    result = subprocess.run(
        ("systemd-analyze", "security", "--offline=true", "--threshold=15", UNITS / "sallyport.service"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-200:] + result.stderr
