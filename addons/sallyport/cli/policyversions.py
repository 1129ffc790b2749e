"""`sallyport policy diff|history|rollback|drift`: which policy is in force, was, and how it differs."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sallyport.audit.events import Event, EventKind
from sallyport.audit.store import Store
from sallyport.audit.text import printable
from sallyport.cli.detection import read_policy
from sallyport.cli.options import ConfdirOption, StoreOption
from sallyport.cli.policyrunning import running
from sallyport.cli.reading import TokenOption, open_to_read
from sallyport.cli.recounted import warn_of_recounted
from sallyport.cli.replacing import replacement
from sallyport.cli.rulesinforce import rules_of, rules_there
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.pki.paths import confdir as default_confdir
from sallyport.policy.changes import ABSENT, Setting, settings_that_differ
from sallyport.policy.load import PRESETS
from sallyport.policy.promotion import NotPromoted
from sallyport.policy.sections import Policy
from sallyport.policy.tightening import tightened
from sallyport.sql.failures import cure_of
from sallyport.state.policyversions import PolicyVersions, Promotions, Version, version_of
from sallyport.state.rulesversions import Rules, RulesVersions, parts_that_differ

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def versions(confdir: Path) -> PolicyVersions:
    """Return the versions of a gateway."""
    return PolicyVersions(confdir / "policies")


def rules_versions(confdir: Path) -> RulesVersions:
    """Return the rules that were in force with a gateway's policies."""
    return RulesVersions(confdir / "policies")


def keep_version(name: str, mode: Mode | None, policy: Policy, confdir: Path) -> None:
    """Store the policy that takes force. A folder that cannot be written must not keep a gateway from starting."""
    said = "" if mode is None else mode.value
    try:
        if name in PRESETS and not Path(name).exists():
            version = Version(policy.revision, name, said, {})
        else:
            others = (*policy.tenants.files.values(), *policy.detection.recognisers)
            version = version_of(policy.revision, Path(name), others, said)
        versions(confdir).keep(version)
        rules_versions(confdir).keep(rules_of(policy))
    except (OSError, UnicodeDecodeError, OperatorError):
        return


def check_promoted(before: Policy, after: Policy, confdir: Path) -> None:
    """Raise NotPromoted where a policy enforces more than the one in force, and either demands a promotion."""
    if not (before.promotion.required or after.promotion.required):
        return
    more = tightened(before, after)
    if more and Promotions(versions(confdir).folder).leading(before.revision, after.revision) is None:
        shown = ", ".join(more[:5]) + (f" and {len(more) - 5} more" if len(more) > 5 else "")
        what = f"{after.revision} enforces more than {before.revision} ({shown}), and no promotion of it is recorded"
        raise NotPromoted("policy", what, "Replay it, then: sallyport policy promote")


def unpromoted_start(policy: Policy, store: Store, gateway: str, confdir: Path) -> str:
    """Return why a policy that a gateway starts with should have been promoted first, "" where it need not.

    Compared is the one that was in force there last, as the log has it. Raises nothing: a start is not held up.
    """
    last = ""
    try:
        found = [e for kind in _IN_FORCE for e in store.events(1000, kind=kind) if e.gateway == gateway]
        last = max(found, key=lambda event: event.id).policy_revision if found else ""
        if last and last != policy.revision:
            with policy_named(last, confdir) as before:
                warn_of_recounted(before, policy)
                check_promoted(before, policy, confdir)
    except NotPromoted as error:
        return str(error)
    except (OperatorError, OSError):
        if policy.promotion.required:
            return f"what was in force before ({last or 'unknown'}) cannot be compared with {policy.revision}"
    return ""


_IN_FORCE = (EventKind.STARTED, EventKind.POLICY_CHANGED)


