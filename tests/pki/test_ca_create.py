"""The authority on disk: what it may vouch for, who may read it, and that nothing overwrites it."""

import errno
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME

from sallyport.errors import OperatorError
from sallyport.pki import ca_paths, confdir, create_ca, ensure_ca, load_ca, rotate_ca
from sallyport.pki.constraints import covered, subtrees

HOSTS = ("api.openai.com", "*.openai.azure.com", "api.anthropic.com")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_mitmproxys_store_takes_the_authority_and_makes_none_of_its_own(tmp_path: Path, key: str) -> None:
    paths = create_ca(tmp_path / "ca", HOSTS, key=key)  # type: ignore[arg-type]
    before = {path.name: path.read_bytes() for path in paths.confdir.iterdir()}

    store = CertStore.from_store(paths.confdir, CONF_BASENAME, 2048)

    assert store.default_ca.to_cryptography() == load_ca(paths.confdir).certificate
    assert {path.name: path.read_bytes() for path in paths.confdir.iterdir()} == before
    assert set(before) == {"mitmproxy-ca.pem", "mitmproxy-dhparam.pem", "ca-cert.pem"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
def test_the_key_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    former = os.umask(umask)
    try:
        paths = create_ca(tmp_path / "home", HOSTS)
    finally:
        os.umask(former)
    assert mode(paths.authority) == 0o600
    assert mode(paths.certificate) == 0o644
    assert b"PRIVATE" not in paths.certificate.read_bytes()


def test_a_new_folder_is_closed_to_others_and_holds_no_drafts(tmp_path: Path) -> None:
    paths = create_ca(tmp_path / "new", HOSTS)
    assert mode(paths.confdir) == 0o700
    assert not [path for path in paths.confdir.iterdir() if path.name.startswith(".")]


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(OperatorError, match="other users may write"):
        create_ca(folder, HOSTS)
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(OperatorError, match="belongs to another user"):
        create_ca(folder, HOSTS)
    assert not list(folder.iterdir())


def test_the_certificate_says_critical_constraints_path_length_zero_and_at_most_a_year(
    tmp_path: Path,
) -> None:
    authority = load_ca(create_ca(tmp_path / "ca", HOSTS).confdir)
    constraints = authority.certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert authority.permitted_dns == ("api.anthropic.com", "api.openai.com", "openai.azure.com")
    assert [str(name.value) for name in constraints.value.excluded_subtrees or ()] == ["0.0.0.0/0", "::/0"]
    assert authority.path_length == 0
    assert authority.not_after - authority.not_before <= timedelta(days=365)
    assert authority.key_type == "EC secp256r1"


@pytest.mark.parametrize("days", [0, -1, 366, 3650])
def test_a_life_outside_one_day_to_one_year_is_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(OperatorError, match="not between 1 and 365"):
        create_ca(tmp_path / "ca", HOSTS, days=days)
    assert not (tmp_path / "ca").exists()


def test_a_second_create_refuses_and_changes_nothing(tmp_path: Path) -> None:
    paths = create_ca(tmp_path / "ca", HOSTS)
    before = paths.authority.read_bytes()
    with pytest.raises(OperatorError, match="already here") as caught:
        create_ca(paths.confdir, HOSTS)
    assert "--force" in caught.value.todo
    assert paths.authority.read_bytes() == before


def test_a_link_in_place_of_the_key_is_not_followed(tmp_path: Path) -> None:
    folder, target = tmp_path / "ca", tmp_path / "elsewhere.pem"
    folder.mkdir(mode=0o700)
    (folder / "mitmproxy-ca.pem").symlink_to(target)
    with pytest.raises(OperatorError, match="already here"):
        create_ca(folder, HOSTS)
    assert not target.exists()


def test_many_that_start_at_once_end_with_the_same_authority(tmp_path: Path) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(ensure_ca(tmp_path / "ca", HOSTS).fingerprint))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_ensure_puts_lost_public_files_back_and_leaves_the_key(tmp_path: Path) -> None:
    paths = create_ca(tmp_path / "ca", HOSTS)
    before = {path: path.read_bytes() for path in paths.confdir.iterdir()}
    paths.certificate.write_bytes(b"rubbish")
    paths.dhparam.unlink()
    assert "put it right" in load_ca(paths.confdir).warnings[0]

    assert ensure_ca(paths.confdir, HOSTS).permitted_dns
    assert {path: path.read_bytes() for path in paths.confdir.iterdir()} == before
    assert load_ca(paths.confdir).warnings == ()


