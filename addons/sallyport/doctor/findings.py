"""What a check found, and what it was asked about. No secret is ever part of either."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sallyport.errors import OperatorError

DEFAULT_HOSTS = (
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
)

type Address = tuple[str, int]


class Level(StrEnum):
    """How a check went. SKIPPED: it could not be made, or makes no sense here; says so."""

    OK = "ok"
    SKIPPED = "skipped"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One answer: name is stable, for scripts; todo is empty if there is nothing to do."""

    name: str
    level: Level
    what: str
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where the doctor stands and what the operator says is true there.

    from_client: on a machine behind the gateway, not on the gateway. proxy: where the explicit proxy
    listens. ca: the gateway's certificate on a client that has no confdir. connect_to: as `run` has
    it, (host, port) -> (address, port). upstream_ca: roots that replace the public ones.
    """

    confdir: Path
    transparent: bool = False
    from_client: bool = False
    hosts: tuple[str, ...] = DEFAULT_HOSTS
    port: int = 8080
    proxy: Address | None = None
    ca: Path | None = None
    connect_to: Mapping[Address, Address] = field(default_factory=dict)
    upstream_ca: Path | None = None
    store: str | None = None
    timeout_s: float = 5.0


def ok(name: str, what: str) -> Check:
    return Check(name, Level.OK, what)


def skipped(name: str, what: str, todo: str = "") -> Check:
    return Check(name, Level.SKIPPED, what, todo)


def warn(name: str, what: str, todo: str) -> Check:
    return Check(name, Level.WARN, what, todo)


def fail(name: str, what: str, todo: str) -> Check:
    return Check(name, Level.FAIL, what, todo)


def failed(name: str, error: OperatorError) -> Check:
    """Return the check that an OperatorError stands for."""
    return fail(name, f"{error.where}: {error.what}", error.todo)
