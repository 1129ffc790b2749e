"""A start that comes to nothing leaves what it found: bundles, their serials, and the gateway that runs there."""

import fcntl
from pathlib import Path

import pytest

from sallyport.cli.assembly import assemble
from sallyport.errors import OperatorError


class Bundled:
    """A bundle that would take the place of the one in force."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def file(self) -> str:
        self.asked.append("file")
        return "balanced"

    def taken(self) -> None:
        self.asked.append("taken")


def started(folder: Path, bundled: Bundled, store: str | None = None) -> None:
    assemble(
        policy="policy.bundle",
        mode=None,
        confdir=folder,
        store_url=store,
        ledger_url=None,
        connect_to={},
        bundled=bundled,  # type: ignore[arg-type]
    )


def test_a_second_start_in_the_folder_reads_no_bundle(tmp_path: Path) -> None:
    bundled = Bundled()
    with (tmp_path / "gateway.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OperatorError, match="another gateway runs"):
            started(tmp_path, bundled)
    assert bundled.asked == []


def test_a_bundle_that_never_took_force_is_not_the_newest(tmp_path: Path) -> None:
    bundled = Bundled()
    with pytest.raises(OperatorError, match="audit"):
        started(tmp_path, bundled, f"sqlite:///{tmp_path}")
    assert bundled.asked == ["file"]
