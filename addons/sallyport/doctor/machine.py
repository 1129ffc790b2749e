"""This machine: versions, environment, files, disk and clock."""

import ctypes
import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import sallyport
from sallyport.audit.maintaining import look
from sallyport.audit.store import Store, StoreUnavailable
from sallyport.doctor.findings import Check, Situation, fail, failed, ok, skipped, warn
from sallyport.errors import OperatorError
from sallyport.sql.engines import Sqlite, database

LOCKED_MITMPROXY = "12.2.3"
OLDEST_PYTHON = (3, 12)

_GIB = 2**30
_WARN_FREE_BYTES, _FAIL_FREE_BYTES = 2 * _GIB, _GIB // 4
_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_DAY_S = 86_400


def check_python() -> Check:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return fail("python", f"Python {version} is too old", "Use Python 3.12 or later.")
    return ok("python", f"Python {version}")


def check_mitmproxy() -> Check:
    try:
        version = metadata.version("mitmproxy")
    except metadata.PackageNotFoundError:
        return fail("mitmproxy", "is not installed", "Install Sallyport from its lock file.")
    if version != LOCKED_MITMPROXY:
        return fail(
            "mitmproxy",
            f"version {version} is installed; the gate is proved for {LOCKED_MITMPROXY} only",
            f"Install mitmproxy=={LOCKED_MITMPROXY} from the lock file.",
        )
    return ok("mitmproxy", f"version {version}, the one that is locked")


def check_environment(environ: Mapping[str, str]) -> Iterator[Check]:
    """Find variables and files that quietly undo what TLS is for."""
    traps = [*_traps(environ)]
    yield from traps or [ok("environment", "no variable dumps session keys or switches verification off")]
    home = Path(environ.get("HOME", "~")).expanduser()
    for name in ("config.yaml", "config.yml"):
        if (home / ".mitmproxy" / name).exists():
            yield warn(
                "mitmproxy config",
                f"{home / '.mitmproxy' / name} exists: `mitmdump -s addons/gateway.py` would read it",
                "Remove it, or start with `sallyport run`, which does not read it.",
            )


def _traps(environ: Mapping[str, str]) -> Iterator[Check]:
    for name in ("SSLKEYLOGFILE", "MITMPROXY_SSLKEYLOGFILE"):
        if environ.get(name):
            yield fail(
                "environment",
                f"{name} is set: every session key is written to a file",
                f"Unset {name} and delete the file it names.",
            )
    if environ.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0":
        yield fail(
            "environment",
            "NODE_TLS_REJECT_UNAUTHORIZED=0: Node accepts any certificate",
            "Unset it and let Node trust the gateway's CA: NODE_EXTRA_CA_CERTS.",
        )
    for name in (
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    ):
        place = environ.get(name)
        if place and not all(Path(part).exists() for part in place.split(os.pathsep)):
            yield fail(
                "environment",
                f"{name} names a file that does not exist: {place}",
                "Put the gateway's bundle there (ca-bundle.pem), or unset the variable.",
            )


def check_files(situation: Situation) -> Check:
    """Look at who else may reach the folder of the authority; the key itself is the CA's check."""
    folder = situation.confdir
    try:
        status = folder.stat()
    except FileNotFoundError:
        return skipped("files", f"{folder} does not exist")
    except OSError as error:
        return fail("files", f"{folder} cannot be read ({error.strerror})", "Run as the user that owns it.")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return fail("files", f"other users may write into {folder}", f"Run: chmod 700 {folder}")
    if status.st_uid not in (0, os.geteuid()):
        return warn(
            "files",
            f"{folder} belongs to another user (uid {status.st_uid})",
            "Run the doctor as the user that runs the gateway.",
        )
    return ok("files", f"{folder} is closed to other writers")


def check_store(situation: Situation) -> Check:
    """Take the write lock of the audit store once, and write nothing."""
    if situation.store is None:
        return skipped("audit store", "not named", "Name it with --store URL.")
    try:
        at = database(situation.store, None, situation.timeout_s)
        if isinstance(at, Sqlite):
            if not at.is_there():
                return _absent_store(at.path)
            if at.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                return fail(
                    "audit store", f"other users may open {at.path}", f"Run: chmod 600 {at.path} {at.path}-*"
                )
        store = Store.open(situation.store, create=False, patience_s=situation.timeout_s)
    except OperatorError as error:
        return failed("audit store", error)
    except OSError as error:
        return fail("audit store", f"cannot be looked at ({error.strerror})", "Run as the gateway's user.")
    try:
        store.write(())
    except StoreUnavailable as error:
        return fail(
            "audit store",
            f"{store.name} cannot be written ({error})",
            "Check permissions, space and whether the database is up: requests are refused meanwhile.",
        )
    finally:
        store.close()
    if not isinstance(at, Sqlite):
        with at.reader.connect() as connection:
            ahead = look(connection)
        at.reader.dispose()
        if ahead.is_short:
            return warn(
                "audit store",
                f"{store.name} can be written, but its partitions end within two weeks, or events lie in none",
                "As the owner of the tables, run: sallyport audit maintain",
            )
    return ok("audit store", f"{store.name} can be written")


def _absent_store(path: Path) -> Check:
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if os.access(parent, os.W_OK):
        return warn(
            "audit store", f"{path} does not exist yet", "`sallyport run` makes it at its first start."
        )
    return fail(
        "audit store", f"{path} does not exist, and {parent} cannot be written", "Choose another place."
    )


def check_disk(situation: Situation) -> Iterator[Check]:
    places = {"confdir": situation.confdir}
    if situation.store and "://" not in situation.store.removeprefix("sqlite://"):
        places["audit store"] = Path(situation.store.removeprefix("sqlite:///").partition("?")[0])
    for what, place in places.items():
        folder = next(parent for parent in (place, *place.absolute().parents) if parent.exists())
        yield _space(what, folder)


def _space(what: str, folder: Path) -> Check:
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / _GIB:.1f} GiB free for the {what} ({folder})"
    if usage.free < _FAIL_FREE_BYTES:
        return fail("disk", said, "Make room now: without durable events every request is refused.")
    if usage.free < _WARN_FREE_BYTES or usage.free < usage.total / 20:
        return warn("disk", said, "Make room, or move the store: a full disk means refusals.")
    return ok("disk", said)


def check_clock() -> Check:
    """Compare the clock with this installation's files, and ask the kernel whether anything sets it."""
    installed_s = Path(sallyport.__file__).stat().st_mtime
    if time.time() < installed_s - _DAY_S:
        return fail(
            "clock",
            f"it shows {time.strftime('%Y-%m-%d', time.gmtime())}, before this installation was written",
            "Set the clock: certificates, limits and the audit depend on it.",
        )
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return skipped("clock", "plausible; this system does not say whether it is synchronised")
    if answer == _TIME_ERROR or answer < 0:
        return warn(
            "clock",
            "plausible, but the kernel does not hold it for synchronised",
            "Run chrony or systemd-timesyncd; in a container, look at the host.",
        )
    return ok("clock", "synchronised")
