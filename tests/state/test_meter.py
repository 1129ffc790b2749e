"""What an exchange is charged: reports, texts after them, failures, answers that nobody waited for."""

import asyncio
from dataclasses import replace

import pytest

from sallyport.exchange import (
    Exchange,
    Operation,
    Parameter,
    Response,
    Segment,
    Surface,
    Usage,
)
from sallyport.metering.tokens import PER_TEXT
from sallyport.policy.limits import Measure
from sallyport.stages.ledger import Claim, Concurrent, Denied, Reserved
from sallyport.state.booking import Metering
from state.metered import CLAIMS, TEXT, exchange, meter_of, nothing, tokens, used


async def test_headers_and_targets_are_no_input(metering: Metering) -> None:
    """An SDK writes a dozen headers of its own; they are scanned, and no model reads them."""
    plain = exchange()
    outside = (
        Segment(
            "~header/3", Surface.DOCUMENT, "user-agent: Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1"
        ),
        Segment("~target/model", Surface.DOCUMENT, "lab-m"),
    )
    request = replace(plain.request, segments=(*plain.request.segments, *outside))
    assert meter_of(metering, replace(plain, request=request)).input() == meter_of(metering, plain).input()


async def test_a_report_covers_what_was_heard_before_it_and_texts_after_it_are_counted(
    metering: Metering,
) -> None:
    meter = meter_of(metering)
    await meter.reserve(CLAIMS, {})
    meter.report(Usage(input=30, output=1))
    meter.hear(TEXT)
    meter.report(Usage(output=500))
    meter.hear(TEXT[:60])
    metered = meter.settle(Response(200, usage=Usage(input=30, output=500)), 10, failed=False)
    made = 500 + tokens(TEXT[:60])
    assert (metered.usage, metered.source) == (Usage(input=30, output=made), "counted")
    meter.book(nothing())
    assert await used(metering) == {"tokens/a": 30 + made, "money/a": 300 + 20 * made, "calls/a": 1}


