"""Rules beside the policy: what they cover, what is kept of them, and how diff, history, drift and promote tell of them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from policy.policy_sites import Site, told
from sallyport.audit.events import Event, EventKind
from sallyport.cli import rulesinforce
from sallyport.cli.detection import read_policy
from sallyport.cli.policyversions import check_promoted, rules_versions
from sallyport.cli.rulesinforce import rules_of, rules_there
from sallyport.data import rules_dir
from sallyport.errors import OperatorError
from sallyport.policy.changes import settings_that_differ
from sallyport.policy.load import load_policy
from sallyport.policy.promotion import NotPromoted
from sallyport.policy.tightening import tightened
from sallyport.state.rulesversions import Rules, parts_that_differ

WITH = "version: 1\ndetection: {recognisers: [staff.yaml]}\n"
RECOGNISER = """recognizers:
  - name: staff number
    supported_entity: STAFF_NUMBER
    patterns: [{name: staff, regex: 'ST-%s', score: 0.9}]
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.store.close()


def recogniser(site: Site, digits: str) -> None:
    site.file.with_name("staff.yaml").write_text(RECOGNISER % digits)


def test_every_file_that_decides_is_in_the_rules() -> None:
    parts = rules_of(read_policy("balanced")).parts
    root = rules_dir()
    assert {f"rules/{p.relative_to(root).as_posix()}" for p in root.rglob("*.yaml")} <= parts.keys()
    assert "rules/providers/openai.yaml" in parts
    assert "rules/output/exfiltration.yaml" in parts
    weights = {name for name in parts if name.startswith("weights/")}
    assert weights == {
        "weights/detect/classifier/injection.npz",
        "weights/detect/watching/toxicity.npz",
    }
    assert len(parts["sallyport/code"]) == 64
    assert parts["library/google-re2"][0].isdigit()


def test_the_weights_of_names_count_where_names_are_looked_for(site: Site) -> None:
    site.file.write_text("version: 1\ndetection: {ner: {engine: builtin}}\n")
    assert "weights/detect/ner/weights/names.npz" in rules_of(load_policy(site.file)).parts


def test_a_pack_that_changes_changes_the_rules_and_not_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = tmp_path / "rules"
    (packs / "pii").mkdir(parents=True)
    (packs / "pii" / "own.yaml").write_text("rules: []\n")
    monkeypatch.setattr(rulesinforce, "rules_dir", lambda: packs)
    policy = read_policy("balanced")
    before = rules_of(policy)
    assert rules_of(policy).revision == before.revision
    (packs / "pii" / "own.yaml").write_text("rules: [1]\n")
    (packs / "pii" / "more.yaml").write_text("")
    after = rules_of(policy)
    assert after.revision != before.revision
    assert [name for name, _, _ in parts_that_differ(before, after)] == [
        "rules/pii/more.yaml",
        "rules/pii/own.yaml",
    ]
    assert read_policy("balanced").revision == policy.revision


