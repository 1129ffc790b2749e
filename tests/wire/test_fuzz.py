"""A few thousand mutated cassettes give values or WireErrors; scripts/fuzz_wire gives them millions."""

import pytest

from wire.fuzz import KINDS, run
from wire.samples import samples


@pytest.mark.parametrize("name", sorted({s.dialect.name for s in samples(*KINDS)}))
def test_mutated_cassettes_give_values_or_wire_errors(name: str):
    result = run(name, 1500, seed=7)
    assert result.findings == []
    assert result.read > 100
    assert len(result.refused) > 4
