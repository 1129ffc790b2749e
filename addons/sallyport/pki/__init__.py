"""The certificate authority of one gateway: name-constrained, short-lived, its key on this disk only.

Knows certificates and files. Never knows flows, policy or mitmproxy; the files lie where mitmproxy's
certificate store looks for them, so that it never makes an authority of its own.
"""

from sallyport.pki.authority import Authority, load_ca
from sallyport.pki.bundle import write_bundle
from sallyport.pki.create import create_ca, ensure_ca, rotate_ca
from sallyport.pki.paths import CaPaths, ca_paths, confdir

__all__ = [
    "Authority",
    "CaPaths",
    "ca_paths",
    "confdir",
    "create_ca",
    "ensure_ca",
    "load_ca",
    "rotate_ca",
    "write_bundle",
]
