"""A gateway's authority, and an environment without surprises."""

import os
import sys
import warnings
from pathlib import Path

import pytest
from doctor_servers import HOSTS

from sallyport.choke import namespaces
from sallyport.doctor.findings import Situation
from sallyport.pki import create_ca, write_bundle


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and not namespaces.permitted():
        reason = "needs root and network namespaces: the doctor's network checks are NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.fixture
def confdir(tmp_path: Path) -> Path:
    folder = tmp_path / "confdir"
    create_ca(folder, HOSTS)
    write_bundle(folder)
    return folder


@pytest.fixture
def situation(confdir: Path) -> Situation:
    return Situation(confdir=confdir, hosts=HOSTS, timeout_s=5)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Hold nothing but what programs need to start."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
