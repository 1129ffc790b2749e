"""Tamper with a log at random, as who has all rights on its database, and see that every act is found, and where.

Run from the checkout: scripts/bench tamper [--mutations 10000] [--stores sqlite,postgres] [--rows 100000] [--seed N].
tests/audit/tampering.py has the acts. The verifier is a process of its own that has the standard library and its one
file: it reads a SQLite file that was tampered with, and the export of a PostgreSQL that was. Then a log of --rows
events with a checkpoint for each thousand is verified and proofs are made from it, for the figures. One JSON object
is printed; exit code 1 where an act was not found, or not where it was done.
"""

import argparse
import json
import random
import resource
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select

from audit.chains import checkpointed, filled, some_events
from audit.tampering import Hands, Place, PostgresHands, SqliteHands, Tamperer, is_found
from sallyport.audit import verifier
from sallyport.audit.checkpoints import Checkpoint, Unreadable, proof_of
from sallyport.audit.exporting import StoreSource, export_lines
from sallyport.audit.schema import events
from sallyport.audit.signing import Signer
from sallyport.audit.store import Store
from sallyport.audit.verifier import Finding, Report
from servers import Postgres

_AUDITOR = """
import importlib.util, json, sys
from functools import lru_cache
from pathlib import Path
spec = importlib.util.spec_from_file_location("verifier", sys.argv[1])
verifier = sys.modules["verifier"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verifier)
verifier.is_signed = lru_cache(100_000)(verifier.is_signed)
keys = verifier.read_keys(Path(sys.argv[2]))
for line in sys.stdin:
    file, copy = json.loads(line)
    report = verifier.check_file(Path(file), keys, copy and Path(copy), lambda done, total: None)
    print(verifier.as_json(report), flush=True)
"""
"""Isolated, without site packages: sallyport cannot be imported there. What it remembers are signatures it checked."""

_EACH = 1000
"""Events between two checkpoints of the large log."""


class Auditor:
    """The verifier as a process that knows nothing of us but the public key."""

    def __init__(self, key: Path) -> None:
        words = [sys.executable, "-I", "-S", "-c", _AUDITOR, verifier.__file__, str(key)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def check(self, file: Path, copy: Path | None) -> Report:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(file), copy and str(copy)]) + "\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        del found["sound"]
        return Report(**found | {"findings": [Finding(**one) for one in found["findings"]]})

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


@dataclass(slots=True)
class Log:
    """A small log with checkpoints.

    tampered: has hands do something, and gives the file where it can be seen; where no export can be made of what
    they left, what the verifier says of the database itself.
    """

    made: list[Checkpoint]
    signer: Signer
    tampered: Callable[[Callable[[Hands], None]], Path | Report]


@dataclass(slots=True)
class Tally:
    """Acts done, by name; how many were found, and where they were done. missed: seeds and names of the others."""

    done: Counter[str] = field(default_factory=Counter)
    found: int = 0
    located: int = 0
    missed: list[tuple[int, str]] = field(default_factory=list)


@contextmanager
def sqlite_log(folder: Path, signer: Signer) -> Iterator[Log]:
    """Give a log in a SQLite file; each act is done to a copy of it."""
    whole, work = folder / "whole.db", folder / "work.db"
    with closing(Store.open(whole)) as store:
        made = filled(store, signer)

    def tampered(act: Callable[[Hands], None]) -> Path:
        shutil.copyfile(whole, work)
        with closing(sqlite3.connect(work, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            act(SqliteHands(connection))
            connection.execute("COMMIT")
        return work

    yield Log(made, signer, tampered)


@contextmanager
def postgres_log(folder: Path, signer: Signer) -> Iterator[Log]:
    """Give a log in a PostgreSQL server; each act is undone when its export is written."""
    server, work = Postgres(folder / "pg"), folder / "work.jsonl"
    try:
        with closing(Store.open(server.url)) as store:
            made = filled(store, signer)
        engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))

        def tampered(act: Callable[[Hands], None]) -> Path | Report:
            with engine.connect() as connection, work.open("w", encoding="utf-8") as out:
                act(PostgresHands(connection))
                try:
                    out.writelines(export_lines(connection, 0))
                except Unreadable:
                    return verifier.verify(StoreSource(connection), keys=[signer.public_key])
                finally:
                    connection.rollback()
            return work

        yield Log(made, signer, tampered)
        engine.dispose()
    finally:
        server.stop()


