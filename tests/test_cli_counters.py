"""What `sallyport limits` says of a counter."""

from datetime import UTC, datetime

import pytest

from sallyport.cli.counters import exhausted
from sallyport.stages.ledger import Level


@pytest.mark.parametrize(
    ("used", "on"),
    [
        (1, None),
        (40, None),
        (60, datetime(2026, 11, 26, tzinfo=UTC)),
        (100, datetime(2026, 11, 16, tzinfo=UTC)),
    ],
    ids=["hardly", "slowly", "within-the-month", "used-up"],
)
def test_when_a_limit_is_used_up_at_this_pace(used: int, on: datetime | None) -> None:
    begins, ends = (int(datetime(2026, month, 1, tzinfo=UTC).timestamp() * 1000) for month in (11, 12))
    whole = 10**10
    level = Level("money", whole, used if used == 1 else whole * used // 100, 0, 0, None, begins, ends)
    assert exhausted(level, datetime(2026, 11, 16, tzinfo=UTC)) == on
