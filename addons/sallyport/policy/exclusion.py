"""Findings that an operator knows and accepts, the same in every section that has findings."""

from datetime import date
from fnmatch import fnmatchcase

from pydantic import Field

from sallyport.policy.condition import Condition
from sallyport.policy.vocabulary import Name, RuleGlob, Section


class Exclusion(Section):
    """Findings that are known and accepted. An exclusion says why, and had better end."""

    rule: RuleGlob = Field(description="Rule id, or a glob of ids: `secrets.generic.*`.")
    when: Condition | None = Field(
        default=None, description="Only where this condition holds; an error excludes nothing."
    )
    until: date | None = Field(
        default=None, description="Last day (UTC) on which it applies; null has no end."
    )
    why: Name = Field(description="The reason, for the auditor who asks next year.")

    def covers(self, rule: str, day: date) -> bool:
        """Say whether rule id and day fall under this exclusion; `when` is the caller's to ask."""
        return (self.until is None or day <= self.until) and fnmatchcase(rule, self.rule)
