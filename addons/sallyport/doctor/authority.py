"""The certificate authority: fit, and fit for the hosts that are intercepted."""

from cryptography import x509

from sallyport.doctor.findings import Check, Situation, fail, failed, ok, skipped, warn
from sallyport.errors import OperatorError
from sallyport.pki import Authority, load_ca


def check_authority(situation: Situation) -> tuple[Check, Authority | None]:
    """Return the check, and the authority if this machine holds a fit one."""
    if situation.from_client:
        return skipped("ca", "lies on the gateway, not on a client"), None
    try:
        authority = load_ca(situation.confdir)
    except OperatorError as error:
        return failed("ca", error), None
    uncovered = authority.uncovered(situation.hosts)
    if uncovered:
        return (
            fail(
                "ca",
                f"{authority.subject} may not vouch for {', '.join(uncovered)}: clients would refuse it",
                "Make one that covers the catalogue: sallyport ca init --force",
            ),
            authority,
        )
    said = f"{authority.subject}, {authority.key_type}, valid until {authority.not_after:%Y-%m-%d}"
    if authority.warnings:
        return warn("ca", f"{said}; {'; '.join(authority.warnings)}", "See above."), authority
    return ok("ca", said), authority


def public_certificate(situation: Situation, authority: Authority | None) -> x509.Certificate | None:
    """Return the gateway's certificate as far as it is known here: from --ca or from confdir.

    Raises OperatorError if --ca names a file without a certificate.
    """
    if situation.ca is None:
        return authority.certificate if authority else None
    try:
        return x509.load_pem_x509_certificate(situation.ca.read_bytes())
    except (OSError, ValueError):
        raise OperatorError(
            f"--ca {situation.ca}", "holds no certificate that can be read", "Give the gateway's ca-cert.pem."
        ) from None
