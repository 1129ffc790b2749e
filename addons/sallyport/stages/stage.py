"""The contract of a policy stage and the ports it may be given."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sallyport.decision import Decision, Finding, Mode
from sallyport.exchange import Circumstances, Exchange
from sallyport.policy.approvals import Approvals
from sallyport.policy.limits import Measure
from sallyport.stages.directory import NOBODY, Directory
from sallyport.stages.ledger import Claim, Denied, Reserved


class Scanner(Protocol):
    """Findings of all kinds over the request's segments, computed once per exchange."""

    async def findings(self) -> Sequence[Finding]:
        """Return what rules find; raises when not all of the text could be looked at."""
        ...

    async def with_names(self) -> Sequence[Finding]:
        """Return the same and the names and places in it, where the policy wants them; may wait for them."""
        ...


class Vault(Protocol):
    """Placeholders of one exchange's principal and conversation."""

    def digest(self, entity: str, value: str, shared: bool = False) -> str:
        """Return an irreversible placeholder: keyed, the same on every turn, nothing remembered."""
        ...

    def placeholder(self, entity: str, value: str, shared: bool = False) -> str:
        """Return the deterministic placeholder of a value, and remember the value for this conversation.

        shared: spell it the same in all conversations of the tenant, for a head that they have in common.
        """
        ...

    def came_from_provider(self, text: str) -> bool:
        """Say whether this very text was answered by the provider in this conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request will use, guessed before it leaves; with the margin that a guess needs.

    cost, credits: in millionths; None where the model has no known price.
    """

    input_tokens: int
    output_tokens: int
    request_bytes: int
    cost: int | None
    credits: int | None


class Meter(Protocol):
    """The counters of one exchange."""

    @property
    def models(self) -> tuple[str, ...]:
        """The models that may answer, the one that is asked for first, as prices know them: an alias is no second
        counter. "other" where they do not know one.
        """
        ...

    def estimate(self, assumed_output_tokens: int) -> Estimate: ...

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        """Take all claims or none. Raises LedgerUnavailable.

        waits_s: by key, how long to wait until a claim fits, if it will by then. Claims that are not enforced
        deny nothing: the levels then tell what would have been.
        """
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a bearer token speaks of, once its signature, issuer, audience and times have been checked.

    issuer: its exact `iss`. subject: the claim that says who it is. claims: the attributes the policy takes, as
    text; groups: of the claim that holds them. tenant: "" where neither policy nor token says one.
    """

    issuer: str
    subject: str
    claims: tuple[tuple[str, str], ...] = ()
    groups: tuple[str, ...] = ()
    tenant: str = ""


class Tokens(Protocol):
    """Bearer tokens of people, as the identity section trusts their issuers."""

    def subject(self, issuer: str, token: str) -> Subject | None:
        """Return whom a token of a configured issuer proves, None if it proves nothing. Checked once per token.

        issuer: id of the issuer in the policy. Never waits: keys are fetched elsewhere.
        """
        ...

    def why_not(self, issuer: str, token: str) -> str:
        """Return why a token proves nothing, in one fixed word such as `expired`; "" where it proves somebody."""
        ...


class NoTokens:
    """Nobody's token is believed."""

    def subject(self, issuer: str, token: str) -> Subject | None:
        return None

    def why_not(self, issuer: str, token: str) -> str:
        return "no_issuer"


NO_TOKENS = NoTokens()


def no_digest(*parts: str) -> str:
    """Stand in for the gateway's keyed digest where there is no gateway: a scan, a test of a policy."""
    return "0" * 32


_ANYBODY = Approvals()


@dataclass(frozen=True, slots=True)
class Ports:
    """What a stage may reach beside the exchange and its own policy section.

    meter: None where nothing is counted, as in a scan; a stage that needs it then cannot decide.
    directory, tokens: who is who, from memory.
    circumstances: says what surrounds the exchange, the same whenever it is asked.
    digest: 32 hex digits of values, keyed, the same on every gateway with the same key.
    approving: whose approvals count, and for how long.
    limiting: how the limits section stands for this exchange. limits_apart: whether it counts on counters of its own.
    """

    scanner: Scanner
    vault: Vault
    meter: Meter | None = None
    circumstances: Callable[[], Circumstances] = Circumstances
    directory: Directory = NOBODY
    tokens: Tokens = NO_TOKENS
    digest: Callable[..., str] = no_digest
    approving: Approvals = _ANYBODY
    limiting: Mode = Mode.ENFORCE
    limits_apart: bool = False


class Stage[Section](Protocol):
    """One policy stage. Same input, same decision; no clock, no I/O, no other stage."""

    name: str

    async def decide(self, exchange: Exchange, section: Section, ports: Ports) -> Decision: ...
