"""An alarm where a gateway runs something else than its repository holds, for longer than a policy allows.

A thread looks from time to time. One alarm begins an episode and one ends it; what is between is in a file of metrics.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file
from sallyport.lookout import Lookout

logger = logging.getLogger("sallyport.drift")

_IDLE_S = 60.0
"""How often it is asked whether somebody wants this, where nobody does."""


class What(StrEnum):
    """What is not as the repository has it."""

    POLICY = "policy"
    RULES = "rules"
    UNREADABLE = "unreadable"
    """The repository cannot be read, or holds no valid policy: what should be in force, nobody knows."""


@dataclass(frozen=True, slots=True)
class State:
    """A policy with what decides beside it. policy, rules: revisions. name: as messages call the policy."""

    policy: str
    rules: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """after_s: how long a drift may last before it alarms, 0 for never. every_s: how often it is looked."""

    after_s: float
    every_s: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """what: differs. over: it does not any more. wanted: revision that the repository holds, "" where nobody knows.

    seconds: how long it has lasted.
    """

    what: What
    over: bool
    wanted: str
    seconds: float


class DriftWatch(Lookout):
    """held: reads what the repository holds; raises OperatorError or OSError where that cannot be. running: what runs.

    alarm: is told of beginning and end of an episode. metrics: file that is kept up to date for a collector.
    """

    def __init__(
        self,
        held: Callable[[], State],
        running: Callable[[], State],
        settings: Callable[[], Settings],
        alarm: Callable[[Alarm], None],
        metrics: Path,
        gateway: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("sallyport-drift", logger, "whether the policy drifts could not be told (%s)")
        self._held, self._running, self._settings = held, running, settings
        self._alarm, self._metrics, self._gateway, self._clock = alarm, metrics, gateway, clock
        self._since: float | None = None
        self._told: What | None = None

    def every_s(self) -> float:
        settings = self._settings()
        return settings.every_s if settings.after_s else _IDLE_S

    def look(self) -> None:
        """Compare once, and tell of what has begun or ended."""
        settings = self._settings()
        what, wanted, why = self._compared() if settings.after_s else (None, "", "")
        now = self._clock()
        if what is None:
            if self._told is not None and self._since is not None:
                self._tell(Alarm(self._told, True, wanted, now - self._since), "")
            self._since = self._told = None
        else:
            if self._since is None:
                self._since = now
            if self._told is None and now - self._since >= settings.after_s:
                self._tell(Alarm(what, False, wanted, now - self._since), why)
                self._told = what
        if settings.after_s:
            self._write(0.0 if self._since is None else now - self._since)

    def _compared(self) -> tuple[What | None, str, str]:
        """Return what differs, None for nothing, the revision that is wanted, and a sentence for the log."""
        running = self._running()
        try:
            held = self._held()
        except OperatorError as error:
            return What.UNREADABLE, "", str(error)
        except OSError as error:
            return What.UNREADABLE, "", f"{error.filename}: {error.strerror}"
        except Exception as error:
            # The border to the repository: whatever it raises, nobody knows what should be in force.
            return What.UNREADABLE, "", type(error).__name__  # its text may quote files
        if held.policy != running.policy:
            return What.POLICY, held.policy, f"{held.name} is {held.policy}, and {running.policy} is in force"
        if held.rules != running.rules:
            told = f"rules {held.rules[:12]} are installed, and {running.rules[:12]} are in force"
            return What.RULES, held.rules, told
        return None, held.policy, ""

    def _tell(self, alarm: Alarm, why: str) -> None:
        """Raise an alarm; one that could not be taken is raised again at the next look."""
        self._alarm(alarm)
        if alarm.over:
            logger.warning("the policy in force is that of the repository again, after %.0f s", alarm.seconds)
        else:
            logger.error("drift for %.0f s: %s", alarm.seconds, why)

    def _write(self, seconds: float) -> None:
        """Write the metrics as Prometheus reads them out of a file; a disk that is full costs them and nothing else."""
        label = f'{{gateway="{self._gateway}"}}'
        lines = (
            "# HELP sallyport_policy_drift_seconds How long the gateway has run what its repository does not hold.",
            "# TYPE sallyport_policy_drift_seconds gauge",
            f"sallyport_policy_drift_seconds{label} {seconds:.0f}",
            "# HELP sallyport_policy_drift_alarm Whether that is longer than the policy allows.",
            "# TYPE sallyport_policy_drift_alarm gauge",
            f"sallyport_policy_drift_alarm{label} {int(self._told is not None)}",
        )
        with suppress(OSError):
            write_file(self._metrics, ("\n".join(lines) + "\n").encode(), PUBLIC)
