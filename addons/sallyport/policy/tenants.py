"""The policy section on tenants: whose own files are laid over the company's, and what they may loosen."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from sallyport.policy.vocabulary import Id, Name, Section

Loosened = Literal["access", "secrets", "masking", "injection", "output"]


class Tenants(Section):
    """Organisations, or parts of one, with rules of their own."""

    files: Mapping[Id, Annotated[Name, Field(description="Path relative to the policy file.")]] = Field(
        default_factory=dict,
        description="Policy file (YAML) per tenant, relative to this file. It can only tighten what is said here.",
    )
    may_loosen: tuple[Loosened, ...] = Field(
        default=(), description="Sections in which a tenant's own file may also be milder than this one."
    )
