"""Two gateways behind one spread of connections, on one Redis and one PostgreSQL: limits hold for both together.

Real kernel: client, gateways and provider stand in network namespaces, nftables deals connections out in turns.
"""

import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from e2e.counters import HEADER, POLICY, levels, reconciled
from e2e.racing import share_identity
from e2e.traffic import CHAT, OPENAI, Wire, chat, eventually, of_kind, recorded, settled
from e2e.zygote import Forked
from proxy.crossing import Site, network, until
from rawclient import post, read_answer
from sallyport.audit.events import EventKind
from sallyport.choke import namespaces
from servers import Postgres
from state.redisserver import RedisServer

PORTS = (8080, 8081)
RULES = """    - {id: month, limit: 24, per: month, by: [tenant]}
    - {id: streams, measure: concurrent, limit: 2, by: []}
"""


@pytest.fixture
def permitted() -> None:
    if not namespaces.permitted():
        reason = "needs root and network namespaces: gateways behind a spread are NOT tested"
        if os.environ.get("SALLYPORT_REQUIRE_SERVERS") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.fixture
def stores() -> Iterator[tuple[str, str]]:
    """URLs of a ledger and of an audit store, on Unix sockets that every namespace sees."""
    folder = Path(tempfile.mkdtemp(prefix="spread-"))
    folder.chmod(0o755)
    redis, postgres = RedisServer(folder / "redis"), Postgres(folder / "postgres")
    yield redis.url, postgres.create_database("audit")
    redis.kill()
    postgres.stop()
    shutil.rmtree(folder)


def spread(site: Site, ports: Sequence[int]) -> None:
    """Deal new connections out to these listeners in turns, as an operator or a health check does."""
    where = ", ".join(f"{number} : {port}" for number, port in enumerate(ports))
    rules = f"""
table inet spread
delete table inet spread
table inet spread {{
  chain pre {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{namespaces.CLIENT_INTERFACE}" tcp dport 443 redirect to :numgen inc mod {len(ports)} map {{ {where} }}
  }}
}}
"""
    site.net.nft("-f", "-", stdin=rules)


class Gateway:
    """One of several: a folder and a listener of its own, everything else shared."""

    def __init__(self, site: Site, stores: tuple[str, str], port: int) -> None:
        self.confdir = site.folder / f"conf{port}"
        self._site, self._port = site, port
        self._ledger, self._store = stores
        (site.folder / "policy.yaml").write_text(POLICY.replace("127.0.0.1/32", "10.77.1.0/24") + RULES)

    def start(self) -> None:
        ready = self._site.folder / f"ready{self._port}.json"
        ready.unlink(missing_ok=True)
        words = ["run", "--listen", f"transparent@{self._port}"]
        words += ["--policy", str(self._site.folder / "policy.yaml"), "--confdir", str(self.confdir)]
        words += ["--ready-file", str(ready), "--upstream-ca", str(self._site.lab_ca)]
        words += ["--store", self._store]
        self._log = f"gateway{self._port}.log"
        folder, netns = self._site.folder, self._site.net.lab.gateway
        self.process = Forked(words, folder / self._log, {"SALLYPORT_LEDGER": self._ledger}, netns=netns)
        until(lambda: ready.exists() and ready.read_text().endswith("}"), self._site, self._log)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    @property
    def id(self) -> str:
        return (self.confdir / "gateway.id").read_text().strip()


def connected(site: Site) -> Wire:
    sock = site.tls(OPENAI)
    sock.settimeout(15)
    return Wire(sock)  # type: ignore[arg-type]


def ask(site: Site, mark: str) -> int:
    """Ask once, on a connection of its own; return the status."""
    wire = connected(site)
    wire.send(post(CHAT, chat("lab-spread", mark), OPENAI, f"{HEADER}: ann"))
    status = read_answer(wire.sock, timeout=15).status
    wire.sock.close()
    return status


def arrived(site: Site, mark: str) -> int:
    return sum(a["event"] == "request" and mark in (a["body"] or "") for a in site.arrivals())


@pytest.mark.root
def test_limits_hold_for_gateways_behind_a_spread_and_go_on_when_one_is_killed(
    permitted: None, stores: tuple[str, str], tmp_path: Path
) -> None:
    ledger, store = stores
    with network(tmp_path) as site:
        first, second = (Gateway(site, stores, port) for port in PORTS)
        first.start()
        share_identity(first.confdir, second.confdir)
        second.start()
        site.ca = first.confdir / "ca-cert.pem"
        spread(site, PORTS)

        assert [ask(site, "both-mark") for _ in range(10)] == [200] * 10
        shares = [e.gateway for e in of_kind(recorded(store), EventKind.ADMITTED)]
        assert sorted(map(shares.count, (first.id, second.id))) == [5, 5]

        streams = []
        for _ in range(2):
            wire = connected(site)
            wire.send(
                post(
                    CHAT,
                    chat("lab-slow-100", "word " * 40, stream=True, max_tokens=500),
                    OPENAI,
                    f"{HEADER}: ann",
                )
            )
            wire.read_until(b"data: ")
            streams.append(wire)
        assert ask(site, "third-mark") == 429, "one stream on each gateway, and two are allowed on both"

        first.kill()
        spread(site, PORTS[1:])
        eventually(
            lambda: levels(second.confdir, "streams", ledger)["streams"].reserved == 1,
            15,
            "what the dead one held is free",
        )
        for wire in streams:
            wire.read_all()
        assert sorted(wire.whole for wire in streams) == [False, True], (
            "the other's stream goes on to its end"
        )

        # 12 of 24 are used, or 11 where the dead one's stream is not booked again until it has been restarted.
        statuses = [ask(site, "alone-mark") for _ in range(16)]
        first.start()
        eventually(lambda: not levels(second.confdir, "streams", ledger), 15, "nothing is under way")
        settled(store)
        statuses += [ask(site, "again-mark") for _ in range(3)]
        passed = statuses.count(200)
        assert passed + statuses.count(429) == len(statuses)
        assert passed == arrived(site, "alone-mark") + arrived(site, "again-mark")
        assert passed in (12, 13)
        assert statuses[-3:] == [429] * 3
        assert arrived(site, "third-mark") == 0
        (month,) = levels(second.confdir, "month", ledger).values()
        assert (month.used, month.reserved) == (12 + passed, 0)
        settled(store)
        reconciled(site.folder / "conf8080", "--ledger", ledger, "--store", store)
