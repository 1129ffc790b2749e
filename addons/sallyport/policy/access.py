"""The policy section on what may be asked of providers, and by whom."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from sallyport.decision import Blocked
from sallyport.exchange import Attachment, Operation
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.blocked import Answered
from sallyport.policy.calls import Endpoints, Models, ParameterName, ParameterRule, Tools
from sallyport.policy.problems import Wrong, choices, nearest
from sallyport.policy.residency import Consents, DataClass, Network, Purpose, Residency
from sallyport.policy.rulebook import Rulebook
from sallyport.policy.states import StageSection
from sallyport.policy.vocabulary import MediaGlob, Section, unique


class AttachmentRule(Section):
    """What becomes of some content that is not text. It fits where all its keys do."""

    media: tuple[MediaGlob, ...] = Field(
        default=("*/*",), min_length=1, description="Media types, or globs of them."
    )
    operations: tuple[Operation, ...] | None = Field(
        default=None, min_length=1, description="Operations; null is all that `access.operations` allows."
    )
    action: Literal["allow", "refuse"] = Field(
        description="`allow` lets it leave uninspected, `refuse` refuses the call."
    )
    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="With `allow`: the most decoded bytes of each piece; a larger one is refused. Content that the "
        "provider fetches has no size here.",
    )

    @model_validator(mode="after")
    def _limits_what_it_allows(self) -> Self:
        if self.action == "refuse" and self.max_bytes is not None:
            what = "only `action: allow` has a size up to which it allows"
            raise Wrong(what, "Leave it out, or allow up to this size", ("max_bytes",))
        return self

    def fits(self, media_type: str, operation: Operation) -> bool:
        """Say whether the rule speaks of a media type, without parameters, in an operation."""
        if self.operations is not None and operation not in self.operations:
            return False
        return any(fnmatchcase(media_type, pattern) for pattern in self.media)


class Attachments(Section):
    """Content that is not text and therefore not inspected: images, sounds, files by reference.

    A file that is text is none, in base64, as a data URL or as a part of a form: it is scanned and masked.
    """

    rules: tuple[AttachmentRule, ...] = Field(
        default=(), description="Asked in order before `allow`; the first that fits decides."
    )
    allow: tuple[MediaGlob, ...] = Field(
        default=("image/*", "application/x-provider-state"),
        description="Media types (globs) that may leave uninspected; `*/*` allows all. "
        "`application/x-provider-state` is signed or encrypted reasoning that agents send back.",
    )

    max_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Most decoded bytes of each piece that `allow` lets pass; null is any.",
    )

    def allows(self, media_type: str) -> bool:
        """Say whether `allow` names a media type."""
        return any(fnmatchcase(_kind(media_type), pattern) for pattern in self.allow)

    def refuses(
        self, attachment: Attachment, operation: Operation
    ) -> Literal["attachment", "attachment_size"] | None:
        """Return why a piece of content may not leave, None if it may."""
        kind = _kind(attachment.media_type)
        rule = next((rule for rule in self.rules if rule.fits(kind, operation)), None)
        if rule is None and not self.allows(kind):
            return "attachment"
        if rule is not None and rule.action == "refuse":
            return "attachment"
        most = self.max_bytes if rule is None else rule.max_bytes
        return "attachment_size" if most is not None and (attachment.size or 0) > most else None


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


class Access(StageSection):
    """What may be asked of providers at all, and by whom."""

    unknown_endpoint: Literal["deny", "opaque"] = Field(
        default="deny",
        description="A call on an AI host that no dialect reads: refused, or passed without inspection.",
    )
    attachments: Attachments = Field(
        default_factory=lambda: Attachments(), description="Content that is not text."
    )
    kept: Literal["any", "not_others", "own"] = Field(
        default="any",
        description="Files, batches, answers, conversations, containers and stores that lie at the provider and that a "
        "request names by id: all; none that this gateway knows another principal to have made; or only those that it "
        "knows the caller to have made, since it started.",
    )
    operations: tuple[Operation, ...] = Field(
        default=(
            Operation.CHAT,
            Operation.COMPLETION,
            Operation.EMBEDDING,
            Operation.COUNT_TOKENS,
            Operation.MODERATION,
            Operation.LIST_MODELS,
            Operation.PREFLIGHT,
        ),
        description="Operations that may be used; any other is refused.",
    )
    blocked: Answered = Field(
        default=Blocked.REJECT,
        description="What a caller gets for a call that is refused: `reject` an error, `refuse` an answer of the "
        "assistant that says so. What a kill switch stops always gets the error.",
    )
    endpoints: Endpoints = Field(default_factory=lambda: Endpoints(), description="Endpoints of providers.")
    models: Models = Field(default_factory=lambda: Models(), description="Models.")
    tools: Tools = Field(default_factory=lambda: Tools(), description="Tools that requests may declare.")
    parameters: Mapping[ParameterName, ParameterRule] = Field(
        default_factory=dict, description="Settings of requests, by their normal name."
    )
    purpose: Purpose | None = Field(default=None, description="What calls are for; null asks nobody.")
    consents: Consents | None = Field(
        default=None, description="Consents of the people concerned; null asks nobody."
    )
    data_classes: tuple[DataClass, ...] = Field(
        default=(), description="Classes of data, made of what detection finds."
    )
    residency: Residency = Field(
        default_factory=lambda: Residency(), description="Where calls may be processed."
    )
    networks: tuple[Network, ...] = Field(default=(), description="Client addresses with a name.")
    default: Literal["permit", "deny"] = Field(
        default="permit",
        description="The answer where no rule speaks. With `deny` some `permit` rule must hold.",
    )
    rules: tuple[AccessRule, ...] = Field(
        default=(), description="Every `forbid` that holds refuses; the first in force gives the reason."
    )

    @cached_property
    def rulebook(self) -> Rulebook:
        """The rules, indexed by what they are about."""
        return Rulebook(self.rules)

    @property
    def own_headers(self) -> frozenset[str]:
        """Lower-case names of the headers that are for the gateway alone and never leave."""
        return frozenset(h.header.lower() for h in (self.purpose, self.consents) if h is not None)

    @cached_property
    def needs_classes(self) -> bool:
        """Whether every call's classes of data are needed, whatever conditions read."""
        return self.residency.reads_classes or any(rule.data_classes is not None for rule in self.rules)

    @property
    def reads_findings(self) -> bool:
        """Whether detection has to come first for some calls."""
        read = frozenset[str]().union(*(rule.when.names for rule in self.rules if rule.when is not None))
        return self.needs_classes or not read.isdisjoint(("findings", "data.classes"))

    @model_validator(mode="after")
    def _streams_stay_streams(self) -> Self:
        rule = self.parameters.get("stream")
        if rule is not None and (rule.set is not None or rule.action == "cap"):
            what = "a client that asked for a stream cannot read another answer, so this setting cannot be changed"
            raise Wrong(what, "Only refuse: `stream: {allow: [false]}`", ("parameters", "stream"))
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for listed, at in ((self.data_classes, "data_classes"), (self.networks, "networks")):
            unique((item.name for item in listed), at, "name")
        known = {
            "data_classes": {c.name for c in self.data_classes},
            "networks": {n.name for n in self.networks},
            "purposes": set(self.purpose.allow) if self.purpose is not None else set(),
        }
        for place, names, key in self._references():
            for name in names:
                if name not in known[key]:
                    near = nearest(name, known[key])
                    cure = (
                        f"Did you mean `{near}`?"
                        if near
                        else f"Known are {choices(sorted(known[key])) or 'none'}"
                    )
                    raise Wrong(f"there is no such name in access.{_HOMES[key]}", cure, place)
        return self

    def _references(self) -> Iterator[tuple[tuple[str | int, ...], tuple[str, ...], str]]:
        for index, rule in enumerate(self.rules):
            for key in _HOMES:
                yield ("rules", index, key), getattr(rule, key) or (), key
        for index, bound in enumerate(self.residency.rules):
            yield ("residency", "rules", index, "data_classes"), bound.data_classes or (), "data_classes"

    @model_validator(mode="after")
    def _rules_make_sense(self) -> Self:
        unique((r.id for r in self.rules), "rules", "id")
        _ = self.rulebook  # made at load, so that no call waits for it
        for index, rule in enumerate(self.rules):
            if rule.effect == "permit" and self.default == "permit":
                what = "a permit rule has no effect while access.default is `permit`"
                raise Wrong(
                    what, "Set access.default to `deny`, or write a forbid", ("rules", index, "effect")
                )
        return self


_HOMES = {"data_classes": "data_classes", "networks": "networks", "purposes": "purpose.allow"}
