"""What the hooks work with: the policy in force as one swappable snapshot, and the things that outlive it."""

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Protocol

from sallyport.audit.events import Event, EventKind, about
from sallyport.decision import Kind, Mode, Verdict
from sallyport.exchange import Exchange, Principal, Request, Response, Segment, Surface, Usage
from sallyport.metering.tariff import Tariff
from sallyport.policy.catalogue import Catalogue, Endpoint, Provider
from sallyport.policy.restrictions import Restricted
from sallyport.policy.sections import Policy, counts_apart, mode_of, standing
from sallyport.proxy.clientcerts import ClientTrust
from sallyport.proxy.links import Link, Links
from sallyport.proxy.petitions import Petition, Petitions
from sallyport.proxy.proxyauth import KnownUsers
from sallyport.proxy.scanning import Detector, Names
from sallyport.proxy.watch import Watch
from sallyport.stages.directory import NOBODY, Directory
from sallyport.stages.followers import AnswerRules
from sallyport.stages.identity import ANONYMOUS
from sallyport.stages.stage import NO_TOKENS, Ports, Scanner, Tokens
from sallyport.state.booking import Metering
from sallyport.state.captures import CaptureWriter
from sallyport.state.content.writing import ContentWriter
from sallyport.state.credentials import Credentials
from sallyport.state.directory.store import DirectoryStore
from sallyport.state.keyed import digest
from sallyport.state.meter import ExchangeMeter
from sallyport.state.vault import MemoryVault, VaultScope
from sallyport.state.webhook import Fact, Notification
from sallyport.wire.leaves import FILE_REFERENCE, PROMPT_REFERENCE

MAX_MODELS = 1024
MAX_MODEL_CHARS = 256


