"""Which policy the gateway of a folder was last started with: what its limits are measured by."""

from pathlib import Path

from sallyport.errors import OperatorError
from sallyport.files import PUBLIC, write_file
from sallyport.pki.paths import confdir as default_confdir

_FILE = "policy.in-use"


def remember(confdir: Path, policy: str) -> None:
    """Note a policy file, or the name of a preset, beside the gateway's key. Raises OperatorError."""
    from sallyport.policy.load import PRESETS  # loads the rule engine, which other commands do without

    preset = policy in PRESETS and not Path(policy).exists()
    named = policy if preset else str(Path(policy).resolve())
    try:
        write_file(confdir / _FILE, named.encode(), PUBLIC)
    except OSError as error:
        raise OperatorError(
            str(confdir / _FILE),
            f"it cannot be written ({error.strerror})",
            "See who owns it, and whether there is room",
            exit_code=3,
        ) from None


def policy_in_use(given: str | None, confdir: Path | None) -> str:
    """Return the policy an operator named, else the one the gateway was last started with, else balanced.

    Raises OperatorError where it was started, and what with cannot be read.
    """
    if given is not None:
        return given
    path = (confdir or default_confdir()) / _FILE
    try:
        if named := path.read_text(encoding="utf-8"):
            return named
    except FileNotFoundError:
        return "balanced"
    except (OSError, UnicodeDecodeError):
        pass
    raise OperatorError(
        str(path),
        "which policy the gateway was started with cannot be read",
        "See who owns it, or start it anew",
    )


def was_run(confdir: Path | None) -> bool:
    """Say whether a gateway was ever started with a folder."""
    return ((confdir or default_confdir()) / _FILE).exists()