@pytest.mark.parametrize(
    "more",
    [
        {"cache_read": 10**12},
        {"cache_write": 10**12},
        {"cache_write_1h": 10**12},
        {"reasoning": 10**12},
        {"audio_input": 10**12},
        {"audio_output": 10**12},
        {"searches": 10**6},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_a_report_of_which_one_part_cannot_be_locks_no_budget(
    metering: Metering, more: dict[str, int]
) -> None:
    meter = meter_of(metering)
    meter.hear(TEXT)
    report = Usage(input=10, output=5, **more)
    meter.report(report)
    metered = meter.settle(Response(200, usage=report), 10, failed=False)
    assert metered.source == "counted"
    assert metered.usage == Usage(input=tokens(TEXT) + PER_TEXT, output=tokens(TEXT))


async def test_a_first_report_before_any_text_does_not_stand_for_the_answer(metering: Metering) -> None:
    meter = meter_of(metering)
    meter.report(Usage(input=30, output=1))
    meter.hear(TEXT)
    metered = meter.settle(Response(200, usage=Usage(input=30, output=1)), 10, failed=False)
    assert metered.usage == Usage(input=30, output=tokens(TEXT))


async def test_without_any_report_texts_are_counted_on_both_sides(metering: Metering) -> None:
    meter = meter_of(metering)
    meter.hear(TEXT)
    metered = meter.settle(Response(200), 10, failed=False)
    assert metered.usage == Usage(input=tokens(TEXT) + PER_TEXT, output=tokens(TEXT))
    assert metered.source == "counted"


@pytest.mark.parametrize(
    ("answer", "failed"),
    [(Response(500, usage=Usage(input=9, output=9)), False), (None, True), (Response(429), False)],
)
async def test_a_provider_that_failed_is_paid_nothing_and_the_call_counts(
    metering: Metering, answer: Response | None, failed: bool
) -> None:
    meter = meter_of(metering)
    await meter.reserve(CLAIMS, {})
    metered = meter.settle(answer, 0, failed=failed)
    assert (metered.usage, metered.cost_micro_usd) == (None, 0)
    meter.book(nothing())
    assert await used(metering) == {"calls/a": 1}


async def test_whoever_does_not_wait_for_the_answer_pays_the_estimate(metering: Metering) -> None:
    metered_by = meter_of(metering)
    metered_by.estimate(4096)
    metered = metered_by.settle(None, 0, failed=False)
    assert metered.usage == Usage(input=tokens(TEXT) + PER_TEXT, output=50)
    assert metered.source == "estimated"


def asked_for_later(operation: Operation = Operation.CHAT, **settings: bool) -> Exchange:
    of = exchange(operation=operation)
    parameters = tuple(Parameter(name, value, f"/{name}") for name, value in settings.items())
    return replace(of, request=replace(of.request, parameters=parameters))


@pytest.mark.parametrize(
    ("of", "answer"),
    [
        (asked_for_later(background=True), Response(200, finish_reason="pending")),
        (asked_for_later(background=True), Response(200)),
        (exchange(), Response(200, finish_reason="pending", usage=Usage(input=0, output=0))),
        (asked_for_later(deferred=True), Response(200)),
        (exchange(operation=Operation.BATCH), Response(200)),
    ],
    ids=["receipt", "stream-left", "of-itself", "deferred", "batch"],
)
async def test_a_receipt_for_an_answer_that_comes_later_costs_the_estimate(
    metering: Metering, of: Exchange, answer: Response
) -> None:
    meter = meter_of(metering, of)
    meter.estimate(4096)
    await meter.reserve(CLAIMS, {})
    metered = meter.settle(answer, 10, failed=False)
    tier = "batch" if of.request.operation is Operation.BATCH else ""
    expected = Usage(input=tokens(TEXT) + PER_TEXT, output=50, tier=tier)
    assert (metered.usage, metered.source) == (expected, "estimated")
    assert metered.cost_micro_usd == 10 * (tokens(TEXT) + PER_TEXT) + 20 * 50
    meter.book(nothing())
    assert (await used(metering))["money/a"] == metered.cost_micro_usd


async def test_what_was_heard_of_a_later_answer_counts_where_it_is_more_than_was_expected(
    metering: Metering,
) -> None:
    meter = meter_of(metering, asked_for_later(background=True))
    meter.estimate(4096)
    meter.hear(TEXT * 3)
    metered = meter.settle(Response(200), 10, failed=False)
    assert (metered.usage, metered.source) == (
        Usage(input=tokens(TEXT) + PER_TEXT, output=tokens(TEXT * 3)),
        "estimated",
    )


@pytest.mark.parametrize(
    ("of", "answer", "source"),
    [
        (
            asked_for_later(background=True),
            Response(200, finish_reason="stop", usage=Usage(3, output=4)),
            "provider",
        ),
        (asked_for_later(background=True), Response(200, usage=Usage(3, output=4)), "provider"),
        (asked_for_later(background=True), Response(200, finish_reason="error"), "counted"),
        (asked_for_later(background=False), Response(200), "counted"),
    ],
    ids=["ended", "reported", "failed", "not-asked"],
)
async def test_an_answer_that_has_ended_costs_what_it_used(
    metering: Metering, of: Exchange, answer: Response, source: str
) -> None:
    meter = meter_of(metering, of)
    meter.estimate(4096)
    assert meter.settle(answer, 10, failed=False).source == source


def thinking(model: str = "lab-m", **settings: str | int | bool) -> Exchange:
    of = exchange(model=model)
    parameters = tuple(Parameter(name, value, f"/{name}") for name, value in settings.items())
    return replace(of, request=replace(of.request, parameters=parameters))


CUT = Response(200)
BEGUN = Response(200, usage=Usage(input=30, output=1))


@pytest.mark.parametrize(
    ("of", "answer", "texts"),
    [
        (thinking(reasoning_effort="high"), CUT, ("The answer.",)),
        (thinking(reasoning_effort="high"), replace(CUT, finish_reason="stop"), ("The answer.",)),
        (thinking(thinking="enabled", thinking_budget=4000), BEGUN, ()),
        (thinking(thinking="enabled"), BEGUN, ("The answer.",)),
        (thinking("openai/gpt-5-mini-2025-08-07"), CUT, ("The answer.",)),
        (thinking("o3"), CUT, ()),
    ],
    ids=["asked", "before the total", "while it thinks", "behind its thoughts", "unasked", "nothing seen"],
)
async def test_who_leaves_a_model_that_may_have_thought_unseen_pays_what_was_reserved(
    metering: Metering, of: Exchange, answer: Response, texts: tuple[str, ...]
) -> None:
    meter = meter_of(metering, of)
    if answer.usage is not None:
        meter.report(answer.usage)
    for text in texts:
        meter.hear(text)
    metered = meter.settle(answer, 10, failed=False, cut=True)
    assert metered.usage is not None
    assert (metered.usage.output, metered.source) == (50, "estimated")


@pytest.mark.parametrize(
    ("of", "answer", "made"),
    [
        (thinking(), CUT, tokens("The answer.")),
        (thinking("gpt-5", reasoning_effort="none"), CUT, tokens("The answer.")),
        (thinking("gemini-2.5-flash", thinking_budget=0), CUT, tokens("The answer.")),
        (thinking("gpt-5-chat-latest"), CUT, tokens("The answer.")),
        (
            thinking("o3"),
            Response(200, finish_reason="stop", usage=Usage(input=9, output=40)),
            40,
        ),
        (
            thinking("gemini-2.5-pro"),
            Response(200, usage=Usage(input=9, output=40, reasoning=30)),
            40,
        ),
    ],
    ids=["no thinker", "told not to", "no budget", "plain", "total told", "running total"],
)
async def test_who_leaves_an_answer_without_thoughts_unseen_pays_what_was_seen_of_it(
    metering: Metering, of: Exchange, answer: Response, made: int
) -> None:
    meter = meter_of(metering, of)
    meter.hear("The answer.")
    if answer.usage is not None:
        meter.report(answer.usage)
    metered = meter.settle(answer, 10, failed=False, cut=True)
    assert metered.usage is not None
    assert (metered.usage.output, metered.source) == (made, "provider" if answer.usage else "counted")


async def test_an_answer_that_came_whole_without_a_report_costs_what_was_seen_of_it(
    metering: Metering,
) -> None:
    meter = meter_of(metering, thinking("o3"))
    meter.hear("The answer.")
    assert meter.settle(replace(CUT, finish_reason="stop"), 10, failed=False).source == "counted"


async def test_an_estimate_is_the_same_where_no_limit_has_asked_for_it(metering: Metering) -> None:
    metered = meter_of(metering).settle(None, 0, failed=False)
    assert metered.usage == Usage(input=tokens(TEXT) + PER_TEXT, output=50)


@pytest.mark.parametrize("operation", [Operation.COUNT_TOKENS, Operation.LIST_MODELS])
async def test_what_providers_do_not_charge_has_a_price_of_nothing_also_for_unknown_models(
    metering: Metering, operation: Operation
) -> None:
    meter = meter_of(metering, exchange(operation=operation, model="nobody-knows"))
    estimate = meter.estimate(4096)
    assert (estimate.input_tokens, estimate.output_tokens, estimate.cost, estimate.credits) == (0, 0, 0, 0)
    metered = meter.settle(Response(200, usage=Usage(input=900)), 0, failed=False)
    assert (metered.usage, metered.cost_micro_usd) == (None, 0)


async def test_a_denial_waits_for_the_booking_of_what_has_just_ended(metering: Metering) -> None:
    one = [(Measure.CONCURRENT, Claim("one/a", 1, 1, Concurrent()))]
    first, second, third = (meter_of(metering, exchange(f"x{n}")) for n in range(3))
    await first.reserve(one, {})
    assert isinstance(await second.reserve(one, {}), Denied)
    first.settle(Response(200), 0, failed=False)
    first.book(asyncio.sleep(0.05))
    assert isinstance(await third.reserve(one, {}), Reserved)


async def test_an_end_that_cannot_be_recorded_is_booked_all_the_same(metering: Metering) -> None:
    async def broken() -> None:
        raise RuntimeError

    meter = meter_of(metering)
    await meter.reserve(CLAIMS, {})
    meter.settle(Response(200, usage=Usage(input=3, output=4)), 0, failed=False)
    meter.book(broken())
    assert (await used(metering))["tokens/a"] == 7
