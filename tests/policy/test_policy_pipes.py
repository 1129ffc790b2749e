"""A pipe or a device in the place of a file that a gateway reads again is refused at once, and holds nobody up."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateways import python_env
from sallyport.errors import OperatorError
from sallyport.files import read_file
from sallyport.pki.revocation import Revocations
from sallyport.policy.load import load_policy
from sallyport.policy.problems import PolicyError
from sallyport.state.policybundles import read_bundle
from sallyport.state.proxyusers import ProxyUsers
from sallyport.state.tokens.sources import Place, fetch

WHAT = "a pipe or a device, and no file"


@pytest.fixture(autouse=True)
def not_for_ever() -> Iterator[None]:
    """End a test that waits for a pipe, which nothing else would."""

    def late(number: int, frame: object) -> None:
        raise AssertionError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


READERS: dict[str, Callable[[Path], object]] = {
    "policy": load_policy,
    "bundle": read_bundle,
    "passwords": lambda path: ProxyUsers(path, None),
    "keys of an issuer": lambda path: fetch(Place(file=path)),
    "revocation list": lambda path: Revocations([path], [], ()),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_refused(name: str, pipe: Path) -> None:
    with pytest.raises((OperatorError, OSError), match=WHAT):
        READERS[name](pipe)


def test_a_device_and_a_link_to_a_pipe_are_refused_too(pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "link.yaml").symlink_to(pipe)
    for path in (tmp_path / "link.yaml", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(PolicyError, match=WHAT):
            load_policy(path)
    with pytest.raises(PolicyError, match="directory"):
        load_policy(tmp_path)


def test_what_is_longer_than_it_may_be_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "long", 9) == b"x" * 10
    assert read_file(tmp_path / "long") == b"x" * 100


@pytest.mark.parametrize("place", ["/dev/zero", "pipe", "."])
def test_a_gateway_does_not_start_with_one(place: str, pipe: Path, tmp_path: Path) -> None:
    words = ["run", "--policy", place, "--confdir", str(tmp_path / "conf")]
    done = subprocess.run(
        [sys.executable, "-m", "sallyport", *words],
        cwd=tmp_path, capture_output=True, text=True, env=python_env(), timeout=25, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--policy: {place} is a pipe, a device or a folder. Name a file" in done.stderr
    assert not (tmp_path / "conf").exists()


def test_a_command_takes_what_a_shell_gives_it_as_a_descriptor(tmp_path: Path) -> None:
    check = f"{sys.executable} -m sallyport policy check"
    for command in (f"{check} <(echo 'version: 1')", f"echo 'version: 1' | {check} /dev/stdin"):
        words = ["bash", "-c", command]
        done = subprocess.run(
            words, capture_output=True, text=True, env=python_env(), timeout=25, check=False
        )
        assert done.returncode == 0, done.stderr


def test_a_folder_that_is_asked_for_again_and_again_takes_no_descriptors(tmp_path: Path) -> None:
    for _ in range(8):
        with pytest.raises(IsADirectoryError):
            read_file(tmp_path)
    taken = len(os.listdir("/proc/self/fd"))
    for _ in range(8):
        with pytest.raises(IsADirectoryError):
            read_file(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == taken
