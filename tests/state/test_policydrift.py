"""The alarm of drift: after how long, once an episode, over when it is over, and never silent for what cannot be read."""

from pathlib import Path

import pytest

from sallyport.errors import OperatorError
from sallyport.state.policydrift import Alarm, DriftWatch, Settings, State, What

OURS, NEXT = State("aaaaaaaaaaaa", "r1", "policy.yaml"), State("bbbbbbbbbbbb", "r1", "policy.yaml")


class Site:
    """A gateway, its repository and a clock."""

    def __init__(self, folder: Path, after_s: float = 10) -> None:
        self.now, self.held, self.problem = 0.0, OURS, False
        self.alarms: list[Alarm] = []
        self.metrics = folder / "policy-drift.prom"
        self.watch = DriftWatch(
            self.read,
            lambda: OURS,
            lambda: Settings(after_s, 1),
            self.alarms.append,
            self.metrics,
            "gw-1",
            lambda: self.now,
        )

    def read(self) -> State:
        if self.problem:
            raise OperatorError("policy.yaml:3", "it is no policy", "Mend it")
        return self.held

    def at(self, now: float) -> list[tuple[What, bool]]:
        """Look at a time; return what was told by then."""
        self.now = now
        self.watch.look()
        return [(alarm.what, alarm.over) for alarm in self.alarms]

    def value(self, name: str) -> float:
        lines = self.metrics.read_text().splitlines()
        (line,) = [each for each in lines if each.startswith(f'{name}{{gateway="gw-1"}} ')]
        return float(line.rpartition(" ")[2])


def test_a_drift_alarms_once_when_it_has_lasted_and_once_when_it_is_over(tmp_path: Path) -> None:
    site = Site(tmp_path)
    assert site.at(0) == []
    site.held = NEXT
    assert site.at(5) == []
    assert site.value("sallyport_policy_drift_alarm") == 0
    assert site.at(14) == []
    assert site.at(15) == [(What.POLICY, False)]
    assert site.at(100) == [(What.POLICY, False)]
    assert (site.value("sallyport_policy_drift_seconds"), site.value("sallyport_policy_drift_alarm")) == (
        95,
        1,
    )
    site.held = OURS
    assert site.at(130) == [(What.POLICY, False), (What.POLICY, True)]
    assert [(alarm.wanted, alarm.seconds) for alarm in site.alarms] == [(NEXT.policy, 10), (OURS.policy, 125)]
    assert (site.value("sallyport_policy_drift_seconds"), site.value("sallyport_policy_drift_alarm")) == (
        0,
        0,
    )
    assert len(site.at(200)) == 2


def test_a_deployment_that_takes_a_moment_alarms_nobody(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for begin in (0, 20, 40):
        site.held = NEXT
        site.at(begin)
        site.held = OURS
        site.at(begin + 9)
    assert site.alarms == []


def test_other_rules_and_a_repository_that_cannot_be_read_are_drift_as_well(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.held = State(OURS.policy, "r2")
    site.at(0)
    assert site.at(10) == [(What.RULES, False)]
    site.held = OURS
    site.at(11)
    site.problem = True
    site.at(12)
    assert site.at(22)[-1] == (What.UNREADABLE, False)
    assert site.alarms[-1].wanted == ""


def test_an_alarm_that_the_log_did_not_take_is_raised_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.held = NEXT
    site.at(0)
    taken, site.watch._alarm = site.watch._alarm, refusing
    with pytest.raises(RuntimeError):
        site.at(10)
    site.watch._alarm = taken
    assert site.at(11) == [(What.POLICY, False)]
    assert len(site.at(12)) == 1


def refusing(alarm: Alarm) -> None:
    raise RuntimeError("full")


def test_nobody_looks_where_nobody_wants_to_know(tmp_path: Path) -> None:
    site = Site(tmp_path, after_s=0)
    site.problem = True
    assert site.at(0) == site.at(10_000) == []
    assert not site.metrics.exists()


def test_metrics_that_cannot_be_written_cost_no_alarm(tmp_path: Path) -> None:
    site = Site(tmp_path / "not there")
    site.held = NEXT
    site.at(0)
    assert site.at(10) == [(What.POLICY, False)]


def test_a_repository_that_cannot_be_read_at_all_is_an_alarm_whatever_it_raises(tmp_path: Path) -> None:
    site = Site(tmp_path)

    def broken() -> State:
        raise RecursionError

    site.watch._held = broken
    assert site.at(0) == []
    assert site.at(10) == [(What.UNREADABLE, False)]
