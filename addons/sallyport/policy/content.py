"""The policy section on content: whether texts of exchanges are kept, whose, which, for how long, and who sees them."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from sallyport.decision import Action
from sallyport.policy.globs import Globs
from sallyport.policy.vocabulary import Id, Name, RuleGlob, Section, unique


class Keep(StrEnum):
    """What is kept of an exchange, the least first."""

    NONE = "none"
    MASKED = "masked"
    ORIGINAL = "original"

    @property
    def rank(self) -> int:
        return list(Keep).index(self)


class ContentClass(StrEnum):
    """What became of an exchange, as far as it decides how long its content is kept.

    refused: it did not leave, or its answer was withheld. masked: something was found and taken out, or would have
    been. ordinary: all others.
    """

    REFUSED = "refused"
    MASKED = "masked"
    ORDINARY = "ordinary"


class ContentRule(Section):
    """One exception from `content.keep`: what it says holds for exchanges of which all is true that it asks."""

    id: Id = Field(description="Name of the rule.")
    keep: Keep = Field(description="What is kept of such exchanges.")
    actions: tuple[Literal["allow", "modify", "deny"], ...] | None = Field(
        default=None, description="What was enforced; null: anything."
    )
    reasons: tuple[RuleGlob, ...] | None = Field(
        default=None,
        description="Reason ids of the decisions, or globs: `limits.*`, `injection.*`; one has to fit. null: any.",
    )
    found: tuple[RuleGlob, ...] | None = Field(
        default=None,
        description="Ids of detection rules, or globs: `pii.*`; one has to have found something. null: any, or none.",
    )
    tenants: tuple[Name, ...] | None = Field(default=None, description="Tenants, or globs; null: all.")
    principals: tuple[Name, ...] | None = Field(default=None, description="Principals, or globs; null: all.")

    @cached_property
    def _globs(self) -> Mapping[str, Globs]:
        named = {name: getattr(self, name) for name in ("reasons", "found", "tenants", "principals")}
        return {name: Globs(said) for name, said in named.items() if said is not None}

    def covers(
        self, tenant: str, principal: str, action: Action, reasons: Iterable[str], found: Iterable[str]
    ) -> bool:
        """Say whether all is true that the rule asks."""
        globs = self._globs
        if self.actions is not None and action.name.lower() not in self.actions:
            return False
        if "tenants" in globs and tenant not in globs["tenants"]:
            return False
        if "principals" in globs and principal not in globs["principals"]:
            return False
        if "reasons" in globs and not any(reason in globs["reasons"] for reason in reasons):
            return False
        return "found" not in globs or any(rule in globs["found"] for rule in found)


class KeepDays(Section):
    """How long content is kept, by what became of the exchange."""

    refused: float = Field(default=90.0, gt=0, le=3660, description="Of exchanges that were refused.")
    masked: float = Field(
        default=30.0,
        gt=0,
        le=3660,
        description="Of those in which something was taken out, or would have been.",
    )
    ordinary: float = Field(default=7.0, gt=0, le=3660, description="Of all others.")

    def of(self, kind: ContentClass) -> float:
        """Return the days of a class."""
        days: float = getattr(self, kind.value)
        return days


class Reveal(Section):
    """Who may see what is kept. Every look is an event, with its reason."""

    second_person: bool = Field(
        default=True, description="Whether another operator has to approve before anything is shown."
    )
    approvers: tuple[Name, ...] = Field(
        default=(), description="Accounts that may approve; empty: any but the one who asks."
    )
    within_s: int = Field(
        default=3600, ge=60, le=7 * 86_400, description="Time after the approval in which it may be shown."
    )


class ContentSection(Section):
    """Texts of requests and answers, kept encrypted under a key per person."""

    keep: Keep = Field(
        default=Keep.NONE,
        description="`none`; `masked`: texts with everything that rules find taken out; `original`: as they were "
        "written. They are sealed under keys of their own, and those under the master key; where there is none, the "
        "gateway makes one in its confdir.",
    )
    rules: tuple[ContentRule, ...] = Field(
        default=(), description="Exceptions: the first that fits says what is kept instead."
    )
    at_most: Keep = Field(
        default=Keep.ORIGINAL, description="Never more than this is kept, whatever `keep` and `rules` say."
    )
    share: float = Field(
        default=1.0, ge=0, le=1, description="Share of conversations that is looked at at all, whole ones."
    )
    required: bool = Field(
        default=False,
        description="Whether a request is refused whose content is to be kept and cannot be. What is to be kept of "
        "it is then durable before it leaves; its answer follows it.",
    )
    keep_days: KeepDays = Field(default_factory=lambda: KeepDays(), description="For how long.")
    reveal: Reveal = Field(default_factory=lambda: Reveal(), description="Who may see it.")

    @model_validator(mode="after")
    def _no_rule_twice(self) -> Self:
        unique((rule.id for rule in self.rules), "rules", "id")
        return self

    @property
    def keeps_any(self) -> bool:
        """Whether content of any exchange may be kept."""
        said = {self.keep, *(rule.keep for rule in self.rules)}
        return self.at_most is not Keep.NONE and self.share > 0 and said != {Keep.NONE}

    def kept_of(
        self, tenant: str, principal: str, action: Action, reasons: Iterable[str], found: Iterable[str]
    ) -> Keep:
        """Return what is kept of an exchange. reasons: of its decisions; found: ids of rules that found something."""
        reasons, found = tuple(reasons), tuple(found)
        fitting = (each for each in self.rules if each.covers(tenant, principal, action, reasons, found))
        rule = next(fitting, None)
        return min(self.keep if rule is None else rule.keep, self.at_most, key=lambda keep: keep.rank)


def keeps_more(ours: ContentSection, theirs: ContentSection) -> tuple[tuple[str, ...], ...]:
    """Return the keys of a tenant's section by which more would be kept, longer, or shown more easily."""
    found: list[tuple[str, ...]] = []
    for key in sorted(theirs.model_fields_set):
        mine, said = getattr(ours, key), getattr(theirs, key)
        if key in ("keep", "at_most"):
            milder = said.rank > mine.rank
        elif key == "keep_days":
            days = sorted(said.model_fields_set)
            found += [(key, kind) for kind in days if getattr(said, kind) > getattr(mine, kind)]
            milder = False
        elif key == "reveal":
            found += [(key, *more) for more in _shows_more(mine, said)]
            milder = False
        elif key == "share":
            milder = said > mine
        else:
            milder = key != "required" or (mine and not said)
        if milder:
            found.append((key,))
    return tuple(found)


def _shows_more(ours: Reveal, theirs: Reveal) -> Iterable[tuple[str, ...]]:
    written = theirs.model_fields_set
    if "second_person" in written and ours.second_person and not theirs.second_person:
        yield ("second_person",)
    if "within_s" in written and theirs.within_s > ours.within_s:
        yield ("within_s",)
    fewer = bool(theirs.approvers) and set(theirs.approvers) <= set(ours.approvers)
    if "approvers" in written and ours.approvers and not fewer:
        yield ("approvers",)


def laid_over(ours: ContentSection, theirs: ContentSection) -> ContentSection:
    """Return the company's section with the keys that a tenant wrote."""
    written: dict[str, object] = {}
    for key in theirs.model_fields_set:
        mine, said = getattr(ours, key), getattr(theirs, key)
        if isinstance(said, KeepDays | Reveal):
            said = mine.model_copy(update={name: getattr(said, name) for name in said.model_fields_set})
        written[key] = said
    return ours.model_copy(update=written)
