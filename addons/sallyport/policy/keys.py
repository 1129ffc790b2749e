"""What the policy asks of provider credentials, by what the directory says of them."""

from typing import Literal

from pydantic import Field

from sallyport.policy.vocabulary import Section


class KeyRules(Section):
    """Which provider credentials may be used. A retired or expired one never may; see docs/keys.md."""

    known: Literal["allow", "require"] = Field(
        default="allow",
        description="`require`: a credential must be listed, in the directory or under `identity.keys`.",
    )
    unclaimed: Literal["allow", "deny"] = Field(
        default="allow", description="What happens to a listed credential that has no owner."
    )
    personal: Literal["allow", "deny"] = Field(
        default="allow",
        description="What happens to a credential that is marked as somebody's own account, not the company's.",
    )
    brokered: Literal["allow", "require"] = Field(
        default="allow",
        description="`require`: only gateway keys are accepted, so that no client needs a real credential.",
    )
    shared: Literal["alert", "ignore"] = Field(
        default="alert",
        description="Whether an `anomaly` event is written, and the webhook told, when a credential is used by two "
        "people who were proved by something else.",
    )
    shared_window_h: int = Field(
        default=24, ge=1, le=720, description="Hours within which the two uses count together."
    )