def diff(
    before: Annotated[
        str,
        typer.Argument(metavar="A", help="Policy file, preset, or revision of the history, of rules too."),
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The same.")],
    as_json: JsonOption = False,
    confdir: ConfdirOption = None,
) -> None:
    """Show which effective settings differ, defaults and tenants included. Exit code 0: none; 1: some.

    Where A is a revision of rules, which files and libraries differ; B is another, or a policy: the rules of this
    installation.
    """
    home = confdir or default_confdir()
    if (ours_in_force := rules_versions(home).find(before)) is not None:
        _diff_rules(ours_in_force, _rules_named(after, home), as_json=as_json)
    with policy_named(before, home) as ours, policy_named(after, home) as theirs:
        found = settings_that_differ(ours, theirs)
    if as_json:
        members = [{"at": s.at, "before": _member(s.before), "after": _member(s.after)} for s in found]
        typer.echo(
            json.dumps({"before": ours.revision, "after": theirs.revision, "settings": members}, indent=1)
        )
    else:
        for line in _lines(found):
            typer.echo(line)
        typer.echo(f"{ours.revision} to {theirs.revision}: {len(found)} settings differ.")
    raise typer.Exit(1 if found else 0)


def _rules_named(name: str, home: Path) -> Rules:
    held = rules_versions(home).find(name)
    if held is not None:
        return held
    with policy_named(name, home) as policy:
        return rules_there(policy)


def _diff_rules(before: Rules, after: Rules, *, as_json: bool) -> None:
    """Tell which parts of rules differ, and exit as diff does."""
    found = [*parts_that_differ(before, after)]
    if as_json:
        parts = [{"part": name, "before": old, "after": new} for name, old, new in found]
        typer.echo(json.dumps({"before": before.revision, "after": after.revision, "parts": parts}, indent=1))
    else:
        for line in _rule_lines(found):
            typer.echo(line)
        typer.echo(f"rules {before.revision} to {after.revision}: {len(found)} parts differ.")
    raise typer.Exit(1 if found else 0)


def _rule_lines(found: Sequence[tuple[str, str | None, str | None]]) -> Iterator[str]:
    for name, old, new in found:
        if old is None or new is None:
            yield printable(f"{'+' if old is None else '-'} {name}: {(new or old or '')[:12]}")
        else:
            yield printable(f"~ {name}: {old[:12]} -> {new[:12]}")


def _lines(found: Sequence[Setting]) -> Iterator[str]:
    for setting in found:
        if setting.before is ABSENT:
            yield f"+ {setting.at}: {_shown(setting.after)}"
        elif setting.after is ABSENT:
            yield f"- {setting.at}: {_shown(setting.before)}"
        else:
            yield f"~ {setting.at}: {_shown(setting.before)} -> {_shown(setting.after)}"


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))


def _member(value: Any) -> Any:
    return None if value is ABSENT else value


def history(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")] = 50,
    as_json: JsonOption = False,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """List when which policy took force on which gateway, newest first."""
    held = versions(confdir or default_confdir())
    found = _events(store, confdir, tenant_token, limit)
    if as_json:
        for event in found:
            members = {"at": event.at.isoformat(), "gateway": event.gateway, "event": event.kind.value}
            members |= {"revision": event.policy_revision, "rules": event.rules_revision}
            members |= {"detail": event.detail}
            typer.echo(json.dumps({**members, "held": event.policy_revision in held}))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 160
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("time (UTC)", "gateway", "event", "revision", "rules", "text"):
        table.add_column(heading)
    for event in found:
        text = "kept" if event.policy_revision in held else ""
        told = event.kind in (EventKind.STARTED, EventKind.POLICY_DRIFTED) and event.detail
        why = f" ({event.detail})" if told else ""
        cells = (
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            event.gateway,
            event.kind.value + why,
            event.policy_revision,
            event.rules_revision[:12],
            text,
        )
        table.add_row(*map(printable, cells))
    console.print(table)


_KINDS = (
    EventKind.STARTED,
    EventKind.POLICY_CHANGED,
    EventKind.POLICY_REJECTED,
    EventKind.POLICY_PROMOTED,
    EventKind.POLICY_DRIFTED,
)


def _events(store: str | None, confdir: Path | None, token: Path | None, limit: int) -> list[Event]:
    opened = open_to_read(store, confdir, None, token)
    try:
        found = [event for kind in _KINDS for event in opened.events(limit, kind=kind)]
    finally:
        opened.close()
    return sorted(found, key=lambda event: event.id, reverse=True)[:limit]


def rollback(
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Of the history.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="Policy file to write.")],
    confdir: ConfdirOption = None,
) -> None:
    """Write the files of an earlier policy in place of the present ones. A reload then puts it in force.

    What stands there now must be in the history, or it would be lost; it is kept first if it can be used.
    """
    home = confdir or default_confdir()
    held = versions(home)
    version = held.find(revision)
    if not version.files:
        raise OperatorError(
            revision, f"it was the preset {version.name}", f"Start with --policy {version.name}"
        )
    mode = Mode(version.mode) if version.mode else None
    if not file.parent.is_dir():
        raise OperatorError(
            str(file.parent), "there is no such folder", "Name the policy file, or make the folder"
        )
    if file.exists():
        present = read_policy(str(file), mode)
        keep_version(str(file), mode, present, home)
        if present.revision not in held:
            raise OperatorError(
                str(home), "the present policy cannot be kept there", "Copy it elsewhere, and see why"
            )
    written = {
        file if name == version.name else file.parent / _inside(name): text
        for name, text in version.files.items()
    }
    with _copied(version) as copy:
        read_policy(str(copy), mode)  # what cannot be used must not take the place of what can
    try:
        with ExitStack() as stack:
            drafts = []
            for path, text in written.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                drafts.append((path == file, stack.enter_context(replacement(path, text))))
            for _, draft in sorted(drafts, key=lambda each: each[0]):
                draft.put()  # once all of them could be written; the main file, which names the others, last
    except OSError as error:
        what = f"it cannot be written back there ({error.strerror})"
        todo = cure_of(error, "See who owns it")
        raise OperatorError(str(error.filename or file), what, todo, exit_code=3) from None
    now = read_policy(str(file), mode)
    typer.echo(f"{file}: revision {now.revision}. Put it in force with a reload (SIGHUP).")
    if now.revision != revision:
        typer.echo(
            f"It was {revision} then: defaults have changed since. See: sallyport policy diff {revision} {file}"
        )
        raise typer.Exit(1)


