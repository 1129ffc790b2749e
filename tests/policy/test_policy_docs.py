"""The reference page and the schema cannot lie: both are compared with the models."""

import json
import re
from pathlib import Path

import pytest

from sallyport.policy.condition import Condition
from sallyport.policy.inputs import INPUTS
from sallyport.policy.load import PRESETS, parse_policy
from sallyport.policy.providers import read_providers
from sallyport.policy.schema import Key, policy_keys, schema_text

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "policy.md").read_text(encoding="utf-8")


def test_the_schema_in_docs_is_current() -> None:
    assert (DOCS / "policy.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "run: sallyport policy schema > docs/policy.schema.json"
    )


def test_the_schema_describes_every_key() -> None:
    schema = json.loads(schema_text())
    for model in (schema, *(m for m in schema["$defs"].values() if "properties" in m)):
        assert model.get("description")
        for name, key in model.get("properties", {}).items():
            assert key.get("description"), name


@pytest.mark.parametrize("key", policy_keys(), ids=lambda k: k.path)
def test_every_key_has_its_row_or_heading(key: Key) -> None:
    row = f"| `{key.path}` | {key.allowed} | {key.default} | {key.meaning} |"
    assert row in PAGE or f"\n## {key.path}\n" in PAGE, row


@pytest.mark.parametrize("name", INPUTS)
def test_every_name_of_a_condition_has_its_row(name: str) -> None:
    kind, meaning = INPUTS[name]
    assert f"| `{name}` | {kind} | {meaning} |" in PAGE


def test_no_row_names_a_key_that_is_not_there() -> None:
    known = {k.path for k in policy_keys()} | set(INPUTS) | set(PRESETS)
    assert set(re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)) <= known


def test_every_example_condition_compiles() -> None:
    table = PAGE[PAGE.index("| wish |") : PAGE.index("## Known AI providers")]
    sources = [s.replace(r"\|", "|") for s in re.findall(r"\| `(.+)` \|$", table, re.MULTILINE)]
    assert len(sources) >= 5
    for source in sources:
        Condition.compile(source)


def test_every_example_file_of_the_page_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        if block.startswith("name:"):
            (tmp_path / "one.yaml").write_text(block)
            assert read_providers([tmp_path]).providers
        else:
            parse_policy(f"version: 1\n{block}")
