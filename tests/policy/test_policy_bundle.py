"""`sallyport policy bundle`: what was signed is what runs; unsigned, changed and older ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.last_run import policy_in_use
from sallyport.cli.main import app
from sallyport.cli.policybundle import BundledPolicy
from sallyport.errors import OperatorError
from sallyport.policy.load import load_policy

POLICY = "version: 1 # ours\r\ntenants: {files: {acme: tenants/acme.yaml}}\r\n"


class Keys:
    """A pair of keys in files."""

    def __init__(self, folder: Path, name: str = "policy") -> None:
        key = Ed25519PrivateKey.generate()
        self.private, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        self.private.touch(0o600)
        self.private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "tenants").mkdir(parents=True)
    (site / "policy.yaml").write_bytes(POLICY.encode())
    (site / "tenants" / "acme.yaml").write_text("version: 1\nmasking: {unlisted: deny}\n")
    (site / "policy.test.yaml").write_text("cases: []\n")
    return site / "policy.yaml"


def run(*words: str) -> tuple[str, OperatorError | None]:
    done = CliRunner().invoke(app, ["policy", "bundle", *words])
    assert done.exception is None or isinstance(done.exception, OperatorError), done.output
    return done.stdout, done.exception


def bundled(policy: Path, keys: Keys, serial: int, name: str = "policy.bundle") -> Path:
    made = policy.parent.parent / "out" / name
    made.parent.mkdir(exist_ok=True)
    _, error = run(str(policy), "-o", str(made), "--key", str(keys.private), "--serial", str(serial))
    assert error is None
    return made


def test_a_bundle_holds_every_file_and_is_the_same_bytes_each_time(policy: Path, keys: Keys) -> None:
    first, again = bundled(policy, keys, 1), bundled(policy, keys, 1, "again.bundle")
    assert first.read_bytes() == again.read_bytes()
    files = json.loads(first.read_text())["bundle"]["files"]
    assert sorted(files) == ["policy.test.yaml", "policy.yaml", "tenants/acme.yaml"]
    told, _ = run(str(first), "--show", "--policy-key", str(keys.public))
    assert "good" in told
    assert "tenants/acme.yaml" in told
    assert "not checked" in run(str(first), "--show")[0]


def test_a_gateway_reads_the_very_policy_out_of_it(policy: Path, keys: Keys, tmp_path: Path) -> None:
    source = BundledPolicy(bundled(policy, keys, 1), keys.public, tmp_path / "conf")
    main = Path(source.file())
    assert main.read_bytes() == POLICY.encode()
    assert load_policy(main).revision == load_policy(policy).revision
    (main.parent / "tenants" / "acme.yaml").write_text(
        "version: 1\n"
    )  # who changes what was unpacked is undone
    assert load_policy(Path(source.file())).revision == load_policy(policy).revision
    assert main.parent.stat().st_mode & 0o077 == 0


def changed(members: dict[str, Any], how: str) -> dict[str, Any]:
    inner = members["bundle"]
    match how:
        case "text":
            inner["files"]["policy.yaml"] = "version: 1\nmode: observe\n"
        case "file added":
            inner["files"]["more.yaml"] = "x"
        case "file gone":
            del inner["files"]["tenants/acme.yaml"]
        case "serial":
            inner["serial"] += 1
        case "revision":
            inner["revision"] = "0" * 12
        case "name":
            inner["name"] = "policy.test.yaml"
        case "signature":
            first = "B" if members["signature"][0] == "A" else "A"
            members["signature"] = first + members["signature"][1:]
        case "no signature":
            members["signature"] = ""
        case "outside":
            inner["files"]["../policy.yaml"] = "x"
        case "format":
            inner["format"] = "other"
    return members


@pytest.mark.parametrize(
    "how",
    [
        "text",
        "file added",
        "file gone",
        "serial",
        "revision",
        "name",
        "signature",
        "no signature",
        "outside",
        "format",
    ],
)
def test_what_was_changed_is_refused(policy: Path, keys: Keys, tmp_path: Path, how: str) -> None:
    made = bundled(policy, keys, 1)
    made.write_text(json.dumps(changed(json.loads(made.read_text()), how)))
    with pytest.raises(OperatorError, match=r"not signed with this key|no policy bundle"):
        BundledPolicy(made, keys.public, tmp_path / "conf").file()


def test_another_key_and_a_plain_policy_are_refused(policy: Path, keys: Keys, tmp_path: Path) -> None:
    other = Keys(tmp_path, "other")
    with pytest.raises(OperatorError, match="not signed with this key"):
        BundledPolicy(bundled(policy, keys, 1), other.public, tmp_path / "conf").file()
    with pytest.raises(OperatorError, match="no policy bundle"):
        BundledPolicy(policy, keys.public, tmp_path / "conf").file()


def test_an_older_bundle_is_refused_until_somebody_accepts_it(
    policy: Path, keys: Keys, tmp_path: Path
) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    Store.open(conf / "audit.db").close()
    old = bundled(policy, keys, 4, "old.bundle")
    policy.write_text(POLICY + "secrets: {action: mask}\n")
    fork, new = bundled(policy, keys, 4, "fork.bundle"), bundled(policy, keys, 5)
    for path in (old, new, new):
        source = BundledPolicy(path, keys.public, conf)
        main = source.file()
        source.taken()
        assert [str(each.parent) for each in conf.glob("policies/bundle-*/policy.yaml")] == [
            str(Path(main).parent)
        ]
        assert policy_in_use(None, conf) == str(Path(main).resolve())
    with pytest.raises(OperatorError, match="its serial is 4, and a bundle of serial 5"):
        BundledPolicy(old, keys.public, conf).file()
    words = [str(old), "--accept", "--policy-key", str(keys.public), "--confdir", str(conf)]
    assert "--reason" in str(run(*words)[1])
    assert run(*words, "--reason", "the new one hurts")[1] is None
    BundledPolicy(old, keys.public, conf).file()
    with pytest.raises(OperatorError, match="its serial is 4, and a bundle of serial 4"):
        BundledPolicy(fork, keys.public, conf).file()
    store = Store.open(conf / "audit.db", create=False)
    (event,) = store.events(kind=EventKind.POLICY_PROMOTED)
    store.close()
    assert event.reason == "policy.bundle"
    assert event.detail.startswith("serial:4:")


def test_what_was_only_read_does_not_count_as_in_force(policy: Path, keys: Keys, tmp_path: Path) -> None:
    old, new = bundled(policy, keys, 1, "old.bundle"), bundled(policy, keys, 2)
    BundledPolicy(new, keys.public, tmp_path / "conf").file()
    BundledPolicy(old, keys.public, tmp_path / "conf").file()


@pytest.mark.parametrize("name", ["../elsewhere.yaml", "/etc/hostname"])
def test_a_policy_with_files_elsewhere_cannot_be_bundled(
    policy: Path, keys: Keys, tmp_path: Path, name: str
) -> None:
    (tmp_path / "elsewhere.yaml").write_text("version: 1\n")
    policy.write_text(f"version: 1\ndetection: {{recognisers: [{name}]}}\n")
    _, error = run(str(policy), "-o", str(tmp_path / "b"), "--key", str(keys.private), "--serial", "1")
    assert "lies outside its folder" in str(error)


def test_a_key_that_others_may_read_signs_nothing(policy: Path, keys: Keys, tmp_path: Path) -> None:
    keys.private.chmod(0o644)
    _, error = run(str(policy), "-o", str(tmp_path / "b"), "--key", str(keys.private), "--serial", "1")
    assert "chmod 600" in str(error)


def test_run_takes_no_bundle_without_a_key(policy: Path, keys: Keys, tmp_path: Path) -> None:
    made = bundled(policy, keys, 1)
    done = CliRunner().invoke(app, ["run", "--policy", str(made), "--confdir", str(tmp_path / "conf")])
    assert "--policy-key" in str(done.exception)
    assert not (tmp_path / "conf").exists()
