"""Where an authority's files lie. The names in front of -ca.pem and -dhparam.pem are mitmproxy's choice."""

import os
from dataclasses import dataclass
from pathlib import Path

from sallyport.errors import OperatorError


@dataclass(frozen=True, slots=True)
class CaPaths:
    """The files of one authority.

    authority: private key and certificate in one PEM, readable by the gateway alone.
    certificate: the certificate alone, what clients are told to trust.
    dhparam: public parameters that mitmproxy's store wants beside the key.
    bundle: public roots and our certificate in one PEM, for SSL_CERT_FILE and its like.
    """

    confdir: Path
    authority: Path
    certificate: Path
    dhparam: Path
    bundle: Path


def confdir() -> Path:
    """Return the folder that holds the authority: $SALLYPORT_CONFDIR, else ~/.sallyport."""
    chosen = os.environ.get("SALLYPORT_CONFDIR", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    try:
        return Path.home() / ".sallyport"
    except RuntimeError:
        raise OperatorError(
            "SALLYPORT_CONFDIR",
            "it is not set, and this user has no home folder",
            "Set it to a folder that only the gateway's user can read.",
        ) from None


def ca_paths(folder: Path) -> CaPaths:
    """Name the files of the authority in a folder; nothing is read or made."""
    return CaPaths(
        confdir=folder,
        authority=folder / "mitmproxy-ca.pem",
        certificate=folder / "ca-cert.pem",
        dhparam=folder / "mitmproxy-dhparam.pem",
        bundle=folder / "ca-bundle.pem",
    )
