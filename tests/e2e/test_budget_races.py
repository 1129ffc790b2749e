"""More requests at once than a budget has room for, through gateways that share a ledger: never one too many.

Ten repetitions over one, two and four gateways: scripts/bench races.
"""

import tempfile
from pathlib import Path

import pytest

from e2e.racing import fleet
from sallyport.lab.server import Lab
from state.redisserver import RedisServer


@pytest.mark.parametrize(("store", "gateways"), [("sqlite", 2), ("redis", 2)])
def test_a_budget_for_50_passes_50_of_200_through_gateways_that_share_it(
    tmp_path: Path, lab: Lab, store: str, gateways: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder) / "own") if store == "redis" else None
        try:
            ledger = server.url if server else f"sqlite:///{tmp_path / 'shared.db'}"
            with fleet(tmp_path, lab, gateways, ledger) as up:
                up.open()
                for user in (f"calls-{store}", f"money-{store}"):
                    race = up.race(user)
                    assert race.exact, race
        finally:
            if server:
                server.kill()
