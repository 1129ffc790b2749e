"""A policy that is a link stays one, and what a promotion must reach is said by the policy that runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.policy_sites import Site, told
from policy.test_policy_promote import POLICY, SHELL, changes, drafted, promoted, refused, report
from sallyport.audit.events import Event, EventKind
from sallyport.cli import replacing
from sallyport.cli.rulesinforce import rules_of
from sallyport.errors import OperatorError
from sallyport.policy.load import load_policy

LOOSE = POLICY.replace("max_newly_refused_share: 0.02", "max_newly_refused_share: 1").replace("100,", "1,")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def linked(site: Site) -> Path:
    """Make the site's policy file a link into a repository, over another link; return the file."""
    repository = site.file.parent.parent / "repository"
    repository.mkdir()
    target = repository / "production.yaml"
    (repository / "current.yaml").symlink_to("production.yaml")
    site.file.symlink_to("../repository/current.yaml")
    target.write_text("")
    target.chmod(0o640)
    return target


def links(site: Site, target: Path) -> None:
    assert site.file.is_symlink()
    assert target.with_name("current.yaml").is_symlink()
    assert not target.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    names = [path.name for folder in (site.file.parent, target.parent) for path in folder.iterdir()]
    assert not any(name.startswith(".") for name in names)


def test_a_promotion_edits_the_file_that_a_link_leads_to(site: Site) -> None:
    target = linked(site)
    site.run(POLICY, EventKind.STARTED)
    revision = drafted(site, *SHELL)
    assert site.file.with_name("candidate.yaml").exists(), "beside the link, where its names mean the same"
    promoted(site, *SHELL, "--report", str(report(site, revision)))
    assert "mode: canary" in target.read_text()
    assert load_policy(site.file).revision == revision
    links(site, target)


def test_a_rollback_writes_where_a_link_leads(site: Site) -> None:
    target = linked(site)
    first = site.run("version: 1\nmode: observe\n", EventKind.STARTED)
    site.run("version: 1\nmode: shadow\n")
    told("rollback", first, str(site.file), *site.words)
    assert target.read_text() == "version: 1\nmode: observe\n"
    links(site, target)


def test_names_in_a_linked_policy_are_those_beside_the_link(site: Site) -> None:
    target = linked(site)
    (site.file.parent / "acme.yaml").write_text("version: 1\nmasking: {unlisted: deny}\n")
    site.run(POLICY + "tenants: {files: {acme: acme.yaml}}\n", EventKind.STARTED)
    revision = drafted(site, *SHELL)
    promoted(site, *SHELL, "--report", str(report(site, revision)))
    assert load_policy(site.file).revision == revision
    links(site, target)


def test_a_rollback_that_cannot_write_one_file_replaces_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site.file.parent / "acme.yaml").write_text("version: 1\n")
    first = site.run("version: 1\ntenants: {files: {acme: acme.yaml}}\n", EventKind.STARTED)
    (site.file.parent / "acme.yaml").write_text("version: 1\nmasking: {unlisted: deny}\n")
    second = "version: 1\nmode: shadow\ntenants: {files: {acme: acme.yaml}}\n"
    site.run(second)
    real = replacing.os.fsync
    synced = []

    def failing(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:
            raise OSError(28, "No space left on device", "disk")
        real(handle)

    monkeypatch.setattr(replacing.os, "fsync", failing)
    with pytest.raises(OperatorError, match="No space left"):
        told("rollback", first, str(site.file), *site.words)
    assert site.file.read_text() == second
    assert "deny" in (site.file.parent / "acme.yaml").read_text()
    assert not list(site.file.parent.glob(".*"))


def test_the_thresholds_are_those_of_the_policy_that_runs(site: Site) -> None:
    strict = site.run(POLICY, EventKind.STARTED)
    site.file.write_text(LOOSE + "masking: {unlisted: deny}\n")
    loose = load_policy(site.file)
    hurts = report(site, loose.revision, base_policy=strict, changes=changes(300))
    assert "at most 2.00%" in refused(site, "--report", str(hurts)), "as it stands"
    assert "is in force" in refused(site, *SHELL, "--report", str(hurts)), "one rule of it"


def test_a_stopped_gateway_is_no_way_to_demand_less(site: Site) -> None:
    site.run(POLICY, EventKind.STARTED)
    site.store.write([Event(kind=EventKind.STOPPED, gateway="gw-1")])
    site.file.write_text(LOOSE)
    path = str(report(site, drafted(site, *SHELL), changes=changes(300)))
    assert "at most 2.00%" in refused(site, *SHELL, "--report", path)
    for version in (site.conf / "policies").glob("*.json"):
        version.unlink()
    assert "is not kept in" in refused(site, *SHELL, "--report", path)
    site.run(LOOSE, EventKind.STARTED)
    promoted(site, *SHELL, "--report", path)


def test_a_report_made_with_other_rules_than_those_in_force_allows_nothing(site: Site) -> None:
    revision = site.run(POLICY)
    rules = rules_of(load_policy(site.file)).revision
    site.store.write(
        [Event(kind=EventKind.STARTED, gateway="gw-1", policy_revision=revision, rules_revision=rules)]
    )
    candidate = drafted(site, *SHELL)
    why = refused(site, *SHELL, "--report", str(report(site, candidate, base_rules="f" * 32)))
    assert f"it was made with rules ffffffffffff; {rules[:12]} are in force" in why
    promoted(site, *SHELL, "--report", str(report(site, candidate, base_rules=rules)))
