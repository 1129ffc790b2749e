"""The parts of the access section that speak of a call itself: its model, endpoint, tools and settings."""

import math
from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sallyport.decision import Change
from sallyport.exchange import Parameter, Request, Scalar, ToolKind
from sallyport.policy.globs import Globs
from sallyport.policy.models import ancestors, spellings
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Section

Glob = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Globbed = tuple[Glob, ...]
ParameterName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_]*$")]


class Listed(Section):
    """What may be named and what may not. `forbid` wins."""

    allow: Globbed | None = Field(
        default=None, description="Names and globs that may be used; null allows all, an empty list none."
    )
    forbid: Globbed = Field(
        default=(), description="Names and globs that may not be used, whatever `allow` says."
    )

    @cached_property
    def allowed(self) -> Globs | None:
        return None if self.allow is None else Globs(self.allow)

    @cached_property
    def forbidden(self) -> Globs:
        return Globs(self.forbid)

    def admits(self, name: str, *, unlisted: bool = True) -> bool:
        """Say whether a name may be used. unlisted: the answer where there is no `allow`."""
        if self.forbid and name in self.forbidden:
            return False
        return unlisted if self.allowed is None else name in self.allowed

    @property
    def speaks(self) -> bool:
        """Whether it can refuse anything."""
        return self.allow is not None or bool(self.forbid)


class Models(Listed):
    """Models, in upper or lower case, under any of their names: dated snapshots, routers, regional profiles."""

    def admits_model(self, model: str) -> bool:
        """Say whether a model may be used; what is forbidden is forbidden when fine-tuned as well."""
        if self.forbid and any(name in self.forbidden for name in ancestors(model)):
            return False
        return self.allowed is None or any(name in self.allowed for name in spellings(model))


class Endpoints(Listed):
    """Endpoints, each `provider METHOD /path` as the catalogue has it: `openai POST /v1/responses`."""


class Tools(Section):
    """Tools that a request may declare, by who runs them."""

    functions: Listed = Field(
        default_factory=lambda: Listed(), description="Tools that the client runs itself, by name."
    )
    hosted: Listed = Field(
        default_factory=lambda: Listed(),
        description="Tools that the provider runs, by type: `web_search*`, `code_interpreter`.",
    )
    mcp_servers: Listed = Field(
        default_factory=lambda: Listed(),
        description="MCP servers that the provider calls, by host or name of the provider's connector; one whose "
        "address cannot be read is allowed by no list.",
    )
    unlisted: Literal["permit", "deny"] = Field(
        default="permit", description="What happens to a tool of a kind that has no `allow`."
    )

    def of(self, kind: ToolKind) -> Listed:
        return {
            ToolKind.FUNCTION: self.functions,
            ToolKind.HOSTED: self.hosted,
            ToolKind.MCP: self.mcp_servers,
        }[kind]

    @cached_property
    def _speaks(self) -> bool:
        return self.unlisted == "deny" or any(self.of(kind).speaks for kind in ToolKind)

    def refuses(self, request: Request) -> ToolKind | None:
        """Return the kind of the first tool that may not be declared, None if all may."""
        if not self._speaks:
            return None
        for tool in request.declared:
            listed = self.of(tool.kind)
            name = tool.server if tool.kind is ToolKind.MCP else tool.name
            unread = tool.kind is ToolKind.MCP and not tool.server and listed.speaks
            if unread or not listed.admits(name, unlisted=self.unlisted == "permit"):
                return tool.kind
        return None


class Judgement(Enum):
    """What becomes of a value for which no other is put in."""

    KEEP = "keep"
    REFUSE = "refuse"


