"""States of rules between trial and force: which part of the traffic a canary takes, and how a rule stands for a call.

A canary is sticky: the same conversation falls on the same side on every worker and after every restart, since
the side follows from the conversation's keyed digest alone. Each name has sides of its own, so that one
conversation is not the guinea pig of every canary; a canary that grows keeps whom it had.
"""

from functools import cached_property
from hashlib import blake2b
from typing import ClassVar, Literal, Protocol, Self

from pydantic import Field, model_validator

from sallyport.decision import Mode
from sallyport.exchange import Exchange
from sallyport.policy.calls import Globbed
from sallyport.policy.globs import Globs
from sallyport.policy.problems import Wrong
from sallyport.policy.vocabulary import Section

_WHOLE = 1 << 64


class Canary(Section):
    """The part of the traffic that a canary enforces for. It takes a call where all its keys fit."""

    percent: float | None = Field(
        default=None,
        gt=0,
        le=100,
        description="Share of the conversations in percent; each stays on its side. null is all.",
    )
    tenants: Globbed | None = Field(default=None, min_length=1, description="Tenants, by name or glob.")
    principals: Globbed | None = Field(default=None, min_length=1, description="Ids of principals, or globs.")
    roles: Globbed | None = Field(
        default=None, min_length=1, description="Roles, or globs; one that the principal has is enough."
    )

    @model_validator(mode="after")
    def _takes_a_part(self) -> Self:
        if self.percent is None and self.tenants is None and self.principals is None and self.roles is None:
            raise Wrong(
                "this names no part of the traffic", "Write for example `percent: 5`, or `roles: [pilot]`"
            )
        return self

    @cached_property
    def _lists(self) -> tuple[Globs | None, Globs | None, Globs | None]:
        written = (self.tenants, self.principals, self.roles)
        tenants, principals, roles = (None if w is None else Globs(w, fold=False) for w in written)
        return tenants, principals, roles

    def why_not(self, name: str, exchange: Exchange) -> str:
        """Return the first key that leaves a call out, with what speaks against it; "" for one that is taken.

        name: of what is tried, such as `access.no-shell`. A caller whom nobody has named yet fits no list.
        """
        tenants, principals, roles = self._lists
        who = exchange.principal
        if tenants is not None and (who is None or who.tenant not in tenants):
            return "tenants"
        if principals is not None and (who is None or who.id not in principals):
            return "principals"
        if roles is not None and (who is None or not any(role in roles for role in who.roles)):
            return "roles"
        if self.percent is not None and not place_of(name, exchange.conversation) < self.percent:
            return "percent"
        return ""

    def takes(self, name: str, exchange: Exchange) -> bool:
        """Say whether a call is enforced."""
        return not self.why_not(name, exchange)

    def covers(self, other: "Canary") -> bool:
        """Say whether every call that another canary of the same name takes is taken by this one."""
        lists = ("tenants", "principals", "roles")
        wider = all(
            getattr(self, name) is None
            or (getattr(other, name) is not None and set(getattr(other, name)) <= set(getattr(self, name)))
            for name in lists
        )
        return wider and (self.percent or 100) >= (other.percent or 100)


def place_of(name: str, conversation: str) -> float:
    """Return where a conversation lies among all, from 0 up to, not including, 100 percent."""
    digest = blake2b(f"{name}\0{conversation}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) * 100 / _WHOLE


class Stated(Protocol):
    """Anything a state is written in: a file, a section, a rule."""

    @property
    def mode(self) -> Mode | None: ...

    @property
    def canary(self) -> Canary | None: ...


def standing_of(name: str, stated: Stated, exchange: Exchange) -> Mode | None:
    """Return how something stands for one call: CANARY where it is taken, SHADOW where it is left out.

    None where it has no mode of its own. name: as Canary.why_not takes it.
    """
    if stated.mode is not Mode.CANARY:
        return stated.mode
    taken = stated.canary is not None and stated.canary.takes(name, exchange)
    return Mode.CANARY if taken else Mode.SHADOW


def check_stated(stated: Stated) -> None:
    """Raise Wrong where a canary does not say whom it takes, or whom it takes is said of no canary."""
    if stated.mode is Mode.CANARY and stated.canary is None:
        what = "a canary says for which part of the traffic it is enforced"
        raise Wrong(what, "Add for example `canary: {percent: 5}` beside it", ("mode",))
    if stated.canary is not None and stated.mode is not Mode.CANARY:
        raise Wrong(
            "only `mode: canary` takes a part of the traffic",
            "Write that beside it, or leave this out",
            ("canary",),
        )


class StageSection(Section):
    """A section that decides, and may therefore have a state of its own."""

    mode: Mode | None = Field(
        default=None, description="State of this section; null takes the state of the file."
    )
    canary: Canary | None = Field(
        default=None, description="With `mode: canary`: the part of the traffic it is enforced for."
    )

    @model_validator(mode="after")
    def _state_is_whole(self) -> Self:
        check_stated(self)
        return self


class ConnectionSection(Section):
    """A section that judges connections: before there is a conversation or a principal, so that it has no canary."""

    mode: Literal[Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE] | None = Field(
        default=None,
        description="State of this section; null takes the state of the file, and leaves canaries out.",
    )
    canary: ClassVar[None] = None


STRENGTH = {Mode.SHADOW: 0, Mode.OBSERVE: 1, Mode.CANARY: 2, Mode.ENFORCE: 3}
"""How much a state does, for those who may only tighten."""
