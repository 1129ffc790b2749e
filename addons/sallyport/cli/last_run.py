"""Which policy the gateway of a folder was last started with: what its limits are measured by."""

from pathlib import Path

from sallyport.pki.paths import confdir as default_confdir

_FILE = "policy.in-use"


def remember(confdir: Path, policy: str) -> None:
    """Note a policy file, or the name of a preset, beside the gateway's key."""
    from sallyport.policy.load import PRESETS  # loads the rule engine, which other commands do without

    preset = policy in PRESETS and not Path(policy).exists()
    (confdir / _FILE).write_text(policy if preset else str(Path(policy).resolve()), encoding="utf-8")


def policy_in_use(given: str | None, confdir: Path | None) -> str:
    """Return the policy an operator named, else the one the gateway was last started with, else balanced."""
    if given is not None:
        return given
    try:
        return ((confdir or default_confdir()) / _FILE).read_text(encoding="utf-8") or "balanced"
    except FileNotFoundError:
        return "balanced"


def was_run(confdir: Path | None) -> bool:
    """Say whether a gateway was ever started with a folder."""
    return ((confdir or default_confdir()) / _FILE).exists()
