"""Kill switches: what an operator has stopped at once, whatever the policy says and whoever asks."""

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import Exchange, Operation
from sallyport.policy.access import Access
from sallyport.policy.globs import Globs
from sallyport.policy.inputs import models_of
from sallyport.policy.models import ancestors, spellings
from sallyport.stages.directory import Directory, Stop, StopKind
from sallyport.stages.stage import Ports

STOPPED = "access.stopped"


class StopStage:
    """The kill switches alone, for a call of which nothing else can be judged: its body cannot be read."""

    name = "access"

    async def decide(self, exchange: Exchange, section: Access, ports: Ports) -> Decision:
        stop = stopped_by(exchange, ports.directory)
        return Decision(self.name, Action.ALLOW, "access.unread") if stop is None else refusal_of(stop)


def stopped_by(exchange: Exchange, directory: Directory) -> Stop | None:
    """Return the first kill switch that stops an exchange, None if none does."""
    for stop in directory.stops():
        if _stops(stop, exchange, directory):
            return stop
    return None


def refusal_of(stop: Stop) -> Decision:
    """Return the refusal, in force whatever the mode. 403: a client that is told so does not try again."""
    return Decision(
        "access",
        Action.DENY,
        STOPPED,
        message=f"{_WHAT[stop.kind]} was stopped by your security team ({stop.id}). Trying again does not help; "
        "ask them when it is let go.",
        rule_mode=Mode.ENFORCE,
    )


def _stops(stop: Stop, exchange: Exchange, directory: Directory) -> bool:
    match stop.kind:
        case StopKind.EVERYTHING:
            return True
        case StopKind.TENANT:
            return exchange.principal is not None and _same(exchange.principal.tenant, stop.value)
        case StopKind.PRINCIPAL:
            who = exchange.principal
            return who is not None and _same(who.id, stop.value) and _same(who.tenant, stop.tenant)
        case StopKind.KEY:
            return _has_key(stop.value, exchange, directory)
        case StopKind.MODEL:
            return _names_model(stop.value, exchange)
        case StopKind.PROVIDER:
            return _same(exchange.request.provider, stop.value)


def _same(one: str, other: str) -> bool:
    """Compare without case: a kill switch had better stop one too many than one too few."""
    return one.casefold() == other.casefold()


def _has_key(value: str, exchange: Exchange, directory: Directory) -> bool:
    client = exchange.client
    shown = (*client.credentials, *((client.credential,) if client.credential else ()))
    for fingerprint in shown:
        key = directory.key(fingerprint)
        if _same(fingerprint, value):
            return True
        if key is not None and any(_same(name, value) for name in (key.id, key.credential) if name):
            return True
    return False


def _names_model(pattern: str, exchange: Exchange) -> bool:
    """Say whether a call could reach a model; one of which no model can be told could reach any."""
    request = exchange.request
    if request.operation in (Operation.LIST_MODELS, Operation.PREFLIGHT):
        return False
    named = models_of(exchange)
    if not named or any(map(_hides_model, named)):
        return True
    globs = Globs(_unrouted(pattern))
    return any(name in globs for model in named for name in ancestors(model))


def _unrouted(pattern: str) -> tuple[str, ...]:
    """Return a name as it was written, and without what only says where it is reached: models/, openai/, us."""
    shorter = (name for name in spellings(pattern) if pattern.strip().casefold().endswith(name))
    return (pattern, *(name for name in shorter if name[:1].isalnum()))


def _hides_model(name: str) -> bool:
    """Say whether a name is that of something of the customer's own in Bedrock, behind which is any model."""
    folded = name.strip().casefold()
    return folded.startswith("arn:") and not any(kind in folded for kind in _TELLING_ARNS)


_TELLING_ARNS = (":foundation-model/", ":inference-profile/")


_WHAT = {
    StopKind.EVERYTHING: "All AI traffic",
    StopKind.TENANT: "All AI traffic of your organisation",
    StopKind.PRINCIPAL: "Your AI traffic",
    StopKind.KEY: "This key",
    StopKind.MODEL: "A model that this call may reach",
    StopKind.PROVIDER: "This provider",
}
