"""What an operator may write in a policy: one frozen model per section, every key with its meaning.

Units are in the names, defaults are the safe choice, unknown keys are errors. The JSON Schema and the
reference page docs/policy.md come from here.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from sallyport.decision import Mode, Severity
from sallyport.exchange import Exchange, Surface
from sallyport.policy.access import Access
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.approvals import Approvals
from sallyport.policy.audit import Audit
from sallyport.policy.blocked import BlockingSection
from sallyport.policy.capture import Capture
from sallyport.policy.content import ContentSection
from sallyport.policy.directory import DirectorySection
from sallyport.policy.drift import Drift
from sallyport.policy.exclusion import Exclusion as Exclusion
from sallyport.policy.hosts import HostMap
from sallyport.policy.identity import Identity
from sallyport.policy.limits import Limit, Limits, Prices
from sallyport.policy.names import Ner
from sallyport.policy.output import Output
from sallyport.policy.problems import Wrong
from sallyport.policy.promotion import Promotion
from sallyport.policy.restrictions import Restrictions
from sallyport.policy.signing import Signing
from sallyport.policy.states import Canary, ConnectionSection, StageSection, check_stated, standing_of
from sallyport.policy.tenants import Tenants
from sallyport.policy.transport import Transport
from sallyport.policy.vocabulary import KIB, MIB, Entity, HostPattern, Name, Paranoia, Port, Section
from sallyport.policy.websocket import WebSocket


class Hosts(ConnectionSection):
    """Which connections are taken, tunnelled or refused before any of their bytes is read."""

    unlisted: Literal["tunnel", "refuse"] = Field(
        default="tunnel", description="What happens to a host that is no known AI provider."
    )
    tunnel: tuple[HostPattern, ...] = Field(
        default=(),
        description="Hosts that are tunnelled even where `unlisted` is `refuse`. "
        "A known AI host is intercepted all the same.",
    )
    refuse: tuple[HostPattern, ...] = Field(
        default=(), description="Hosts refused outright, AI or not; it wins over `tunnel`."
    )
    connect_ports: tuple[Port, ...] = Field(
        default=(443,),
        min_length=1,
        description="Destination ports that may be reached. Plain HTTP needs 80 here.",
    )

    @cached_property
    def refused_hosts(self) -> HostMap[str]:
        return _host_map(self.refuse, "refuse")

    @cached_property
    def tunnelled_hosts(self) -> HostMap[str]:
        return _host_map(self.tunnel, "tunnel")

    @model_validator(mode="after")
    def _no_host_twice(self) -> Self:
        _ = self.refused_hosts, self.tunnelled_hosts
        return self


class Secrets(BlockingSection):
    """Credentials in prompts: keys, tokens, passwords, private keys."""

    action: Literal["deny", "mask"] = Field(
        default="deny", description="Refuse the request, or replace each secret by a placeholder."
    )
    min_severity: Severity = Field(
        default=Severity.MEDIUM, description="Findings below this are recorded only."
    )
    exclusions: tuple[Exclusion, ...] = Field(default=(), description="Findings that are known and accepted.")


class MaskOperator(StrEnum):
    """What becomes of a piece of personal data."""

    PLACEHOLDER = "placeholder"
    REDACT = "redact"
    HASH = "hash"
    DENY = "deny"
    ALLOW = "allow"


class Masking(BlockingSection):
    """Personal data in prompts, by entity in Presidio's vocabulary."""

    entities: Mapping[Entity, MaskOperator] = Field(
        default_factory=dict,
        description="Operator per entity: `placeholder` (comes back in the answer), `redact`, `hash`, "
        "`deny` or `allow`.",
    )
    unlisted: MaskOperator = Field(
        default=MaskOperator.PLACEHOLDER, description="Operator for entities that `entities` does not name."
    )
    min_score: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Findings less sure than this are left alone; learned names have `detection.ner.min_score`.",
    )
    exclusions: tuple[Exclusion, ...] = Field(default=(), description="Findings that are known and accepted.")

    def operator(self, entity: str) -> MaskOperator:
        """Return what to do with an entity."""
        return self.entities.get(entity, self.unlisted)


