"""The secret of a gateway, from which fingerprints, placeholders and gateway keys are derived."""

import os
import secrets
from pathlib import Path

from sallyport.errors import OperatorError


def key_of(confdir: Path) -> bytes | None:
    """Return the secret of a gateway that has one which this user can read, else None. Makes nothing."""
    try:
        key = (confdir / "gateway.key").read_bytes()
    except OSError:
        return None
    return key if len(key) == 32 else None


def gateway_key(confdir: Path) -> bytes:
    """Return the gateway's secret, made at first use: 32 bytes in a file only its user can read.

    Raises OperatorError if the file is there but cannot be one.
    """
    path = confdir / "gateway.key"
    confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise OperatorError(
                str(path),
                f"it holds {len(key)} bytes, not 32",
                "Restore it from a backup, or remove it: fingerprints and placeholders then change",
                exit_code=3,
            ) from None
        if path.stat().st_mode & 0o077:
            raise OperatorError(str(path), "others may read it", f"chmod 600 {path}", exit_code=3) from None
        return key
    except OSError as error:
        raise OperatorError(
            str(path),
            f"it cannot be made ({error.strerror})",
            "Use --confdir with a folder you own",
            exit_code=3,
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_bytes()
