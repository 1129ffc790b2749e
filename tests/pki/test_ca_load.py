"""Every unfit authority is refused with a sentence that says what to do."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mitmproxy.certs import CertStore

from sallyport.errors import OperatorError
from sallyport.pki import CaPaths, create_ca, load_ca, write_bundle
from sallyport.pki.constraints import name_constraints

HOSTS = ("api.openai.com",)


@pytest.fixture
def paths(tmp_path: Path) -> CaPaths:
    return create_ca(tmp_path / "ca", HOSTS)


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def authority_pem(
    constraints: x509.NameConstraints | None,
    *,
    critical: bool = True,
    ca: bool = True,
    passphrase: bytes | None = None,
) -> bytes:
    """A self-made authority that differs from ours in one thing."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "other")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(1)
        .public_key(key.public_key())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if constraints:
        builder = builder.add_extension(constraints, critical=critical)
    certificate = builder.sign(key, hashes.SHA256())
    return key_pem(key, passphrase) + certificate.public_bytes(serialization.Encoding.PEM)


def cut_ip(constraints: x509.NameConstraints) -> x509.NameConstraints:
    return x509.NameConstraints(constraints.permitted_subtrees, (constraints.excluded_subtrees or [])[:1])


FIT = name_constraints(HOSTS)


def certificate_pem() -> bytes:
    whole = authority_pem(FIT)
    return whole[whole.index(b"-----BEGIN CERTIFICATE") :]


def some_key() -> bytes:
    return key_pem(ec.generate_private_key(ec.SECP256R1()))


UNFIT: list[tuple[str, Callable[[], bytes], str]] = [
    ("rubbish", lambda: b"rubbish", "no certificate"),
    ("certificate only", certificate_pem, "no private key"),
    ("key only", some_key, "no certificate"),
    ("foreign key", lambda: some_key() + certificate_pem(), "does not belong"),
    ("passphrase", lambda: authority_pem(FIT, passphrase=b"secret"), "passphrase"),
    ("no constraints", lambda: authority_pem(None), "no name constraints"),
    ("not critical", lambda: authority_pem(FIT, critical=False), "overlook"),
    ("IPv6 open", lambda: authority_pem(cut_ip(FIT)), "exclude all IP"),
    ("all names", lambda: authority_pem(x509.NameConstraints(None, FIT.excluded_subtrees)), "every DNS name"),
    ("no authority", lambda: authority_pem(FIT, ca=False), "no certificate authority"),
]


@pytest.mark.parametrize(("make", "says"), [case[1:] for case in UNFIT], ids=[case[0] for case in UNFIT])
def test_an_unfit_authority_is_refused(paths: CaPaths, make: Callable[[], bytes], says: str) -> None:
    paths.authority.write_bytes(make())
    with pytest.raises(OperatorError, match=says) as caught:
        load_ca(paths.confdir)
    assert "sallyport ca init" in caught.value.todo
    assert str(paths.authority) in str(caught.value)


def test_mitmproxys_own_unconstrained_authority_is_refused(tmp_path: Path) -> None:
    CertStore.create_store(tmp_path / "theirs", "mitmproxy", 2048)
    with pytest.raises(OperatorError, match="pose as any site"):
        load_ca(tmp_path / "theirs")


def test_absence_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as caught:
        load_ca(tmp_path)
    assert caught.value.todo == "Make one: sallyport ca init"


@pytest.mark.parametrize("bits", [0o644, 0o604, 0o666, 0o620])
def test_a_key_that_others_may_read_or_change_is_refused(paths: CaPaths, bits: int) -> None:
    paths.authority.chmod(bits)
    with pytest.raises(OperatorError, match="other users") as caught:
        load_ca(paths.confdir)
    assert "chmod 600" in caught.value.todo


@pytest.mark.parametrize("bits", [0o400, 0o600, 0o440])
def test_a_key_for_its_owner_or_a_service_group_is_fine(paths: CaPaths, bits: int) -> None:
    paths.authority.chmod(bits)
    assert load_ca(paths.confdir).warnings == ()


def test_time_is_judged_expired_soon_and_not_yet(paths: CaPaths) -> None:
    end = load_ca(paths.confdir).not_after
    assert load_ca(paths.confdir, now=end - timedelta(days=31)).warnings == ()
    (warning,) = load_ca(paths.confdir, now=end - timedelta(days=29, hours=1)).warnings
    assert "expires in 29 days" in warning
    assert f"ca init --confdir {paths.confdir}/next" in warning, (
        "clients must trust the next one before it is used"
    )
    with pytest.raises(OperatorError, match="expired on"):
        load_ca(paths.confdir, now=end + timedelta(seconds=1))
    with pytest.raises(OperatorError, match="clock"):
        load_ca(paths.confdir, now=end - timedelta(days=366))


def test_the_bundle_holds_public_roots_ours_and_the_companys_but_no_key(
    paths: CaPaths, tmp_path: Path
) -> None:
    corporate = tmp_path / "corporate.pem"
    corporate.write_bytes(authority_pem(None))

    bundle = write_bundle(paths.confdir, [corporate])

    held = x509.load_pem_x509_certificates(bundle.read_bytes())
    public = x509.load_pem_x509_certificates(Path(certifi.where()).read_bytes())
    assert load_ca(paths.confdir).certificate in held
    assert x509.load_pem_x509_certificates(corporate.read_bytes())[0] in held
    assert set(public) <= set(held)
    assert b"PRIVATE" not in bundle.read_bytes()
    assert bundle.stat().st_mode & 0o777 == 0o644


def test_a_bundle_with_a_file_that_holds_no_certificate_is_refused(paths: CaPaths, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(OperatorError, match="no PEM certificate"):
        write_bundle(paths.confdir, [tmp_path / "empty.pem"])
    assert not paths.bundle.exists()