def test_rotation_keeps_the_old_key_in_a_private_backup_and_changes_the_name(tmp_path: Path) -> None:
    paths = create_ca(tmp_path / "ca", HOSTS)
    old, old_pem = load_ca(paths.confdir), paths.authority.read_bytes()

    _, backup = rotate_ca(paths.confdir, HOSTS)

    new = load_ca(paths.confdir)
    assert new.fingerprint != old.fingerprint
    assert new.subject != old.subject
    assert backup is not None
    assert (backup / "mitmproxy-ca.pem").read_bytes() == old_pem
    assert mode(backup) == 0o700
    assert mode(backup / "mitmproxy-ca.pem") == 0o600
    assert load_ca(backup).fingerprint == old.fingerprint


def test_rotation_in_an_empty_folder_simply_creates(tmp_path: Path) -> None:
    paths, backup = rotate_ca(tmp_path / "ca", HOSTS)
    assert backup is None
    assert load_ca(paths.confdir).warnings == ()


def test_the_key_is_pkcs8_without_a_passphrase_and_comes_first(tmp_path: Path) -> None:
    pem = create_ca(tmp_path / "ca", HOSTS).authority.read_bytes()
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert serialization.load_pem_private_key(pem, None)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(["API.OpenAI.com."], ("api.openai.com",), id="case and a final dot"),
        pytest.param(
            ["*.openai.com", "api.openai.com", "openai.com"], ("openai.com",), id="covered names fall away"
        ),
        pytest.param(
            ["a.notopenai.com", "openai.com"], ("a.notopenai.com", "openai.com"), id="labels, not letters"
        ),
        pytest.param(
            ["bedrock-runtime.{region}.amazonaws.com"], ("amazonaws.com",), id="a hole in the middle"
        ),
        pytest.param(["{region}-aiplatform.googleapis.com"], ("googleapis.com",), id="a hole in a label"),
        pytest.param(["a.*.example.com"], ("example.com",), id="a star in the middle"),
        pytest.param(["bücher.example.com"], ("xn--bcher-kva.example.com",), id="international names"),
    ],
)
def test_names_become_the_smallest_set_of_subtrees(names: list[str], expected: tuple[str, ...]) -> None:
    assert subtrees(names) == expected


@pytest.mark.parametrize(
    "name", ["com", "*.com", "*", "", "a.*.com", "{x}.com", "10.0.0.1", "a b.com", "x..com"]
)
def test_names_that_no_subtree_expresses_are_refused(name: str) -> None:
    with pytest.raises(OperatorError):
        subtrees([name])


def test_no_names_at_all_is_refused() -> None:
    with pytest.raises(OperatorError, match="unconstrained"):
        subtrees([])


def test_uncovered_names_the_hosts_clients_would_refuse(tmp_path: Path) -> None:
    authority = load_ca(create_ca(tmp_path / "ca", HOSTS).confdir)
    assert authority.uncovered(["api.openai.com", "*.openai.azure.com", "api.mistral.ai", "openai.com"]) == (
        "api.mistral.ai",
        "openai.com",
    )
    assert covered("x.y.openai.com", ["openai.com"])
    assert not covered("notopenai.com", ["openai.com"])


def test_confdir_is_what_the_environment_says_or_a_hidden_folder_at_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SALLYPORT_CONFDIR", str(tmp_path / "x"))
    assert confdir() == tmp_path / "x"
    monkeypatch.delenv("SALLYPORT_CONFDIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert confdir() == tmp_path / ".sallyport"
    assert ca_paths(confdir()).authority.name == "mitmproxy-ca.pem"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EACCES])
def test_a_folder_that_takes_no_files_is_told_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OperatorError, match=os.strerror(number)) as told:
        create_ca(tmp_path / "home", HOSTS)
    assert told.value.exit_code == 3
    assert list((tmp_path / "home").iterdir()) == []
