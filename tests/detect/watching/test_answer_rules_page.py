"""docs/answer-rules.md names every key that a rule for answers may have, and its example works."""

import re
from pathlib import Path

from typer.testing import CliRunner

from sallyport.cli.main import app
from sallyport.cli.patternless import patternless
from sallyport.decision import Kind
from sallyport.detect.watching import opener, rulefile, schema
from sallyport.detect.watching.checks import CHECKS

PAGE = (Path(__file__).parents[3] / "docs" / "answer-rules.md").read_text("utf-8")


def test_the_page_has_every_key_and_says_which_must_be_there() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|\s*([^|]*?)\s*\|", PAGE, re.MULTILINE))
    fields = rulefile._Rule.model_fields
    assert rows.keys() == fields.keys()
    assert {key for key in rows if rows[key] == "required"} == {
        k for k, f in fields.items() if f.is_required()
    }


def test_the_page_names_every_check_and_limit() -> None:
    for check in CHECKS:
        assert f"`{check}`" in PAGE
    for number in (opener.MAX_CHARS, rulefile.BEHIND, rulefile.MAX_REGION, schema.MAX_STEPS):
        assert f"{number:,}" in PAGE


def test_the_page_names_every_rule_without_a_pattern() -> None:
    told = PAGE.partition("## What else follows an answer")[2]
    for one in patternless():
        if one.kind is Kind.OUTPUT:
            assert one.id in told or f"`.{one.id.rpartition('.')[2]}`" in told, one.id


def test_the_pack_on_the_page_does_what_it_says(tmp_path: Path) -> None:
    pack = tmp_path / "rules" / "output" / "own.yaml"
    pack.parent.mkdir(parents=True)
    pack.write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1], "utf-8")
    done = CliRunner().invoke(app, ["rules", "test", str(tmp_path / "rules")])
    assert (done.exit_code, done.output) == (0, "1 rules, 2 examples, 0 failed\n")
    shown = CliRunner().invoke(
        app, ["rules", "show", "output.own.internal_host", "--rules", str(tmp_path / "rules")]
    )
    assert "is decided at" in shown.output
