"""Every case of the matrix, through one running gateway, from all sides at once."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.cases import NOT_HELD, SDKS, Case, cases, suite
from conformance.judge import RAISES, problems
from conformance.page import stale
from conformance.stand import MAIL, Stand, missing, stand
from e2e.traffic import assert_clean, assert_sound, recorded

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with stand(tmp_path_factory.mktemp("matrix")) as built:
        yield built
        assert_sound(recorded(built.gateway.confdir))
        assert_clean(built.gateway, MAIL, "about the harbour")


@pytest.mark.parametrize("case", suite(), ids=lambda case: case.id)
def test_a_case_of_the_matrix_holds(running: Stand, case: Case) -> None:
    if reason := missing(case.client):
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    assert problems(case, running.run(case)) == []


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.id for case in cases()}) == len(cases())
    assert len(suite()) >= 500


def test_the_page_has_every_case_and_each_held_when_it_was_written() -> None:
    missing_there, wrong_there = stale(PAGE.read_text(encoding="utf-8"))
    assert not missing_there, "run scripts/conformance --write docs/conformance.md"
    assert not wrong_there
    assert all(reason in PAGE.read_text(encoding="utf-8") for reason in NOT_HELD.values())


def test_it_is_known_what_every_sdk_raises() -> None:
    assert RAISES.keys() == {sdk.name for sdk in SDKS}
