"""The laboratory network leaves nothing behind, whatever happens in it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sallyport.choke import namespaces
from sallyport.choke.namespaces import Lab
from sallyport.errors import OperatorError

pytestmark = pytest.mark.root


def traces(built: Lab) -> list[str]:
    """Name what is left of a laboratory: namespaces, files, its lock."""
    names = (built.client, built.gateway, built.upstream)
    lock = built.client.removesuffix("-client")
    places = [Path("/run/netns", name) for name in names] + [Path("/etc/netns", name) for name in names]
    return [str(place) for place in (*places, Path("/run/sallyport-lab", lock)) if place.exists()]


def test_names_resolve_inside_and_nothing_else_does() -> None:
    with namespaces.lab(["api.example.ai"]) as built:
        for namespace in (built.client, built.gateway, built.upstream):
            found = built.run(namespace, ("getent", "ahosts", "api.example.ai")).stdout
            assert {line.split()[0] for line in found.splitlines()} == {"10.77.2.2", "fd77:2::2"}
            assert "fd77:2::3" in built.run(namespace, ("getent", "ahosts", "www.example.com")).stdout
            assert built.run(namespace, ("getent", "ahosts", "api.openai.com")).returncode != 0


def test_the_client_has_no_way_out_but_the_gateway() -> None:
    with namespaces.lab() as built:
        routes = built.run(built.client, ("ip", "route")).stdout.splitlines()
        assert [route.split()[:3] for route in routes if "default" in route] == [
            ["default", "via", "10.77.1.1"]
        ]
        links = built.run(built.client, ("ip", "-o", "link")).stdout.splitlines()
        assert sorted(link.split()[1].split("@")[0].rstrip(":") for link in links) == ["eth0", "lo"]


def test_an_exception_inside_leaves_nothing_behind() -> None:
    seen: list[Lab] = []

    def fail() -> None:
        with namespaces.lab() as built:
            seen.append(built)
            built.exec(built.gateway, ("sleep", "600"))
            stray = ("sh", "-c", "trap '' TERM; setsid sleep 601 & exec sleep 602")
            built.exec(built.upstream, stray, {"PATH": os.environ["PATH"]})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert traces(seen[0]) == []


def test_a_process_that_ignores_the_polite_signal_ends_too() -> None:
    with namespaces.lab() as built:
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
        process = built.exec(
            built.client, (sys.executable, "-I", "-S", "-c", deaf), stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        built.stop(process)
        assert process.returncode == -signal.SIGKILL
        assert time.monotonic() - began < 5


def test_two_laboratories_do_not_collide() -> None:
    with namespaces.lab() as one, namespaces.lab() as other:
        assert {one.client, one.gateway}.isdisjoint({other.client, other.gateway})
    assert traces(one) == traces(other) == []


def test_what_a_killed_run_left_is_swept_by_the_next() -> None:
    script = (
        "import os, signal, subprocess\n"
        "from sallyport.choke.namespaces import lab\n"
        "with lab() as built:\n"
        "    built.exec(built.gateway, ('sleep', '603'), stdout=subprocess.DEVNULL)\n"
        "    print(built.client, built.gateway, built.upstream, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run(
        (sys.executable, "-c", script), env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    client, gateway, upstream = killed.stdout.split()
    left = Lab(client, gateway, upstream)
    with namespaces.lab():
        pass
    assert traces(left) == []


def test_a_living_laboratory_is_not_swept() -> None:
    with namespaces.lab() as one:
        with namespaces.lab():
            pass
        assert one.run(one.client, ("true",)).returncode == 0


def test_without_root_it_says_so() -> None:
    script = (
        "import os; os.setuid(65534)\n"
        "from sallyport.choke import namespaces\n"
        "from sallyport.errors import OperatorError\n"
        "assert not namespaces.permitted()\n"
        "try:\n"
        "    namespaces.lab().__enter__()\n"
        "except OperatorError as error:\n"
        "    assert error.exit_code == 3, error.exit_code\n"
        "    assert 'root' in str(error)\n"
    )
    # The package is read before the user changes: a checkout may lie where nobody else can read.
    preload = "import sallyport.choke.namespaces, sallyport.errors\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        (sys.executable, "-c", preload + script), env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_failure_while_building_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(Path("/run").glob("netns/sallyport-*"))
    monkeypatch.setattr(namespaces, "GATEWAY_V4", "not an address")
    with pytest.raises(OperatorError, match="cannot be built"), namespaces.lab():
        pass
    assert sorted(Path("/run").glob("netns/sallyport-*")) == before
