"""Who speaks: every proof the wire gives becomes one principal, or a refusal.

The strongest proof wins. Certificates, tokens, users and keys of one's own claim to be somebody: two of them that
name different people contradict each other, which the policy decides, by default with no. A network or a key that
many share is not a person: it counts where nothing better is known, and as an attribute beside something better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sallyport.decision import Action, Decision
from sallyport.exchange import Exchange, Principal
from sallyport.policy.identity import Identity
from sallyport.stages.directory import Directory
from sallyport.stages.hints import hints
from sallyport.stages.proofs import CONFIDENCE, Proof, ProofRefused, headers_of, proofs
from sallyport.stages.stage import Ports, Stage

ANONYMOUS = Principal(id="anonymous", tenant="default")


@dataclass(frozen=True, slots=True)
class Found:
    """The principal of an exchange. conflict: sources that name somebody else, the strongest first.

    sources: those that support the principal, or do not contradict it. principal: None where nothing names one.
    """

    principal: Principal | None = None
    sources: tuple[str, ...] = ()
    conflict: tuple[str, ...] = ()


class IdentityStage:
    """The first stage; the only one that sets a principal. prove: gives the proofs of a call."""

    name = "identity"

    def __init__(self, prove: Callable[..., Sequence[Proof]] = proofs) -> None:
        self._prove = prove

    async def decide(self, exchange: Exchange, section: Identity, ports: Ports) -> Decision:
        headers, repeated = headers_of(exchange.client)
        try:
            found = combine(
                self._prove(exchange, section, ports, headers, repeated), section, ports.directory
            )
        except ProofRefused as refused:
            return self._deny(refused.reason, refused.message)
        principal = found.principal
        said = hints(exchange, headers)
        if principal is None:
            return self.unknown(section, said)
        if said or found.conflict:
            attributes = dict(principal.attributes) | said
            if found.conflict:
                attributes["conflict"] = " ".join(found.conflict)
            principal = replace(principal, attributes=tuple(attributes.items()))
        if found.conflict and section.conflicts == "deny":
            message = (
                f"The {principal.source} and the {found.conflict[0]} of this request name different people or "
                "tenants. Send only your own, or ask your security team."
            )
            return self._deny("identity.conflict", message, principal)
        if not _enough(found.sources, section):
            return self._deny("identity.required", _required_message(section), principal)
        lapsed = inactive(principal, ports.directory)
        if lapsed is not None:
            return replace(lapsed, principal=principal)
        reason = "identity.conflict_strongest" if found.conflict else f"identity.{principal.source}"
        return Decision(self.name, Action.ALLOW, reason, principal=principal)

    def unknown(self, section: Identity, said: dict[str, str]) -> Decision:
        """Return the word on a caller whom nothing names. said: its hints about itself."""
        if section.require:
            return self._deny("identity.required", _required_message(section))
        if section.unknown == "anonymous":
            nobody = replace(ANONYMOUS, attributes=tuple(said.items())) if said else ANONYMOUS
            return Decision(self.name, Action.ALLOW, "identity.anonymous", principal=nobody)
        return self._deny(
            "identity.unknown",
            "The gateway does not know who is calling. Ask your security team to register your certificate, token, "
            "API key or network.",
        )

    def _deny(self, reason: str, message: str, principal: Principal | None = None) -> Decision:
        return Decision(self.name, Action.DENY, reason, message=message, principal=principal)


class PreflightIdentityStage:
    """Who asks ahead of a call: a browser sends no proof with it, but its network or connection may be one."""

    name = IdentityStage.name

    def __init__(self, stage: Stage[Identity] | None = None) -> None:
        """stage: says who asks, where it is not the proofs of the wire."""
        self._stage = stage or IdentityStage()

    async def decide(self, exchange: Exchange, section: Identity, ports: Ports) -> Decision:
        word = await self._stage.decide(exchange, section, ports)
        if word.reason in ("identity.required", "identity.unknown"):
            return Decision(self.name, Action.ALLOW, "identity.preflight", principal=word.principal)
        return word


def recognised(principal: Principal, section: Identity) -> Decision:
    """Return the word on a caller whom a recording names: what proved it then, or spoke against it, counts now."""
    stage, facts = IdentityStage(), dict(principal.attributes)
    sources = tuple(facts.get("sources", principal.source).split())
    if principal.source == ANONYMOUS.source:
        word = stage.unknown(section, {})
    elif "conflict" in facts and section.conflicts == "deny":
        word = Decision(stage.name, Action.DENY, "identity.conflict", principal=principal)
    elif not _enough(sources, section):
        word = Decision(stage.name, Action.DENY, "identity.required", principal=principal)
    else:
        word = Decision(stage.name, Action.ALLOW, "identity.recorded")
    return (
        word if word.action is Action.DENY else replace(word, reason="identity.recorded", principal=principal)
    )


def inactive(principal: Principal, directory: Directory) -> Decision | None:
    """Return the refusal of somebody who is not active any more, or whose tenant is not; None where both are."""
    person = directory.person(principal.tenant, principal.id)
    if person is not None and not person.active:
        return _INACTIVE_PERSON
    tenant = directory.tenant(principal.tenant)
    return _INACTIVE_TENANT if tenant is not None and not tenant.active else None


_INACTIVE_PERSON = Decision(
    IdentityStage.name,
    Action.DENY,
    "identity.inactive_person",
    message="This account is not active any more. Ask your security team.",
)
_INACTIVE_TENANT = Decision(
    IdentityStage.name,
    Action.DENY,
    "identity.inactive_tenant",
    message="This tenant is not active any more. Ask your security team.",
)


def combine(found: Sequence[Proof], section: Identity, directory: Directory) -> Found:
    """Make one principal of all proofs. found: the strongest first. Raises ProofRefused for people who are inactive."""
    if not found:
        return Found()
    claims = [proof for proof in found if proof.names_person]
    best = claims[0] if claims else found[0]
    for proof in claims or [best]:
        if proof.person is not None and not proof.person.active:
            raise ProofRefused(_INACTIVE_PERSON.reason, _INACTIVE_PERSON.message)
    whose = best.tenant, best.id
    against = [proof for proof in found if proof is not best and _contradicts(proof, best)]
    agreeing = [proof for proof in claims if (proof.tenant, proof.id) == whose] or [best]
    roles = dict.fromkeys(role for proof in agreeing for role in proof.roles)
    facts: dict[str, str] = {}
    for proof in reversed(agreeing):
        facts |= dict(proof.facts)
    if best.person is not None:
        roles |= dict.fromkeys(best.person.roles)
        facts |= dict(best.person.attributes)
    tenant = directory.tenant(best.tenant)
    if tenant is not None:
        facts |= {f"tenant.{name}": value for name, value in tenant.attributes}
    sources = tuple(dict.fromkeys(proof.source for proof in found if proof not in against))
    facts["sources"] = " ".join(sources)
    facts |= {f"proof.{proof.source}": proof.id for proof in reversed(found) if proof not in against}
    principal = Principal(
        best.id, best.tenant, tuple(roles), tuple(facts.items()), best.source, CONFIDENCE[best.source]
    )
    return Found(principal, sources, tuple(dict.fromkeys(proof.source for proof in against)))


def _contradicts(proof: Proof, best: Proof) -> bool:
    """Say whether a proof beside the strongest one speaks against it.

    A key that is shared belongs to a tenant all the same: only that of `default` may be used by others.
    """
    if proof.names_person:
        return (proof.tenant, proof.id) != (best.tenant, best.id)
    return proof.source == "key" and proof.tenant not in ("default", best.tenant)


def _enough(sources: tuple[str, ...], section: Identity) -> bool:
    if not section.require:
        return True
    return any(all(part in sources for part in needed.split("+")) for needed in section.require)


def _required_message(section: Identity) -> str:
    needed = " or ".join(each.replace("+", " and ") for each in section.require)
    return (
        f"The policy asks for more proof of who is calling: {needed}. Ask your security team how to get it."
    )