def test_a_model_for_names_is_in_the_rules(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(b"one")
    file = tmp_path / "policy.yaml"
    file.write_text("version: 1\ndetection: {ner: {engine: 'onnx:model'}}\n")
    before = rules_there(load_policy(file))
    assert "names/model.onnx" in before.parts
    assert "library/onnxruntime" in before.parts
    (model / "model.onnx").write_bytes(b"another")
    assert rules_there(load_policy(file)).revision != before.revision


def test_what_a_recogniser_file_holds_is_part_of_the_policy(site: Site) -> None:
    recogniser(site, "[0-9]{4}")
    first = site.run(WITH)
    before = load_policy(site.file)
    recogniser(site, "[0-9]{5}")
    after = load_policy(site.file)
    assert after.revision != first
    assert [setting.at for setting in settings_that_differ(before, after)] == ["recogniser_files.staff.yaml"]
    assert tightened(before, after) == ["detection.recognisers"]
    site.run(WITH)
    assert "recogniser_files.staff.yaml" in told("diff", first, str(site.file), *site.words, code=1)
    told("rollback", first, str(site.file), *site.words)
    assert site.file.with_name("staff.yaml").read_text() == RECOGNISER % "[0-9]{4}"
    assert load_policy(site.file).revision == first


def test_a_rollback_keeps_the_line_ends_of_a_recogniser(site: Site) -> None:
    text = (RECOGNISER % "[0-9]{4}").replace("\n", "\r\n")
    site.file.with_name("staff.yaml").write_bytes(text.encode())
    first = site.run(WITH)
    recogniser(site, "[0-9]{5}")
    site.run(WITH)
    told("rollback", first, str(site.file), *site.words)
    assert site.file.with_name("staff.yaml").read_bytes() == text.encode()
    assert load_policy(site.file).revision == first


def test_a_recogniser_that_was_not_promoted_holds_up_a_reload(site: Site) -> None:
    recogniser(site, "[0-9]{4}")
    site.run(WITH + "promotion: {required: true}\n")
    before = load_policy(site.file)
    recogniser(site, "[0-9]{5}")
    with pytest.raises(NotPromoted, match=r"detection\.recognisers"):
        check_promoted(before, load_policy(site.file), site.conf)


def test_rules_are_kept_by_revision_and_a_changed_one_is_told(site: Site) -> None:
    site.run("version: 1\n")
    ours = rules_of(load_policy(site.file))
    held = rules_versions(site.conf)
    assert held.find(ours.revision) == ours
    assert held.find(ours.revision[:8]) == ours
    assert held.find("0" * 32) is None
    (path,) = (site.conf / "policies").glob("*.rules")
    assert path.stat().st_mode & 0o077 == 0
    path.write_text(path.read_text().replace("library/numpy", "library/numbers"))
    with pytest.raises(OperatorError, match="changed"):
        held.find(ours.revision)


def older(site: Site) -> Rules:
    """Keep the rules of an installation in which one pack was another and one was not yet."""
    now = rules_of(load_policy(site.file))
    parts = {**now.parts, "rules/pii/finance.yaml": "0" * 64}
    del parts["rules/output/words.yaml"]
    rules = Rules(parts)
    rules_versions(site.conf).keep(rules)
    return rules


def test_diff_names_the_files_of_two_rules(site: Site) -> None:
    site.run("version: 1\n")
    before = older(site)
    said = told("diff", before.revision[:12], str(site.file), *site.words, code=1)
    assert "~ rules/pii/finance.yaml: 000000000000 -> " in said
    assert "+ rules/output/words.yaml: " in said
    assert "2 parts differ" in said
    as_json = json.loads(told("diff", before.revision, str(site.file), "--json", *site.words, code=1))
    assert [part["part"] for part in as_json["parts"]] == [
        "rules/output/words.yaml",
        "rules/pii/finance.yaml",
    ]
    ours = rules_there(load_policy(site.file)).revision
    assert "0 parts differ" in told("diff", ours, str(site.file), *site.words)


def started(site: Site, rules: str) -> None:
    revision = load_policy(site.file).revision
    event = Event(kind=EventKind.STARTED, gateway="gw-1", policy_revision=revision, rules_revision=rules)
    site.store.write([event])


def test_history_and_drift_tell_rules_apart_that_the_policy_does_not(site: Site) -> None:
    site.run("version: 1\n")
    ours = rules_there(load_policy(site.file))
    started(site, ours.revision)
    assert "0 with another policy, 0 with other rules" in told("drift", str(site.file), *site.words)
    before = older(site)
    started(site, before.revision)
    said = told("drift", str(site.file), *site.words, code=1)
    assert f"gw-1: rules {before.revision[:12]}, here {ours.revision[:12]}" in said
    assert "rules/pii/finance.yaml" in said
    told("drift", str(site.file), "--policy-only", *site.words)
    history = told("history", *site.words)
    assert before.revision[:12] in history
    assert ours.revision[:12] in history
    lines = [json.loads(line) for line in told("history", "--json", *site.words).splitlines()]
    assert {line["rules"] for line in lines} == {"", ours.revision, before.revision}


def test_the_digest_covers_name_and_content() -> None:
    one = Rules({"a": "1", "b": "2"})
    assert one.revision == Rules({"b": "2", "a": "1"}).revision
    others = [Rules({"a": "1"}), Rules({"a": "1", "b": "3"}), Rules({"a": "1", "c": "2"})]
    assert len({rules.revision for rules in (one, *others)}) == 4
    assert replace(one, parts={"sallyport/code": "x"}).without_code.parts == {}
