"""What stages say of an exchange, and what the pipeline makes of it.

Offsets are code points of the segment's decoded text. No value here holds matched text.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from sallyport.exchange import Principal, Scalar


class Action(IntEnum):
    """Ordered by severity, so that folding is max()."""

    ALLOW = 0
    MODIFY = 1
    DENY = 2


class Mode(StrEnum):
    """How far a decision takes effect; as a rule has it in the policy, and as a decision had it for one exchange.

    OBSERVE: computed and recorded as what would be, and nothing is changed. SHADOW: tried beside what is in force,
    and recorded under its own name only. CANARY: enforced for a part of the traffic and in SHADOW for the rest; a
    decision of this mode was enforced. ENFORCE: takes effect.
    """

    OBSERVE = "observe"
    SHADOW = "shadow"
    CANARY = "canary"
    ENFORCE = "enforce"

    @property
    def acts(self) -> bool:
        """Whether it takes effect, for a part of the traffic at least."""
        return self is Mode.ENFORCE or self is Mode.CANARY


class Blocked(StrEnum):
    """What a caller gets in place of a request with a text that is stopped.

    REJECT: an error. REFUSE: an assistant's answer that says so. EXCISE: the request goes on without the text.
    """

    REJECT = "reject"
    REFUSE = "refuse"
    EXCISE = "excise"


class Kind(StrEnum):
    """What a finding is about."""

    PII = "pii"
    SECRET = "secret"
    INJECTION = "injection"
    OUTPUT = "output"
    """Something that an answer does and should not: a link that carries data out, a command that destroys."""


class Severity(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a text that a rule recognised.

    rule: stable id, for example secrets.ai.openai_api_key or pii.EMAIL_ADDRESS.
    entity: the type in Presidio's vocabulary, or the rule's own name for it (EMAIL_ADDRESS).
    score: 0 to 1; for injection the points of the rule divided by 10.
    """

    rule: str
    kind: Kind
    entity: str
    severity: Severity
    at: str
    start: int
    end: int
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace text[start:end] of the segment at a pointer."""

    at: str
    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True)
class Change:
    """Set the value at a pointer of the body to another scalar: a parameter that the policy caps."""

    at: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Need:
    """An approval that a call lacks. id: of the request for it, the same whenever it is asked for again.

    resource: `model:gpt-5`, `provider:openai`, `function:shell`, `hosted:web_search`, `mcp:mcp.example.com`,
    or "" where the approval is for the rule as such.
    """

    id: str
    tenant: str
    principal: str
    rule: str
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One stage's word on one exchange.

    reason: stable id such as secrets.found; message: what the caller may read, never matched text.
    mode: put on by the pipeline; rule_mode: the deciding rule's own mode, where it has one.
    principal: set by the identity stage only. status: HTTP status of a refusal. duration_us: microseconds.
    retry_after_s: when the same request will fit; None where trying again does not help.
    changes: parameters to set, beside the edits of texts.
    needs: the approvals that would have let it pass. overridden: ids of the rules that break-glass set aside.
    spoken: a DENY that is told as an assistant's answer, not as an error.
    tried: what rules in SHADOW say beside it; the pipeline makes them decisions of their own, with that rule_mode.
    media: type of the content that a DENY is about, as the client wrote it.
    """

    stage: str
    action: Action
    reason: str
    mode: Mode = Mode.ENFORCE
    message: str = ""
    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()
    principal: Principal | None = None
    rule_mode: Mode | None = None
    status: int = 403
    duration_us: int = 0
    retry_after_s: int | None = None
    changes: tuple[Change, ...] = ()
    needs: tuple[Need, ...] = ()
    overridden: tuple[str, ...] = ()
    spoken: bool = False
    tried: tuple["Decision", ...] = ()
    media: str = ""

    @property
    def enforced(self) -> bool:
        """Whether it takes effect on this exchange."""
        return self.mode is Mode.ENFORCE or self.mode is Mode.CANARY


@dataclass(frozen=True, slots=True)
class Verdict:
    """All decisions on one exchange, in the order of the stages.

    action is what is enforced; would_be is what it were if every stage enforced that is not merely tried.
    """

    decisions: tuple[Decision, ...]

    @property
    def action(self) -> Action:
        return max((d.action for d in self.decisions if d.enforced), default=Action.ALLOW)

    @property
    def would_be(self) -> Action:
        return max((d.action for d in self.decisions if d.mode is not Mode.SHADOW), default=Action.ALLOW)

    @property
    def cause(self) -> Decision | None:
        """The first decision that gave the enforced action; None when nothing was done."""
        action = self.action
        if action is Action.ALLOW:
            return None
        return next(d for d in self.decisions if d.enforced and d.action is action)

    @property
    def would_cause(self) -> Decision | None:
        """The first decision that gives would_be; None where nothing would be done."""
        action = self.would_be
        if action is Action.ALLOW:
            return None
        return next(d for d in self.decisions if d.mode is not Mode.SHADOW and d.action is action)

    @property
    def warning(self) -> str:
        """What a caller should know although the request is allowed: a limit that is nearly used up."""
        said = (d for d in self.decisions if d.action is Action.ALLOW and d.mode is not Mode.SHADOW)
        return "; ".join(d.message for d in said if d.message)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Edits of the enforced decisions, as the stages gave them (not merged)."""
        return tuple(e for d in self.decisions if d.enforced for e in d.edits)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Changes of the enforced decisions, one for each place: a later stage has narrowed what an earlier one set."""
        enforced = (change for d in self.decisions if d.enforced for change in d.changes)
        return tuple({change.at: change for change in enforced}.values())


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no, ready to be put into a provider's own words.

    retry_after_s: None means that the client must not retry. failed: it is no decision but a provider that could
    not be reached or broke off, so that an SDK may try again as it would have without a gateway. flat: clients of the
    provider look for what went wrong at the top of the body, in the OpenAI dialects.
    """

    reason: str
    message: str
    decision_id: str
    status: int = 403
    retry_after_s: int | None = None
    failed: bool = False
    flat: bool = False
