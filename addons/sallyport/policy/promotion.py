"""What must be shown before a policy may enforce more: a replay of real traffic that hurts few enough calls."""

from pydantic import Field

from sallyport.errors import OperatorError
from sallyport.policy.vocabulary import Section


class Promotion(Section):
    """When a rule may go from trial into force; see docs/policy-versions.md."""

    required: bool = Field(
        default=False,
        description="Whether a reload is refused that enforces more than the policy in force and was not promoted.",
    )
    min_exchanges: int = Field(
        default=1000, ge=1, description="Exchanges that the replay must have judged, at least."
    )
    max_newly_refused_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of them that may be refused, or their answer ended, where they were not before.",
    )
    max_masks_changed_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of them in which other values, or other places of the answer, may be masked than before.",
    )
    max_age_h: float = Field(
        default=336.0,
        gt=0,
        le=8784,
        description="Age of the last exchange of the replay; older traffic proves little.",
    )

    def strictest(self, other: "Promotion") -> "Promotion":
        """Return what both demand."""
        return Promotion(
            required=self.required or other.required,
            min_exchanges=max(self.min_exchanges, other.min_exchanges),
            max_newly_refused_share=min(self.max_newly_refused_share, other.max_newly_refused_share),
            max_masks_changed_share=min(self.max_masks_changed_share, other.max_masks_changed_share),
            max_age_h=min(self.max_age_h, other.max_age_h),
        )


class NotPromoted(OperatorError):
    """A policy that enforces more than the one in force, and of which no promotion is recorded."""
