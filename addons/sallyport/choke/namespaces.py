"""A laboratory network: client, gateway and upstream, each in a network namespace of its own.

    client  10.77.1.2  fd77:1::2  --clients-->  10.77.1.1  fd77:1::1  gateway
    gateway 10.77.2.1  fd77:2::1  --outside-->  10.77.2.2  fd77:2::2  upstream (and .3, ::3: elsewhere)

The client has no way out but through the gateway, which forwards (until a choke point is applied).
Provider names resolve to the upstream through /etc/hosts of each namespace; there is no DNS and no
way to the real network. Nothing of the machine's own network is touched, and nothing stays behind:
processes, namespaces and files under /etc/netns go when the block ends, and what a killed run left
is swept by the next one.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sallyport.errors import OperatorError

DEFAULT_HOSTS = (
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
)

CLIENT_V4, CLIENT_V6 = "10.77.1.2", "fd77:1::2"
GATEWAY_V4, GATEWAY_V6 = "10.77.1.1", "fd77:1::1"
GATEWAY_OUTSIDE_V4, GATEWAY_OUTSIDE_V6 = "10.77.2.1", "fd77:2::1"
UPSTREAM_V4, UPSTREAM_V6 = "10.77.2.2", "fd77:2::2"
ELSEWHERE_V4, ELSEWHERE_V6 = "10.77.2.3", "fd77:2::3"
CLIENT_INTERFACE = "clients"  # the gateway's interface that faces the client
OUTSIDE_INTERFACE = "outside"  # the gateway's interface that faces the upstream

_ETC_NETNS = Path("/etc/netns")
_NETNS = Path("/run/netns")
_LOCKS = Path("/run/sallyport-lab")
_PREFIX = "sallyport-"
_ROLES = ("client", "gateway", "upstream")
_IP_TIMEOUT_S = 30
_TERM_GRACE_S = 2.0


@dataclass(slots=True)
class Lab:
    """A running laboratory; the three names are names of network namespaces.

    Addresses are the constants of this module: they are the same in every laboratory, since each
    has namespaces of its own.
    """

    client: str
    gateway: str
    upstream: str
    interface: str = CLIENT_INTERFACE
    _started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def exec(
        self, namespace: str, argv: Sequence[str], env: Mapping[str, str] | None = None, **popen: Any
    ) -> subprocess.Popen[Any]:
        """Start a process in a namespace and return at once; env None means this process's own.

        The process leads a session of its own and is ended with the laboratory at the latest. Its
        pid is that of the program itself, since `ip netns exec` replaces itself by it.
        """
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen["start_new_session"] = True
        process: subprocess.Popen[Any] = subprocess.Popen(
            _inside(namespace, argv), env=None if env is None else dict(env), **popen
        )
        self._started.append(process)
        return process

    def run(
        self,
        namespace: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        stdin: str = "",
        timeout_s: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in a namespace to its end; text in, text out, the exit status unchecked."""
        return subprocess.run(
            _inside(namespace, argv),
            env=None if env is None else dict(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def call[T](self, namespace: str, function: Callable[[], T]) -> T:
        """Call a function in a namespace and return what it returns or raise what it raises.

        It runs in a thread of its own. Sockets it opens and programs it starts belong to the
        namespace for good; /etc/hosts stays this machine's, so give it addresses, not names.
        """

        def entered() -> T:
            _enter(namespace)
            return function()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(entered).result()

    def stop(self, process: subprocess.Popen[Any]) -> None:
        """End one process that `exec` started, politely first, with its whole session."""
        _end((process,))


@contextlib.contextmanager
def lab(
    hosts: Sequence[str] = DEFAULT_HOSTS, *, elsewhere: Sequence[str] = ("www.example.com",)
) -> Iterator[Lab]:
    """Build the laboratory, yield it, and take everything away again.

    hosts resolve to the upstream's first address (IPv4 and IPv6), elsewhere to its second. Raises
    OperatorError (exit code 3) where namespaces are not permitted.
    """
    _require_permission()
    _sweep()
    identity = f"{_PREFIX}{secrets.token_hex(4)}"
    client, gateway, upstream = names = tuple(f"{identity}-{role}" for role in _ROLES)
    built = Lab(client, gateway, upstream)
    with _owned(identity):
        try:
            _build(built, _hosts_file(hosts, elsewhere))
            yield built
        finally:
            _end(built._started)
            _delete(names)


def permitted() -> bool:
    """Tell whether this process may build a laboratory."""
    try:
        _require_permission()
    except OperatorError:
        return False
    return True


def _require_permission() -> None:
    if shutil.which("ip") is None:
        raise OperatorError("ip", "the ip program is missing", "Install the package iproute2.", exit_code=3)
    if os.geteuid() != 0:
        raise OperatorError(
            "network namespaces", "only root may create them", "Run the command as root.", exit_code=3
        )
    if not _capable(21):  # CAP_SYS_ADMIN
        raise OperatorError(
            "network namespaces",
            "this container may not create them (CAP_SYS_ADMIN is missing)",
            "Start the container with --privileged, or run on the host.",
            exit_code=3,
        )


def _capable(capability: int) -> bool:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def _build(built: Lab, hosts: str) -> None:
    for name in (built.client, built.gateway, built.upstream):
        _write_etc(name, hosts)
    _ip(
        *(f"netns add {name}" for name in (built.client, built.gateway, built.upstream)),
        f"link add {CLIENT_INTERFACE} netns {built.gateway} type veth peer name eth0 netns {built.client}",
        f"link add {OUTSIDE_INTERFACE} netns {built.gateway} type veth peer name eth0 netns {built.upstream}",
    )
    # No duplicate address detection: an IPv6 address would be tentative for a second.
    quiet = "echo 0 | tee /proc/sys/net/ipv6/conf/*/accept_dad /proc/sys/net/ipv6/conf/*/accept_ra"
    forward = "echo 1 | tee /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
    _shell(built.client, quiet)
    _shell(built.gateway, f"{quiet}; {forward}")
    _shell(built.upstream, quiet)
    _ip(
        *_addresses("eth0", CLIENT_V4, CLIENT_V6),
        f"route add default via {GATEWAY_V4}",
        f"route add ::/0 via {GATEWAY_V6}",
        namespace=built.client,
    )
    _ip(
        *_addresses(CLIENT_INTERFACE, GATEWAY_V4, GATEWAY_V6),
        *_addresses(OUTSIDE_INTERFACE, GATEWAY_OUTSIDE_V4, GATEWAY_OUTSIDE_V6),
        namespace=built.gateway,
    )
    _ip(
        *_addresses("eth0", UPSTREAM_V4, UPSTREAM_V6, ELSEWHERE_V4, ELSEWHERE_V6),
        f"route add default via {GATEWAY_OUTSIDE_V4}",
        f"route add ::/0 via {GATEWAY_OUTSIDE_V6}",
        namespace=built.upstream,
    )


def _addresses(interface: str, *addresses: str) -> Iterator[str]:
    yield "link set lo up"
    yield f"link set {interface} up"
    for address in addresses:
        if ":" in address:
            yield f"addr add {address}/64 dev {interface} nodad"
        else:
            yield f"addr add {address}/24 dev {interface}"


def _hosts_file(hosts: Sequence[str], elsewhere: Sequence[str]) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for names, addresses in (
        (hosts, (UPSTREAM_V4, UPSTREAM_V6)),
        (elsewhere, (ELSEWHERE_V4, ELSEWHERE_V6)),
    ):
        lines += [f"{address} {name}" for name in names for address in addresses]
    return "\n".join(lines) + "\n"


def _write_etc(name: str, hosts: str) -> None:
    """Write what `ip netns exec` binds over /etc: names come from hosts, and DNS is refused at once."""
    folder = _ETC_NETNS / name
    while not folder.is_dir():  # a laboratory that ends just now may remove the empty parent
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True)
    files = {
        "hosts": hosts,
        "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    }
    for file, text in files.items():
        if Path("/etc", file).exists():  # a bind mount needs something to cover
            (folder / file).write_text(text, encoding="ascii")


def _enter(namespace: str) -> None:
    descriptor = os.open(_NETNS / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setns(descriptor, os.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _inside(namespace: str, argv: Sequence[str]) -> tuple[str, ...]:
    return ("ip", "netns", "exec", namespace, *argv)


def _ip(*commands: str, namespace: str | None = None) -> None:
    chosen = () if namespace is None else ("-n", namespace)
    _checked(("ip", *chosen, "-batch", "-"), "\n".join(commands) + "\n")


def _shell(namespace: str, script: str) -> None:
    _checked(_inside(namespace, ("sh", "-c", f"({script}) >/dev/null")), "")


def _checked(argv: Sequence[str], stdin: str) -> None:
    result = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=_IP_TIMEOUT_S, check=False
    )
    if result.returncode:
        reason = "; ".join(result.stderr.split("\n")[:2]).strip() or f"exit status {result.returncode}"
        raise OperatorError(
            " ".join(argv[:4]),
            f"the laboratory network cannot be built: {reason}",
            "Run as root on a kernel with network namespaces, veth and IPv6.",
            exit_code=3,
        )


def _end(processes: Sequence[subprocess.Popen[Any]]) -> None:
    """End these processes and their sessions: TERM, a short grace, then KILL."""
    alive = [process for process in processes if process.poll() is None]
    for process in alive:
        _signal(process, signal.SIGTERM)
    deadline = time.monotonic() + _TERM_GRACE_S
    for process in alive:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.poll() is None:
            _signal(process, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _signal(process: subprocess.Popen[Any], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _delete(names: Sequence[str]) -> None:
    """Delete namespaces with whatever still runs in them, and their files; never raises for absence."""
    for name in names:
        if (_NETNS / name).exists():
            _kill_inside(name)
            subprocess.run(
                ("ip", "netns", "delete", name), capture_output=True, timeout=_IP_TIMEOUT_S, check=False
            )
        shutil.rmtree(_ETC_NETNS / name, ignore_errors=True)
    with contextlib.suppress(OSError):  # not empty: somebody else's
        _ETC_NETNS.rmdir()


def _kill_inside(name: str) -> None:
    """Kill what a started process left in the background: the namespace holds nobody else's."""
    for _ in range(5):
        listed = subprocess.run(
            ("ip", "netns", "pids", name),
            capture_output=True,
            text=True,
            timeout=_IP_TIMEOUT_S,
            check=False,
        )
        pids = [int(pid) for pid in listed.stdout.split()]
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


@contextlib.contextmanager
def _owned(identity: str) -> Iterator[None]:
    """Hold the lock that says this laboratory is alive; the kernel lets go of it with the process."""
    path = _LOCKS / identity
    lock = _locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
        with contextlib.suppress(OSError):  # not empty: other laboratories
            _LOCKS.rmdir()


def _locked(path: Path) -> int:
    """Create and lock a file; again if a laboratory that ended just then took it or its folder away."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return lock
            os.close(lock)


def _sweep() -> None:
    """Remove laboratories whose owner is gone: their lock file is there and nobody holds it."""
    for path in sorted(_LOCKS.glob(f"{_PREFIX}*")) if _LOCKS.is_dir() else ():
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _delete([f"{path.name}-{role}" for role in _ROLES])
            path.unlink(missing_ok=True)
