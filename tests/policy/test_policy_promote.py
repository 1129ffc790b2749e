"""`sallyport policy promote`: only what a replay allows goes into force, and everything else of the file stays."""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from policy.policy_sites import Site, told
from sallyport.audit.events import EventKind
from sallyport.audit.store import Store
from sallyport.cli.main import app
from sallyport.cli.policyversions import check_promoted, unpromoted_start, versions
from sallyport.decision import Mode
from sallyport.errors import OperatorError
from sallyport.policy.editing import with_keys
from sallyport.policy.load import load_policy, parse_policy
from sallyport.policy.promotion import NotPromoted
from sallyport.policy.source import At
from sallyport.policy.tightening import tightened
from sallyport.state.policyversions import Promotions

POLICY = """# ours
version: 1   # the format
promotion: {required: true, min_exchanges: 100, max_newly_refused_share: 0.02, max_masks_changed_share: 0.05}
access:
  rules:
    # asked for by the agents' team
    - id: no-shell  # see the minutes
      effect: forbid
      tools: [shell]
      message: >-
        No shell
        here.
      mode: shadow
    - {id: twice, effect: forbid, models: [gpt-4], mode: observe, message: No.}  # old
limits:
  rules:
    - {id: twice, limit: 10, per: day, mode: shadow}
injection:
  canary:
    percent: 5
  # of the whole section
  mode: canary
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.run(POLICY, EventKind.STARTED)
    yield made
    made.store.close()


def changes(refused: int = 0, ended: int = 0, masked: int = 0, changed: int = 0) -> dict[str, int]:
    return {
        "newly_refused": refused,
        "answer_newly_ended": ended,
        "masks_changed": masked,
        "answer_changed": changed,
    }


def report(site: Site, candidate: str, **changed: Any) -> Path:
    """Write a report as `sallyport replay --json` does, of 1000 exchanges that hurt 10."""
    said: dict[str, Any] = {
        "format": "sallyport.replay/1",
        "candidate_policy": candidate,
        "base_policy": load_policy(site.file).revision,
        "sorts": {"exchange": 1000, "tunnelled": 5},
        "changes": changes(10),
        "result": "none",
        "period": {"since": 1.0, "until": datetime.now(UTC).timestamp()},
    }
    path = site.file.with_name("report.json")
    path.write_text(json.dumps(said | changed))
    return path


def drafted(site: Site, *words: str) -> str:
    """Return the revision of what a promotion would make of the file."""
    candidate = site.file.with_name("candidate.yaml")
    told("promote", *words, "-f", str(site.file), "--draft", str(candidate), *site.words)
    return load_policy(candidate).revision


def promoted(site: Site, *words: str, file: Path | None = None) -> str:
    return told("promote", *words, "-f", str(file or site.file), *site.words)


def refused(site: Site, *words: str) -> str:
    done = CliRunner().invoke(app, ["policy", "promote", *words, "-f", str(site.file), *site.words])
    assert isinstance(done.exception, OperatorError), done.output
    return str(done.exception)


SHELL = ("no-shell", "--to", "canary", "--percent", "5")


def test_a_rule_goes_into_a_canary_with_a_report_and_nothing_else_of_the_file_changes(site: Site) -> None:
    before = load_policy(site.file)
    revision = drafted(site, *SHELL)
    assert site.file.read_text() == POLICY
    path = report(site, revision)
    assert revision in promoted(site, *SHELL, "--report", str(path))
    ours, theirs = POLICY.splitlines(), site.file.read_text().splitlines()
    assert [line for line in theirs if line not in ours] == [
        "      mode: canary",
        "      canary: {percent: 5}",
    ]
    assert [line for line in ours if line not in theirs] == ["      mode: shadow"]
    after = load_policy(site.file)
    assert after.access.rules[0].mode is Mode.CANARY
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (event,) = site.store.events(kind=EventKind.POLICY_PROMOTED)
    assert (event.reason, event.detail) == ("access.no-shell", f"canary:5:{digest}")
    assert event.policy_revision == revision
    leading = Promotions(versions(site.conf).folder).leading(before.revision, revision)
    assert leading is not None
    assert [each.report_sha256 for each in leading] == [digest]
    assert "policy_promoted" in told("history", *site.words)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"candidate_policy": "0" * 12}, "the promoted policy is"),
        ({"base_policy": "recorded"}, "it compares with recorded"),
        ({"sorts": {"exchange": 99}}, "99 exchanges; at least 100"),
        ({"changes": changes(21)}, "21 of 1000 exchanges (2.10%) are newly refused; at most 2.00%"),
        ({"changes": changes(ended=1000)}, "1000 of 1000 exchanges (100.00%) are with an answer newly ended; at most 2.00%"),
        ({"changes": changes(11, ended=10)}, "21 of 1000 exchanges (2.10%) are newly refused or with an answer newly ended"),
        ({"changes": changes(masked=51)}, "51 of 1000 exchanges (5.10%) are with other values masked; at most 5.00%"),
        ({"changes": changes(masked=1, changed=50)}, "with other values masked or with an answer changed; at most 5.00%"),
        ({"result": "exceeded"}, "its own thresholds (--fail-on) were not kept"),
        ({"result": "no_flows"}, "its own thresholds (--fail-on) were not kept"),
        ({"result": "incomplete"}, "not all of its recording could be read"),
        ({"period": {"since": 1.0, "until": 1e9}}, "2001-09-09 01:46 UTC; it must be of the last 336 hours"),
        ({"period": None}, "it has no exchange"),
        ({"format": "other"}, "it is no replay report"),
        ({"changes": {}}, "it is no replay report"),
    ],
)  # fmt: skip
def test_a_report_that_does_not_allow_it_says_which_figure(
    site: Site, changed: dict[str, Any], why: str
) -> None:
    path = report(site, drafted(site, *SHELL), **changed)
    assert why in refused(site, *SHELL, "--report", str(path))
    assert site.file.read_text() == POLICY
    assert not site.store.events(kind=EventKind.POLICY_PROMOTED)


def test_options_add_to_what_the_policy_demands_and_take_nothing_away(site: Site) -> None:
    path = str(report(site, drafted(site, *SHELL)))
    assert "at least 2000" in refused(site, *SHELL, "--report", path, "--min-exchanges", "2000")
    assert "at most 0.50%" in refused(site, *SHELL, "--report", path, "--max-newly-refused-share", "0.005")
    path = str(report(site, drafted(site, *SHELL), changes=changes(30)))
    assert "at most 2.00%" in refused(site, *SHELL, "--report", path, "--max-newly-refused-share", "1")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("no-shel", "--to", "enforce"), "Did you mean `no-shell`?"),
        (("twice", "--to", "enforce"), "access.twice` or `limits.twice"),
        (("injection", "--to", "canary", "--percent", "4"), "enforce for no more calls"),
        (("injection", "--to", "canary", "--percent", "5", "--role", "a"), "enforce for no more calls"),
        (("masking", "--to", "canary", "--percent", "5"), "in enforce now"),
        (("no-shell", "--to", "canary"), "Add --percent"),
        (("no-shell", "--to", "enforce", "--percent", "5"), "Leave --percent"),
        (("no-shell", "--to", "canary", "--percent", "nan"), "it is no share"),
        (("no-shell", "--to", "enforce"), "--report"),
        (("no-shell", "--to", "enforce", "--force"), "Add --reason"),
        (("no-shell",), "--to"),
    ],
)
def test_what_cannot_be_promoted_is_told(site: Site, words: tuple[str, ...], why: str) -> None:
    assert why in refused(site, *words)


def test_a_canary_of_the_file_is_not_exchanged_for_one_that_takes_others(site: Site) -> None:
    site.file.write_text("version: 1\nmode: canary\ncanary: {percent: 5}\n")
    words = ("masking", "--to", "canary", "--percent", "10", "--force", "--reason", "x")
    assert "enforce for no more calls" in refused(site, *words)


def test_what_is_not_in_force_is_not_promoted(site: Site) -> None:
    site.file.write_text(POLICY.replace("limit: 10", "limit: 11"))
    assert "is in force" in refused(site, *SHELL, "--force", "--reason", "x")


def test_a_section_leaves_its_canary_and_a_gateway_takes_only_what_was_promoted(site: Site) -> None:
    before = load_policy(site.file)
    enforce = ("injection", "--to", "enforce")
    path = report(site, drafted(site, *enforce))
    candidate = load_policy(site.file.with_name("candidate.yaml"))
    with pytest.raises(NotPromoted, match=r"injection\.mode"):
        check_promoted(before, candidate, site.conf)
    promoted(site, *enforce, "--report", str(path))
    after = load_policy(site.file)
    assert (after.revision, after.injection.canary) == (candidate.revision, None)
    check_promoted(before, after, site.conf)
    check_promoted(after, before, site.conf)  # to go back needs none
    promoted_on = after.revision
    site.run(site.file.read_text())
    path = report(site, drafted(site, *SHELL))
    promoted(site, *SHELL, "--report", str(path))
    check_promoted(before, load_policy(site.file), site.conf)  # over the one between
    (site.conf / "policies" / f"{before.revision}-{promoted_on}.promoted").write_text("{")
    with pytest.raises(NotPromoted):
        check_promoted(before, load_policy(site.file), site.conf)


def test_a_promotion_can_be_forced_for_a_reason_and_the_log_says_so(site: Site) -> None:
    before = load_policy(site.file)
    promoted(site, "no-shell", "--to", "enforce", "--force", "--reason", "under attack")
    (event,) = site.store.events(kind=EventKind.POLICY_PROMOTED)
    assert event.detail == "enforce:forced"
    (record,) = Promotions(versions(site.conf).folder).leading(before.revision, event.policy_revision) or []
    assert record.reason == "under attack"


def test_a_file_that_was_edited_by_hand_is_promoted_as_it_stands(site: Site) -> None:
    before = load_policy(site.file)
    edited = POLICY + "masking: {unlisted: deny}\n"
    site.file.write_text(edited)
    after = load_policy(site.file)
    with pytest.raises(NotPromoted, match=r"masking\.unlisted"):
        check_promoted(before, after, site.conf)
    path = report(site, after.revision, base_policy=before.revision)
    promoted(site, "--report", str(path))
    check_promoted(before, after, site.conf)
    assert site.file.read_text() == edited


def test_where_the_policy_does_not_demand_it_a_reload_needs_no_promotion(tmp_path: Path) -> None:
    before, after = parse_policy("version: 1\nmode: observe"), parse_policy("version: 1")
    check_promoted(before, after, tmp_path)
    assert tightened(before, after)


MOVED = """version: 1
mode: shadow
access:
  rules:
    - id: no-shell
      effect: forbid
      tools: [shell]
      message: No.
    - id: other
      effect: forbid
      tools: [other]
      message: No.
