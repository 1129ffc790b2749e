"""Nothing in disguise leaves, nothing honest is disturbed, and docs/evasion.md says what was measured."""

import os
from importlib.resources import files
from pathlib import Path

import pytest

from evasion.cases import cases
from evasion.suite import Outcome, Runner, report, table
from gateways import gateway_process, lab_in_thread


@pytest.mark.timeout(400)
def test_what_is_disguised_does_not_leave_and_what_is_honest_does(tmp_path: Path) -> None:
    attempted = cases()
    assert len(attempted) >= 3000
    policy = files("sallyport").joinpath("policies", "balanced.yaml").read_text("utf-8")
    with lab_in_thread() as lab, gateway_process(tmp_path, lab, policy=policy) as gateway:
        runner = Runner(gateway, lab)
        outcomes = [runner.run(case) for case in attempted]
        runner.close()
        assert gateway.process.poll() is None
    assert [o.case.name for o in outcomes if o.status == 0] == [], "the gateway gave no answer"
    honest = [o for o in outcomes if o.case.tier == 0]
    disturbed = [o.case.name for o in honest if o.left]
    found = table(outcomes)
    if os.environ.get("SALLYPORT_WRITE_DOCS") == "1":
        report().write_text(found, "utf-8")
        (tmp_path / "left.txt").write_text("\n".join(_left(outcomes)), "utf-8")
    assert disturbed == []
    assert [o.case.name for o in outcomes if o.left and o.case.tier == 1] == []
    second = [o for o in outcomes if o.case.tier == 2]
    assert sum(o.left for o in second) <= 0.05 * len(second), _left(second)
    assert report().read_text("utf-8") == found, "write it anew: SALLYPORT_WRITE_DOCS=1 pytest tests/evasion"


def _left(outcomes: list[Outcome]) -> list[str]:
    return [f"{o.case.name} {o.status}" for o in outcomes if o.left]


def test_the_judge_sees_what_is_plainly_there() -> None:
    """A judge that sees nothing would call every gateway safe: each attack's own bytes must give it away."""
    from evasion.reveal import leaves

    blind = [
        case.name
        for case in cases()
        if case.tier and case.row in _READABLE and not leaves(case.call.body, case.core, case.depth)
    ]
    assert blind == []


_READABLE = ("places of the body", "member names", "character tricks", "encodings", "two layers", "numbers",
             "letters written apart", "invisible text: tags, selectors", "split over strings, parts, messages")  # fmt: skip
