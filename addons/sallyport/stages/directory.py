"""What is known of people, keys and tenants beside the policy: the values of the directory, and its port.

A directory is a snapshot in memory. Stages ask it; nobody here reads or writes a store.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

_CASE_MATTERS = ("subject:", "spiffe:")


def folded(name: str) -> str:
    """Return a `kind:value` name as the directory keeps it and is asked for it.

    In lower case, but for subjects and SPIFFE ids: two of those may differ in case alone.
    """
    kind, colon, value = name.strip().partition(":")
    kind = kind.lower() + colon
    return kind + (value if kind in _CASE_MATTERS else value.lower())


@dataclass(frozen=True, slots=True)
class Person:
    """A principal as the directory knows it: somebody, or something that has an account.

    id: what events and rules call it; unique within its tenant. names: other names under which it may be
    proved, each `kind:value` as folded() has it, unique in the whole directory: `email:ada@example.com`,
    `subject:https://idp.example.com|00u1`, `spiffe:spiffe://corp/agent`, `dns:build-7.example.com`,
    `cn:build-7`, `user:ada`. active: False refuses whoever is proved to be it.
    """

    id: str
    tenant: str = "default"
    roles: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation, or a part of one, whose people, keys, limits and events are kept apart."""

    id: str
    title: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    active: bool = True


class KeyKind(StrEnum):
    """provider: a provider's own credential. gateway: one of ours, swapped for a real one on the way out."""

    PROVIDER = "provider"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Key:
    """A credential by its fingerprint; never the credential itself.

    credential: name of the real credential that takes a gateway key's place. providers, models, operations:
    what a gateway key may be used for, models as globs; empty allows all. networks: CIDR ranges it may come
    from; empty allows all. personal: somebody's own account, not the company's.
    """

    fingerprint: str
    id: str
    owner: str
    tenant: str = "default"
    roles: tuple[str, ...] = ()
    kind: KeyKind = KeyKind.PROVIDER
    personal: bool = False
    retired: bool = False
    expires_at: datetime | None = None
    credential: str = ""
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


class StopKind(StrEnum):
    """What a kill switch stops."""

    EVERYTHING = "everything"
    TENANT = "tenant"
    PRINCIPAL = "principal"
    KEY = "key"
    MODEL = "model"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Stop:
    """A kill switch that is pulled. value: which one is stopped, of a model a glob; "" of EVERYTHING.

    tenant: of a PRINCIPAL its tenant, else "".
    """

    id: str
    kind: StopKind
    value: str = ""
    tenant: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """A permission that a person gave, for one principal and one rule that asks for it.

    resource: the model, provider or tool it was asked for, "" for all of the rule. break_glass: taken, not
    given; then rule "*" stands for every rule that asks for approval. approvers: accounts that gave it.
    """

    id: str
    tenant: str
    principal: str
    rule: str
    resource: str = ""
    expires_at: datetime | None = None
    break_glass: bool = False
    approvers: tuple[str, ...] = ()
    given_at: datetime | None = None


class Directory(Protocol):
    """One state of the directory. Every answer comes from memory, in microseconds."""

    @property
    def revision(self) -> int:
        """Grows with every change of the store it was read from."""
        ...

    def person(self, tenant: str, id: str) -> Person | None: ...

    def named(self, name: str) -> Person | None:
        """Return whose name `kind:value` is."""
        ...

    def tenant(self, id: str) -> Tenant | None:
        """Return a tenant, where there is none of this spelling one that differs from it in case alone."""
        ...

    def key(self, fingerprint: str) -> Key | None: ...

    def stops(self) -> tuple[Stop, ...]:
        """Return every kill switch that is pulled."""
        ...

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        """Return what has been approved for a principal, expired ones included."""
        ...


@dataclass(frozen=True, slots=True)
class NoDirectory:
    """A directory that knows nobody: a gateway without one, a scan, a test."""

    revision: int = field(default=0, init=False)

    def person(self, tenant: str, id: str) -> Person | None:
        return None

    def named(self, name: str) -> Person | None:
        return None

    def tenant(self, id: str) -> Tenant | None:
        return None

    def key(self, fingerprint: str) -> Key | None:
        return None

    def stops(self) -> tuple[Stop, ...]:
        return ()

    def approvals(self, tenant: str, principal: str) -> tuple[Approval, ...]:
        return ()


NOBODY = NoDirectory()
