"""A tier that is asked for by a header is as dear as one that is asked for in the body."""

from dataclasses import replace

import pytest

from sallyport.exchange import Exchange, Operation, Parameter
from sallyport.metering.terms import UNKNOWN, tiers
from samples import exchange

HEADER = "x-vertex-ai-llm-shared-request-type"
LISTED = frozenset({("service_tier", "priority"), ("service_tier", "flex")})


def asking(
    *headers: tuple[str, str], provider: str = "vertex", operation: Operation = Operation.CHAT, tier: str = ""
) -> Exchange:
    of = exchange(operation=operation, model="gemini-2.5-pro")
    parameters = (Parameter("service_tier", tier, "/service_tier"),) if tier else ()
    request = replace(of.request, provider=provider, parameters=parameters)
    return replace(of, request=request, client=replace(of.client, headers=headers))


@pytest.mark.parametrize(
    ("of", "listed", "expected"),
    [
        pytest.param(asking(), LISTED, {""}, id="none"),
        pytest.param(asking((HEADER, "priority")), LISTED, {"", "priority"}, id="priority"),
        pytest.param(asking((HEADER, " Priority")), LISTED, {"", "priority"}, id="spelt otherwise"),
        pytest.param(asking((HEADER, "priority")), frozenset(), {"", UNKNOWN}, id="without a price"),
        pytest.param(asking((HEADER, "flex")), LISTED, {""}, id="flex"),
        pytest.param(asking((HEADER, "flex"), (HEADER, "priority")), LISTED, {"", "priority"}, id="twice"),
        pytest.param(
            asking((HEADER, "flex"), tier="priority"), LISTED, {"", "priority"}, id="body and header"
        ),
        pytest.param(asking((HEADER, "priority"), provider="openai"), LISTED, {""}, id="elsewhere"),
        pytest.param(
            asking((HEADER, "priority"), operation=Operation.BATCH), LISTED, {"batch"}, id="in a batch"
        ),
    ],
)
def test_a_header_asks_for_a_tier(
    of: Exchange, listed: frozenset[tuple[str, str]], expected: set[str]
) -> None:
    assert set(tiers(of, listed, "default")) == expected
