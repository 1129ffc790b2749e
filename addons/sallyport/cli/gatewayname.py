"""The name by which a gateway finds again what it left open: SALLYPORT_GATEWAY_ID, or that in its folder."""

import os
import re
import secrets
from pathlib import Path

from sallyport.cli.gatewaykey import unusable
from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file

VARIABLE = "SALLYPORT_GATEWAY_ID"
FILE = "gateway.id"
MAX_CHARS = 64

_NAME = re.compile(rf"[!-~]{{1,{MAX_CHARS}}}")
_TODO = "Restore it from a backup; removed, it is made anew, and exchanges that were left open stay so"


def gateway_name(confdir: Path) -> str:
    """Return the name of the gateway of a folder, made at first use. Raises OperatorError."""
    if named := os.environ.get(VARIABLE):
        return _checked(named, VARIABLE, "Give another, or unset it: a name is made then")
    path = confdir / FILE
    try:
        if not path.exists():
            write_file(path, f"gw-{secrets.token_hex(4)}\n".encode(), PUBLIC)
        name = _read(path)
    except OSError as error:
        raise unusable(path, error) from None
    return _checked(name, str(path), _TODO)


def _read(path: Path) -> str:
    with open(path, "rb", opener=_unhurried) as file:
        return file.read(4 * MAX_CHARS).decode("ascii", "replace").strip()


def _unhurried(path: str, flags: int) -> int:
    """Open a file; what is none, such as a pipe that nobody writes to, is not waited for. It then reads as empty."""
    return os.open(path, flags | os.O_NONBLOCK)


def _checked(name: str, where: str, todo: str) -> str:
    if _NAME.fullmatch(name) is None:
        what = f"it holds no name of 1 to {MAX_CHARS} ASCII characters without spaces"
        raise OperatorError(where, what, todo, exit_code=3)
    return name


def known_name(confdir: Path) -> str | None:
    """Return the name of the gateway of a folder, None where none can be read. Makes nothing."""
    if named := os.environ.get(VARIABLE):
        return named
    try:
        name = _read(confdir / FILE)
    except OSError:
        return None
    return name if _NAME.fullmatch(name) else None
