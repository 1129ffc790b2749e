"""Host names: one spelling per host, patterns that match whole names only, lookups that stay fast.

A name that has no single spelling is an error, never a non-match: a non-match is tunnelled unseen.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PART = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATTERN = re.compile(r"(?:\*\.)?[a-z0-9_{}-]+(?:\.[a-z0-9_{}-]+)+")
_HOLE = re.compile(r"\{[a-z_]+\}")
_MAX_HOST_CHARS = 253
_MAX_LABELS = 12


class HostError(ValueError):
    """A host name that cannot be compared. reason: stable id such as host.charset."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def normalise_host(host: str) -> str:
    """Return the one spelling of a host: lower case, A-labels, no trailing dot; IP addresses canonical.

    Unicode names are mapped as a resolver would map them (IDNA 2003: full-width letters and dots become
    ASCII), so that a look-alike spelling of a listed host is that host. Raises HostError for anything
    that is no host name, ports and user names included.
    """
    if not host or len(host) > _MAX_HOST_CHARS + 1:
        raise HostError("host.length")
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise HostError("host.idna") from None
    host = host.lower().removesuffix(".")
    if ":" in host or host.startswith("["):
        return _address(host)
    if len(host) > _MAX_HOST_CHARS or not _NAME.fullmatch(host):
        raise HostError("host.charset")
    # A last label of digits or hex is an address to every resolver, however it is spelt.
    return _address(host) if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]) else host


def _address(host: str) -> str:
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        # A zone (fe80::1%eth0) may hold any text, so it is no part of a host here.
        if "%" in host:
            raise ValueError("zone")
        return str(ip_address(host[1:-1] if bracketed else host))
    except ValueError:
        raise HostError("host.address") from None


def check_pattern(pattern: str) -> str:
    """Return a host pattern, normalised, or raise ValueError saying what is wrong with it.

    A pattern is a whole name; a leading "*." stands for one or more labels; {word} stands for one or more
    letters, digits and inner hyphens inside one label. The last two labels must be literal.
    """
    lowered = pattern if pattern.isascii() else pattern.encode("idna").decode("ascii")
    lowered = lowered.lower()
    if not _PATTERN.fullmatch(lowered):
        raise ValueError("a host is a whole name such as api.example.com, or *.example.com")
    literal = lowered.removeprefix("*.").split(".")
    if len(literal) > _MAX_LABELS or any("{" in label for label in literal[-2:]):
        raise ValueError("the last two labels of a host must be written out")
    if not _NAME.fullmatch(_HOLE.sub("x", lowered.removeprefix("*."))):
        raise ValueError("a label of this host holds a character that host names do not have")
    return lowered


class HostMap[T]:
    """Values by host pattern. The longest literal name wins: exact, then {word}, then "*."."""

    def __init__(self, items: Iterable[tuple[str, T]] = ()) -> None:
        """Take (pattern, value) pairs. Raises ValueError for a bad pattern or one that is given twice."""
        self._exact: dict[str, T] = {}
        self._below: dict[str, T] = {}
        self._shaped: dict[str, list[tuple[re.Pattern[str], T]]] = {}
        self._patterns: list[str] = []
        for pattern, value in items:
            self._add(check_pattern(pattern), value)

    def _add(self, pattern: str, value: T) -> None:
        if pattern in self._patterns:
            raise ValueError(f"host {pattern} is listed twice")
        self._patterns.append(pattern)
        if "{" in pattern:
            shape = re.escape(pattern.removeprefix("*."))
            shape = re.sub(r"\\\{[a-z_]+\\\}", _PART, shape)
            if pattern.startswith("*."):
                shape = rf"(?:{_LABEL}\.)+{shape}"
            suffix = pattern[pattern.rindex("}") :].partition(".")[2]
            self._shaped.setdefault(suffix, []).append((re.compile(shape), value))
        elif pattern.startswith("*."):
            self._below[pattern[2:]] = value
        else:
            self._exact[pattern] = value

    def get(self, host: str) -> T | None:
        """Return the value of a normalised host, None if no pattern matches it."""
        found = self._exact.get(host)
        if found is not None:
            return found
        for suffix in _suffixes(host):
            for shape, value in self._shaped.get(suffix, ()):
                if shape.fullmatch(host):
                    return value
            found = self._below.get(suffix)
            if found is not None:
                return found
        return None

    def __contains__(self, host: str) -> bool:
        return self.get(host) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._patterns)

    def __len__(self) -> int:
        return len(self._patterns)


def _suffixes(host: str) -> Iterator[str]:
    """Yield the proper suffixes of a name at label borders, longest first, at most a dozen."""
    labels = host.split(".")
    for start in range(max(1, len(labels) - _MAX_LABELS), len(labels) - 1):
        yield ".".join(labels[start:])