"""


@pytest.mark.parametrize(
    "text",
    [
        MOVED.replace("\n", "\r"),
        MOVED.replace("tools: [shell]\n", "tools: [shell]\n      mode:\n"),
    ],
    ids=["lines end in CR alone", "a mode without a value"],
)
def test_a_file_in_which_the_edit_would_come_to_lie_elsewhere_is_left_to_a_person(
    site: Site, text: str
) -> None:
    site.file.write_bytes(text.encode())
    assert "cannot be edited" in refused(site, *SHELL, "--draft", str(site.file.with_name("candidate.yaml")))
    assert not site.file.with_name("candidate.yaml").exists()
    assert site.file.read_bytes() == text.encode()


def test_no_promotion_counts_of_which_the_log_has_no_event(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(store: Store, events: object) -> None:
        raise OperatorError("store", "is full", "Make room")

    monkeypatch.setattr(Store, "write", broken)
    refused(site, "no-shell", "--to", "enforce", "--force", "--reason", "under attack")
    assert not list((site.conf / "policies").glob("*.promoted"))
    assert site.file.read_text() == POLICY


def test_a_start_with_what_was_never_promoted_is_told(site: Site) -> None:
    tighter = parse_policy(POLICY + "masking: {unlisted: deny}\n")
    assert "masking.unlisted" in unpromoted_start(tighter, site.store, "gw-1", site.conf)
    assert not unpromoted_start(tighter, site.store, "gw-2", site.conf), "nothing was in force there"
    assert not unpromoted_start(load_policy(site.file), site.store, "gw-1", site.conf)
    for kept in (site.conf / "policies").glob("*.json"):
        kept.unlink()
    assert "cannot be compared" in unpromoted_start(tighter, site.store, "gw-1", site.conf)


# -- what enforces more --------------------------------------------------------------------------------

RULE = "{id: a, effect: forbid, models: [x], message: No.%s}"


PERMIT = RULE.replace("forbid", "permit")


def access(*rules: str, more: str = "") -> str:
    return f"access: {{{more}rules: [{', '.join(rules)}]}}"


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("", "", []),
        ("mode: observe", "", None),
        ("", "mode: observe", []),
        ("mode: canary\ncanary: {percent: 5}", "mode: canary\ncanary: {percent: 4}", []),
        ("injection: {mode: shadow}", "injection: {mode: canary, canary: {percent: 5}}", ["injection.mode"]),
        ("injection: {mode: canary, canary: {percent: 5}}", "injection: {mode: canary, canary: {percent: 6}}", ["injection.mode"]),
        ("injection: {mode: canary, canary: {roles: [a, b]}}", "injection: {mode: canary, canary: {roles: [b]}}", []),
        ("injection: {mode: canary, canary: {percent: 5}}", "injection: {mode: enforce}", ["injection.mode"]),
        ("injection: {mode: shadow}", "injection: {mode: observe, threshold: 0.5}", []),
        ("", "injection: {threshold: 0.5}", ["injection.threshold"]),
        ("", "injection: {threshold: 2}", []),
        ("", "secrets: {min_severity: low}", ["secrets.min_severity"]),
        ("", "secrets: {min_severity: high}", []),
        ("", "masking: {entities: {US_SSN: deny}}", ["masking.entities"]),
        ("", "output: {rules: {pii.contact.email_address: refuse}}", ["output.rules"]),
        (access(), access(RULE % ""), ["access.rules[a]"]),
        (access(), access(RULE % ", mode: shadow"), []),
        (access(RULE % ""), access(), []),
        (access(RULE % ""), access(RULE.replace("[x]", "[x, y]") % ""), ["access.rules[a].models"]),
        (access(RULE % ""), access(RULE.replace("No.", "Never.") % ""), []),
        (access(RULE % ", mode: observe"), access(RULE % ""), ["access.rules[a].mode"]),
        (access(RULE.replace("forbid", "permit") % "", more="default: deny, "), access(more="default: deny, "), ["access.rules[a]"]),
        (access(PERMIT % "", more="default: deny, "), access(PERMIT % ", mode: observe", more="default: deny, "), ["access.rules[a].mode"]),
        (access(PERMIT % "", more="default: deny, "), access(RULE % ", mode: observe", more="default: deny, "), ["access.rules[a].effect"]),
        (access(PERMIT % "", more="default: deny, "), access(PERMIT % ", mode: observe", more="mode: observe, default: deny, "), []),
        (access(PERMIT % "", more="default: deny, "), access(PERMIT % "", more="mode: observe, default: deny, "), []),
        ("mode: canary\ncanary: {percent: 5}", "mode: canary\ncanary: {percent: 5}\ninjection: {mode: canary, canary: {percent: 5}}", ["injection.mode"]),
        ("mode: canary\ncanary: {roles: [a]}", "mode: canary\ncanary: {roles: [a]}\ninjection: {mode: canary, canary: {roles: [a], percent: 5}}", []),
        ("limits: {rules: [{id: a, limit: 5, per: day}]}", "limits: {rules: [{id: a, limit: 6, per: day}]}", []),
        ("limits: {rules: [{id: a, limit: 5, per: day}]}", "limits: {rules: [{id: a, limit: 4, per: day}]}", ["limits.rules[a].limit"]),
        ("", "hosts: {unlisted: refuse}", ["hosts.unlisted"]),
        ("", "transport: {max_headers: 50}", ["transport.max_headers"]),
        ("", "audit: {required: false}", []),
    ],
)  # fmt: skip
def test_what_enforces_more_is_named(before: str, after: str, found: list[str] | None) -> None:
    more = tightened(parse_policy(f"version: 1\n{before}"), parse_policy(f"version: 1\n{after}"))
    assert more == found if found is not None else len(more) > 5


def test_a_tenants_file_counts_too(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\ntenants: {files: {acme: acme.yaml}}\n")
    (tmp_path / "acme.yaml").write_text("version: 1\n")
    before = load_policy(tmp_path / "p.yaml")
    (tmp_path / "acme.yaml").write_text("version: 1\nmasking: {unlisted: deny}\n")
    assert tightened(before, load_policy(tmp_path / "p.yaml")) == ["acme: masking.unlisted"]


# -- the file ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "at", "edited"),
    [
        ("a: {mode: x} # c\n", ("a",), "a: {mode: enforce} # c\n"),
        ("a: {k: 1}\n", ("a",), "a: {k: 1, mode: enforce}\n"),
        ("a: {}\n", ("a",), "a: {mode: enforce}\n"),
        ("a: {canary: {p: 1}, mode: x}\n", ("a",), "a: {mode: enforce}\n"),
        ("a: {mode: x, canary: {p: 1}, k: 2}\n", ("a",), "a: {mode: enforce, k: 2}\n"),
        ("b: 1", ("a",), "b: 1\na:\n  mode: enforce\n"),
        ("b: 1\r\n", ("a",), "b: 1\r\na:\r\n  mode: enforce\r\n"),
        ("a:\n  k: |\n    text\n\n  l: 1\n", ("a",), "a:\n  mode: enforce\n  k: |\n    text\n\n  l: 1\n"),
        ("a:\n  mode: 'x' # c\n  canary: # d\n    p: 1 # e\n# f\n", ("a",), "a:\n  mode: enforce # c\n# f\n"),
        ("a:\n  - k: 1\n    l: 2\n", ("a", 0), "a:\n  - k: 1\n    mode: enforce\n    l: 2\n"),
        ("v: 1 # one\nk: 2\n", (), "v: 1 # one\nmode: enforce\nk: 2\n"),
        ("a:\n  k: 1", ("a",), "a:\n  k: 1\n  mode: enforce\n"),
    ],
)
def test_only_the_keys_that_are_set_change(text: str, at: At, edited: str) -> None:
    assert with_keys(text, at, {"mode": "enforce", "canary": None}) == edited


@pytest.mark.parametrize("text", ["a:\n", "a: [1]\n", "a:\n  - canary: {p: 1}\n    mode: x\n"])
def test_what_cannot_be_edited_is_left_to_a_person(text: str) -> None:
    at: At = ("a", 0) if "- " in text else ("a",)
    with pytest.raises(OperatorError, match="Edit the file by hand"):
        with_keys(text, at, {"mode": "enforce", "canary": None})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for others")
def test_what_root_writes_beside_the_file_of_another_user_is_that_users(site: Site) -> None:
    somebody = 65534
    site.file.chmod(0o600)
    os.chown(site.file, somebody, somebody)
    left = site.file.with_name(f".{site.file.name}.0123456789abcdef.draft")
    left.write_text(POLICY)
    os.chown(left, somebody, somebody)
    drafted(site, *SHELL)
    candidate = site.file.with_name("candidate.yaml").stat()
    assert (candidate.st_uid, candidate.st_gid, candidate.st_mode & 0o777) == (somebody, somebody, 0o600)
    assert not left.exists(), "what a killed one of root's had left"
