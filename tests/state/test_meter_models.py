"""What an exchange is charged where several models may answer it."""

from dataclasses import replace

import pytest

from sallyport.exchange import (
    Parameter,
    Response,
    Usage,
)
from sallyport.metering.prices import PriceList
from sallyport.metering.tariff import Tariff
from sallyport.state.booking import Metering
from sallyport.state.meter import ExchangeMeter
from state.metered import DEARER, exchange


def meter_with(
    metering: Metering, *others: str, at: str = "/models", tariff: Tariff = DEARER
) -> ExchangeMeter:
    of = exchange()
    parameters = tuple(Parameter("fallback_model", other, f"{at}/{n}") for n, other in enumerate(others))
    of = replace(of, request=replace(of.request, parameters=parameters))
    return ExchangeMeter(metering, tariff, of, request_bytes=700)


async def test_what_is_reserved_is_the_price_of_the_dearest_model_that_may_answer(metering: Metering) -> None:
    plain, stood_in = meter_with(metering).estimate(0).cost, meter_with(metering, "lab-dear").estimate(0).cost
    assert plain is not None
    assert stood_in == 10 * plain
    assert meter_with(metering, "nobody-knows").estimate(0).cost is None
    assert meter_with(metering, "(no single value)").estimate(0).cost is None
    assert meter_with(metering, *(f"lab-{n}" for n in range(99))).estimate(0).cost is None


async def test_a_model_that_a_tool_asks_does_not_answer(metering: Metering) -> None:
    plain = meter_with(metering).estimate(0).cost
    assert meter_with(metering, "lab-dear", at="/tools/0/model").estimate(0).cost == plain


@pytest.mark.parametrize(
    ("said", "times", "model"),
    [
        ("lab-m", 1, ""),
        ("LAB-M", 1, ""),
        ("lab-m-2026-11-01", 1, ""),
        ("lab-dear", 10, "lab-dear"),
        ("vendor/lab-dear-2026-11-01", 10, "lab-dear"),
        ("somebody-else", 10, "lab-dear"),
        (None, 10, "lab-dear"),
    ],
)
async def test_what_is_booked_is_the_price_of_the_model_that_answered_else_of_the_dearest(
    metering: Metering, said: str | None, times: int, model: str
) -> None:
    meter = meter_with(metering, "lab-dear")
    metered = meter.settle(Response(200, usage=Usage(30, output=5), model=said), 10, failed=False)
    assert (metered.cost_micro_usd, metered.model) == (times * (30 * 10 + 5 * 20), model)


async def test_an_alias_of_the_price_list_is_the_model_that_answered(metering: Metering) -> None:
    of = exchange(model="gpt-4o-mini")
    others = (Parameter("fallback_model", "gpt-5-pro", "/models/0"),)
    of = replace(of, request=replace(of.request, parameters=others))
    meter = ExchangeMeter(metering, Tariff(PriceList()), of, request_bytes=700)
    answer = Response(200, usage=Usage(1000, output=4000), model="gpt-5-pro-2025-10-06")
    metered = meter.settle(answer, 10, failed=False)
    assert (metered.cost_micro_usd, metered.model) == (495_000, "gpt-5-pro")
