"""The store of the counters stops in the middle of traffic: refuse, or use a share and book it later, once."""

import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.counters import POLICY, levels, reconciled
from e2e.traffic import Load, ask, eventually, of_kind, recorded, running, settled
from gateways import GatewayProcess
from rawclient import Talk
from sallyport.audit.events import EventKind
from sallyport.lab.server import Lab
from state.redisserver import RedisServer

ALLOWANCE = POLICY.replace("lease_s: 2", "lease_s: 2\n  store_down: allowance\n  allowance: 0.5")
LIMIT = "    - {id: few, limit: 20, per: month, by: []}\n"
KEY = "calls/principal=default:anonymous"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder) / "own")
        yield server
        server.kill()


def sent(lab: Lab, model: str) -> int:
    return sum(f'"{model}"'.encode() in r.decoded for r in lab.requests)


def assert_refused(lab: Lab, gateway: GatewayProcess, model: str) -> None:
    """Refused in the dialect's own shape, in time, and nothing of it has left."""
    began = time.monotonic()
    talk = ask(gateway, model)
    took = time.monotonic() - began
    assert talk.status == 503
    assert b'"code":"limits.unavailable"' in talk.body
    assert b'"error"' in talk.body
    assert took < 9, "the promise is 2 s; a busy machine is slower, one that hangs much more"
    assert sent(lab, model) == 0


def test_a_redis_that_does_not_answer_refuses_until_it_answers_again(
    tmp_path: Path, lab: Lab, redis: RedisServer
) -> None:
    with running(tmp_path, lab, policy=POLICY, env={"SALLYPORT_LEDGER": redis.url}) as gateway:
        assert ask(gateway, "lab-before").status == 200
        with Load(gateway, "lab-meanwhile", clients=3) as load:
            eventually(lambda: load.answered > 3, 10, "there is traffic")
            redis.freeze()
            for number in range(3):
                assert_refused(lab, gateway, f"lab-frozen-{'abc'[number]}")
            redis.resume()
            eventually(lambda: ask(gateway, "lab-after").status == 200, 10, "service resumes")
        assert {talk.status for talk in load.talks.values()} <= {200, 503}
        # The server was restarted without its memory: what is asked for now is counted from zero.
        redis.kill()
        assert_refused(lab, gateway, "lab-killed")
        redis.start()
        eventually(lambda: ask(gateway, "lab-again").status == 200, 10, "service resumes")
        assert "does not answer: requests under limits are refused" in gateway.log.read_text()
        assert gateway.log.read_text().count("the Redis of the counters has lost all it had counted") == 1
        told = [e for e in recorded(gateway.confdir) if e.kind is EventKind.LIMIT_CHANGED]
        assert [(e.reason, e.detail, e.principal) for e in told] == [("ledger.redis", "lost", "")]


def test_a_sqlite_file_that_is_locked_refuses_until_it_is_free(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=POLICY) as gateway:
        assert ask(gateway, "lab-unlocked").status == 200
        blocker = sqlite3.connect(gateway.confdir / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert_refused(lab, gateway, "lab-locked")
        blocker.execute("ROLLBACK")
        blocker.close()
        eventually(lambda: ask(gateway, "lab-unlocked-again").status == 200, 10, "service resumes")
        settled(gateway.confdir)
        reconciled(gateway.confdir)


def test_a_file_that_is_removed_is_begun_anew_and_told(tmp_path: Path, lab: Lab) -> None:
    with running(tmp_path, lab, policy=POLICY) as gateway:
        assert ask(gateway, "lab-kept").status == 200
        for file in gateway.confdir.glob("ledger.db*"):
            file.unlink()
        assert [ask(gateway, "lab-anew").status for _ in range(2)] == [200, 200]
        told = [e for e in recorded(gateway.confdir) if e.kind is EventKind.LIMIT_CHANGED]
        assert [(e.reason, e.detail, e.principal) for e in told] == [("ledger.file", "replaced", "")]
        assert gateway.log.read_text().count("was removed or replaced: its counters begin anew") == 1


def test_a_share_passes_while_the_store_is_away_and_is_booked_once_when_it_is_back(
    tmp_path: Path, lab: Lab, redis: RedisServer
) -> None:
    def many(count: int) -> list[Talk]:
        with ThreadPoolExecutor(5) as pool:
            return list(pool.map(lambda n: ask(gateway, f"lab-share-{n % 7}"), range(count)))

    ledger = {"SALLYPORT_LEDGER": redis.url}
    with running(tmp_path, lab, policy=ALLOWANCE + LIMIT, env=ledger) as gateway:
        assert [talk.status for talk in many(4)] == [200] * 4
        redis.freeze()
        statuses = [talk.status for talk in many(15)]
        assert statuses.count(200) == 10, "half of 20, on top of the 4 that were counted before"
        assert statuses.count(429) == 5
        redis.resume()
        ends = of_kind(settled(gateway.confdir), EventKind.COMPLETED)
        assert len(ends) == 14

        def booked() -> tuple[int, int]:
            level = levels(gateway.confdir, KEY, redis.url).get(KEY)
            return (level.used, level.reserved) if level else (0, 0)

        eventually(lambda: booked() == (14, 0), 10, "what passed is booked")
        assert [talk.status for talk in many(8)].count(200) == 6, "6 of 20 are left"
        eventually(lambda: booked() == (20, 0), 10, "and these are")
        compared = reconciled(gateway.confdir, "--ledger", redis.url)
        assert {line["key"] for line in compared} >= {KEY, "few"}


def test_a_reload_changes_what_happens_while_the_store_is_away(
    tmp_path: Path, lab: Lab, redis: RedisServer
) -> None:
    with running(tmp_path, lab, policy=POLICY, env={"SALLYPORT_LEDGER": redis.url}) as gateway:
        redis.kill()
        assert_refused(lab, gateway, "lab-strict")
        (tmp_path / "policy.yaml").write_text(ALLOWANCE)
        gateway.signal(signal.SIGHUP)
        eventually(
            lambda: of_kind(recorded(gateway.confdir), EventKind.POLICY_CHANGED), 15, "the policy is new"
        )
        assert ask(gateway, "lab-generous").status == 200
