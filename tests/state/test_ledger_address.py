"""What `--ledger` takes, and what it says where it is none."""

from pathlib import Path

import pytest

from sallyport.cli.ledger import open_ledger
from sallyport.errors import OperatorError


@pytest.mark.parametrize("url", ["", "ledger.db", "http://h", "redis://[::1", "redis://h:99999"])
def test_an_address_that_is_no_ledger_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"it is no ledger|not a Redis URL"):
        open_ledger(url, tmp_path)
