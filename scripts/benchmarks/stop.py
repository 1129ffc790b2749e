"""Time a kill switch: from the command to the first refusal, on two gateways that share a store.

Run from the checkout: scripts/bench stop [--rounds 20] [--stores sqlite,postgres]. Each gateway is asked on and
on over a kept connection; a round pulls `stop principal`, waits for the first refusal of each gateway, and lets
go again. Printed are p50 and max over rounds and gateways, in milliseconds: from the start of the command's
process, and from the commit, before which nobody can know. Exit code 1 where a gateway took longer than a second
from the commit.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from e2e.counters import HEADER
from e2e.identity.commanding import pair
from e2e.traffic import CHAT, OPENAI, Wire, chat
from gateways import GatewayProcess, lab_in_thread, python_env
from rawclient import post
from sallyport.stages.directory import StopKind
from sallyport.state.directory.stops import let_go, pull
from sallyport.state.directory.store import DirectoryStore
from servers import Postgres

POLICY = f"""
version: 1
identity: {{header: {{name: {HEADER}, trusted_peers: [127.0.0.1/32]}}}}
"""
PAUSE_S = 0.005


class Asker:
    """Asks one gateway on and on, and notes when what it hears changes."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._wire = Wire.open(gateway, timeout=30)
        self._request = post(CHAT, chat("bench-stop"), OPENAI, f"{HEADER}: bench")
        self.since: dict[bool, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for(self, refused: bool) -> float:
        """Return when the first answer of this kind came, counted from the last change; monotonic seconds."""
        deadline = time.monotonic() + 20
        while refused not in self.since:
            if time.monotonic() > deadline:
                raise TimeoutError("a gateway did not follow within 20 s")
            time.sleep(0.001)
        return self.since[refused]

    def close(self) -> None:
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wire.data.clear()
            self._wire.send(self._request)
            self._wire.read_all()
            refused, now = self._wire.status == 403, time.monotonic()
            if refused not in self.since:
                self.since = {refused: now}
            time.sleep(PAUSE_S)


def measured(url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds from the command's start, and from the commit, of each round and gateway."""
    from_command: list[float] = []
    from_commit: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="stop-") as name,
        lab_in_thread() as lab,
        pair(Path(name), lab, url, POLICY) as gateways,
    ):
        askers = [Asker(gateway) for gateway in gateways]
        store = DirectoryStore.open(url)
        for _ in range(rounds):
            began = time.monotonic()
            command(url, gateways[0].confdir)
            from_command += [asker.wait_for(True) - began for asker in askers]
            resume(store, askers)
            with store.change() as connection:
                pull(connection, StopKind.PRINCIPAL, "bench", "default", "bench", "r", datetime.now(UTC))
            began = time.monotonic()
            from_commit += [asker.wait_for(True) - began for asker in askers]
            resume(store, askers)
        for asker in askers:
            asker.close()
        store.close()
    return from_command, from_commit


def command(url: str, confdir: Path) -> None:
    words = ["stop", "principal", "bench", "--reason", "bench", "--store", url, "--confdir", str(confdir)]
    line = [sys.executable, "-m", "sallyport", *words]
    subprocess.run(line, check=True, env=python_env(), capture_output=True)


def resume(store: DirectoryStore, askers: list[Asker]) -> None:
    with store.change() as connection:
        let_go(connection, None, "bench", datetime.now(UTC))
    for asker in askers:
        asker.wait_for(False)


@contextlib.contextmanager
def opened(store: str) -> Iterator[str]:
    """Give the URL of a new store."""
    with tempfile.TemporaryDirectory(prefix="stop-") as name:
        folder = Path(name)
        if store == "sqlite":
            yield f"sqlite:///{folder / 'shared.db'}"
            return
        folder.chmod(0o755)
        server = Postgres(folder / "server", fsync="on")
        try:
            yield server.url
        finally:
            server.stop()


def main() -> int:
    """Measure and print; 1 where it took longer than a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--stores", default="sqlite,postgres")
    asked = parser.parse_args()
    slowest = 0.0
    for store in asked.stores.split(","):
        with opened(store) as url:
            from_command, from_commit = measured(url, asked.rounds)
        slowest = max(slowest, *from_commit)
        for what, times in (("command", from_command), ("commit", from_commit)):
            print(
                f"{store:9} from {what:8} to first refusal, {asked.rounds} rounds on two gateways: "
                f"p50 {statistics.median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f} ms",
                flush=True,
            )
    return 1 if slowest > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
