"""One lab and one gateway process for the whole folder; each test looks at its own model names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateways import OPEN_POLICY, GatewayProcess, gateway_process, lab_in_thread
from sallyport.lab.authority import LabCa
from sallyport.lab.server import Lab


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with lab_in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> LabCa:
    """An authority of providers that are not the lab."""
    return LabCa(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="package")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    with gateway_process(folder, lab, policy=OPEN_POLICY) as running:
        yield running
