"""docs/detection.md names every key that a pack may have, and nothing that is not there."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from sallyport.cli.main import app
from sallyport.detect import packfile, packs, shapes
from sallyport.detect.presidio import _OWN

PAGE = (Path(__file__).parents[2] / "docs" / "detection.md").read_text("utf-8")
TABLES = {
    "Keys of a pack": [packs._Pack],
    "Keys of a rule": [packs._Rule],
    "Keys of `unless`": [packs._Unless],
    "Keys of `examples`": [packfile.ExamplesSource, packfile.ExampleSource],
}


def section(title: str) -> str:
    return re.split(r"^#{2,3} ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def keys(model: type[BaseModel]) -> dict[str, bool]:
    """The keys of a model as they are written, and whether they must be there."""
    return {field.alias or name: field.is_required() for name, field in model.model_fields.items()}


@pytest.mark.parametrize("title", TABLES)
def test_the_page_has_every_key_with_its_default(title: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section(title), re.MULTILINE))
    wanted = {key: must for model in TABLES[title] for key, must in keys(model).items()}
    assert rows.keys() == wanted.keys()
    by_kind = {"score", "points"}  # which of them must be there depends on the kind
    assert {key for key in rows if rows[key].startswith("required")} == {
        key for key, must in wanted.items() if must or key in by_kind
    }


def test_the_page_names_every_place_shape_and_recogniser() -> None:
    for word in packs.Place.__value__.__args__:
        assert f"`{word}`" in section("Keys of `unless`")
    for shape in [*shapes._ALPHABETS, *shapes._SHAPES]:
        assert re.search(rf"`{shape}[ `]", PAGE), shape
    for recogniser in [*_OWN, "phone"]:
        assert f"`{recogniser}`" in section("Keys of a rule")


def test_the_pack_on_the_page_does_what_it_says(tmp_path: Path) -> None:
    pack = tmp_path / "rules" / "pii" / "acme.yaml"
    pack.parent.mkdir(parents=True)
    pack.write_text(re.search(r"```yaml\n(title: Badges.*?)```", PAGE, re.DOTALL)[1], "utf-8")
    done = CliRunner().invoke(app, ["rules", "test", str(tmp_path / "rules")])
    assert (done.exit_code, done.output) == (0, "1 rules, 3 examples, 0 failed\n")


def test_the_page_shows_no_option_that_scan_has_not() -> None:
    said = CliRunner().invoke(app, ["scan", "--help"]).output
    shown = set(re.findall(r"--[a-z-]+", section("See what would happen"))) | {"--rules"}
    assert shown - {"--decision"} <= set(re.findall(r"--[a-z-]+", said))
