"""A gateway that runs for weeks tells that its authority ends, in its log once a day, and in a file of metrics at any time."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sallyport.pki import create_ca, load_ca, rotate_ca
from sallyport.pki.expiry import ExpiryWatch

LOGGER = "sallyport.ca"


class Site:
    """A gateway with an authority of 60 days, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "conf"
        create_ca(self.folder, ("api.openai.com",), days=60)
        self.authority = load_ca(self.folder)
        self.now = datetime.now(UTC)
        self.metrics = folder / "ca.prom"
        self.watch = ExpiryWatch(self.authority, self.metrics, "gw-1", lambda: self.now)

    def at(self, before: timedelta) -> None:
        """Look at a time before the end."""
        self.now = self.authority.not_after - before
        self.watch.look()


@pytest.fixture
def site(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Site:
    caplog.set_level(logging.INFO, LOGGER)
    return Site(tmp_path)


def test_it_is_told_once_a_day_from_thirty_days_before_the_end(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for hours in range(24 * 40, 24 * 28, -1):
        site.at(timedelta(hours=hours))
    said = [(record.levelname, record.message) for record in caplog.records]
    assert len(said) in (2, 3), "the last two days, and the hours of a third"
    assert all(level == "WARNING" for level, _ in said)
    assert f"{site.authority.not_after:%Y-%m-%d}; make the next one beside it" in said[0][1]


def test_after_the_end_it_is_an_error(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.at(-timedelta(days=1))
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "clients refuse what this gateway signs" in record.message
    assert "expired on" in record.message


def test_where_the_next_one_lies_already_a_restart_is_what_is_missing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    rotate_ca(site.folder, ("api.openai.com",))
    site.at(timedelta(days=10))
    (record,) = caplog.records
    assert "another one lies in" in record.message
    assert "restart the gateway" in record.message


def test_the_metric_is_there_from_the_start_and_a_full_disk_costs_it_alone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.watch.look()
    assert not caplog.records, "what holds at the start was told by the start"
    value = f"{site.authority.not_after.timestamp():.0f}"
    line = f'sallyport_ca_not_after_timestamp_seconds{{gateway="gw-1"}} {value}'
    assert line in site.metrics.read_text().splitlines()
    site.metrics.unlink()
    site.metrics.mkdir()
    site.at(timedelta(days=10))
    assert len(caplog.records) == 1
