"""The contract of a policy stage and the ports it may be given."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sallyport.decision import Decision, Finding
from sallyport.exchange import Exchange


class Scanner(Protocol):
    """Findings of all kinds over the request's segments, computed once per exchange."""

    async def findings(self) -> Sequence[Finding]: ...


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
class Ports:
    """What a stage may reach beside the exchange and its own policy section."""

    scanner: Scanner
    vault: Vault


class Stage[Section](Protocol):
    """One policy stage. Same input, same decision; no clock, no I/O, no other stage."""

    name: str

    async def decide(self, exchange: Exchange, section: Section, ports: Ports) -> Decision: ...
