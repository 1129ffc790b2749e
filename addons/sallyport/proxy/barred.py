"""What must not go on, whatever was decided when it began: asked before a call leaves, and of what is in flight."""

from sallyport.decision import Decision
from sallyport.exchange import Exchange
from sallyport.policy.sections import Policy, standing
from sallyport.stages.directory import Directory
from sallyport.stages.identity import ANONYMOUS, inactive
from sallyport.stages.stops import refusal_of, stopped_by


def barred(exchange: Exchange, directory: Directory, policy: Policy) -> Decision | None:
    """Return why an exchange must not go on, None where it may: a kill switch, or a caller who is not active any more.

    The latter where identity takes effect. policy: the one in force, before that of a tenant.
    """
    stop = stopped_by(exchange, directory)
    if stop is not None:
        return refusal_of(stop)
    who = exchange.principal
    if who is None or who.source == ANONYMOUS.source:
        return None
    own = policy.for_tenant(who.tenant)
    return inactive(who, directory) if standing(own, own.identity, exchange).acts else None