def _inside(name: str) -> str:
    """Return a file's name as it is written back. Raises OperatorError where it would lie elsewhere."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise OperatorError(name, "this file of the policy lay outside its folder", "Write it back by hand")
    return name


def drift(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The policy that should be in force.")],
    mode: Annotated[Mode | None, typer.Option(help="As given to `sallyport run`.")] = None,
    policy_only: Annotated[
        bool, typer.Option("--policy-only", help="Leave rules out: another Sallyport is installed here.")
    ] = False,
    tenant_token: TokenOption = None,
    store: StoreOption = None,
    confdir: ConfdirOption = None,
) -> None:
    """Say which gateways run another policy than the file's, or other rules than are installed here.

    Exit code 0: none; 1: some; for a cron job. A gateway watches its own file by itself: see `drift` of the policy.
    """
    home = confdir or default_confdir()
    wanted = read_policy(file, mode)
    opened = open_to_read(store, confdir, None, tenant_token)
    try:
        found = running(opened, home)
    finally:
        opened.close()
    rules = rules_there(wanted)
    drifted = {n: e.policy_revision for n, e in found.items() if e.policy_revision != wanted.revision}
    others = {} if policy_only else _with_other_rules(found, rules)
    typer.echo(
        f"{file}: revision {wanted.revision}; {len(found)} gateways run, {len(drifted)} with another policy, "
        f"{len(others)} with other rules than are installed here."
    )
    for name, revision in sorted(drifted.items()):
        typer.echo(f"{printable(name)}: {revision}")
        if revision in versions(home):
            with policy_named(revision, home) as theirs:
                for line in _lines(settings_that_differ(wanted, theirs)):
                    typer.echo(f"  {line}")
    for name, revision in sorted(others.items()):
        typer.echo(f"{printable(name)}: rules {revision[:12]}, here {rules.revision[:12]}")
        if (theirs_held := rules_versions(home).find(revision)) is not None:
            for line in _rule_lines([*parts_that_differ(rules, theirs_held)]):
                typer.echo(f"  {line}")
    raise typer.Exit(1 if drifted or others else 0)


def _with_other_rules(found: Mapping[str, Event], rules: Rules) -> dict[str, str]:
    """Return gateways with the revision of their rules, where it is another; what an event does not say is none."""
    told = {name: event.rules_revision for name, event in found.items() if event.rules_revision}
    return {name: revision for name, revision in told.items() if revision != rules.revision}


@contextmanager
def policy_named(name: str, confdir: Path) -> Iterator[Policy]:
    """Read a policy that is a file, a preset, or a revision that was in force. Raises OperatorError."""
    held = versions(confdir)
    if Path(name).exists() or name not in held:
        yield read_policy(name)
        return
    version = held.find(name)
    mode = Mode(version.mode) if version.mode else None
    if not version.files:
        yield read_policy(version.name, mode)
        return
    with _copied(version) as copy:
        yield read_policy(str(copy), mode)


@contextmanager
def _copied(version: Version) -> Iterator[Path]:
    """Put the files of a version into a folder of their own, beside what else they name; give the main one's path."""
    with tempfile.TemporaryDirectory() as folder:
        for each, text in version.files.items():
            path = Path(folder, _inside(each))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        _link_beside(Path(version.folder), Path(folder))
        yield Path(folder, _inside(version.name))


def _link_beside(there: Path, here: Path) -> None:
    """Make what lies beside a policy's files, such as certificates, be found from a copy of them."""
    for path in there.iterdir() if there.is_dir() else ():
        if (here / path.name).is_dir():
            _link_beside(path, here / path.name)
        elif not (here / path.name).exists():
            (here / path.name).symlink_to(path)
