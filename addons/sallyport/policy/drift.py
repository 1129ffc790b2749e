"""The policy's words on drift: what should be in force, and how long something else may be."""

from pydantic import Field

from sallyport.policy.vocabulary import Name, Section


class Drift(Section):
    """What a gateway compares itself with, and when it raises an alarm; see docs/policy-versions.md."""

    alarm_after_s: float = Field(
        default=900.0,
        ge=0,
        le=2_592_000,
        description="How long that may last before it is an alarm; 0 looks for none.",
    )
    check_every_s: float = Field(default=60.0, ge=1, le=86_400, description="How often it is looked.")
    repository: Name | None = Field(
        default=None,
        description="Policy file, or signed bundle, that should be in force, relative to this file; "
        "by default the one that the gateway was started with.",
    )
