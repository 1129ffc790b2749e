"""What is looked at from time to time while a gateway runs, each in a thread of its own."""

import logging
import threading


class Lookout:
    """Looks until it is closed. name: of the thread. unseen: what the log says of a look that raised, %s for why."""

    def __init__(self, name: str, logger: logging.Logger, unseen: str) -> None:
        self._name, self._logger, self._unseen = name, logger, unseen
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Look once, and tell of what is seen."""
        raise NotImplementedError

    def every_s(self) -> float:
        """Return the seconds up to the next look."""
        raise NotImplementedError

    def start(self) -> None:
        """Look from now on."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        while not self._closing.wait(self.every_s()):
            try:
                self.look()
            except Exception as error:
                # The border of the thread: without it nobody would look any more. Messages may quote files.
                self._logger.warning(self._unseen, type(error).__name__)
