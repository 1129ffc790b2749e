"""Real kernel, real nftables: every test gets a laboratory network of its own."""

import os
import warnings
from collections.abc import Iterator

import pytest
from choke_net import FAMILIES, Family, Net

from sallyport.choke import namespaces


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and not namespaces.permitted():
        reason = "needs root and network namespaces: the choke point is NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.fixture
def net() -> Iterator[Net]:
    with namespaces.lab() as built:
        net = Net(built)
        yield net
        net.close()


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]
