"""What an exchange is charged on the terms that change a price: tiers, caches, batches."""

from dataclasses import replace
from decimal import Decimal

import pytest

from sallyport.exchange import (
    Exchange,
    Operation,
    Parameter,
    Response,
    Usage,
)
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tariff import Tariff
from sallyport.state.booking import Metering
from sallyport.state.meter import ExchangeMeter
from state.metered import CLAIMS, exchange, nothing, used

LISTED = Tariff(PriceList())
GPT_5, OPUS = (1.25, 10.0), (5.0, 25.0)
"""Dollars per million tokens of input and of output."""


def on_terms(
    model: str = "gpt-5", ttl: str = "", operation: Operation = Operation.CHAT, **settings: str
) -> Exchange:
    """Return a request of a million tokens or so of output; settings: with their values."""
    of = exchange(operation=operation, model=model)
    provider, host, dialect = ("openai", "api.openai.com", "openai_chat")
    if model.startswith("claude"):
        provider, host, dialect = ("anthropic", "api.anthropic.com", "anthropic_messages")
    request = replace(
        of.request,
        provider=provider,
        dialect=dialect,
        max_output_tokens=10_000,
        parameters=tuple(Parameter(name, value, f"/{name}") for name, value in settings.items()),
        cache_ttl=ttl,
    )
    return replace(of, host=host, request=request)


def metered_on(metering: Metering, of: Exchange, tariff: Tariff = LISTED) -> ExchangeMeter:
    return ExchangeMeter(metering, tariff, of, request_bytes=700)


@pytest.mark.parametrize(
    ("of", "input_times", "output_times"),
    [
        (on_terms(), 1, 1),
        (on_terms(service_tier="default"), 1, 1),
        (on_terms(service_tier="flex"), 1, 1),
        (on_terms(service_tier="priority"), 2, 2),
        (on_terms(service_tier="PRIORITY "), 2, 2),
        (on_terms(service_tier="fast"), 2, 2),
        (on_terms(service_tier="auto"), 2, 2),
        (on_terms(service_tier="of next year"), 2, 2),
        (on_terms(operation=Operation.BATCH), 0.5, 0.5),
        (on_terms("claude-opus-4-8"), 1, 1),
        (on_terms("claude-opus-4-8", speed="fast"), 2, 2),
        (on_terms("claude-opus-4-8", service_tier="auto"), 1, 1),
        (on_terms("claude-opus-4-8", "5m"), 1.25, 1),
        (on_terms("claude-opus-4-8", "1h"), 2, 1),
        (on_terms("claude-opus-4-8", "1h", speed="fast"), 4, 2),
        (on_terms("claude-opus-4-8", "1h", Operation.BATCH), 1, 0.5),
    ],
    ids=lambda of: (
        of.request.model + str([p.value for p in of.request.parameters]) + of.request.cache_ttl
        if isinstance(of, Exchange)
        else None
    ),
)
async def test_what_is_reserved_is_as_dear_as_the_request_permits(
    metering: Metering, of: Exchange, input_times: float, output_times: float
) -> None:
    meter = metered_on(metering, of)
    asked, answered = OPUS if str(of.request.model).startswith("claude") else GPT_5
    estimate = meter.estimate(0)
    expected = estimate.input_tokens * asked * input_times + 10_000 * answered * output_times
    assert estimate.cost == pytest.approx(expected, abs=1)
    # Who leaves before there is an answer pays the same, but for the margin on the input.
    left = meter.settle(None, 0, failed=False)
    expected = meter.input().tokens * asked * input_times + 10_000 * answered * output_times
    assert left.cost_micro_usd == pytest.approx(expected, abs=1)


async def test_a_dear_tier_of_which_the_model_has_no_price_has_none(metering: Metering) -> None:
    assert metered_on(metering, on_terms("gpt-5-nano")).estimate(0).cost is not None
    assert metered_on(metering, on_terms("gpt-5-nano", service_tier="priority")).estimate(0).cost is None
    assert (
        metered_on(metering, on_terms("gpt-5-nano", service_tier="of next year")).estimate(0).cost is not None
    )


@pytest.mark.parametrize("word", ["SERVICE_TIER_UNSPECIFIED", "unspecified", "SERVICE_TIER_STANDARD"])
async def test_a_tier_that_is_left_open_has_the_ordinary_price(metering: Metering, word: str) -> None:
    plain, asked = on_terms("gpt-5-nano"), on_terms("gpt-5-nano", service_tier=word)
    assert metered_on(metering, asked).estimate(0) == metered_on(metering, plain).estimate(0)