class Injection(BlockingSection):
    """Texts that try to command the model: instructions in documents, tool results, invisible characters."""

    action: Literal["deny"] = Field(
        default="deny", description="Refuse the request; use `mode: observe` to only record."
    )
    threshold: float = Field(
        default=1.0,
        gt=0,
        le=100,
        description="Refused when the scores of the findings in one text reach this; 10 points score 1.",
    )
    paranoia: Paranoia = Field(
        default=1, description="Rules up to this level take part: 1 nearly never errs, 4 suspects much."
    )
    max_false_alarms: float | None = Field(
        default=None,
        ge=0.001,
        le=0.1,
        description="Share of clean texts that the trained classifier may refuse; null: it refuses none by itself.",
    )
    second_opinion: bool = Field(
        default=True,
        description="Whether what a single rule finds counts half where the trained classifier is sure that the text "
        "is harmless, as it is of most that quote or report an attack; of several rules where the text only reports.",
    )
    surfaces: tuple[Surface, ...] = Field(
        default=(Surface.USER, Surface.TOOL_RESULT, Surface.DOCUMENT, Surface.TOOL_DEFINITION),
        description="Surfaces that count. Texts of your own system prompt seldom need it.",
    )
    exclusions: tuple[Exclusion, ...] = Field(default=(), description="Findings that are known and accepted.")


class Detection(Section):
    """How hard and how long texts are searched."""

    deadline_s: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="Time for all detection of one request; missed means could not decide, so refused.",
    )
    cpu_s: float = Field(
        default=0.8,
        gt=0,
        le=60,
        description="Processor time for the rules and the injection model per request of up to a million "
        "characters, in proportion for longer ones; beyond it refused, like after `deadline_s`.",
    )
    paranoia: Paranoia = Field(
        default=1, description="Secret rules up to this level take part: 1 sure, 4 suspicious."
    )
    max_text_bytes: int = Field(
        default=8 * MIB,
        ge=KIB,
        le=64 * MIB,
        description="Texts of one request beyond this together are refused, never cut.",
    )
    recognisers: tuple[Name, ...] = Field(
        default=(), description="Extra Presidio recogniser files (YAML), relative to the policy file."
    )
    ner: Ner = Field(default_factory=lambda: Ner(), description="Names and places.")


