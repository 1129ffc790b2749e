"""The facts of a call that is only asked about, as an operator writes them, and what is expected of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from sallyport.exchange import Operation, Scalar, Surface
from sallyport.policy.identity import Requirement
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Fingerprint, Header, Id, Name, Region, Section
from sallyport.rehearsal.samples import SampleError, filled
from sallyport.stages.directory import KeyKind, StopKind

MAX_TEXT_CHARS = 200_000


def _with_samples(text: str) -> str:
    try:
        return filled(text)
    except SampleError as error:
        raise Wrong(error.what, error.todo) from None


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise Wrong("this time has no zone", "Write it as 2026-11-23T09:30:00Z or with +01:00")
    return moment


Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS), AfterValidator(_with_samples)]
Moment = Annotated[datetime, AfterValidator(_aware)]
Named = tuple[Name, ...]
Amount = Annotated[float, Field(ge=0, le=10**15)]


class GivenMessage(Section):
    """One text of a call, and who wrote it."""

    surface: Surface = Field(default=Surface.USER, description="Who wrote it: `user`, `tool_result`, ...")
    text: Text = Field(description="The text; `${iban}` and the like stand for made-up values.")


class GivenCertificate(Section):
    """A client certificate that the handshake has verified."""

    common_name: str = Field(default="", description="Its common name.")
    uris: Named = Field(default=(), description="URIs of its subject alternative name (SPIFFE).")
    names: Named = Field(default=(), description="DNS names of it.")
    emails: Named = Field(default=(), description="Addresses of it.")


class GivenToken(Section):
    """What a bearer token says that has passed every check of its issuer."""

    issuer: Id = Field(description="`id` of the issuer under `identity.tokens`.")
    subject: Name = Field(description="The claim that says who it is.")
    groups: Named = Field(default=(), description="Its groups.")
    attributes: Mapping[Name, str] = Field(
        default_factory=dict, description="Attributes the policy takes of it."
    )
    tenant: str = Field(default="", description='Its tenant, "" where it says none.')


class GivenPerson(Section):
    """Somebody in the directory."""

    id: Name = Field(description="Principal id.")
    tenant: Name = Field(default="default", description="Tenant.")
    roles: Named = Field(default=(), description="Roles.")
    attributes: Mapping[Name, str] = Field(default_factory=dict, description="Attributes.")
    names: Named = Field(default=(), description="Other names, each `kind:value`.")
    active: bool = Field(default=True, description="false: refused, whatever proves it.")


class GivenTenant(Section):
    """A tenant in the directory."""

    id: Name = Field(description="Tenant id.")
    attributes: Mapping[Name, str] = Field(default_factory=dict, description="Attributes.")
    active: bool = Field(default=True, description="false: its people are refused.")


class GivenKey(Section):
    """A credential in the key inventory."""

    fingerprint: Fingerprint = Field(description="Its fingerprint.")
    id: Name = Field(description="Name of the key.")
    owner: str = Field(default="", description='Principal id of its owner, "" for none.')
    tenant: Name = Field(default="default", description="Tenant.")
    roles: Named = Field(default=(), description="Roles it gives.")
    kind: KeyKind = Field(default=KeyKind.PROVIDER, description="`gateway`: issued by the gateway.")
    personal: bool = Field(default=False, description="Somebody's own account.")
    retired: bool = Field(default=False, description="Not to be used any more.")
    expires_at: Moment | None = Field(default=None, description="End; null has none.")
    providers: Named = Field(default=(), description="Scope of a gateway key; empty allows all.")
    models: Named = Field(default=(), description="Likewise.")
    operations: Named = Field(default=(), description="Likewise.")
    networks: Named = Field(default=(), description="Likewise.")


class GivenDirectory(Section):
    """Who is who, beside the policy."""

    people: tuple[GivenPerson, ...] = Field(default=(), description="People.")
    tenants: tuple[GivenTenant, ...] = Field(default=(), description="Tenants.")
    keys: tuple[GivenKey, ...] = Field(default=(), description="The key inventory.")


class GivenApproval(Section):
    """A permission that somebody gave."""

    rule: Name = Field(description="Id of the rule that asks for it; `*` with break_glass.")
    principal: Name | None = Field(default=None, description="Whose; null: the principal's of the case.")
    tenant: Name | None = Field(default=None, description="Of which tenant; null: the principal's.")
    resource: str = Field(
        default="",
        description='`model:gpt-5`, `provider:openai`, `hosted:web_search`; "" for all of the rule.',
    )
    expires_at: Moment | None = Field(default=None, description="End; null: an hour after the call.")
    break_glass: bool = Field(default=False, description="Taken in an emergency, not given.")


class GivenStop(Section):
    """A kill switch that is pulled."""

    kind: StopKind = Field(description="What is stopped.")
    value: str = Field(default="", description='Which one; "" with `everything`.')
    tenant: str = Field(default="", description="Of a principal, its tenant.")


class Given(Section):
    """The facts of one call. What is left out is as harmless as it can be."""

    principal: Name | None = Field(
        default=None, description="Who is proved to call; null: whatever the facts below prove."
    )
    tenant: Name | None = Field(
        default=None, description="Tenant of the principal; null: of the directory, else `default`."
    )
    roles: Named = Field(default=(), description="Roles of the principal, beside those of the directory.")
    attributes: Mapping[Name, str] = Field(default_factory=dict, description="Attributes, likewise.")
    source: Requirement | None = Field(
        default=None,
        description="What proved the principal; null: the first of `identity.require`, else `token`.",
    )
    client: Name = Field(default="192.0.2.1", description="Address of the client.")
    connection: Literal["explicit", "transparent", "reverse", "wireguard", "tun"] = Field(
        default="explicit", description="How it is connected."
    )
    certificate: GivenCertificate | None = Field(default=None, description="Its verified certificate.")
    proxy_user: str = Field(default="", description="User of the explicit proxy, proved.")
    tokens: tuple[GivenToken, ...] = Field(default=(), description="Valid tokens it brings.")
    key: Fingerprint | None = Field(default=None, description="Fingerprint of its credential.")
    headers: Mapping[Header, str] = Field(default_factory=dict, description="Headers of the request.")
    purpose: str | None = Field(default=None, description="Purpose tag, in the header of the policy.")
    consents: Named = Field(default=(), description="Consent tags, likewise.")
    provider: Id = Field(default="openai", description="Provider of the catalogue.")
    host: Name | None = Field(default=None, description="Host; null: the provider's first.")
    endpoint: Name | None = Field(
        default=None, description="`POST /v1/responses`; null: the provider's first of the operation."
    )
    operation: Operation | None = Field(
        default=None, description="What is asked for; null: of the endpoint, else `chat`."
    )
    model: Name | None = Field(default=None, description="Model as the client names it.")
    region: Region | None = Field(default=None, description="Region; null: what host, path and model tell.")
    tools: Named = Field(default=(), description="Functions the request declares.")
    hosted_tools: Named = Field(default=(), description="Hosted tools it declares, by type.")
    mcp_servers: Named = Field(default=(), description="MCP servers it declares, by host.")
    parameters: Mapping[Id, Scalar] = Field(
        default_factory=dict,
        description="Settings under normal names: temperature, store, max_output_tokens.",
    )
    stream: bool = Field(default=False, description="Whether a stream is asked for.")
    continued: bool = Field(default=False, description="Whether it continues an answer kept at the provider.")
    attachments: Named = Field(default=(), description="Media types of attachments.")
    text: Text | None = Field(default=None, description="What the user writes.")
    messages: tuple[GivenMessage, ...] = Field(
        default=(), description="The texts of the call, in place of `text`."
    )
    body: Mapping[str, Any] | None = Field(
        default=None,
        description="The JSON body, read by the endpoint's dialect; in place of text, messages, tools, parameters.",
    )
    at: Moment = Field(
        default=datetime(2026, 1, 5, 12, tzinfo=UTC), description="When it arrives; a Monday noon."
    )
    directory: GivenDirectory = Field(default_factory=lambda: GivenDirectory(), description="Who is who.")
    approvals: tuple[GivenApproval, ...] = Field(default=(), description="What has been approved.")
    stops: tuple[GivenStop, ...] = Field(default=(), description="Kill switches that are pulled.")
    used: Mapping[Id, Amount] = Field(
        default_factory=dict, description="What is used already, by limit, in the limit's own unit."
    )
    behaviour_score: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="How unusual the principal is."
    )
    in_flight: Annotated[int, Field(ge=1, le=10**6)] = Field(default=1, description="Exchanges under way.")

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if (self.text is not None) + bool(self.messages) + (self.body is not None) > 1:
            raise Wrong("text, messages and body exclude each other", "Keep one of them")
        if self.body is not None:
            told = self.model_fields_set & {
                "tools",
                "hosted_tools",
                "mcp_servers",
                "parameters",
                "attachments",
            }
            if told:
                raise Wrong("the body says this already", "Put it into the body", (sorted(told)[0],))
        return self

    def check(self) -> None:
        """Raise Wrong where facts, defaults among them, do not go together."""
        if self.principal is None:
            for key in ("tenant", "roles", "attributes", "source"):
                if getattr(self, key):
                    raise Wrong("this is said of a principal, and none is given", "Add `principal`", (key,))

    def over(self, defaults: "Given") -> "Given":
        """Return these facts, and of the defaults those that are not said here."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        if said.keys() & _CONTENT:
            said = {**dict.fromkeys(_CONTENT, None), "messages": (), **said}
        if said.get("body") is not None:
            nothing = Given()
            said = {**{name: getattr(nothing, name) for name in _IN_BODY}, **said}
        return defaults.model_copy(update=said)


_CONTENT = frozenset({"text", "messages", "body"})
_IN_BODY = ("tools", "hosted_tools", "mcp_servers", "parameters", "attachments")
