"""The secret of a gateway, from which fingerprints, placeholders and gateway keys are derived."""

import secrets
from contextlib import suppress
from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PRIVATE, write_new


def unusable(path: Path, error: OSError) -> OperatorError:
    """Return what to tell of a file of the gateway's folder that cannot be read or made."""
    return OperatorError(
        str(path),
        f"it cannot be read or made ({error.strerror})",
        "Use --confdir with a folder you own",
        exit_code=3,
    )


def key_of(confdir: Path) -> bytes | None:
    """Return the secret of a gateway that has one which this user can read, else None. Makes nothing."""
    try:
        key = (confdir / "gateway.key").read_bytes()
    except OSError:
        return None
    return key if len(key) == 32 else None


def gateway_key(confdir: Path) -> bytes:
    """Return the gateway's secret, made at first use: 32 bytes in a file only its user can read.

    Raises OperatorError if it cannot be read or made, or is there but cannot be one.
    """
    path = confdir / "gateway.key"
    try:
        confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            with suppress(FileExistsError):
                write_new(path, secrets.token_bytes(32), PRIVATE)
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise unusable(path, error) from None
    if len(key) != 32:
        raise OperatorError(
            str(path),
            f"it holds {len(key)} bytes, not 32",
            "Restore it from a backup, or remove it: fingerprints and placeholders then change",
            exit_code=3,
        )
    if mode & 0o077:
        raise OperatorError(str(path), "others may read it", f"chmod 600 {path}", exit_code=3)
    return key