class Policy(Section):
    """A whole policy."""

    version: Literal[1] = Field(description="Version of this format; 1.")
    mode: Mode = Field(
        default=Mode.ENFORCE,
        description="`enforce` acts; `observe` computes and records, and changes nothing; `canary` acts for a part of "
        "the traffic; `shadow` is tried beside what is in force, and counts as nothing.",
    )
    canary: Canary | None = Field(
        default=None, description="With `mode: canary`: the part of the traffic it is enforced for."
    )
    hosts: Hosts = Field(default_factory=lambda: Hosts(), description="Connections by destination.")
    identity: Identity = Field(default_factory=lambda: Identity(), description="Who speaks.")
    access: Access = Field(default_factory=lambda: Access(), description="Who may do what.")
    approvals: Approvals = Field(
        default_factory=lambda: Approvals(), description="Who approves what rules ask approval for."
    )
    directory: DirectorySection = Field(
        default_factory=lambda: DirectorySection(), description="Who is who, from the store."
    )
    restrictions: Restrictions = Field(
        default_factory=lambda: Restrictions(), description="Only the company's own accounts at vendors."
    )
    signing: Signing = Field(default_factory=lambda: Signing(), description="Requests that AWS clients sign.")
    tenants: Tenants = Field(
        default_factory=lambda: Tenants(), description="Tenants with files of their own."
    )
    limits: Limits = Field(default_factory=lambda: Limits(), description="How much may be used.")
    prices: Prices = Field(default_factory=lambda: Prices(), description="What models cost.")
    secrets: Secrets = Field(default_factory=lambda: Secrets(), description="Credentials in prompts.")
    masking: Masking = Field(default_factory=lambda: Masking(), description="Personal data in prompts.")
    injection: Injection = Field(
        default_factory=lambda: Injection(), description="Hostile instructions in prompts."
    )
    output: Output = Field(default_factory=lambda: Output(), description="What may come back in answers.")
    detection: Detection = Field(default_factory=lambda: Detection(), description="How texts are searched.")
    audit: Audit = Field(default_factory=lambda: Audit(), description="The log.")
    capture: Capture = Field(default_factory=lambda: Capture(), description="Flows kept for replay.")
    content: ContentSection = Field(
        default_factory=lambda: ContentSection(), description="Texts of exchanges that are kept."
    )
    transport: Transport = Field(default_factory=lambda: Transport(), description="Sizes and times.")
    drift: Drift = Field(
        default_factory=lambda: Drift(),
        description="When a gateway raises an alarm that it runs something else than the repository holds.",
    )
    promotion: Promotion = Field(
        default_factory=lambda: Promotion(), description="What it takes to enforce more."
    )
    websocket: WebSocket = Field(
        default_factory=lambda: WebSocket(), description="Calls that leave HTTP for a WebSocket."
    )

    @model_validator(mode="after")
    def _state_is_whole(self) -> Self:
        check_stated(self)
        return self

    _folder: Path | None = PrivateAttr(None)
    _own: Mapping[str, "Policy"] = PrivateAttr(default_factory=dict)
    _tenant_access: Access | None = PrivateAttr(None)
    _recognisers: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @cached_property
    def revision(self) -> str:
        """First 12 hex digits of the SHA-256 of the effective policy: defaults, overrides and recogniser files too."""
        dumped = self.model_dump(mode="json")
        if self._recognisers:
            dumped["recogniser_files"] = dict(self._recognisers)
        if self._own:
            dumped["of_tenants"] = {tenant: own.effective for tenant, own in self._own.items()}
        canonical = json.dumps(dumped, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def effective(self) -> dict[str, object]:
        """All that decides about an exchange, as JSON values: the sections, and the tenant's own access."""
        own = self._tenant_access
        return {**self.model_dump(mode="json"), "tenant_access": own and own.model_dump(mode="json")}

    @property
    def tenant_access(self) -> Access | None:
        """What a tenant's own file says of access: asked after the company's section, which stays in force."""
        return self._tenant_access

    def for_tenant(self, tenant: str) -> "Policy":
        """Return the policy of a tenant with a file of its own, however it spells the name, else this one."""
        return self._own.get(tenant) or self._own.get(tenant.lower(), self)

    def with_tenants(self, own: "Mapping[str, Policy]") -> Self:
        """Return this policy with those of its tenants, by their names."""
        copy = self.model_copy()
        copy._own = dict(own)
        return copy

    def laid_over(self, sections: Mapping[str, Section], access: Access | None) -> Self:
        """Return the policy of a tenant: these sections in place of this policy's, and access of its own."""
        copy = self.model_copy(update=sections)
        copy._own, copy._tenant_access = {}, access
        return copy

    def with_recognisers(self, digests: Mapping[str, str]) -> Self:
        """Return this policy with the SHA-256 of the recogniser files it names, by their names."""
        copy = self.model_copy()
        copy._recognisers = dict(digests)
        return copy

    @property
    def recogniser_digests(self) -> Mapping[str, str]:
        """SHA-256 of the recogniser files as they were when the policy was read, by name."""
        return self._recognisers

    @property
    def of_tenants(self) -> "Mapping[str, Policy]":
        """The policies of tenants with a file of their own."""
        return self._own

    @property
    def audit_required(self) -> bool:
        """Whether no request may leave before its event is durable."""
        return self.mode.acts if self.audit.required is None else self.audit.required

    @property
    def only_observes(self) -> bool:
        """Whether nothing is enforced anywhere: not by the file, nor by a section or rule with a mode of its own."""
        sections = (getattr(self, name) for name in type(self).model_fields)
        extra = self._tenant_access
        own = (*sections, *self.access.rules, *self.limits.rules, *((extra, *extra.rules) if extra else ()))
        silent = not self.mode.acts and not any((getattr(s, "mode", None) or Mode.OBSERVE).acts for s in own)
        return silent and all(policy.only_observes for policy in self._own.values())

    @property
    def recogniser_files(self) -> tuple[Path, ...]:
        """Paths of the extra recognisers, resolved against the policy file's folder."""
        return tuple((self._folder or Path()) / name for name in self.detection.recognisers)

    def beside(self, name: str) -> Path:
        """Return the path of a file that the policy names, resolved against the policy file's folder."""
        return (self._folder or Path()) / name

    @property
    def identity_files(self) -> tuple[tuple[tuple[str | int, ...], Path], ...]:
        """Files of the identity section, each with the key that names it."""
        certificates, proxy = self.identity.certificates, self.identity.proxy_auth
        found: list[tuple[tuple[str | int, ...], str | None]] = []
        if certificates is not None:
            found.append((("certificates", "ca"), certificates.ca))
            found += [(("certificates", "crl", n), name) for n, name in enumerate(certificates.crl)]
        if proxy is not None:
            found += [
                (("proxy_auth", "passwords"), proxy.passwords),
                (("proxy_auth", "tokens"), proxy.tokens),
            ]
        for n, issuer in enumerate(self.identity.tokens):
            found += [
                (("tokens", n, "keys", "file"), issuer.keys.file),
                (("tokens", n, "keys", "ca_file"), issuer.keys.ca_file),
            ]
        return tuple((("identity", *at), self.beside(name)) for at, name in found if name is not None)

    @property
    def ner_folder(self) -> Path | None:
        """Folder of the engine for names, resolved against the policy file's; None where it has none."""
        return self.detection.ner.folder(self._folder or Path())

    @property
    def uses_names(self) -> bool:
        """Whether names are looked for and some stage does something with them, for some tenant at least."""
        ner = self.detection.ner
        masked = any(self.masking.operator(entity) is not MaskOperator.ALLOW for entity in ner.entities)
        own = self._tenant_access
        reads = self.access.reads_findings or (own is not None and own.reads_findings)
        return ner.is_on and (masked or reads or any(theirs.uses_names for theirs in self._own.values()))

    def located(self, folder: Path) -> Self:
        """Return this policy as read from a folder."""
        copy = self.model_copy()
        copy._folder = folder
        return copy


def mode_of(
    policy: Policy,
    section: StageSection | ConnectionSection | None = None,
    rule: AccessRule | Limit | None = None,
) -> Mode:
    """Return the state as it is written: the rule's own, else the section's, else the file's."""
    if rule is not None and rule.mode is not None:
        return rule.mode
    if section is not None and section.mode is not None:
        return section.mode
    return policy.mode


def standing(policy: Policy, section: StageSection | ConnectionSection | None, exchange: Exchange) -> Mode:
    """Return how a section stands for one call: CANARY where a canary enforces it, SHADOW where one leaves it out."""
    stated = policy if section is None or section.mode is None else section
    mode = stated.mode or policy.mode
    if mode is not Mode.CANARY:
        return mode
    name = FILE if stated is policy or section is None else name_of(section)
    return standing_of(name, stated, exchange) or mode


def failing(
    policy: Policy, section: StageSection | ConnectionSection | None, exchange: Exchange
) -> Mode | None:
    """Return the state of a rule that is in force although its section is not, None where there is none.

    A stage that cannot decide has not asked that rule either, whoever it is for.
    """
    if not isinstance(section, Access | Limits) or standing(policy, section, exchange).acts:
        return None
    name = name_of(section)
    states = (standing_of(f"{name}.{rule.id}", rule, exchange) for rule in section.rules)
    return next((mode for mode in states if mode is not None and mode.acts), None)


def counts_apart(policy: Policy) -> bool:
    """Say whether limits without a state of their own are in shadow, and so spend nothing that is in force."""
    return mode_of(policy, policy.limits) is Mode.SHADOW


def name_of(section: StageSection | ConnectionSection) -> str:
    """Return the key of a section in the policy."""
    return type(section).__name__.lower()


FILE = "policy"
"""What the state of the whole file is called where states have names."""


def _host_map(patterns: Iterable[str], key: str) -> HostMap[str]:
    try:
        return HostMap((p, p) for p in patterns)
    except ValueError as error:
        raise Wrong(str(error), "Keep one of the two", (key,)) from None
