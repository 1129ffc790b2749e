"""What a caller gets in place of what was stopped: an error, an answer, or a request without the text."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from sallyport.decision import Blocked
from sallyport.policy.states import StageSection
from sallyport.policy.vocabulary import RuleGlob

type Answered = Literal[Blocked.REJECT, Blocked.REFUSE]


MILDEST_FIRST = (Blocked.EXCISE, Blocked.REFUSE, Blocked.REJECT)


class BlockingSection(StageSection):
    """A section that stops texts of requests, and says what then becomes of the request."""

    blocked: Blocked = Field(
        default=Blocked.REJECT,
        description="What becomes of a request with a text that is stopped. `reject`: an error. `refuse`: the "
        "assistant answers that it was stopped, and the text is excised once it is history. `excise`: a short "
        "notice takes the place of the text, and the request goes on.",
    )
    blocked_by_rule: Mapping[RuleGlob, Blocked] = Field(
        default_factory=dict,
        description="The same for single rules, by id or glob; the strictest that fits wins over `blocked`.",
    )

    def how(self, rule: str) -> Blocked:
        """Return what becomes of a request of which a rule stops a text."""
        fits = [blocked for glob, blocked in self.blocked_by_rule.items() if fnmatchcase(rule, glob)]
        return max(fits, key=MILDEST_FIRST.index, default=self.blocked)
