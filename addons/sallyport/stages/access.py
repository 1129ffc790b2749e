"""What may be asked of providers at all, and by whom: operations, attachments, the operator's rules."""

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Exchange, Operation
from sallyport.policy.access import Access, AccessRule
from sallyport.policy.condition import ConditionError
from sallyport.stages.asking import input_for
from sallyport.stages.stage import Ports


class AccessStage:
    """Permit and forbid; forbid wins. A condition that gives no answer refuses."""

    name = "access"

    async def decide(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        request = exchange.request
        if request.operation is Operation.OPAQUE:
            return self._opaque(section)
        if request.operation not in section.operations:
            return self._deny("access.operation", f"The operation {request.operation} is not allowed here.")
        for attachment in request.attachments:
            if not section.attachments.allows(attachment.media_type):
                return self._deny(
                    "access.attachment",
                    "The request carries content the gateway cannot read and the policy does not let pass "
                    f"({len(request.attachments)} attachments). Send it as text.",
                )
        if section.rules:
            return await self._by_rules(exchange, section, ports)
        return self._by_default(section)

    def _opaque(self, section: Access) -> Decision:
        if section.unknown_endpoint == "opaque":
            return Decision(self.name, Action.ALLOW, "access.opaque")
        return self._deny(
            "access.unknown_endpoint",
            "The gateway does not know this endpoint and cannot read what is sent to it. Use a documented "
            "endpoint of the provider, or ask your security team to add it.",
        )

    def _by_default(self, section: Access) -> Decision:
        if section.default == "permit":
            return Decision(self.name, Action.ALLOW, "access.permitted")
        return self._deny("access.default", "No rule of the policy permits this call.")

    async def _by_rules(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        given = await input_for((rule.when for rule in section.rules), exchange, ports)
        permitted: AccessRule | None = None
        tried: Decision | None = None
        for rule in section.rules:
            try:
                holds = rule.when.holds(given)
            except ConditionError:
                return self._deny(f"access.{rule.id}", rule.message, rule)
            if holds and rule.effect == "forbid":
                denied = self._deny(f"access.{rule.id}", rule.message, rule)
                if rule.mode is not Mode.OBSERVE:
                    return denied
                tried = tried or denied  # a rule on trial must not hide one that is in force
            elif holds and permitted is None:
                permitted = rule
        if tried is not None:
            return tried
        if permitted is not None:
            return Decision(self.name, Action.ALLOW, f"access.{permitted.id}")
        return self._by_default(section)

    def _deny(self, reason: str, message: str, rule: AccessRule | None = None) -> Decision:
        mode = None if rule is None else rule.mode
        return Decision(self.name, Action.DENY, reason, message=message, rule_mode=mode)
