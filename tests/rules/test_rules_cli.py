"""`sallyport rules`, as a user calls it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rules.test_rules_packs import PACK, write
from sallyport.cli.main import app
from sallyport.data import rules_dir
from sallyport.detect.packs import load
from sallyport.errors import OperatorError

RUN = CliRunner()


def test_rules_list_and_show() -> None:
    listed = RUN.invoke(app, ["rules", "list", "--kind", "secret"])
    assert listed.exit_code == 0
    assert "secrets.ai.openai" in listed.output
    assert "pii." not in listed.output
    shown = RUN.invoke(app, ["rules", "show", "secrets.ai.openai"])
    assert "OpenAI user key" in shown.output


def test_rules_test_runs_one_pack_and_fails_on_a_wrong_example(tmp_path: Path) -> None:
    root = write(tmp_path, PACK)
    right = RUN.invoke(app, ["rules", "test", str(root / "secrets" / "x.yaml")])
    assert (right.exit_code, right.output) == (0, "1 rules, 2 examples, 0 failed\n")
    write(tmp_path, PACK.replace("pass: [abc]", "pass: [abc999]"))
    wrong = RUN.invoke(app, ["rules", "test", str(root)])
    assert wrong.exit_code == 1
    assert "rules/secrets/x.yaml:3 secrets.x.one: the rule fired on its pass example 1" in wrong.output


@pytest.mark.parametrize("words", [("list", "--rules"), ("show", "x", "--rules"), ("test",)], ids=" ".join)
def test_a_rules_folder_that_is_not_there_is_bad_input(words: tuple[str, ...]) -> None:
    done = RUN.invoke(app, ["rules", *words, "/nonexistent"])
    assert isinstance(done.exception, OperatorError)
    assert done.exception.exit_code == 2
    assert "/nonexistent: does not exist" in str(done.exception)


def test_show_of_an_unknown_rule_suggests_what_was_meant() -> None:
    for given, meant in (
        ("secrets.ai.opnai", "secrets.ai.openai"),
        ("openai", "secrets.ai.openai"),
        ("pii.ner.person", "pii.ner.PERSON"),
        ("secrets.cloud.anthropic", "secrets.ai.anthropic"),
    ):
        done = RUN.invoke(app, ["rules", "show", given])
        assert isinstance(done.exception, OperatorError)
        assert meant in done.exception.todo
    nothing = RUN.invoke(app, ["rules", "show", "qqqqqq"]).exception
    assert isinstance(nothing, OperatorError)
    assert nothing.todo == "List the rules with `sallyport rules list`"


def test_show_prints_a_long_pattern_whole() -> None:
    rule = next(r for r in load(rules_dir()).rules if len(r.source) > 400)
    assert rule.source in RUN.invoke(app, ["rules", "show", rule.id]).output


def test_trained_models_are_listed_as_what_they_are() -> None:
    listed = RUN.invoke(app, ["rules", "list", "--kind", "pii"]).output
    (row,) = [row for row in listed.splitlines() if "pii.ner.PERSON" in row]
    assert "model" in row
    shown = RUN.invoke(app, ["rules", "show", "pii.ner.PERSON"])
    assert shown.exit_code == 0
    assert "it has no pattern" in shown.output
    assert "pii.ner" not in RUN.invoke(app, ["rules", "list", "--kind", "secret"]).output


def test_list_filters_by_tag_and_level() -> None:
    tagged = RUN.invoke(app, ["rules", "list", "--tag", "LLM01"]).output
    assert "injection.override." in tagged
    assert "secrets." not in tagged
    rules = load(rules_dir()).rules
    sure = {
        line.split()[0] for line in RUN.invoke(app, ["rules", "list", "--paranoia", "1"]).output.splitlines()
    }
    assert {r.id for r in rules if r.paranoia == 1} <= sure
    assert not {r.id for r in rules if r.paranoia > 1} & sure


def test_a_folder_of_own_packs_is_tested_whatever_is_wrong_with_one_of_them(tmp_path: Path) -> None:
    root = write(tmp_path, PACK)
    write(tmp_path, PACK.replace("pattern: 'abc", "pattern: '(abc"), "broken.yaml")
    write(tmp_path, PACK.replace("pass: [abc]", "pass: [abc999]"), "wrong.yaml")
    (root / "injection").mkdir()
    (root / "injection" / "own.yaml").write_text(PACK.replace("score: 0.9", "points: 5"))
    done = RUN.invoke(app, ["rules", "test", str(root)])
    assert "rules/secrets/broken.yaml:3 secrets.broken.one: pattern does not compile" in done.stderr
    assert "rules/secrets/wrong.yaml:3 secrets.wrong.one: the rule fired on its pass example 1" in done.stdout
    assert done.stdout.endswith("3 rules, 6 examples, 1 failed, 1 packs not loaded\n")
    assert done.exit_code == 2
    (root / "secrets" / "broken.yaml").unlink()
    assert RUN.invoke(app, ["rules", "test", str(root)]).exit_code == 1
    (root / "secrets" / "wrong.yaml").unlink()
    assert RUN.invoke(app, ["rules", "test", str(root)]).exit_code == 0
    assert (
        RUN.invoke(app, ["rules", "test", str(root / "injection")]).output
        == "1 rules, 2 examples, 0 failed\n"
    )


def test_an_id_that_is_given_twice_is_a_pack_that_cannot_be_loaded(tmp_path: Path) -> None:
    root = write(tmp_path, PACK + PACK.partition("rules:\n")[2])
    done = RUN.invoke(app, ["rules", "test", str(root)])
    assert "secrets.x.one: is already at rules/secrets/x.yaml:3" in done.stderr
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("place", "what"),
    [("other/x.yaml", "has no kind"), ("rules/secrets", "holds no pack"), ("rules/x.yaml", "has no kind")],
)
def test_a_place_without_packs_says_what_is_wrong(tmp_path: Path, place: str, what: str) -> None:
    path = tmp_path / place
    (path.parent if path.suffix else path).mkdir(parents=True)
    if path.suffix:
        path.write_text(PACK)
    error = RUN.invoke(app, ["rules", "test", str(path)]).exception
    assert isinstance(error, OperatorError)
    assert (error.exit_code, error.what) == (2, what)
