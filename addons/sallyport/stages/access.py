"""What may be asked of providers at all, and by whom: the calls themselves, where they go, the operator's rules."""

from dataclasses import replace

from sallyport.decision import Action, Blocked, Change, Decision, Mode
from sallyport.exchange import Exchange, Operation, Principal, ToolKind
from sallyport.policy.access import Access
from sallyport.policy.accessrule import AccessRule
from sallyport.policy.calls import applied
from sallyport.policy.inputs import Facts, models_of
from sallyport.policy.rulebook import Outcome
from sallyport.policy.states import standing_of
from sallyport.stages.access_facts import (
    TagError,
    classes_of,
    consents_of,
    networks_of,
    purpose_of,
    subjects_of,
)
from sallyport.stages.approvals import Refused, Weighed, told, weigh
from sallyport.stages.asking import input_of
from sallyport.stages.excision import spoken
from sallyport.stages.stage import Ports
from sallyport.stages.stops import refusal_of, stopped_by
from sallyport.wire.leaves import is_media

MAX_TOOLS = 1024
MAX_MODELS = 64
"""More than any provider takes in one call: each name is compared with every glob of the policy."""

_ASK = "ask your security team"
_UNREADABLE = "the gateway cannot read and the policy does not let pass"


class AccessStage:
    """Permit and forbid; forbid wins. A condition that gives no answer refuses.

    What is in force comes first: the section's own refusals and the forbids in force, then the default, then
    changes of settings, and only then what rules that observe would have refused. Rules in shadow change nothing of
    that: what they would have refused stands beside it.
    """

    name = "access"

    async def decide(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        stop = stopped_by(exchange, ports.directory)
        if stop is not None:
            return refusal_of(stop)
        decision = await self._decided(exchange, section, ports)
        denied = decision.action is Action.DENY
        return spoken(decision, exchange) if denied and section.blocked is Blocked.REFUSE else decision

    async def _decided(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        book = section.rulebook
        if len(exchange.request.declared) > MAX_TOOLS or len(models_of(exchange)) > MAX_MODELS:
            return self._too_many(in_force=book.enforces_itself)
        try:
            facts = await self._facts(exchange, section, ports)
            denied = self._of_the_call(exchange, section, facts)
        except TagError as error:
            # Rules with a state of their own are asked all the same: a wrong tag must not hide what the data is.
            asked = section.needs_classes and (book.enforces_itself or book.tries)
            classes = await classes_of(section, ports) if asked else ()
            facts = Facts(networks=networks_of(exchange.client, section), data_classes=classes)
            denied = self._untagged(error, section)
        if denied is not None and not book.enforces_itself and not book.tries:
            return denied
        outcome = await self._by_rules(exchange, section, ports, facts) if book.rules else Outcome()
        if not book.tries:
            return self._settled(exchange, section, denied, outcome, weigh(outcome, exchange, ports), facts)
        outcome, tried = _apart(outcome, exchange)
        decision = self._settled(exchange, section, denied, outcome, weigh(outcome, exchange, ports), facts)
        would_refuse = weigh(tried, exchange, ports).refused
        return replace(decision, tried=tuple(self._deny(each.rule.id, "") for each in would_refuse))

    def _settled(
        self,
        exchange: Exchange,
        section: Access,
        denied: Decision | None,
        outcome: Outcome,
        weighed: Weighed,
        facts: Facts,
    ) -> Decision:
        """Return what the section and its rules come to. denied: the section's own refusal of the call."""
        first = weighed.refused[0] if weighed.refused else None
        if first is not None and first.rule.mode is not None and first.rule.mode.acts:
            return self._by(first)
        if denied is not None:
            return denied
        if first is not None and first.rule.mode is not Mode.OBSERVE:
            return self._by(first)
        if outcome.permit is None and section.default == "deny" and not _is_opaque(exchange):
            return self._deny("default", f"No rule of the policy permits this call. To get access, {_ASK}.")
        changes, refusing = applied(section.parameters, exchange.request)
        if refusing is not None:
            return self._deny(
                f"parameter.{refusing}",
                f"The policy does not allow this value of the setting {refusing}, or wants the request to set it. "
                f"Change it in the request, or {_ASK}.",
            )
        if changes:
            return self._changed(changes, weighed, facts)
        if first is not None:
            return self._by(first)
        return self._allowed(exchange, outcome, weighed, facts)

    async def _facts(self, exchange: Exchange, section: Access, ports: Ports) -> Facts:
        if not _carries_data(exchange):
            return Facts(networks=networks_of(exchange.client, section))
        return Facts(
            purpose=purpose_of(exchange.client, section),
            consents=consents_of(exchange.client, section),
            networks=networks_of(exchange.client, section),
            data_classes=await classes_of(section, ports) if section.needs_classes else (),
        )

    async def _by_rules(self, exchange: Exchange, section: Access, ports: Ports, facts: Facts) -> Outcome:
        book = section.rulebook
        speaking = book.speaking(subjects_of(exchange, facts))
        read = book.reads(speaking)
        if read is None:
            return book.outcome(speaking, None)
        if "data.classes" in read and section.data_classes and not section.needs_classes:
            facts = replace(facts, data_classes=await classes_of(section, ports))
        return book.outcome(speaking, await input_of(read, exchange, ports, facts))

    def _of_the_call(self, exchange: Exchange, section: Access, facts: Facts) -> Decision | None:
        """Return the section's own refusal of a call, None where it has none."""
        request = exchange.request
        if request.operation is Operation.OPAQUE:
            if section.unknown_endpoint == "opaque":
                return self._of_region(exchange, section, facts)
            return self._deny(
                "unknown_endpoint",
                "The gateway does not know this endpoint, or not with this method or a query parameter of the call, "
                "and cannot read what is sent to it. Use a documented endpoint of the provider, or ask your security "
                "team to add it.",
            )
        if (denied := _of_the_endpoint(exchange, section)) is not None:
            return denied
        for attachment in request.attachments:
            reason = section.attachments.refuses(attachment, request.operation)
            if reason is not None:
                what = "is larger than the policy lets pass" if reason == "attachment_size" else _UNREADABLE
                media = attachment.media_type.partition(";")[0].strip().lower()
                kind = media if is_media(media) else "of no known type"
                denied = self._deny(
                    reason, f"The request carries content that {what}: {kind}. Send it as text, or {_ASK}."
                )
                return replace(denied, media=media)
        return (
            self._of_kept(exchange, section)
            or self._of_models(exchange, section)
            or self._of_tools(exchange, section)
            or self._of_region(exchange, section, facts)
        )

    def _of_kept(self, exchange: Exchange, section: Access) -> Decision | None:
        who = exchange.principal
        own = (who.tenant, who.id) if who is not None else None
        if section.kept == "any" or all(
            maker == own if maker is not None else section.kept == "not_others"
            for maker in exchange.request.makers
        ):
            return None
        return self._deny(
            "kept",
            "The request names something that lies at the provider and that you have not made here. Use what is your "
            f"own, or {_ASK}.",
        )

    def _of_models(self, exchange: Exchange, section: Access) -> Decision | None:
        allowed = section.models
        if not allowed.speaks or not _carries_data(exchange):
            return None
        named = models_of(exchange)
        if named and all(allowed.admits_model(model) for model in named):
            return None
        if not named and allowed.allow is None and not exchange.request.operation.generates:
            return None
        return self._deny(
            "model", f"A model that this call names is not allowed here.{_choices(allowed.allow)}"
        )

    def _of_tools(self, exchange: Exchange, section: Access) -> Decision | None:
        kind = section.tools.refuses(exchange.request) if exchange.request.declared else None
        if kind is None:
            return None
        reason, what = _TOOLS[kind]
        return self._deny(
            reason,
            f"{what} that this call declares is not allowed here.{_choices(section.tools.of(kind).allow)}",
        )

    def _of_region(self, exchange: Exchange, section: Access, facts: Facts) -> Decision | None:
        rules = section.residency.rules
        if not rules or not _carries_data(exchange):
            return None
        who = exchange.principal or Principal("", "")
        region = exchange.request.region
        for rule in rules:
            if rule.refuses(who.tenant, facts.data_classes, region):
                where = (
                    "a region that is not allowed for it" if region else "no region that the gateway knows"
                )
                return self._deny(
                    "residency",
                    f"This call would be processed in {where}. Use a host of {', '.join(rule.regions)}, or {_ASK}.",
                )
        return None

    def _too_many(self, *, in_force: bool) -> Decision:
        """Refuse what would take longer to judge than any honest call. in_force: some rule enforces itself."""
        message = f"This call declares more than {MAX_TOOLS} tools or {MAX_MODELS} models. Leave some out."
        return replace(self._deny("too_many", message), rule_mode=Mode.ENFORCE if in_force else None)

    def _untagged(self, error: TagError, section: Access) -> Decision:
        tags = section.purpose if error.reason == "purpose" else section.consents
        header = tags.header if tags is not None else ""
        known = ", ".join(tags.allow) if tags is not None else ""
        return self._deny(
            error.reason,
            f"This call must state its {error.reason} in the header {header}, once, as one of: {known}.",
        )

    def _allowed(self, exchange: Exchange, outcome: Outcome, weighed: Weighed, facts: Facts) -> Decision:
        if weighed.overridden or weighed.approved:
            said = "break_glass" if weighed.overridden else "approved"
            return Decision(
                self.name, Action.ALLOW, _tagged(f"access.{said}", facts), overridden=weighed.overridden
            )
        if _is_opaque(exchange) and outcome.permit is None:
            return Decision(self.name, Action.ALLOW, "access.opaque")
        said = "permitted" if outcome.permit is None else outcome.permit.id
        return Decision(self.name, Action.ALLOW, _tagged(f"access.{said}", facts))

    def _changed(self, changes: tuple[Change, ...], weighed: Weighed, facts: Facts) -> Decision:
        said = "break_glass" if weighed.overridden else "parameters"
        return Decision(
            self.name,
            Action.MODIFY,
            _tagged(f"access.{said}", facts),
            changes=changes,
            overridden=weighed.overridden,
        )

    def _by(self, refused: Refused) -> Decision:
        rule = refused.rule
        return replace(self._deny(rule.id, told(refused)), rule_mode=rule.mode, needs=refused.needs)

    def _deny(self, reason: str, message: str) -> Decision:
        return _denial(reason, message)


class PreflightStage:
    """What a browser asks ahead of a call: judged by where the call would go; who calls may not be known yet."""

    name = AccessStage.name

    async def decide(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        stop = stopped_by(exchange, ports.directory)
        if stop is not None:
            return refusal_of(stop)
        return _of_the_endpoint(exchange, section) or Decision(self.name, Action.ALLOW, "access.preflight")


def _denial(reason: str, message: str) -> Decision:
    return Decision(AccessStage.name, Action.DENY, f"access.{reason}", message=message)


def _of_the_endpoint(exchange: Exchange, section: Access) -> Decision | None:
    """Return the refusal of what is called, whatever is in the call; None where it may be called."""
    request = exchange.request
    if request.operation not in section.operations:
        return _denial("operation", f"The operation {request.operation} is not allowed here.")
    endpoints = section.endpoints
    if endpoints.speaks and not endpoints.admits(f"{request.provider} {request.endpoint}"):
        return _denial(
            "endpoint", f"This endpoint of the provider is not allowed here. Use another, or {_ASK}."
        )
    return None


_TOOLS = {
    ToolKind.FUNCTION: ("function_tool", "A function"),
    ToolKind.HOSTED: ("hosted_tool", "A tool run by the provider"),
    ToolKind.MCP: ("mcp_server", "An MCP server"),
}


def _apart(outcome: Outcome, exchange: Exchange) -> tuple[Outcome, Outcome]:
    """Return what is heard of rules that refuse, and what is only tried: in shadow, or left out by a canary."""
    heard: tuple[list[AccessRule], list[AccessRule]] = ([], [])
    tried: tuple[list[AccessRule], list[AccessRule]] = ([], [])
    for place, rules in enumerate((outcome.forbids, outcome.approves)):
        for rule in rules:
            shadow = standing_of(f"access.{rule.id}", rule, exchange) is Mode.SHADOW
            (tried if shadow else heard)[place].append(rule)
    forbids, approves = map(tuple, heard)
    return (
        Outcome(forbids, outcome.permit, approves),
        Outcome(tuple(tried[0]), None, tuple(tried[1])),
    )


def _is_opaque(exchange: Exchange) -> bool:
    return exchange.request.operation is Operation.OPAQUE


def _carries_data(exchange: Exchange) -> bool:
    """Say whether anything of a caller's leaves with a call: a list of models asks, and tells nothing."""
    return exchange.request.operation is not Operation.LIST_MODELS


def _tagged(reason: str, facts: Facts) -> str:
    """Add the purpose to a reason, so that the log says what each call was for."""
    return f"{reason}:{facts.purpose}" if facts.purpose else reason


def _choices(allowed: tuple[str, ...] | None) -> str:
    """Tell what may be used instead, as the policy has it."""
    if not allowed:
        return f" Leave it out, or {_ASK}."
    more = " and others" if len(allowed) > _SHOWN else ""
    return f" Allowed are {', '.join(allowed[:_SHOWN])}{more}; for another {_ASK}."


_SHOWN = 8
