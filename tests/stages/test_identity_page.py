"""docs/identity.md says what the stage does: its entries, its sources, its worked policy."""

import re
from pathlib import Path

import pytest

from identities import ISS, ask, at, certificate, who
from issuing import examples
from sallyport.exchange import Client
from sallyport.policy.identity import SOURCES
from sallyport.policy.inputs import INPUTS
from sallyport.policy.load import parse_policy
from sallyport.stages.proofs import CONFIDENCE
from sallyport.stages.stage import Subject

PAGE = (Path(__file__).parent.parent.parent / "docs" / "identity.md").read_text()


def test_the_entries_of_the_page_are_those_that_read_the_products_tokens() -> None:
    entries, worked = (parse_policy(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
    for product, (_, text) in examples(0).items():
        tested = f"id: {product}\nkeys: {{file: k}}\n{text}".replace("\n", "\n      ")
        (issuer,) = parse_policy(f"version: 1\nidentity:\n  tokens:\n    - {tested}\n").identity.tokens
        shown = next(i for i in entries.identity.tokens if i.id == product)
        assert shown.model_copy(update={"keys": issuer.keys}) == issuer
    assert worked.access.rules


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_its_row_and_its_confidence(source: str) -> None:
    confidence = f"{CONFIDENCE[source]:g}"
    assert re.search(rf"^\| `{source}` \|.*\| {confidence} \|", PAGE, re.MULTILINE)
    assert f"{confidence} (" in INPUTS["principal.confidence"][1]


@pytest.mark.parametrize(
    ("client", "tokens", "expected"),
    [
        (at(certificate=certificate(names=("laptop.example.com",))), {}, "default/laptop certificate"),
        (
            at(
                "192.0.2.1",
                ("x-sallyport-token", "T"),
                certificate=certificate(names=("laptop.example.com",)),
            ),
            {"T": "00u1A"},
            "default/ada token",
        ),
        (at("192.0.2.1", ("x-sallyport-token", "T")), {"T": "00u1A"}, "default/ada token"),
        (at("192.0.2.1", ("x-sallyport-token", "T")), {"T": "new"}, "identity.token_unlisted"),
        (at("10.20.0.17", ("x-sallyport-token", "old")), {}, "identity.token_expired"),
        (at("10.20.0.17"), {}, "default/old-build-server network"),
        (at("10.20.0.18"), {}, "identity.required"),
    ],
)
async def test_the_worked_policy_does_what_its_table_says(
    client: Client, tokens: dict[str, str], expected: str
) -> None:
    block = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    text = block[block.index("identity:\n") + 10 : block.index("access:")]
    subjects = {("okta", t): Subject(ISS, name) for t, name in tokens.items()}
    assert who(await ask(text, client, subjects)) == expected
