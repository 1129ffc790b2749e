"""What the doctor says of versions, environment, files, disk and clock."""

import re
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sallyport.audit.store import Store
from sallyport.doctor import machine
from sallyport.doctor.authority import check_authority
from sallyport.doctor.findings import Check, Level, Situation
from sallyport.doctor.proxies import check_proxies, https_proxy, proxy_address


def test_the_locked_version_is_the_one_in_pyproject() -> None:
    pyproject = Path(__file__).resolve().parents[2].joinpath("pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'"mitmproxy==([0-9.]+)"', pyproject)[1] == machine.LOCKED_MITMPROXY  # type: ignore[index]
    assert f'requires-python = ">={".".join(map(str, machine.OLDEST_PYTHON))}"' in pyproject


def test_this_python_and_this_mitmproxy_are_good() -> None:
    assert machine.check_python().level is Level.OK
    assert machine.check_mitmproxy().level is Level.OK


def test_another_mitmproxy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "12.3.1")
    found = machine.check_mitmproxy()
    assert found.level is Level.FAIL
    assert "12.3.1" in found.what


def test_an_old_python_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 11, 9))
    assert machine.check_python().level is Level.FAIL


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSLKEYLOGFILE", "/tmp/keys"),
        ("MITMPROXY_SSLKEYLOGFILE", "/tmp/keys"),
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ("SSL_CERT_FILE", "/nonexistent/bundle.pem"),
        ("NODE_EXTRA_CA_CERTS", "/nonexistent/ca.pem"),
    ],
)
def test_an_environment_trap_fails(environ: dict[str, str], name: str, value: str) -> None:
    assert [check.level for check in machine.check_environment(environ)] == [Level.OK]
    (found,) = machine.check_environment({**environ, name: value})
    assert found.level is Level.FAIL
    assert name in found.what


def test_a_mitmproxy_configuration_is_warned_of(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".mitmproxy").mkdir()
    (tmp_path / ".mitmproxy/config.yaml").write_text("rawtcp: true")
    assert Level.WARN in [check.level for check in machine.check_environment(environ)]


def test_a_folder_that_others_may_write_to_fails(situation: Situation) -> None:
    assert machine.check_files(situation).level is Level.OK
    situation.confdir.chmod(0o770)
    assert machine.check_files(situation).level is Level.FAIL


def test_a_store_is_proved_writable_without_writing(situation: Situation, tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    asked = replace(situation, store=f"sqlite:///{path}")
    assert machine.check_store(asked).level is Level.WARN
    assert not path.exists()
    Store.open(asked.store or "").close()
    assert machine.check_store(asked).level is Level.OK
    store = Store.open(asked.store or "")
    assert store.events() == []
    store.close()
    path.chmod(0o640)
    assert machine.check_store(asked).level is Level.FAIL


def test_a_store_that_is_no_store_fails(situation: Situation, tmp_path: Path) -> None:
    path = tmp_path / "audit.db"
    path.write_bytes(b"no database at all " * 100)
    path.chmod(0o600)
    assert machine.check_store(replace(situation, store=str(path))).level is Level.FAIL
    assert machine.check_store(replace(situation, store="mysql://h/d")).level is Level.FAIL
    unreachable = machine.check_store(replace(situation, store="postgresql://u:secret@127.0.0.1:1/d"))
    assert unreachable.level is Level.FAIL
    assert "secret" not in repr(unreachable)


@pytest.mark.parametrize(
    ("free", "level"), [(2**40, Level.OK), (2**30, Level.WARN), (2**20, Level.FAIL)], ids=str
)
def test_little_room_on_the_disk_is_noticed(
    situation: Situation, monkeypatch: pytest.MonkeyPatch, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free, total=2**41))
    asked = replace(situation, store="sqlite:////nonexistent/deep/audit.db")
    assert [check.level for check in machine.check_disk(asked)] == [level, level]


def test_a_clock_before_the_installation_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert machine.check_clock().level is Level.FAIL


def test_the_authority_is_looked_at(situation: Situation, tmp_path: Path) -> None:
    found, authority = check_authority(situation)
    assert found.level is Level.OK
    assert authority is not None
    uncovered, _ = check_authority(replace(situation, hosts=("api.elsewhere.ai",)))
    assert uncovered.level is Level.FAIL
    assert "api.elsewhere.ai" in uncovered.what
    authority.paths.authority.chmod(0o644)
    assert check_authority(situation)[0].level is Level.FAIL
    assert check_authority(replace(situation, confdir=tmp_path / "none"))[0].level is Level.FAIL
    assert check_authority(replace(situation, from_client=True))[0].level is Level.SKIPPED


def levels(checks: "list[Check]") -> set[Level]:
    return {check.level for check in checks}


PROXY = "http://user:secret@gateway.example:3128"
PROXY_CASES = {
    "none": ({}, Level.OK),
    "one": ({"HTTPS_PROXY": PROXY}, Level.OK),
    "both alike": ({"HTTPS_PROXY": PROXY, "https_proxy": PROXY}, Level.OK),
    "two that differ": ({"HTTPS_PROXY": PROXY, "https_proxy": "http://other:1"}, Level.FAIL),
    "no URL": ({"HTTPS_PROXY": "ftp://user:secret@x"}, Level.FAIL),
    "a bad port": ({"HTTPS_PROXY": "http://user:secret@x:port"}, Level.FAIL),
    "a provider exempted": ({"HTTPS_PROXY": PROXY, "NO_PROXY": "localhost,.openai.com"}, Level.FAIL),
    "everything exempted": ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, Level.FAIL),
    "others exempted": ({"HTTPS_PROXY": PROXY, "no_proxy": "localhost,notopenai.com"}, Level.OK),
    "an exemption without a proxy": ({"NO_PROXY": "api.openai.com"}, Level.OK),
}


@pytest.mark.parametrize(("variables", "level"), PROXY_CASES.values(), ids=PROXY_CASES)
def test_proxy_variables_are_judged_and_never_shown(
    situation: Situation, variables: dict[str, str], level: Level
) -> None:
    checks = [*check_proxies(situation, variables)]
    assert levels(checks) == {level}
    assert "secret" not in repr(checks)


def test_a_client_without_a_proxy_is_warned_unless_the_network_redirects(situation: Situation) -> None:
    client = replace(situation, from_client=True)
    assert levels([*check_proxies(client, {})]) == {Level.WARN}
    redirected = replace(client, transparent=True)
    assert levels([*check_proxies(redirected, {})]) == {Level.OK}
    assert levels([*check_proxies(redirected, {"HTTPS_PROXY": PROXY})]) == {Level.WARN}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (PROXY, ("gateway.example", 3128)),
        ("gateway.example:3128", ("gateway.example", 3128)),
        ("http://gateway.example", ("gateway.example", 80)),
        ("https://[fd77::1]:8443/", ("fd77::1", 8443)),
        ("socks5h://gateway.example", ("gateway.example", 1080)),
        ("http://", None),
        ("gopher://x", None),
    ],
)
def test_a_proxy_url_is_host_and_port(url: str, address: tuple[str, int] | None) -> None:
    assert proxy_address(url) == address
    assert https_proxy({"ALL_PROXY": url}) == address
