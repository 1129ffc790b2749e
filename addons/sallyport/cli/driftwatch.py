"""What a gateway compares itself with: the file or bundle it was started with, or the repository its policy names."""

from collections.abc import Callable
from pathlib import Path

from sallyport.audit.events import Event, EventKind
from sallyport.cli.detection import read_policy
from sallyport.cli.policybundle import BundledPolicy
from sallyport.cli.rulesinforce import rules_there
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.policy.load import PRESETS
from sallyport.policy.sections import Policy
from sallyport.proxy.gateway import Gateway
from sallyport.state.policydrift import Alarm, DriftWatch, Settings, State

METRICS = "policy-drift.prom"


def watch_drift(
    gateway: Gateway, started_with: str, mode: Mode | None, bundled: BundledPolicy | None, confdir: Path
) -> DriftWatch:
    """Return what watches a gateway. bundled: as in assemble."""

    def wanted() -> Callable[[], State]:
        named = gateway.live.policy.drift.repository
        path = None if named is None else gateway.live.policy.beside(named)
        if bundled is not None and (path is None or path.suffix == ".bundle"):
            return lambda: _bundle_held(bundled, path, gateway.live.policy)
        return lambda: _file_held(started_with if path is None else str(path), mode)

    def running() -> State:
        live = gateway.live
        return State(live.policy.revision, live.rules_revision)

    def settings() -> Settings:
        drift = gateway.live.policy.drift
        return Settings(drift.alarm_after_s, drift.check_every_s)

    def alarm(raised: Alarm) -> None:
        live = gateway.live
        gateway.audit.append_nowait(
            Event(
                kind=EventKind.POLICY_DRIFTED,
                gateway=gateway.id,
                stage="policy",
                reason=f"policy.drift.{raised.what}",
                policy_revision=live.policy.revision,
                rules_revision=live.rules_revision,
                detail=f"{'over' if raised.over else 'drifted'}:{raised.wanted or 'unknown'}",
            )
        )

    return DriftWatch(lambda: wanted()(), running, settings, alarm, confdir / METRICS, gateway.id)


def _file_held(name: str, mode: Mode | None) -> State:
    if Path(name).suffix == ".bundle" and name not in PRESETS:
        todo = "Start the gateway with a bundle and --policy-key, or name a policy file"
        raise OperatorError("drift.repository", "a bundle is read only where its signature is checked", todo)
    policy = read_policy(name, mode)
    return State(policy.revision, rules_there(policy).revision, name)


def _bundle_held(bundled: BundledPolicy, path: Path | None, in_force: Policy) -> State:
    """Return what a bundle holds. The one in force holds what is in force, whatever defaults were when it was made."""
    found = bundled.peek(path)
    rules = rules_there(in_force).revision
    revision = in_force.revision if found.digest == bundled.digest_in_force else found.revision
    if found.digest != bundled.digest_in_force and revision == in_force.revision:
        revision = f"bundle-{found.digest[:12]}"
    return State(revision, rules, str(path or "the bundle"))