class ParameterRule(Section):
    """What one setting may be, and what happens if it is something else."""

    max: int | float | None = Field(default=None, description="Largest number; null has no bound.")
    min: int | float | None = Field(default=None, description="Smallest number; null has no bound.")
    allow: tuple[Scalar, ...] | None = Field(
        default=None, description="The only values it may have; null allows all within the bounds."
    )
    set: Scalar | None = Field(
        default=None,
        description="Put in where the request leaves it out, if its dialect has such a setting, and with `cap` in "
        "place of a value that is not allowed; null puts nothing in.",
    )
    required: bool = Field(
        default=False,
        description="Whether a request is refused that leaves it out and into which it cannot be put.",
    )
    action: Literal["cap", "refuse"] = Field(
        default="refuse",
        description="`refuse` the request, or `cap` the value: the nearest bound, or `set`, takes its place.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        nothing = self.max is None and self.min is None and self.allow is None and self.set is None
        if nothing and not self.required:
            raise Wrong("this says nothing of the setting", "Add `max`, `min`, `allow`, `set` or `required`")
        if self.max is not None and self.min is not None and self.max < self.min:
            raise Wrong("`max` is below `min`", "Swap them", ("max",))
        if self.allow is not None and (self.max is not None or self.min is not None):
            raise Wrong("`allow` and bounds exclude each other", "Keep one of them", ("allow",))
        if self.action == "cap" and self.allow is not None and self.set is None:
            raise Wrong("nothing says what takes the place of a value", "Add `set`, or refuse", ("action",))
        if self.set is not None and self.judge(self.set) is not Judgement.KEEP:
            raise Wrong("this value is not allowed itself", "Choose one that the rule allows", ("set",))
        return self

    def judge(self, value: Scalar) -> Scalar | Judgement:
        """Return whether a value stays or refuses the request, or the value that takes its place."""
        if self.allow is not None:
            if any(same(value, allowed) for allowed in self.allow):
                return Judgement.KEEP
            return Judgement.REFUSE if self.action == "refuse" or self.set is None else self.set
        if self.max is None and self.min is None:
            return Judgement.KEEP
        if isinstance(value, (bool, str)):
            return Judgement.REFUSE
        nearest = value
        if self.max is not None and value > self.max:
            nearest = self.max
        elif self.min is not None and value < self.min:
            nearest = self.min
        if nearest == value:
            return Judgement.KEEP
        return nearest if self.action == "cap" else Judgement.REFUSE


def same(one: Scalar, other: Scalar) -> bool:
    """Compare as JSON does: true is no 1, but 1 is 1.0."""
    return one == other and isinstance(one, bool) is isinstance(other, bool)


_NO_BOUND_BELOW_0 = frozenset(("max_output_tokens", "thinking_budget"))
"""Settings of which a negative number says "as much as you like": -1 of Ollama's num_predict, of Gemini's budget."""


def _asked(parameter: Parameter) -> Scalar:
    """Return what a parameter asks for: infinity where a negative number is no bound at all."""
    value = parameter.value
    if parameter.name in _NO_BOUND_BELOW_0 and not isinstance(value, (bool, str)) and value < 0:
        return math.inf
    return value


def applied(rules: Mapping[str, ParameterRule], request: Request) -> tuple[tuple[Change, ...], str | None]:
    """Return the changes that bring a request's settings within bounds, and the setting that refuses it, if any."""
    changes: dict[str, Change] = {}
    given: set[str] = set()
    for parameter in request.parameters:
        rule = rules.get(parameter.name)
        if rule is None:
            continue
        given.add(parameter.name)
        instead = rule.judge(_asked(parameter) if rule.allow is None else parameter.value)
        if instead is Judgement.KEEP:
            continue
        if instead is Judgement.REFUSE:
            return (), parameter.name
        changes[parameter.at] = Change(parameter.at, instead)
    if request.operation.generates:
        places = dict(request.unset)
        for name, rule in rules.items():
            if name in given:
                continue
            if rule.set is not None and name in places:
                changes[places[name]] = Change(places[name], rule.set)
            elif rule.required:
                return (), name
    return tuple(changes.values()), None
