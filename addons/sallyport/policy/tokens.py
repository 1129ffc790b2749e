"""The policy section on bearer tokens: whose are believed, and what their claims mean here."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Header, Id, Name, Section, unique

type Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]

CREDENTIAL_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie"}
    | {"x-amz-security-token", "ocp-apim-subscription-key"}
)
"""Headers in which clients send a provider's own credential, lower case."""

_STRUCTURAL = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection"}
    | {"accept", "accept-encoding", "expect", "te", "upgrade", "user-agent"}
)

_URL = r"https://[^\x00-\x20\x7f@#\\]{1,2000}"


def _https(text: str) -> str:
    if not re.fullmatch(_URL, text):
        raise Wrong("this is no https address", "Write it as https://HOST/PATH, without user and fragment")
    return text


HttpsUrl = Annotated[str, AfterValidator(_https), WithJsonSchema({"type": "string", "pattern": f"^{_URL}$"})]
Claim = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A claim's name as it stands in the token, or an RFC 6901 pointer to one inside another: /realm_access/roles."""

FilePath = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
AttributeName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]
"""Of what a policy takes over. Without a dot: names with one are the gateway's own, such as `hint.agent`."""


class Keys(Section):
    """Where the public keys of an issuer are: a JWK set (RFC 7517). Give `file` or `url`."""

    file: FilePath | None = Field(
        default=None,
        description="File of the JWK set, relative to the policy file; read again when it changes.",
    )
    url: HttpsUrl | None = Field(
        default=None,
        description="Address of the JWK set, in the issuer's metadata `jwks_uri`. Redirects are not followed.",
    )
    ca_file: FilePath | None = Field(
        default=None,
        description="Certificates (PEM) that the address must chain to, relative to the policy file; null takes "
        "those of the system.",
    )
    refresh_s: float = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="Time between two looks at the address; a key removed there is believed no longer than this.",
    )
    max_stale_s: float = Field(
        default=86_400.0,
        ge=60,
        le=2_592_000,
        description="How long the last good copy is used while the address cannot be read; after that no token "
        "of this issuer is believed. Files never go stale.",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.url is None):
            raise Wrong("keys need a file or an address", "Give either `file` or `url`")
        if self.ca_file is not None and self.url is None:
            raise Wrong("`ca_file` is for an address", "Remove it, or give `url`", ("ca_file",))
        return self


class RequiredClaim(Section):
    """A claim without which a token proves nothing."""

    claim: Claim = Field(description="Name of the claim, or a pointer to it.")
    one_of: tuple[Name, ...] = Field(
        default=(),
        description="Values of which one must be there; numbers and true or false as text. Empty: any value.",
    )


class Claims(Section):
    """What the claims of a token mean here. Nested claims by pointer: `/realm_access/roles`."""

    id: Claim = Field(
        default="sub", description="Claim that says who it is, for example `sub`, `email` or `oid`."
    )
    kind: Literal["subject", "email", "user"] | None = Field(
        default=None,
        description="Kind of that name in the directory: `subject` (`subject:ISSUER|VALUE`), `email`, `user`. "
        "null: `email` for the claim `email`, `subject` for `sub` and `oid`, else `user`.",
    )
    unverified_email: Literal["deny", "accept"] = Field(
        default="deny",
        description="What a token is worth whose kind is `email` and which does not say `email_verified: true`: "
        "some issuers let people write any address there.",
    )
    tenant: Claim | None = Field(
        default=None, description="Claim that names the tenant; null takes `tenant` of the issuer."
    )
    attributes: Mapping[AttributeName, Claim] = Field(
        default_factory=dict, description="Attributes of the principal, and the claims they are taken from."
    )
    required: tuple[RequiredClaim, ...] = Field(
        default=(), description="Claims without which a token proves nothing."
    )

    @property
    def name_kind(self) -> str:
        """The kind of name in the directory: subject, email or user."""
        if self.kind is not None:
            return self.kind
        return {"email": "email", "sub": "subject", "oid": "subject"}.get(self.id, "user")


class Groups(Section):
    """Roles by the groups a token names. A group that is not listed gives no role."""

    claim: Claim = Field(
        default="groups",
        description="Claim that lists the groups, for example `groups` or `/realm_access/roles`.",
    )
    roles: Mapping[Name, tuple[Name, ...]] = Field(
        default_factory=dict, description="The roles that each group gives; compared exactly."
    )
    missing: Literal["deny", "accept"] = Field(
        default="accept",
        description="What a token without the claim is worth. `deny` where rules forbid by role. A token that "
        "says its groups were left out (Entra ID, beyond 200) is never believed.",
    )


class Issuer(Section):
    """Somebody whose bearer tokens are believed."""

    id: Id = Field(description="Name of this issuer in the audit log and in attributes.")
    issuer: Name = Field(description="The exact `iss` of its tokens; a slash at the end matters.")
    audience: tuple[Name, ...] = Field(
        min_length=1, description="Values of `aud` of which one must be there."
    )
    header: Header = Field(
        default="X-Sallyport-Token",
        description="Header that holds the token, with or without `Bearer` before it. It never leaves.",
    )
    instead_of_credential: bool = Field(
        default=False,
        description="Set it to let `header` be one in which clients send a provider's own credential, such as "
        "`Authorization`. What a client sends there is then a token and nothing else.",
    )
    keys: Keys = Field(description="Where its public keys are.")
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "ES256", "EdDSA"), min_length=1, description="Signature algorithms that count."
    )
    leeway_s: float = Field(
        default=60.0, ge=0, le=600, description="How far the clocks of issuer and gateway may differ."
    )
    max_age_s: float | None = Field(
        default=None,
        ge=60,
        le=31_536_000,
        description="Longest time since a token was issued (`iat`), whatever its `exp` says; null sets none.",
    )
    claims: Claims = Field(default_factory=lambda: Claims(), description="What its claims mean.")
    groups: Groups | None = Field(default=None, description="Roles by group; null takes none from tokens.")
    tenant: Name | None = Field(
        default=None,
        description="Tenant of everybody it speaks of; null: of the directory, else `default`.",
    )
    roles: tuple[Name, ...] = Field(default=(), description="Roles of everybody it speaks of.")
    unlisted: Literal["allow", "deny"] = Field(
        default="allow",
        description="Whether somebody whom the directory does not list is believed. The id is then the name "
        "itself, a subject's `ISSUER_ID|VALUE`.",
    )

    @model_validator(mode="after")
    def _own_header(self) -> Self:
        name = self.header.lower()
        if name in _STRUCTURAL:
            raise Wrong(
                "this header has a meaning of its own", "Take another, such as X-Sallyport-Token", ("header",)
            )
        if name in CREDENTIAL_HEADERS and not self.instead_of_credential:
            todo = "Take another, or set `instead_of_credential: true` to give it up to tokens"
            raise Wrong("clients send the provider's own credential there", todo, ("header",))
        return self


def unique_issuers(issuers: tuple[Issuer, ...]) -> None:
    """Raise Wrong where two issuers cannot be told apart."""
    unique((i.id for i in issuers), "tokens", "id")
    unique((f"{i.header.lower()} {i.issuer}" for i in issuers), "tokens", "issuer")
