"""The policy section on what may be asked of providers, and by whom."""

from fnmatch import fnmatchcase
from typing import Literal, Self

from pydantic import Field, model_validator

from sallyport.decision import Mode
from sallyport.exchange import Operation
from sallyport.policy.condition import Condition
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Id, MediaGlob, Name, Section, StageSection, unique


class AccessRule(Section):
    """One sentence about who may do what."""

    id: Id = Field(description="Stable name; a refusal gives `access.<id>` as its reason.")
    effect: Literal["permit", "forbid"] = Field(description="`forbid` always wins over `permit`.")
    when: Condition = Field(description="CEL condition; an error denies, whatever the effect.")
    message: Name = Field(description="What a refused caller reads: what was refused and what to do.")
    mode: Mode | None = Field(
        default=None, description="Mode of this rule; null takes the mode of the section."
    )


class Attachments(Section):
    """Content that is not text and therefore not inspected: images, sounds, files by reference."""

    allow: tuple[MediaGlob, ...] = Field(
        default=("image/*", "application/x-provider-state"),
        description="Media types (globs) that may leave uninspected; `*/*` allows all. "
        "`application/x-provider-state` is signed or encrypted reasoning that agents send back.",
    )

    def allows(self, media_type: str) -> bool:
        kind = media_type.partition(";")[0].strip().lower()
        return any(fnmatchcase(kind, pattern) for pattern in self.allow)


class Access(StageSection):
    """What may be asked of providers at all, and by whom."""

    unknown_endpoint: Literal["deny", "opaque"] = Field(
        default="deny",
        description="A call on an AI host that no dialect reads: refused, or passed without inspection.",
    )
    attachments: Attachments = Field(
        default_factory=lambda: Attachments(), description="Content that is not text."
    )
    operations: tuple[Operation, ...] = Field(
        default=(
            Operation.CHAT,
            Operation.COMPLETION,
            Operation.EMBEDDING,
            Operation.COUNT_TOKENS,
            Operation.MODERATION,
            Operation.LIST_MODELS,
        ),
        description="Operations that may be used; any other is refused.",
    )
    default: Literal["permit", "deny"] = Field(
        default="permit",
        description="The answer where no rule speaks. With `deny` some `permit` rule must hold.",
    )
    rules: tuple[AccessRule, ...] = Field(
        default=(), description="Asked in order; the first `forbid` that holds refuses."
    )

    @model_validator(mode="after")
    def _rules_make_sense(self) -> Self:
        unique((r.id for r in self.rules), "rules", "id")
        for index, rule in enumerate(self.rules):
            if rule.effect == "permit" and self.default == "permit":
                what = "a permit rule has no effect while access.default is `permit`"
                raise Wrong(
                    what, "Set access.default to `deny`, or write a forbid", ("rules", index, "effect")
                )
        return self