class AuditSink(Protocol):
    """Where events go. append returns once the event is durable, and raises if that cannot be had."""

    async def append(self, event: Event, *, required: bool = True) -> None: ...

    def append_nowait(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Live:
    """Everything a reload replaces, as a whole. An exchange keeps the one it started with.

    names: None where the policy does not look for names, or would do nothing with them.
    client_trust, proxy_users: None where the policy asks for no certificate, or for no password.
    restricted: headers that hold hosts to the company's own accounts; empty where the policy observes.
    answers: what answers are looked at with; None where they are not. rules: revision of every file and library that
    decides beside the policy, "" where that was not asked.
    """

    policy: Policy
    catalogue: Catalogue
    detector: Detector
    tariff: Tariff = field(default_factory=Tariff)
    names: Names | None = None
    tokens: Tokens = NO_TOKENS
    client_trust: ClientTrust | None = None
    proxy_users: KnownUsers | None = None
    restricted: Restricted = field(default_factory=Restricted)
    answers: AnswerRules | None = None
    rules: str = ""
    _models: dict[str, str] = field(default_factory=dict)

    def shown_model(self, name: str | None) -> str:
        """Return a model's name as it may be written down: what rules find in it stands there as its type.

        Clients write it, so it can be a key pasted into the wrong place, or a whole prompt.
        """
        if not name:
            return ""
        if len(name) > MAX_MODEL_CHARS or not name.isprintable() or " " in name:
            return "[no name]"
        shown = self._models.get(name)
        if shown is None:
            shown = _without_findings(self.detector, name)
            if len(self._models) >= MAX_MODELS:
                self._models.clear()
            self._models[name] = shown
        return shown

    @property
    def rules_revision(self) -> str:
        """What changes whenever the same text could give other findings, or the same call another answer."""
        if self.rules:
            return self.rules
        if self.names is None:
            return self.detector.revision
        both = f"{self.detector.revision} {self.names.revision}"
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    @property
    def counts_usage(self) -> bool:
        """Whether limits are enforced on what only the provider can report: tokens and money."""
        limits = self.policy.limits
        return any(
            rule.measure.needs_usage and mode_of(self.policy, limits, rule).acts for rule in limits.rules
        )

    @property
    def restores(self) -> bool:
        """Whether any stage puts placeholders in place of values, so that answers may hold some."""
        policies = (self.policy, *self.policy.of_tenants.values())
        return any(
            mode_of(policy, section).acts
            for policy in policies
            for section in (policy.masking, policy.secrets)
        )

    @property
    def identity_headers(self) -> frozenset[str]:
        """Lower-case names of the headers that are for the gateway alone, of identity or purpose, and never leave."""
        return self.policy.identity.header_names | self.policy.access.own_headers

    def region(self, provider: Provider, host: str, endpoint: Endpoint, model: str | None) -> str:
        """Return where a call is processed: as the policy says of its host, else as the catalogue does."""
        said = self.policy.access.residency.region(host)
        return said or provider.regions.of(host, dict(endpoint.captured), model)


def _without_findings(detector: Detector, name: str) -> str:
    try:
        found = detector.scan([Segment("", Surface.DOCUMENT, name)])
        values = [f for f in found if f.kind is not Kind.INJECTION]
    except Exception:
        # The border to the rules: a name nobody could look at is not shown.
        return "[unscanned]"
    shown, at = "", 0
    for finding in sorted(values, key=lambda f: (f.start, -f.end)):
        if finding.start >= at:
            shown += f"{name[at : finding.start]}[{finding.entity}]"
        at = max(at, finding.end)
    return shown + name[at:]


_MADE_HERE = re.compile(r"/container(?:/id)?|/messages/[0-9]+/audio/id")
"""Where requests name what an answer made for them, and nobody else can have put there."""

_STORES = re.compile(r"/tools/[0-9]+/(?:vector_store_ids/[0-9]+|container)")
_KEPT = (FILE_REFERENCE, PROMPT_REFERENCE)


@dataclass(slots=True)
class Gateway:
    """One running gateway. live is replaced by assignment; nothing else of it changes.

    key: 32 secret bytes from which fingerprints, conversations and placeholders are derived.
    id: name of this instance in the audit log. connect_to: curl-like overrides, shown in the audit.
    reload: builds a new snapshot from the files; raises OperatorError and changes nothing if they are bad.
    in_flight: counts the exchanges under way. directory: gives the present state of who is who.
    credentials: gives what gateway keys stand for; None where none can be exchanged.
    open_directory: opens the directory to register requests for approvals; None registers none.
    capture_writer: takes flows that are kept for replay; None where none can be sealed. content_writer: takes texts
    that the policy keeps; None likewise. alias: gives an event what is written in the place of its person, for those
    that go past the log; may wait. unpromoted: why the policy it starts with should have been promoted first.
    """

    live: Live
    audit: AuditSink
    key: bytes
    id: str
    reload: Callable[[], Live]
    vault: MemoryVault
    metering: Metering
    connect_to: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    in_flight: Callable[[], int] = lambda: 0
    directory: Callable[[], Directory] = lambda: NOBODY
    credentials: Credentials | None = None
    open_directory: Callable[[], DirectoryStore] | None = None
    capture_writer: CaptureWriter | None = None
    content_writer: ContentWriter | None = None
    alias: Callable[[Event], Event] = lambda event: event
    unpromoted: str = ""
    watch: Watch = field(init=False)
    petitions: Petitions = field(init=False)
    _links: Links = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.id, self.record)
        self.petitions = Petitions(self.open_directory, self._told_of, self.alias)
        self._links = Links(self.key)

    def approval_digest(self, *parts: str) -> str:
        """Return the keyed digest from which the id of a request for an approval is made."""
        return digest(self.key, "approval", *parts)

    def asked(self, live: Live, exchange: Exchange, verdict: Verdict) -> None:
        """Have the approvals registered that a call lacks, and tell loudly of broken glass that it used."""
        for decision in verdict.decisions:
            if decision.mode is Mode.SHADOW:
                continue  # what is only tried asks nobody for anything
            observed = decision.mode is Mode.OBSERVE
            for need in decision.needs:
                if live.shown_model(need.resource.partition(":")[2]) != need.resource.partition(":")[2]:
                    continue  # what stands in the place of a name is no name, and is written down nowhere
                detail = f"{'observed' if observed else 'requested'}:{need.id}"
                event = self._approval_event(live, exchange, EventKind.APPROVAL_REQUESTED, need.rule, detail)
                self.petitions.ask(Petition(need, event))
            for rule in decision.overridden:
                self.record(self._approval_event(live, exchange, EventKind.BREAK_GLASS, rule, "used"))
                self._tell("break_glass.used", exchange.id, exchange.principal, {"rule": rule})

    def _approval_event(
        self, live: Live, exchange: Exchange, kind: EventKind, rule: str, detail: str
    ) -> Event:
        event = about(
            kind,
            exchange,
            gateway=self.id,
            policy_revision=live.policy.revision,
            rules_revision=live.rules_revision,
            detail=detail,
        )
        shown = live.shown_model(exchange.request.model)
        return replace(event, stage="access", reason=f"access.{rule}", model=shown)

    def _told_of(self, petition: Petition) -> None:
        """Tell the operator of a request that is new; what was only observed disturbs nobody."""
        need = petition.need
        if petition.event.detail.startswith("requested"):
            facts: dict[str, Fact] = {"request": need.id, "rule": need.rule, "resource": need.resource}
            which = f"{need.id} {petition.event.at.isoformat()}"
            self._tell("approval.requested", which, Principal(need.principal, need.tenant), facts)

    def _tell(self, kind: str, which: str, who: Principal | None, facts: dict[str, Fact]) -> None:
        whose = {"principal": who.id if who else "", "tenant": who.tenant if who else ""}
        self.watch.tell(self.live.policy.limits, Notification(kind, which, self.now(), {**whose, **facts}))

    def conversation(self, request: Request) -> str:
        """Return a digest that stays the same while a client resends a growing conversation.

        A continued answer belongs to its conversation; else the first text the user wrote tells.
        """
        if request.previous is not None:
            linked = self._links.known(request.provider, request.previous)
            if linked is not None:
                return linked.conversation
        texts = (s.text for s in request.segments if s.surface is Surface.USER)
        first = next(texts, None) or next((s.text for s in request.segments), "")
        return digest(self.key, "conversation", request.provider, first)

    def kept_tokens(self, request: Request) -> int:
        """Return how many tokens the provider keeps of what a request continues; 0 where that is not known here."""
        if request.previous is None:
            return 0
        linked = self._links.known(request.provider, request.previous)
        return 0 if linked is None else linked.tokens

    def unseen_of(self, request: Request, conversation: str) -> Request:
        """Return a request without what it names by an id that answers of this conversation gave: that was seen then.

        So a container goes on in its own conversation and a sound is spoken of; a file is judged wherever it is named.
        """
        named = {a.at for a in request.attachments if a.size is None and _MADE_HERE.fullmatch(a.at)}
        if not named:
            return request
        seen = set()
        for segment in request.segments:
            if segment.at in named:
                linked = self._links.known(request.provider, segment.text)
                if linked is not None and linked.conversation == conversation:
                    seen.add(segment.at)
        return request.having_seen(seen)

    def makers(self, request: Request) -> tuple[tuple[str, str] | None, ...]:
        """Return who has made what a request names by an id; None for each that nobody here has seen made."""
        places = {a.at for a in request.attachments if a.media_type in _KEPT or _MADE_HERE.fullmatch(a.at)}
        named = [s.text for s in request.segments if s.at in places or _STORES.fullmatch(s.at)]
        if request.previous is not None:
            named.append(request.previous)
        found = (self._links.known(request.provider, id) for id in named)
        return tuple(None if link is None else link.maker for link in found)

    def link(self, exchange: Exchange, answer: Response, usage: Usage | None) -> None:
        """Remember to which conversation an answer belongs, and what it has made; usage: what it used, all it read.

        A call that failed has made nothing, and what it named is as it was.
        """
        if answer.status >= 400:
            return
        tokens = 0 if usage is None else (usage.input or 0) + (usage.output or 0)
        who = exchange.principal
        link = Link(exchange.conversation, tokens, (who.tenant, who.id) if who is not None else ("", ""))
        for made in filter(None, (answer.id, *answer.made)):
            self._links.remember(exchange.request.provider, made, link)
        if exchange.request.previous and exchange.request.goes_on:
            # A conversation keeps its id, an answer does not: that of an answer says what was kept then.
            self._links.remember(
                exchange.request.provider, exchange.request.previous, replace(link, grows=True)
            )

    def meter(self, live: Live, exchange: Exchange, request_bytes: int) -> ExchangeMeter:
        """Return the counters of an exchange under a policy."""
        return ExchangeMeter(self.metering, live.tariff, exchange, request_bytes=request_bytes)

    def scope(self, exchange: Exchange) -> VaultScope:
        """Return the vault of a caller's conversation.

        Callers whom nothing names are all one principal, and begin alike ("Hello"): address and credential tell them
        apart, each of which many may share. That an access key id needs no proof here harms nobody: a provider that
        repeats what it was told answers good signatures only.
        """
        who, client = exchange.principal, exchange.client
        is_named = who is not None and who.source != ANONYMOUS.source
        caller = "" if is_named else digest(self.key, "caller", client.address, *client.key_ids)
        tenant, id = (who.tenant, who.id) if who is not None else ("", "")
        return self.vault.scope(tenant, id, exchange.conversation, caller)

    async def recorded(self, event: Event, *, required: bool) -> bool:
        """Record an event; False only if it is required to be durable and is not.

        An event that is not required is queued: a store that is down must not slow what passes anyway.
        """
        if not required:
            self.record(event)
            return True
        try:
            await self.audit.append(event, required=True)
        except Exception:
            # The border to the log: whatever it raises means the event is not known to be durable.
            return False
        return True

    def record(self, event: Event) -> None:
        """Queue an event. A full log counts the loss itself; what is decided stays decided."""
        with suppress(Exception):
            self.audit.append_nowait(event)
        self.watch.hear(event, self.live.policy.limits, self.live.policy.identity.key_rules)

    def connected_to(self, host: str, port: int = 443) -> str:
        """Return the lab address that takes a host's place, for the audit; empty if none does."""
        target = self.connect_to.get((host, port))
        return f"{target[0]}:{target[1]}" if target else ""


def ports_for(
    gateway: Gateway, live: Live, scanner: Scanner, meter: ExchangeMeter | None
) -> Callable[[Exchange], Ports]:
    """Return the factory of an exchange's ports: one scanner, one meter, a vault scope per principal."""

    directory = gateway.directory()

    def ports(exchange: Exchange) -> Ports:
        circumstances = cache(lambda: gateway.watch.circumstances(exchange, gateway.in_flight()))
        return Ports(
            scanner,
            gateway.scope(exchange),
            meter,
            circumstances,
            directory,
            live.tokens,
            gateway.approval_digest,
            live.policy.approvals,
            standing(live.policy, live.policy.limits, exchange),
            counts_apart(live.policy),
        )

    return ports