def mutated(log: Log, auditor: Auditor, copy: Path, seeds: range) -> Tally:
    """Do one act for each seed and let the auditor look for it; every other time it has a copy of the checkpoints."""
    tally = Tally()
    for seed in seeds:
        done: list[tuple[str, Place, bool]] = []

        def act(hands: Hands, seed: int = seed, done: list[tuple[str, Place, bool]] = done) -> None:
            tamperer = Tamperer(hands, log.made, log.signer, random.Random(seed))  # noqa: S311
            done.append((*tamperer.act(), tamperer.needs_copy))

        file = log.tampered(act)
        name, place, needs_copy = done[0]
        with_copy = needs_copy or seed % 2 == 0
        report = file if isinstance(file, Report) else auditor.check(file, copy if with_copy else None)
        tally.done[name] += 1
        tally.found += not report.is_sound
        tally.located += is_found(report, place)
        if not is_found(report, place):
            tally.missed.append((seed, name))
    return tally


def timed(folder: Path, signer: Signer, key: Path, rows: int) -> dict[str, Any]:
    """Return the processor time of verifying a large log, and of a proof of one of its events."""
    path = folder / "large.db"
    with closing(Store.open(path)) as store:
        for number in range(rows // _EACH):
            for half in range(2):
                store.write(some_events("gw-1", _EACH // 2, f"{number}-{half}"))
            checkpointed(store, signer)
        took_ms = []
        with store.whole() as connection:
            for seq in random.Random(0).sample(range(1, rows // _EACH * _EACH), 100):  # noqa: S311
                row = connection.execute(select(events).where(events.c.seq == seq)).mappings().one()
                began = time.process_time()
                proof = proof_of(connection, row)
                took_ms.append((time.process_time() - began) * 1000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = [sys.executable, "-I", "-S", verifier.__file__, str(path), "--public-key", str(key)]
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    began = time.process_time()
    assert verifier.verify_proof(proof, [signer.public_key]).is_sound
    return {
        "rows": rows,
        "verified_rows_per_cpu_s": round(rows / cpu_s),
        "proof_made_cpu_ms": {"p50": round(statistics.median(took_ms), 2), "max": round(max(took_ms), 2)},
        "proof_checked_cpu_ms": round((time.process_time() - began) * 1000, 2),
    }


def main() -> int:
    """Tamper, look and print; 1 where something was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mutations", type=int, default=10_000, help="in all stores together")
    parser.add_argument("--stores", default="sqlite,postgres")
    parser.add_argument("--rows", type=int, default=100_000, help="of the large log; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    asked = parser.parse_args()
    stores = asked.stores.split(",")
    each, missed = asked.mutations // len(stores), 0
    result: dict[str, Any] = {"seed": asked.seed, "mutations": each * len(stores)}
    with tempfile.TemporaryDirectory(prefix="tamper-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as another user
        signer, key = Signer.of(folder), folder / "key.pem"
        key.write_text(signer.public_pem())
        for number, store in enumerate(stores):
            with (postgres_log if store == "postgres" else sqlite_log)(folder, signer) as log:
                copy = folder / "copy.jsonl"
                copy.write_text("".join(f"{checkpoint.line}\n" for checkpoint in log.made))
                with closing(Auditor(key)) as auditor:
                    untouched = log.tampered(lambda hands: None)
                    assert isinstance(untouched, Path)
                    assert auditor.check(untouched, copy).is_sound
                    first = asked.seed + number * each
                    tally = mutated(log, auditor, copy, range(first, first + each))
            missed += len(tally.missed)
            result[store] = {
                "done": tally.done.total(),
                "found": tally.found,
                "located": tally.located,
                "acts": dict(sorted(tally.done.items())),
                "missed": dict(tally.missed[:20]),
            }
            print(f"{store}: {result[store]['located']} of {each} located", file=sys.stderr, flush=True)
        if asked.rows:
            result["large"] = timed(folder, signer, key, asked.rows)
    print(json.dumps(result, indent=1))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
