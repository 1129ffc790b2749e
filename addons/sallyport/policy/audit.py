"""The policy of the log: what must be in it before anything leaves, how it names people, who gets its checkpoints."""

from enum import StrEnum

from pydantic import Field, field_validator

from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Name, Section

_COPY_SCHEMES = ("syslog+tls", "syslog+tcp", "postgresql", "sqlite")


class Checkpoints(Section):
    """Signed checkpoints, by which others can see that the log was not changed afterwards."""

    interval_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds between two checkpoints, where there is something new; 0: only when the gateway stops.",
    )
    copy_file: Name | None = Field(
        default=None,
        description="File that each checkpoint is appended to, best on another machine's disk; relative to the "
        "policy file.",
    )
    copy_command: Name | None = Field(
        default=None,
        description="Command that gets each checkpoint as one line on its standard input; run without a shell.",
    )
    copy_to: Name | None = Field(
        default=None,
        description="Address that each checkpoint is sent to: `syslog+tls://HOST:6514`, `syslog+tcp://HOST:601`, or "
        "another database, `postgresql://user@host/name` or `sqlite:////path`, that holds them in a table of its own. "
        "No password: libpq finds one in its password file.",
    )
    copy_ca_file: Name | None = Field(
        default=None,
        description="PEM file that the certificate of `syslog+tls` must chain to; null: the system's. Relative to the "
        "policy file.",
    )

    @field_validator("copy_to")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        scheme, sep, rest = (value or "").partition("://")
        if value is not None and (not sep or not rest or scheme not in _COPY_SCHEMES):
            raise Wrong(
                "it is no address",
                "Write syslog+tls://HOST:6514, postgresql://user@host/name or sqlite:////path",
            )
        if ":" in rest.rpartition("@")[0]:
            raise Wrong("a password does not belong into a policy", "Put it into libpq's password file")
        return value


class WhenUnavailable(StrEnum):
    """What happens to events while the store is away."""

    REFUSE = "refuse"
    SPOOL = "spool"


class People(StrEnum):
    """How events say whom they are of."""

    NAMED = "named"
    PSEUDONYMISED = "pseudonymised"


class Audit(Section):
    """Whether a request may leave that the log does not know."""

    required: bool | None = Field(
        default=None,
        description="No request leaves before its event is durable; null: true in enforce, false in observe.",
    )
    checkpoints: Checkpoints = Field(
        default_factory=lambda: Checkpoints(), description="Signed checkpoints of the log."
    )
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Events older than this are pruned: by the gateway where its role may, else by "
        "`sallyport audit prune`; null: never. Keep more than the longest window of limits.",
    )
    when_unavailable: WhenUnavailable = Field(
        default=WhenUnavailable.REFUSE,
        description="While the store is away. refuse: no request leaves that needs its event durable; spool: events "
        "wait on this machine's disk and go into the store, in order, when it is back.",
    )
    spool_mib: int = Field(
        default=256,
        ge=1,
        le=65_536,
        description="Size of the spool, in MiB; when it is full, requests are refused.",
    )
    people: People = Field(
        default=People.NAMED,
        description="What events hold of people. named: the principal's id and the client's address; pseudonymised: a "
        "pseudonym that who has the keys of content can read, until the person is forgotten. Where there is no master "
        "key, the gateway makes one in its confdir.",
    )
