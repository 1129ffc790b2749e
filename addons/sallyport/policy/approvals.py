"""The policy's words on approvals: who gives them, for how long, and who may do without."""

from pydantic import Field

from sallyport.policy.vocabulary import Name, Section

DAY_S = 86_400


class RuleApproval(Section):
    """What an approval for one rule is like."""

    expires_s: int | None = Field(
        default=None,
        ge=60,
        le=366 * DAY_S,
        description="How long an approval lasts unless the approver says otherwise; null takes `approvals.expires_s`.",
    )
    who: Name = Field(default="your security team", description="Whom a refused caller is told to ask.")


class Approvals(Section):
    """Who may approve what access rules with `effect: approve` ask for. Names are accounts of the machine."""

    approvers: tuple[Name, ...] = Field(
        default=(), description="Accounts that may approve and deny; empty lets all who can open the store."
    )
    min_approvers: int = Field(default=1, ge=1, le=5, description="How many different accounts must approve.")
    not_own: bool = Field(
        default=True, description="Nobody approves what was asked for in a name of the approver's own."
    )
    expires_s: int = Field(
        default=8 * 3600,
        ge=60,
        le=366 * DAY_S,
        description="How long an approval lasts unless rule or approver say otherwise.",
    )
    longest_s: int = Field(
        default=30 * DAY_S, ge=60, le=366 * DAY_S, description="The longest an approval may last."
    )
    break_glass_by: tuple[Name, ...] = Field(
        default=(), description="Accounts that may break glass; empty lets all who can open the store."
    )
    break_glass_longest_s: int = Field(
        default=4 * 3600, ge=60, le=7 * DAY_S, description="The longest that broken glass lasts."
    )
