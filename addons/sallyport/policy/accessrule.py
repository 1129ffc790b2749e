"""One rule of the policy section on who may ask what of providers."""

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from sallyport.decision import Mode
from sallyport.exchange import Operation, ToolKind
from sallyport.policy.approvals import RuleApproval
from sallyport.policy.calls import Globbed
from sallyport.policy.condition import Condition
from sallyport.policy.globs import Globs
from sallyport.policy.hours import Hours
from sallyport.policy.problems import Wrong
from sallyport.policy.residency import RegionGlob
from sallyport.policy.states import Canary, check_stated
from sallyport.policy.vocabulary import Id, Name, Section

OWN_REASONS = frozenset(
    (
        *(
            "default",
            "permitted",
            "opaque",
            "unknown_endpoint",
            "operation",
            "endpoint",
            "attachment",
            "attachment_size",
            "kept",
            "model",
        ),
        *("function_tool", "hosted_tool", "mcp_server", "parameter", "parameters", "purpose", "consent"),
        *("residency", "too_many", "could_not_decide", "stopped", "approved", "break_glass"),
    )
)
"""What a refusal of the section itself gives behind `access.`; no rule may go by such a name."""


class AccessRule(Section):
    """One sentence about who may do what. It holds where all its keys fit; each list fits by any of its names.

    Of what a call can have several of (models, tools, servers, classes of data), one that fits is enough for a
    forbid, and all must fit for a permit.
    """

    id: Id = Field(description="Stable name; a refusal gives `access.<id>` as its reason.")
    effect: Literal["permit", "forbid", "approve"] = Field(
        description="`forbid` always wins over `permit`; `approve` refuses until somebody has approved it."
    )
    tenants: Globbed | None = Field(default=None, description="Tenants, by name or glob.")
    principals: Globbed | None = Field(default=None, description="Ids of principals, or globs.")
    roles: Globbed | None = Field(
        default=None, description="Roles, or globs; one that the principal has is enough."
    )
    providers: Globbed | None = Field(
        default=None, description="Providers by their name in the catalogue, or globs."
    )
    models: Globbed | None = Field(
        default=None, description="Models or globs, as in `access.models`; no call without a model fits."
    )
    operations: tuple[Operation, ...] | None = Field(default=None, description="Operations.")
    tools: Globbed | None = Field(default=None, description="Functions it declares, by name or glob.")
    hosted_tools: Globbed | None = Field(
        default=None, description="Types of hosted tools it declares, or globs."
    )
    mcp_servers: Globbed | None = Field(
        default=None, description="Hosts of MCP servers or connectors, or globs."
    )
    regions: tuple[RegionGlob, ...] | None = Field(
        default=None, description="Regions or globs; a call of unknown region fits none."
    )
    networks: tuple[Id, ...] | None = Field(default=None, description="Names of `access.networks`.")
    purposes: tuple[Id, ...] | None = Field(default=None, description="Purposes of `access.purpose`.")
    data_classes: tuple[Id, ...] | None = Field(default=None, description="Names of `access.data_classes`.")
    hours: Hours | None = Field(default=None, description="Time of the week; null is always.")
    when: Condition | None = Field(
        default=None,
        description="CEL condition, asked where all else fits; an error denies, whatever the effect.",
    )
    resource: Literal["model", "provider", "tool", "rule"] = Field(
        default="rule",
        description="What an approval is for: each model, provider or tool of its own, or the rule as such.",
    )
    approval: RuleApproval | None = Field(
        default=None, description="Of a rule with `effect: approve`; null takes the section `approvals`."
    )
    break_glass: bool = Field(
        default=False, description="Whether break-glass sets this forbid aside, as it does every `approve`."
    )
    message: Name = Field(description="What a refused caller reads: what was refused and what to do.")
    mode: Mode | None = Field(
        default=None, description="State of this rule; null takes the state of the section."
    )
    canary: Canary | None = Field(
        default=None, description="With `mode: canary`: the part of the traffic it is enforced for."
    )

    @model_validator(mode="after")
    def _fits_its_effect(self) -> Self:
        check_stated(self)
        if self.effect == "permit" and self.mode in (Mode.SHADOW, Mode.CANARY):
            what = "a permit lets calls through, and what is only tried must not"
            raise Wrong(what, "Use `observe` or `enforce`", ("mode",))
        for key in ("resource", "approval"):
            if self.effect != "approve" and getattr(self, key) != type(self).model_fields[key].get_default():
                raise Wrong("only a rule with `effect: approve` asks for approvals", "Leave it out", (key,))
        if self.break_glass and self.effect != "forbid":
            what = "this is for a forbid; break-glass sets every `approve` aside, and no permit"
            raise Wrong(what, "Leave it out", ("break_glass",))
        return self

    @cached_property
    def fitting_models(self) -> Globs | None:
        """The models the rule speaks of, None for all."""
        return None if self.models is None else Globs(self.models)

    def fitting_tools(self, kind: ToolKind) -> Globs | None:
        """Return the tools of a kind that the rule speaks of; None for all, where it lists none of any kind."""
        lists = {
            ToolKind.FUNCTION: self.tools,
            ToolKind.HOSTED: self.hosted_tools,
            ToolKind.MCP: self.mcp_servers,
        }
        if all(listed is None for listed in lists.values()):
            return None
        return Globs(lists[kind] or ())

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.id in OWN_REASONS:
            raise Wrong("this is the name of a reason of the section's own", "Choose another", ("id",))
        matchers = (
            {"id", "effect", "message", "mode", "canary", "resource", "approval", "break_glass"}
            ^ type(self).model_fields.keys()
        ) & self.model_fields_set
        if all(getattr(self, name) is None for name in matchers):
            what = "the rule says nothing of the calls it is about"
            raise Wrong(what, "Add `when`, or one of the lists such as `models`")
        return self
