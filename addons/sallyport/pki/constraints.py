"""What an authority may vouch for: DNS subtrees it is told, no IP address, nothing else.

RFC 5280 section 4.2.1.10: a permitted DNS name covers itself and every name below it.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from cryptography import x509

from sallyport.errors import OperatorError

ALL_ADDRESSES = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def subtrees(permitted_dns: Iterable[str]) -> tuple[str, ...]:
    """Return the smallest set of DNS subtrees that covers some host patterns, sorted.

    A name inside another's subtree is left out. Raises OperatorError for what is no host pattern, for a
    subtree of one label (it would cover a whole top-level domain), and when there are no names at all.
    """
    names = {subtree(name) for name in permitted_dns}
    if not names:
        raise OperatorError(
            "permitted DNS names",
            "there are none, and an authority without names would have to be unconstrained",
            "Name at least one AI host.",
        )
    return tuple(sorted(name for name in names if not any(_below(name, other) for other in names)))


def name_constraints(permitted: Sequence[str]) -> x509.NameConstraints:
    """Permit DNS subtrees and exclude every IPv4 and IPv6 address."""
    return x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(name) for name in permitted],
        excluded_subtrees=[x509.IPAddress(network) for network in ALL_ADDRESSES],
    )


def covered(host: str, permitted: Iterable[str]) -> bool:
    """Whether a host name, or all names of a pattern, lie in one of some subtrees."""
    try:
        name = subtree(host)
    except OperatorError:
        return False
    return any(name == other or _below(name, other) for other in permitted)


def subtree(pattern: str) -> str:
    """Return the narrowest DNS subtree that holds all names of a host pattern.

    "*." in front, "*" and "{word}" in a label stand for anything, so the subtree is what follows the last of
    them: bedrock-runtime.{region}.amazonaws.com gives amazonaws.com, as no constraint can be narrower.
    Raises OperatorError for anything else.
    """
    labels = pattern.strip().lower().removesuffix(".").split(".")
    open_labels = [index for index, label in enumerate(labels) if "*" in label or "{" in label]
    literal = ".".join(labels[open_labels[-1] + 1 :] if open_labels else labels)
    try:
        name = literal if literal.isascii() else literal.encode("idna").decode("ascii")
    except UnicodeError:
        raise _refused(pattern, "is no DNS name") from None
    literals = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in literals) or len(name) > 253:
        raise _refused(pattern, "is no DNS name")
    if len(literals) < 2 or literals[-1].isdigit():
        raise _refused(pattern, "is a whole top-level domain or an address")
    return name


def _refused(pattern: str, why: str) -> OperatorError:
    return OperatorError(
        f"permitted DNS name {pattern!r}", f"it {why}", "Write whole host names, or *. and a domain below it."
    )


def _below(name: str, subtree: str) -> bool:
    return name.endswith("." + subtree)
