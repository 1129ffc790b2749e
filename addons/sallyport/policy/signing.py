"""The policy's words on requests that AWS clients sign: with whose credentials a changed one is signed anew."""

from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from sallyport.exchange import Principal
from sallyport.policy.calls import Globbed
from sallyport.policy.globs import Globs
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Id, Section

ANONYMOUS = "anonymous"
"""Source of a principal whom nothing named."""


class SigningRule(Section):
    """Whose changed requests are signed with a credential. It holds where all its keys fit."""

    credential: Id = Field(description="Name of a credential of `sallyport credentials`.")
    tenants: Globbed | None = Field(default=None, description="Tenants, by name or glob.")
    principals: Globbed | None = Field(
        default=None,
        description="Ids of principals, or globs; without it nobody who is anonymous is signed for.",
    )
    roles: Globbed | None = Field(
        default=None, description="Roles, or globs; one that the principal has is enough."
    )
    hosts: Globbed | None = Field(default=None, description="Hosts of the provider, or globs; null: any.")

    @model_validator(mode="after")
    def _says_for_whom(self) -> Self:
        # The gateway cannot check a signature made with a key it does not have, and its own vouches for the caller.
        if self.tenants is None and self.principals is None and self.roles is None:
            what = "it does not say for whom"
            raise Wrong(what, 'Add tenants, principals or roles; `tenants: ["*"]` is everybody known', ())
        return self

    @cached_property
    def _lists(self) -> tuple[Globs | None, Globs | None, Globs | None, Globs | None]:
        named = (self.tenants, self.principals, self.roles, self.hosts)
        tenants, principals, roles, hosts = (None if g is None else Globs(g) for g in named)
        return tenants, principals, roles, hosts

    def fits(self, who: Principal, host: str) -> bool:
        """Say whether a call is one of those it speaks of. Nobody in particular fits by `principals` only."""
        tenants, principals, roles, hosts = self._lists
        if who.source == ANONYMOUS and principals is None:
            return False
        return (
            (tenants is None or who.tenant in tenants)
            and (principals is None or who.id in principals)
            and (roles is None or any(role in roles for role in who.roles))
            and (hosts is None or host in hosts)
        )


class Signing(Section):
    """Requests signed with AWS's Signature Version 4. Without a rule that fits, one that had to change is refused."""

    rules: tuple[SigningRule, ...] = Field(
        default=(), description="Who is signed for with which credential; the first that fits."
    )

    def credential(self, who: Principal, host: str) -> str | None:
        """Return the name of the credential for a call, None where there is none."""
        return next((rule.credential for rule in self.rules if rule.fits(who, host)), None)
