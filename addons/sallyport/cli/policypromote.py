"""`sallyport policy promote`: from trial into force, with a replay of real traffic as the ticket."""

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.cli.detection import read_policy
from sallyport.cli.operator import act, operator, put
from sallyport.cli.options import ConfdirOption, StoreOption, store_address
from sallyport.cli.policyrunning import last_in_force, running
from sallyport.cli.policyversions import policy_named, versions
from sallyport.cli.reading import open_to_read
from sallyport.cli.replacing import replacement
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.files import clear_drafts, drafted
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.editing import with_keys
from sallyport.policy.promoting import Evidence, Target, next_state, objections, target_of
from sallyport.policy.promotion import Promotion
from sallyport.policy.sections import Policy
from sallyport.policy.states import Canary
from sallyport.policy.tightening import tightened
from sallyport.state.policyversions import Promoted, Promotions


class To(StrEnum):
    """Where a promotion leads."""

    CANARY = "canary"
    ENFORCE = "enforce"


def promote(
    file: Annotated[
        Path,
        typer.Option("--file", "-f", metavar="FILE", readable=False, help="The policy file; it is edited."),
    ],
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="RULE|STAGE",
            help="access.ID, limits.ID, a section, or `policy`; none: the file as it stands, edited by hand.",
        ),
    ] = None,
    to: Annotated[To | None, typer.Option("--to", help="The new state.")] = None,
    percent: Annotated[
        float | None, typer.Option(metavar="N", help="With --to canary: share of the conversations.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="With --to canary: a role. Repeatable.")] = None,
    tenant: Annotated[list[str] | None, typer.Option(help="With --to canary: a tenant. Repeatable.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON", readable=False, help="Of sallyport replay --report, made with the draft."
        ),
    ] = None,
    draft: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the promoted policy here, beside FILE, to be replayed; no more."
        ),
    ] = None,
    min_exchanges: Annotated[int | None, typer.Option(min=1, help="At least the policy's own.")] = None,
    max_newly_refused_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="At most the policy's own.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Without a report that allows it; recorded.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why it is forced, for the auditor.")] = "",
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Let a rule or stage enforce more, where a replay of real traffic allows it. Exit 0: done; 2: refused, and why.

    First write the promoted policy with --draft, and replay with it; then promote with the report. The file takes
    force with a reload. What is promoted, by whom and on which report stands in the log and beside the versions.
    """
    home = confdir or default_confdir()
    if force and not reason.strip():
        raise OperatorError("--force", "an auditor will ask why", "Add --reason")
    before = read_policy(str(file))
    if target is None:
        _promote_as_it_stands(file, before, report, force, reason, store, confdir, home)
        return
    if to is None:
        raise OperatorError("--to", "it is not given", "Write --to canary or --to enforce")
    chosen = target_of(before, target)
    text = _edited(file, chosen, Mode(to.value), _canary(to, percent, role, tenant))
    with _beside(file, text) as copy:
        after = _only_promoted(read_policy(str(copy)), before, chosen, Mode(to.value))
        if draft is not None:
            _write_draft(file, draft, copy)
            typer.echo(f"{draft}: revision {after.revision}. Replay with it, then promote with the report:")
            typer.echo(f"  sallyport replay FLOWS --policy {draft} --against {file} --report report.json")
            return
        in_force = _in_force(store, confdir, home)
        _check_in_force(before.revision, in_force)
        known = force or in_force.running
        own = before.promotion if known else _last_demanded(before, in_force, home)
        demanded = _demanded(own, min_exchanges, max_newly_refused_share)
        rules = in_force.rules_with(before.revision)
        digest = "" if force else _allowed(report, before.revision, after.revision, demanded, rules)
        state = f"{to}:{percent:g}" if percent is not None else to.value
        record = _promoted(before, after, chosen.name, state, digest, reason)
        with replacement(file, text) as draft_of_it:
            _record(record, store, confdir, home)
            draft_of_it.put()
    typer.echo(
        f"{file}: {chosen.name} is {state}; revision {after.revision}. Put it in force with a reload (SIGHUP)."
    )


def _promote_as_it_stands(
    file: Path,
    after: Policy,
    report: Path | None,
    force: bool,
    reason: str,
    store: str | None,
    confdir: Path | None,
    home: Path,
) -> None:
    """Record the promotion of a file that was edited by hand, from the policy that is in force."""
    found = _in_force(store, confdir, home)
    in_force = found.running
    if len(in_force) != 1:
        what = "no gateway runs" if not in_force else f"gateways run {len(in_force)} different policies"
        raise OperatorError(
            str(file), f"{what}, so nobody knows what it takes the place of", "Name RULE or STAGE"
        )
    (base,) = in_force
    with policy_named(base, home) as before:
        if not tightened(before, after):
            typer.echo(f"{file}: {after.revision} enforces no more than {base}; a reload needs no promotion.")
            return
        digest = (
            "" if force else _allowed(report, base, after.revision, before.promotion, found.rules_with(base))
        )
        _record(_promoted(before, after, "", "as-it-stands", digest, reason), store, confdir, home)
    typer.echo(f"{file}: revision {after.revision} is promoted. Put it in force with a reload (SIGHUP).")


def _canary(to: To, percent: float | None, role: list[str] | None, tenant: list[str] | None) -> Canary | None:
    given = {"percent": percent, "roles": tuple(role or ()) or None, "tenants": tuple(tenant or ()) or None}
    if all(value is None for value in given.values()):
        return None
    if to is not To.CANARY:
        raise OperatorError("--to enforce", "it takes all calls", "Leave --percent, --role and --tenant out")
    if percent is not None and not 0 < percent <= 100:
        raise OperatorError("--percent", "it is no share", "Write more than 0 and at most 100")
    try:
        return Canary.model_validate(given)
    except ValueError:
        raise OperatorError(
            "--role, --tenant", "one cannot be such a name", "Write it without spaces"
        ) from None


def _edited(file: Path, target: Target, to: Mode, canary: Canary | None) -> str:
    keys = next_state(target, Mode.CANARY if to is Mode.CANARY else Mode.ENFORCE, canary)
    with file.open(encoding="utf-8", newline="") as opened:
        return with_keys(opened.read(), target.at, keys)


def _only_promoted(after: Policy, before: Policy, target: Target, to: Mode) -> Policy:
    """Return the policy of an edited file. Raises OperatorError unless the target alone differs, by its new state."""
    said: list[dict[str, Any]] = [policy.model_dump(mode="json") for policy in (before, after)]
    states = []
    for whole in said:
        part: Any = whole
        for key in target.at:
            part = part[key]
        states.append(part.pop("mode"))
        part.pop("canary")
    if said[0] != said[1] or states[1] != to:
        what = "it is written in a way that cannot be edited"
        raise OperatorError(target.name, what, "Edit the file by hand, and promote it as it stands")
    return after


@contextmanager
def _beside(file: Path, text: str) -> Iterator[Path]:
    """Write a text beside the file, where the names in it mean the same; removed in the end, unless it was moved.

    It is of whom the file is, where this account may give it away: root edits what others have to read and replay.
    """
    clear_drafts(file.parent)
    try:
        there = file.stat()
        with drafted(file, text.encode(), there.st_mode & 0o777) as copy:
            with suppress(PermissionError):
                os.chown(copy, there.st_uid, there.st_gid, follow_symlinks=False)
            yield copy
    except OSError as error:
        raise OperatorError(
            str(file), f"it cannot be edited there ({error.strerror})", "See who owns it"
        ) from None


def _write_draft(file: Path, draft: Path, copy: Path) -> None:
    if draft.parent.resolve() != file.parent.resolve() or draft.resolve() == file.resolve():
        todo = f"Write it as {file.with_name('candidate.yaml')}"
        raise OperatorError(
            "--draft", "it would not lie beside the policy, whose names are relative to it", todo
        )
    copy.replace(draft)


def _demanded(own: Promotion, least: int | None, most: float | None) -> Promotion:
    """Return what is demanded: options may only add to what the policy says."""
    return own.model_copy(
        update={
            "min_exchanges": max(own.min_exchanges, least or 0),
            "max_newly_refused_share": min(own.max_newly_refused_share, 1.0 if most is None else most),
        }
    )


@dataclass(frozen=True, slots=True)
class _InForce:
    """What gateways run. events: by which it took force; last: the latest of all, where none runs as well."""

    events: Sequence[Event]
    last: Event | None

    @property
    def running(self) -> set[str]:
        """Revisions of the policies."""
        return {event.policy_revision for event in self.events}

    def rules_with(self, revision: str) -> set[str]:
        """Return the revisions of rules with which a policy runs, as far as they are known."""
        return {e.rules_revision for e in self.events if e.policy_revision == revision} - {""}


def _in_force(store: str | None, confdir: Path | None, home: Path) -> _InForce:
    opened = open_to_read(store, confdir)
    try:
        return _InForce([*running(opened, home).values()], last_in_force(opened))
    finally:
        opened.close()


def _check_in_force(revision: str, found: _InForce) -> None:
    """Raise OperatorError where gateways run, and none of them under the policy that is to be promoted."""
    if found.running and revision not in found.running:
        what = f"it is {revision}, and {', '.join(sorted(found.running))} is in force"
        raise OperatorError("--file", what, "Bring the file in force first, or name the one that is")


def _last_demanded(before: Policy, found: _InForce, home: Path) -> Promotion:
    """Return what is demanded where no gateway runs: by the file, and by what was in force last.

    Else a file could be edited to demand less, while the gateway is stopped. Raises OperatorError.
    """
    last = found.last.policy_revision if found.last is not None else before.revision
    if last == before.revision:
        return before.promotion
    if last not in versions(home):
        what = f"no gateway runs, and what was in force last ({last}) is not kept in {home}"
        raise OperatorError("--file", what, "Start a gateway with the file first, or name its --confdir")
    with policy_named(last, home) as theirs:
        return before.promotion.strictest(theirs.promotion)


def _allowed(
    report: Path | None, base: str, candidate: str, demanded: Promotion, rules: Collection[str]
) -> str:
    """Return the SHA-256 of a report that allows the promotion. Raises OperatorError. rules: as in objections."""
    if report is None:
        raise OperatorError(
            "--report", "it is not given", "Write --draft first, replay, and give the report; or --force"
        )
    try:
        content = report.read_bytes()
        evidence = Evidence.read(content.decode("utf-8"), str(report))
    except (OSError, UnicodeDecodeError):
        raise OperatorError(
            str(report), "it cannot be read", "Name what sallyport replay --report has written"
        ) from None
    against = objections(evidence, base, candidate, demanded, datetime.now(UTC), rules)
    if against:
        raise OperatorError(
            str(report), "; ".join(against), "Replay again, or change the rule; --force needs a --reason"
        )
    return hashlib.sha256(content).hexdigest()


def _promoted(before: Policy, after: Policy, what: str, to: str, digest: str, reason: str) -> Promoted:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Promoted(after.revision, before.revision, what, to, digest, reason.strip()[:1000], operator(), now)


def _record(promoted: Promoted, store: str | None, confdir: Path | None, home: Path) -> None:
    """Note a promotion in the log and then beside the versions, where gateways look. Raises OperatorError."""
    opened = Store.open(store_address(store, confdir), create=False)
    how = promoted.report_sha256 or "forced"
    try:
        told = act(
            EventKind.POLICY_PROMOTED,
            stage="policy",
            reason=promoted.what or "policy",
            policy_revision=promoted.revision,
            detail=f"{promoted.to}:{how}",
        )
        put(opened, told)
    finally:
        opened.close()
    try:
        Promotions(versions(home).folder).keep(promoted)
    except OSError as error:
        raise OperatorError(
            str(home), f"nothing can be noted there ({error.strerror})", "See who owns it"
        ) from None
