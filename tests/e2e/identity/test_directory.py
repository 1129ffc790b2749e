"""The directory through the running gateway: in force on every worker, and still there when the store is not."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.identity.speaking import Speaker
from e2e.traffic import eventually, models_seen, recorded, running, settled
from gateways import GatewayProcess
from sallyport.audit.events import INTERRUPTED, Event, EventKind
from sallyport.audit.store import Store
from sallyport.lab.server import Lab
from sallyport.stages.directory import Person
from sallyport.state.directory.people import put_person
from sallyport.state.directory.store import DirectoryStore
from servers import Postgres

POLICY = """\
version: 1
identity:
  unknown: deny
  header: {name: x-user, trusted_peers: [127.0.0.0/8]}
audit: {required: false}
"""
STRICT = POLICY.replace("audit: {required: false}\n", "")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    # Short, because the path of a Unix socket may not be long.
    folder = Path("/tmp") / f"sallyport-dir-{os.getpid()}"
    server = Postgres(folder)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def put(url: str, id: str, active: bool) -> None:
    store = DirectoryStore.open(url)
    with store.change() as connection:
        put_person(connection, Person(id, active=active))
    store.close()


def says(gateway: GatewayProcess, model: str, who: str) -> int:
    speaker = Speaker(gateway)
    try:
        return speaker.say(model, ("x-user", who)).status
    finally:
        speaker.close()


def test_who_is_switched_off_is_refused_within_a_second_on_every_gateway(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    url = postgres.create_database("two")
    put(url, "ada", True)
    with (
        running(tmp_path / "a", lab, policy=POLICY, extra=["--store", url]) as first,
        running(tmp_path / "b", lab, policy=POLICY, extra=["--store", url]) as second,
    ):
        for gateway in (first, second):
            assert says(gateway, "dirtwo-before", "ada") == 200
        began = time.monotonic()
        put(url, "ada", False)
        for gateway in (first, second):
            eventually(lambda g=gateway: says(g, "dirtwo-during", "ada") == 403, 10, "ada is refused")  # type: ignore[misc]
        took_s = time.monotonic() - began
        sent = models_seen(lab, "dirtwo-after").total()
        for gateway in (first, second):
            assert says(gateway, "dirtwo-after", "ada") == 403
            assert says(gateway, "dirtwo-bob", "bob") == 200
        assert models_seen(lab, "dirtwo-after").total() == sent
    print(f"refused on both after {took_s:.2f} s")


def test_a_store_that_stops_mid_traffic_takes_nobodys_place_away_and_gives_none_back(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    url = postgres.create_database("stops")
    put(url, "ada", True)
    put(url, "eve", False)
    with running(tmp_path, lab, policy=POLICY, extra=["--store", url]) as gateway:
        assert says(gateway, "dirstop-before", "ada") == 200
        postgres.stop()
        try:
            for _ in range(5):
                assert says(gateway, "dirstop-down", "ada") == 200
                assert says(gateway, "dirstop-eve", "eve") == 403
                time.sleep(0.3)
        finally:
            postgres.start()
        put(url, "eve", True)
        eventually(lambda: says(gateway, "dirstop-later", "eve") == 200, 10, "the new state is in force")
    assert models_seen(lab, "dirstop-eve").total() == 0


@pytest.mark.parametrize("policy", [POLICY, STRICT], ids=["audit may wait", "audit required"])
def test_a_gateway_starts_from_its_copy_while_the_store_is_down(
    tmp_path: Path, lab: Lab, postgres: Postgres, policy: str
) -> None:
    name = f"copy{len(policy)}"
    url = postgres.create_database(name)
    put(url, "ada", True)
    put(url, "eve", False)
    with running(tmp_path, lab, policy=policy, extra=["--store", url]) as gateway:
        assert says(gateway, f"{name}-before", "ada") == 200
        settled(url)
    postgres.stop()
    try:
        with running(tmp_path, lab, policy=policy, extra=["--store", url]) as gateway:
            assert "starts with its last good copy" in gateway.log.read_text()
            assert says(gateway, f"{name}-eve", "eve") == 403
            assert says(gateway, f"{name}-down", "ada") == (200 if policy is POLICY else 503)
            postgres.start()
            eventually(lambda: says(gateway, f"{name}-later", "ada") == 200, 15, "the audit is written again")
            put(url, "eve", True)
            eventually(lambda: says(gateway, f"{name}-later", "eve") == 200, 10, "the new state is in force")
    finally:
        if postgres._process is None:
            postgres.start()
    assert models_seen(lab, f"{name}-eve").total() == 0
    events = settled(url)
    down = [e for e in events if e.model == f"{name}-down" and e.kind is EventKind.ADMITTED]
    assert len(down) == (1 if policy is POLICY else 0), "what passed while the store was down is in it now"


def test_what_a_killed_gateway_left_open_is_closed_once_the_store_is_back(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    url = postgres.create_database("left")
    put(url, "ada", True)
    with running(tmp_path, lab, policy=POLICY, extra=["--store", url]) as gateway:
        assert says(gateway, "left-before", "ada") == 200
        settled(url)
        id = (gateway.confdir / "gateway.id").read_text().strip()
        gateway.process.send_signal(signal.SIGKILL)
    store = Store.open(url)
    store.write([Event(kind=EventKind.ADMITTED, gateway=id, exchange="left-open", model="left-open")])
    store.close()
    postgres.stop()
    try:
        with running(tmp_path, lab, policy=POLICY, extra=["--store", url]):
            postgres.start()
            eventually(
                lambda: any(e.exchange == "left-open" and e.is_end for e in recorded(url)), 15, "it is closed"
            )
    finally:
        if postgres._process is None:
            postgres.start()
    (end,) = (e for e in recorded(url) if e.exchange == "left-open" and e.is_end)
    assert (end.kind, end.detail) == (EventKind.BROKEN, INTERRUPTED)


def test_without_store_and_without_copy_a_gateway_does_not_start(
    tmp_path: Path, lab: Lab, postgres: Postgres
) -> None:
    url = postgres.create_database("nothing")
    postgres.stop()
    try:
        with (
            pytest.raises(RuntimeError, match="cannot be opened"),
            running(tmp_path, lab, extra=["--store", url]),
        ):
            pass
        free = STRICT + "directory: {required: false}\n"
        with running(tmp_path, lab, policy=free, extra=["--store", url]) as gateway:
            assert "a directory that knows nobody" in gateway.log.read_text()
            assert says(gateway, "dirnone-down", "ada") == 503
            postgres.start()
            eventually(lambda: says(gateway, "dirnone-later", "ada") == 200, 15, "the store is used")
    finally:
        if postgres._process is None:
            postgres.start()
