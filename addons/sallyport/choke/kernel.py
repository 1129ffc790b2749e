"""What this network namespace says of itself: nft, interfaces, listeners, capabilities.

Everything here reads the namespace of the calling thread, so `ip netns exec gw sallyport ...` and a
thread that has called os.setns() both see the right one.
"""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from sallyport.choke.nftables import FAMILY, TABLE, Json
from sallyport.errors import OperatorError

_CAP_NET_ADMIN = 12
_LISTEN = "0A"
_PATH = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"))
NFT_TIMEOUT_S = 30


def require_nft() -> None:
    """Raise OperatorError (exit code 3) unless nft is here and this process may use it."""
    _nft_path()
    if not may_administer_network():
        raise OperatorError(
            "nftables",
            "this process may not change or read the packet filter (CAP_NET_ADMIN is missing)",
            "Run the command as root, inside the network namespace of the gateway.",
            exit_code=3,
        )


def may_administer_network() -> bool:
    """Tell whether this process holds CAP_NET_ADMIN."""
    for line in Path("/proc/thread-self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> _CAP_NET_ADMIN & 1)
    return False


def load(ruleset: str, *, check: bool = False) -> None:
    """Give nft one transaction; with check only ask whether the kernel would take it.

    Raises OperatorError (exit code 3) with nft's own words; nothing has changed then.
    """
    result = _nft(*(("-c",) if check else ()), "-f", "-", stdin=ruleset)
    if result.returncode:
        raise OperatorError(
            "nft -f -",
            f"the kernel refused the ruleset, nothing was changed: {_first_lines(result.stderr)}",
            "Check that nf_tables, nft_redir, nft_ct and nft_reject are available in this kernel.",
            exit_code=3,
        )


def list_table() -> Json:
    """Return `nft -j list table` of our table, or None if it does not exist."""
    result = _nft("-j", "list", "table", FAMILY, TABLE)
    if result.returncode:
        if "No such file or directory" in result.stderr:
            return None
        raise _unreadable(result.stderr)
    return _json(result.stdout)


def list_table_text() -> str | None:
    """Return our table as text that nft can load again, or None if it does not exist."""
    result = _nft("-s", "list", "table", FAMILY, TABLE)
    return None if result.returncode else result.stdout


def list_ruleset() -> Json:
    """Return every table of this namespace."""
    result = _nft("-j", "list", "ruleset")
    if result.returncode:
        raise _unreadable(result.stderr)
    return _json(result.stdout)


def interface_names() -> frozenset[str]:
    """Return the names of the interfaces of this namespace."""
    return frozenset(name for _, name in socket.if_nameindex())


def listening(port: int, family: socket.AddressFamily) -> frozenset[str]:
    """Return the local addresses, in /proc's hexadecimal, on which TCP `port` listens."""
    name = "tcp6" if family == socket.AF_INET6 else "tcp"
    try:
        lines = Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:  # no IPv6 in this kernel
        return frozenset()
    sockets = (line.split() for line in lines)
    found = (fields[1].rsplit(":", 1) for fields in sockets if fields[3] == _LISTEN)
    return frozenset(address for address, number in found if int(number, 16) == port)


def has_legacy_nat() -> bool:
    """Tell whether iptables-legacy has a nat table here, which nft does not show."""
    for name in ("ip_tables_names", "ip6_tables_names"):
        try:
            if "nat" in Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii").split():
                return True
        except OSError:
            continue
    return False


def setting(name: str) -> str | None:
    """Return a sysctl such as `net/ipv4/ip_forward`, or None where it does not exist."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _nft(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            (_nft_path(), *arguments),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=NFT_TIMEOUT_S,
            env={"LC_ALL": "C", "PATH": _PATH},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OperatorError(
            "nft", f"did not answer within {NFT_TIMEOUT_S} s", "Try again; see the kernel log.", exit_code=3
        ) from None


def _nft_path() -> str:
    path = shutil.which("nft") or shutil.which("nft", path=_PATH)
    if path is None:
        raise OperatorError(
            "nft",
            "the nft program is not installed",
            "Install the package nftables (version 1.0 or later).",
            exit_code=3,
        )
    return path


def _json(text: str) -> Json:
    try:
        listing: Json = json.loads(text)
    except ValueError:
        raise _unreadable("its JSON cannot be read") from None
    return listing


def _unreadable(reason: str) -> OperatorError:
    return OperatorError(
        "nft -j list",
        f"the ruleset cannot be read: {_first_lines(reason)}",
        "Run as root, with nft built with JSON support.",
        exit_code=3,
    )


def _first_lines(text: str) -> str:
    return "; ".join(line.strip() for line in text.strip().splitlines()[:3]) or "no reason given"
