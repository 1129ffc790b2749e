"""A gateway that runs for weeks tells in time that the authority it signs with ends; a start tells it only then.

It is the authority of the start: what lies in the folder since then is signed with after a restart.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file
from sallyport.lookout import Lookout
from sallyport.pki.authority import Authority, check_validity, holds_another

logger = logging.getLogger("sallyport.ca")

METRICS = "ca.prom"

_EVERY_S = 3600.0


def _now() -> datetime:
    return datetime.now(UTC)


class ExpiryWatch(Lookout):
    """Tells once a day, from 30 days before the end on. metrics: file that is kept for a collector.

    What holds on the day of the start was told by the start.
    """

    def __init__(
        self, authority: Authority, metrics: Path, gateway: str, clock: Callable[[], datetime] = _now
    ) -> None:
        super().__init__("sallyport-ca", logger, "whether the authority ends soon could not be told (%s)")
        self._authority, self._metrics, self._gateway, self._clock = authority, metrics, gateway, clock
        self._told: date = clock().date()

    def start(self) -> None:
        """Write the metric, and look from now on."""
        self._write()
        super().start()

    def every_s(self) -> float:
        return _EVERY_S

    def look(self) -> None:
        """Write the metric, and tell what there is to tell today."""
        self._write()
        now = self._clock()
        if now.date() == self._told:
            return
        self._told = now.date()
        path = self._authority.paths.authority
        try:
            said = check_validity(path, self._authority.certificate, now)
        except OperatorError as error:
            logger.error("clients refuse what this gateway signs: %s", self._todo(str(error)))
            return
        for warning in said:
            logger.warning("%s", self._todo(warning))

    def _todo(self, said: str) -> str:
        if holds_another(self._authority):
            end = f"{self._authority.not_after:%Y-%m-%d}"
            return (
                f"the certificate authority that signs ends on {end}, and another one lies in "
                f"{self._authority.paths.authority} since: restart the gateway once clients trust it"
            )
        return said

    def _write(self) -> None:
        """Write the metric as Prometheus reads it out of a file; a disk that is full costs it and nothing else."""
        name = "sallyport_ca_not_after_timestamp_seconds"
        lines = (
            f"# HELP {name} When the certificate authority ends that the gateway signs with.",
            f"# TYPE {name} gauge",
            f'{name}{{gateway="{self._gateway}"}} {self._authority.not_after.timestamp():.0f}',
        )
        with suppress(OSError):
            write_file(self._metrics, ("\n".join(lines) + "\n").encode(), PUBLIC)
