"""The policy section on captures: whether flows are kept for replay, which, and for how long."""

from typing import Literal

from pydantic import Field

from sallyport.policy.vocabulary import Section


class Capture(Section):
    """Flows that are kept, encrypted, to be replayed against other policies."""

    share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of conversations that is captured, whole ones: 0 none, 1 all. They are sealed under "
        "the master key; where there is none, the gateway makes one in its confdir.",
    )
    content: Literal["masked", "original"] = Field(
        default="masked",
        description="`masked`: requests with everything that rules find taken out, answers as their usage alone. "
        "`original`: requests and answers as clients and providers wrote them. Credentials never.",
    )
    rotate_mib: int = Field(default=64, ge=1, le=4096, description="A new file begins beyond this size.")
    rotate_h: float = Field(default=24.0, gt=0, le=8760, description="A new file begins after so many hours.")
    keep_days: float = Field(
        default=30.0, gt=0, le=3660, description="Files older than this are removed when a new one begins."
    )
