"""Kill a gateway, or its PostgreSQL, with SIGKILL at random moments under load, and compare all books each time.

Run from the checkout: scripts/bench kills [--rounds 300] [--store sqlite] [--victim gateway] [--spool]
[--seed 1] [--seconds 3600] [--json FILE]. tests/e2e/killing.py says what a round is and what must hold after it.
One JSON object is printed at the end; exit code 1, with the folder kept, where something did not hold.
"""

import argparse
import json
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from e2e.killing import Bench, Tally, Victim, Violated

_ANY = "any"
_COLD_EVERY, _WHOLE_EVERY = 25, 50
"""Rounds between two starts without a warm interpreter, and between two verifications of the whole log."""


def killed(folder: Path, asked: argparse.Namespace) -> tuple[int, Tally, str]:
    """Return the rounds that were done, what they came to, and what did not hold, else ""."""
    until, done = time.monotonic() + asked.seconds, 0
    with Bench.open(folder, asked.store, asked.seed, asked.clients, spool=asked.spool) as bench:
        try:
            while done < asked.rounds and time.monotonic() < until:
                victim = asked.victim
                if victim == _ANY:
                    victim = bench.chance.choice(list(Victim) if bench.server else [Victim.GATEWAY])
                bench.round(
                    Victim(victim),
                    cold=done % _COLD_EVERY == 1,
                    whole=done % _WHOLE_EVERY == _WHOLE_EVERY - 1,
                )
                done += 1
                if sys.stderr.isatty():
                    print(f"\r{done} of {asked.rounds} rounds", end="", file=sys.stderr, flush=True)
            return done, bench.close(), ""
        except Violated as error:
            return done, bench.tally, str(error)


def told(asked: argparse.Namespace, done: int, tally: Tally, violated: str, wall_s: float) -> dict[str, Any]:
    """Return what is printed: lists of seconds become their middle and their worst."""
    figures: dict[str, Any] = {
        "store": asked.store,
        "victim": asked.victim,
        "seed": asked.seed,
        "rounds": done,
    }
    for name, value in asdict(tally).items():
        if not isinstance(value, list):
            figures[name] = value
        elif value:
            figures[name] = {"p50": round(statistics.median(value), 3), "max": round(max(value), 3)}
    return figures | {"wall_s": round(wall_s), "violated": violated}


def main() -> int:
    """Kill, compare and print; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=3600, help="begin no round after so long")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--victim", choices=(*Victim, _ANY), default="gateway")
    parser.add_argument("--spool", action="store_true", help="audit.when_unavailable: spool")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument(
        "--folder", type=Path, help="where the store lies while it lasts; a real disk is best"
    )
    parser.add_argument("--json", type=Path, help="write the result there as well")
    asked = parser.parse_args()
    if asked.store == "sqlite" and asked.victim in (Victim.SERVER, Victim.BOTH):
        parser.error("SQLite has no server to kill")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that what was started is ended
    print(f"seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="kills-", dir=asked.folder))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    began = time.monotonic()
    done, tally, violated = killed(folder, asked)
    result = json.dumps(told(asked, done, tally, violated, time.monotonic() - began), indent=1)
    print(result)
    if asked.json is not None:
        asked.json.write_text(result + "\n", encoding="utf-8")
    if violated:
        print(f"kept for you to look at: {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
