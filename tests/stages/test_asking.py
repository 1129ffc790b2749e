"""Detection and circumstances are asked only for conditions that read them."""

from dataclasses import replace

import pytest

from sallyport.exchange import Circumstances
from sallyport.policy.condition import Condition
from sallyport.stages.asking import input_for
from samples import Desk, Findings, exchange, finding, segment

TEXT = "write to marta.quill@example.com"
ODD = Circumstances(0.9, ("spend", "new_hosts"), 7)


@pytest.mark.parametrize(
    ("source", "holds", "scans", "looks"),
    [
        ("request.model == 'gpt-5'", True, 0, 0),
        ("request.model == 'findings' || request.model == 'behaviour.score'", False, 0, 0),
        ("findings.exists(f, f.entity == 'EMAIL_ADDRESS')", True, 1, 0),
        ("behaviour.score > 0.8", True, 0, 1),
        ("'new_hosts' in behaviour.reasons", True, 0, 1),
        ("gateway.in_flight == 7", True, 0, 1),
        ("behaviour.score > 0.8 && size(findings) == 1", True, 1, 1),
    ],
)
async def test_only_what_a_condition_reads_is_looked_at(
    source: str, holds: bool, scans: int, looks: int
) -> None:
    looked = []

    def circumstances() -> Circumstances:
        looked.append(1)
        return ODD

    scanner = Findings([finding(TEXT, "marta.quill@example.com")])
    ports = replace(Desk(scanner).ports(), circumstances=circumstances)
    condition = Condition.compile(source)
    given = await input_for([Condition.compile("request.stream"), condition], exchange(segment(TEXT)), ports)
    assert condition.holds(given) is holds
    assert (scanner.asked, len(looked)) == (scans, looks)


async def test_without_circumstances_nothing_is_unusual() -> None:
    conditions = [
        Condition.compile("behaviour.score == 0.0 && size(behaviour.reasons) == 0 && gateway.in_flight == 0")
    ]
    given = await input_for(conditions, exchange(), Desk().ports())
    assert conditions[0].holds(given)
