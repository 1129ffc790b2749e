"""The pages on choke point and operations name what there is."""

import re
from pathlib import Path

import pytest
import typer

from sallyport.choke.nftables import chains
from sallyport.choke.point import parse_choke_point
from sallyport.cli.redirect import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
CHOKE_POINT = DOCS.joinpath("choke-point.md").read_text(encoding="utf-8")
OPERATIONS = DOCS.joinpath("operations.md").read_text(encoding="utf-8")


def test_every_option_of_apply_is_explained() -> None:
    group = typer.main.get_command(app)
    options = {option for parameter in group.commands["apply"].params for option in parameter.opts}  # type: ignore[attr-defined]
    written = set(re.findall(r"`(--[a-z-]+)", CHOKE_POINT)) | set(re.findall(r" (--[a-z-]+)", CHOKE_POINT))
    assert {option for option in options if option.startswith("--")} - {"--help"} <= written


def test_every_chain_is_explained() -> None:
    point = parse_choke_point(["eth0"], local=True, exempt_user="4321")
    names = {chain.name for chain in chains(point)}
    assert {name for name in names if f"`{name}`" not in CHOKE_POINT} == set()


@pytest.mark.parametrize("code", range(5))
def test_every_exit_code_is_explained(code: int) -> None:
    assert f"| {code} | " in OPERATIONS
