"""Client certificates without a handshake: authorities, leaves and revocation lists as files hold them."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from e2e.identity.badges import DAY, NOW, Authority, Badge, pem
from sallyport.errors import OperatorError
from sallyport.exchange import Certificate
from sallyport.pki.clients import Fault, described, leaf_fault, read_authorities
from sallyport.pki.revocation import Revocations, links_of
from sallyport.policy.connections import ClientCertificates
from sallyport.policy.load import parse_policy
from sallyport.policy.problems import PolicyError
from sallyport.proxy.clientcerts import ClientTrust, Proof


@pytest.fixture
def root(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "root")


def revocations(root: Authority, *files: Path, accept_expired: bool = False) -> Revocations:
    return Revocations(files, (root.certificate,), accept_expired=accept_expired)


def fault(found: Revocations, badge: Badge, root: Authority, now: object = NOW) -> Fault | None:
    return found.fault(badge.fingerprint, links_of((badge.certificate, root.certificate)), now)  # type: ignore[arg-type]


def test_a_list_is_good_from_its_date_to_its_next_update(root: Authority, tmp_path: Path) -> None:
    badge, gone = root.badge("a"), root.badge("b")
    found = revocations(root, root.crl(tmp_path / "r.crl", gone, until=NOW + DAY))
    assert fault(found, badge, root) is None
    assert fault(found, gone, root) is Fault.REVOKED
    assert fault(found, badge, root, NOW + DAY + timedelta(seconds=1)) is Fault.CRL_EXPIRED
    assert fault(found, badge, root, NOW - 6 * DAY) is Fault.CRL_EXPIRED
    assert fault(found, gone, root, NOW + 2 * DAY) is Fault.REVOKED


def test_of_two_lists_of_an_authority_the_later_one_counts(root: Authority, tmp_path: Path) -> None:
    gone = root.badge("gone")
    old = root.crl(tmp_path / "old.crl")
    builder = x509.CertificateRevocationListBuilder().issuer_name(root.certificate.subject)
    entry = (
        x509.RevokedCertificateBuilder().serial_number(gone.certificate.serial_number).revocation_date(NOW)
    )
    made = builder.last_update(NOW).next_update(NOW + DAY).add_revoked_certificate(entry.build())
    new = tmp_path / "new.crl"
    new.write_bytes(pem(made.sign(root.key, root.certificate.signature_hash_algorithm)))
    for files in ((old, new), (new, old)):
        assert fault(revocations(root, *files), gone, root) is Fault.REVOKED


@pytest.mark.parametrize(
    ("extension", "what"),
    [
        (x509.DeltaCRLIndicator(1), "partial"),
        (x509.IssuingDistributionPoint(None, None, True, False, None, False, False), "partial"),
    ],
    ids=["delta", "users only"],
)
def test_a_partial_list_is_refused(
    root: Authority, tmp_path: Path, extension: x509.ExtensionType, what: str
) -> None:
    file = root.crl(tmp_path / "r.crl", extension=extension)
    with pytest.raises(OperatorError, match=what):
        revocations(root, file)


def test_a_list_of_somebody_else_is_refused(root: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other", "root")
    with pytest.raises(OperatorError, match="no authority"):
        revocations(root, stranger.crl(tmp_path / "r.crl"))


def test_an_authority_of_the_same_name_does_not_share_a_list(root: Authority, tmp_path: Path) -> None:
    twin = Authority(tmp_path / "twin", "root")
    found = Revocations([root.crl(tmp_path / "r.crl")], (root.certificate, twin.certificate))
    badge = twin.badge("x")
    assert (
        found.fault(badge.fingerprint, links_of((badge.certificate, twin.certificate)), NOW)
        is Fault.CRL_MISSING
    )


def test_a_file_of_authorities_holds_nothing_else(root: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(root.file.read_bytes() + root.badge("leaf").certificate_file.read_bytes())
    with pytest.raises(OperatorError, match="certificate 2 is no authority"):
        read_authorities(file)


def test_a_name_that_could_be_read_in_two_ways_is_malformed(root: Authority) -> None:
    for odd in ("root\x00.example", "a\nb"):
        badge = root.badge("odd", x509.DNSName(odd))
        assert leaf_fault(badge.certificate) is Fault.MALFORMED


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://corp.example/a/../b",
        "SPIFFE://corp.example/a",
        "spiffe://corp.example:8443/a",
        "spiffe://Corp/a",
        "spiffe://u@corp/a",
        "spiffe://corp/a?x=1",
    ],
)
def test_a_spiffe_id_is_spelt_one_way(root: Authority, uri: str) -> None:
    badge = root.badge("odd", x509.UniformResourceIdentifier(uri))
    assert leaf_fault(badge.certificate, "corp.example") is not None


def test_wildcards_and_two_common_names_name_nobody(root: Authority) -> None:
    badge = root.badge("x", x509.DNSName("*.corp.example"), x509.DNSName("A.corp.example"))
    assert described(badge.certificate).names == ("a.corp.example",)


def test_the_first_kind_that_is_there_names_the_owner_and_two_of_it_name_nobody() -> None:
    section = ClientCertificates(ca="ca.pem", kinds=("email", "dns"))
    one = Certificate("f", "cn", (), ("a.example", "b.example"), ("x@example",))
    assert section.name_of(one) == ("email", "x@example")
    assert section.name_of(Certificate("f", "cn", (), ("a.example", "b.example"))) is None
    assert section.name_of(Certificate("f", "cn")) is None


def test_a_proof_is_judged_again_by_another_policys_authorities(root: Authority, tmp_path: Path) -> None:
    badge = root.badge("anna")
    first, same = (ClientTrust(ClientCertificates(ca="x"), root.file, ()) for _ in range(2))
    proof = first.proof((badge.certificate, root.certificate))
    assert isinstance(proof, Proof)
    again = same.standing(proof)
    assert isinstance(again, Proof)
    assert again.trust is same
    stranger = Authority(tmp_path / "other", "stranger")
    assert ClientTrust(ClientCertificates(ca="x"), stranger.file, ()).standing(proof) is Fault.FOREIGN


def test_required_networks_are_matched_for_mapped_addresses_too(root: Authority) -> None:
    section = parse_policy(
        "version: 1\nidentity:\n  certificates: {ca: x, required: true, networks: [10.0.0.0/8]}\n"
    ).identity.certificates
    assert section is not None
    trust = ClientTrust(section, root.file, ())
    asked = {
        a: trust.required_of(a) for a in ("10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "fe80::1%eth0", "odd")
    }
    assert list(asked.values()) == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("certificates: {ca: x, networks: [10.0.0.0/8]}", "networks"),
        ("certificates: {ca: x, revoked: [abc]}", "fingerprint"),
        ("certificates: {ca: x, kinds: [dns, dns]}", "twice"),
        ("certificates: {required: true}", "missing"),
        ("proxy_auth: {realm: x}", "names no users"),
        ('proxy_auth: {passwords: p, realm: "a\\"b"}', "spelt"),
    ],
)
def test_a_mistake_in_the_policy_is_told(line: str, what: str) -> None:
    with pytest.raises(PolicyError, match=what):
        parse_policy(f"version: 1\nidentity:\n  {line}\n")