@pytest.mark.parametrize(
    ("of", "said", "times", "shown"),
    [
        (on_terms(service_tier="priority"), Usage(1000, output=100, tier="priority"), 2, "priority"),
        (on_terms(service_tier="priority"), Usage(1000, output=100, tier="default"), 1, ""),
        (on_terms(service_tier="priority"), Usage(1000, output=100), 2, "priority"),
        (on_terms(service_tier="flex"), Usage(1000, output=100, tier="flex"), 0.5, "flex"),
        (on_terms(service_tier="flex"), Usage(1000, output=100), 1, ""),
        (on_terms(service_tier="auto"), Usage(1000, output=100, tier="default"), 1, ""),
        (on_terms(), Usage(1000, output=100, tier="priority"), 2, "priority"),
        (on_terms(), Usage(1000, output=100), 1, ""),
        (on_terms("claude-opus-4-8", speed="fast"), Usage(1000, output=100), 2, "fast"),
        (on_terms("claude-opus-4-8", speed="fast"), Usage(1000, output=100, tier="standard"), 1, ""),
    ],
)
async def test_what_is_booked_is_the_tier_that_the_answer_tells_else_the_dearest(
    metering: Metering, of: Exchange, said: Usage, times: float, shown: str
) -> None:
    asked, answered = OPUS if str(of.request.model).startswith("claude") else GPT_5
    metered = metered_on(metering, of).settle(Response(200, usage=said), 0, failed=False)
    assert metered.cost_micro_usd == 1000 * asked * times + 100 * answered * times
    assert metered.usage is not None
    assert metered.usage.tier == shown


async def test_what_was_written_to_the_cache_for_a_time_that_is_not_told_was_for_an_hour_if_that_was_asked(
    metering: Metering,
) -> None:
    for ttl, hour, dollars in (("1h", None, 10), ("1h", 0, 6.25), ("1h", 1000, 10), ("5m", None, 6.25)):
        written = Usage(1000, cache_write=1000, output=0, cache_write_1h=hour)
        meter = metered_on(metering, on_terms("claude-opus-4-8", ttl))
        assert meter.settle(Response(200, usage=written), 0, failed=False).cost_micro_usd == 1000 * dollars


async def test_an_automatic_cache_that_charges_for_writing_is_reserved_as_written(metering: Metering) -> None:
    meter = metered_on(metering, on_terms("gpt-6-astra"))
    estimate = meter.estimate(0)
    assert estimate.cost == pytest.approx(estimate.input_tokens * 12.5 + 10_000 * 50, abs=1)


async def test_a_tier_without_a_price_has_none_until_it_is_answered(metering: Metering) -> None:
    of = on_terms("openai/gpt-5", service_tier="priority")
    of = replace(of, host="openrouter.ai", request=replace(of.request, provider="openrouter"))
    assert metered_on(metering, of).estimate(0).cost is None
    assert metered_on(metering, of, replace(LISTED, unknown_is_free=True)).estimate(0).cost
    auto = replace(of, request=replace(of.request, parameters=(Parameter("service_tier", "auto", "/s"),)))
    assert metered_on(metering, auto).estimate(0).cost
    assert (
        metered_on(metering, of)
        .settle(Response(200, usage=Usage(9, output=9)), 0, failed=False)
        .cost_micro_usd
    )


@pytest.mark.parametrize("word", ["priority", "fast"])
async def test_a_dear_tier_that_the_answer_alone_tells_has_no_price_and_counts_as_what_was_reserved(
    metering: Metering, word: str
) -> None:
    of, said = on_terms("gpt-5-nano"), Response(200, usage=Usage(1000, output=100, tier=word))
    meter = metered_on(metering, of)
    await meter.reserve(CLAIMS, {})
    metered = meter.settle(said, 10, failed=False)
    assert metered.cost_micro_usd is None
    assert metered.usage == said.usage
    meter.book(nothing())
    assert await used(metering) == {"tokens/a": 1100, "money/a": 9000, "calls/a": 1}
    free = metered_on(metering, of, replace(LISTED, unknown_is_free=True))
    assert free.settle(said, 10, failed=False).cost_micro_usd == 0
    own = Tariff(PriceList([ContractPrice("openai", "gpt-5-nano", Decimal(3), Decimal(4))]))
    assert metered_on(metering, of, own).settle(said, 10, failed=False).cost_micro_usd == 3400


async def test_priority_at_anthropic_is_paid_beforehand(metering: Metering) -> None:
    said = Response(200, usage=Usage(1000, output=100, tier="priority"))
    metered = metered_on(metering, on_terms("claude-opus-4-8")).settle(said, 10, failed=False)
    assert metered.cost_micro_usd == 1000 * OPUS[0] + 100 * OPUS[1]


async def test_the_operator_says_of_what_tier_a_request_is_that_names_none(metering: Metering) -> None:
    tariff = replace(LISTED, unnamed_tier="priority")
    ordinary = metered_on(metering, on_terms(service_tier="default"), tariff).estimate(0).cost
    assert ordinary is not None
    assert metered_on(metering, on_terms(), tariff).estimate(0).cost == pytest.approx(2 * ordinary, abs=2)
    opus = on_terms("claude-opus-4-8")
    assert metered_on(metering, opus, tariff).estimate(0).cost == metered_on(metering, opus).estimate(0).cost


async def test_a_contract_price_rises_as_the_list_price_does(metering: Metering) -> None:
    own = Tariff(PriceList([ContractPrice("*", "*-*", Decimal(1), Decimal(8))]))
    for of, times in (
        (on_terms(), 1),
        (on_terms(service_tier="priority"), 2),
        (on_terms(service_tier="flex"), 1),
        (on_terms("claude-opus-4-8", speed="fast"), 2),
        (on_terms("lab-m", service_tier="priority"), 1),
    ):
        metered = metered_on(metering, of, own).settle(
            Response(200, usage=Usage(1000, output=100)), 0, failed=False
        )
        assert metered.cost_micro_usd == (1000 + 800) * times
