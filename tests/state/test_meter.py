"""What an exchange is charged: reports, texts after them, failures; and what the audit knows of the dead."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sallyport.audit.events import Event, EventKind, interrupted
from sallyport.audit.store import Store
from sallyport.cli.recorded import RecordedUse
from sallyport.exchange import (
    Client,
    Exchange,
    Operation,
    Parameter,
    Request,
    Response,
    Segment,
    Surface,
    Usage,
)
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tokens import PER_TEXT, TokenCounter
from sallyport.policy.limits import Measure
from sallyport.policy.load import parse_policy
from sallyport.proxy.gateway import Live
from sallyport.stages.ledger import Booking, Calendar, Claim, Concurrent, Denied, Reserved, TokenBucket, Unit
from sallyport.state.ledger.fallback import Allowance, Fallback
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.ledger.redis import RedisLedger
from sallyport.state.meter import ExchangeMeter, Metering, Tariff
from state.redisserver import RedisServer

TARIFF = Tariff(PriceList([ContractPrice("*", "lab-*", Decimal(10), Decimal(20))]))
TEXT = "The harbour master reads the tide tables twice each morning. " * 3
MONTH = Calendar(Unit.MONTH)
CLAIMS = [
    (Measure.TOTAL_TOKENS, Claim("tokens/a", 10**6, 1000, MONTH)),
    (Measure.COST, Claim("money/a", 10**9, 9000, MONTH)),
    (Measure.REQUESTS, Claim("calls/a", 100, 1, MONTH)),
]


def exchange(id: str = "x1", operation: Operation = Operation.CHAT, model: str = "lab-m") -> Exchange:
    segments = (Segment("/m", Surface.USER, TEXT),)
    return Exchange(
        id=id,
        conversation="c",
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        host="api.openai.com",
        client=Client("10.0.0.7", "explicit"),
        request=Request("openai", "openai_chat", operation, model, segments, max_output_tokens=50),
    )


@pytest.fixture
async def metering() -> AsyncIterator[Metering]:
    built = Metering(MemoryLedger(), TokenCounter())
    yield built
    await built.close()


def meter_of(metering: Metering, of: Exchange | None = None) -> ExchangeMeter:
    return ExchangeMeter(metering, TARIFF, of or exchange(), request_bytes=700)


async def nothing() -> None:
    """The end event is durable."""


async def used(metering: Metering) -> dict[str, int]:
    await metering.booked()
    return {level.key: level.used for level in await metering.ledger.levels()}


def tokens(text: str) -> int:
    return TokenCounter().count([text], "lab-m").tokens


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


# -- models that stand in ------------------------------------------------------------------------------

DEARER = Tariff(
    PriceList(
        [
            ContractPrice("*", "lab-dear*", Decimal(100), Decimal(200)),
            ContractPrice("*", "lab-*", Decimal(10), Decimal(20)),
        ]
    )
)


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


# -- terms that change the price ------------------------------------------------------------------------

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


# -- the dead ------------------------------------------------------------------------------------------

POLICY = """version: 1
limits:
  rules:
    - {id: tokens, measure: total_tokens, limit: 1000000, per: month}
    - {id: money, measure: cost_usd, limit: 1000, per: month}
    - {id: calls, limit: 100, per: month}
"""


def event(kind: EventKind, of: str, **more: Any) -> Event:
    return Event(kind=kind, gateway="gw", exchange=of, **more)


async def test_what_the_audit_recorded_of_a_dead_gateway_is_booked_once(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    ended = event(
        EventKind.COMPLETED,
        "ended",
        usage=Usage(input=11, output=22),
        cost_micro_usd=550,
        request_bytes=10,
        response_bytes=20,
    )
    store.write(
        [event(EventKind.ADMITTED, name) for name in ("ended", "open")]
        + [ended, event(EventKind.REFUSED, "refused")]
    )
    for name in ("ended", "open", "refused", "never-left"):
        await ledger.reserve(name, [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    recorded = RecordedUse(store, ledger, lambda: live)
    done = await recorded.recover()
    assert (done.settled, done.waiting, done.assumed) == (3, 1, 0)
    levels = {level.key: (level.used, level.reserved) for level in await ledger.levels()}
    assert levels == {"tokens/a": (33, 0), "money/a": (550, 0), "calls/a": (1, 0)}
    again = await recorded.recover()
    assert (again.settled, again.waiting) == (0, 1)
    store.close()


async def test_what_is_not_among_the_oldest_any_more_is_not_booked_as_nothing(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    store.write(
        [event(EventKind.ADMITTED, "late"), event(EventKind.COMPLETED, "late", usage=Usage(11, output=22))]
    )
    for name in ("older", "late"):
        await ledger.reserve(name, [c for _, c in CLAIMS], 1)
        await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    recorded = RecordedUse(store, ledger, lambda: live)
    assert await recorded.used(["late"]) == {}, "the oldest of the expired ones is another"
    assert (await recorded.used(["older", "late"]))["late"]["tokens/a"] == 33
    store.close()


async def test_what_has_no_price_counts_as_reserved_also_when_it_is_booked_and_compared_from_the_audit(
    tmp_path: Path,
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    admitted = event(EventKind.ADMITTED, "ended", cost_micro_usd=9000)
    store.write([admitted, admitted.followed_by(EventKind.COMPLETED, usage=Usage(input=11, output=22))])
    await ledger.reserve("ended", [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    await RecordedUse(store, ledger, lambda: live).recover()
    assert {level.key: level.used for level in await ledger.levels()}["money/a"] == 9000
    (booked,) = store.booked(admitted.at - timedelta(hours=1), admitted.at + timedelta(hours=1))
    assert booked.cost_micro_usd == 9000
    store.close()


async def test_of_several_models_that_might_have_answered_a_dead_gateways_is_booked_on_the_one_that_did(
    tmp_path: Path,
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    end = event(
        EventKind.COMPLETED, "ended", provider="openai", model="lab-dear", usage=Usage(input=11, output=22)
    )
    store.write([event(EventKind.ADMITTED, "ended"), end])
    models = {"each/principal=a:b/model=lab-dear*": "lab-dear*", "each/principal=a:b/model=lab-*": "lab-*"}
    await ledger.reserve("ended", [Claim(key, 10**6, 1000, MONTH, model=m) for key, m in models.items()], 1)
    await asyncio.sleep(0.01)
    policy = parse_policy(
        "version: 1\nlimits:\n  rules:\n    - {id: each, measure: total_tokens, limit: 1000000, per: month, "
        "by: [principal, model]}\n"
    )
    live = cast(Live, SimpleNamespace(policy=policy, tariff=DEARER))
    await RecordedUse(store, ledger, lambda: live).recover()
    counted = {level.key: (level.used, level.reserved) for level in await ledger.levels()}
    assert counted["each/principal=a:b/model=lab-dear*"] == (33, 0)
    assert counted.get("each/principal=a:b/model=lab-*", (0, 0)) == (0, 0)
    store.close()


@pytest.mark.parametrize("held_as", ["open", "open#1", "open#2"])
async def test_what_a_dead_gateway_left_open_is_booked_on_one_of_the_models_that_might_have_answered(
    tmp_path: Path, held_as: str
) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    used = Usage(input=11, output=22)
    admitted = event(EventKind.ADMITTED, "open", provider="openai", model="lab-m", usage=used)
    store.write([admitted])
    models = {"each/principal=a:b/model=lab-dear*": "lab-dear*", "each/principal=a:b/model=lab-*": "lab-*"}
    claims = [Claim(key, 10**6, 33, MONTH, model=model) for key, model in models.items()]
    ids = ("open", "open#1", "open#2")
    for over in ids[: ids.index(held_as)]:  # the store had been away, and gave back what it had taken
        await ledger.reserve(over, claims, 90_000)
        await ledger.release(over)
    await ledger.reserve(held_as, [*claims, Claim("at-once/a", 1, 1, Concurrent())], 90_000)
    policy = parse_policy(
        "version: 1\nlimits:\n  rules:\n    - {id: each, measure: total_tokens, limit: 1000000, per: month, "
        "by: [principal, model]}\n"
    )
    live = cast(Live, SimpleNamespace(policy=policy, tariff=DEARER))
    recorded = RecordedUse(store, ledger, lambda: live, {"open": interrupted(admitted)})
    metering = Metering(ledger, TokenCounter(), orphans=("open",), recover=recorded.recover)
    metering.start()
    async with asyncio.timeout(20):
        while not (counted := {level.key: level.used for level in await ledger.levels() if level.used}):
            await asyncio.sleep(0.01)
    assert counted == {"each/principal=a:b/model=lab-*": 33}
    assert isinstance(await ledger.reserve("next", [Claim("at-once/a", 1, 1, Concurrent())], 1), Reserved)
    await metering.close()
    store.close()


async def test_an_audit_that_cannot_be_read_books_nothing(tmp_path: Path) -> None:
    store, ledger = Store.open(tmp_path / "audit.db"), MemoryLedger()
    await ledger.reserve("x", [c for _, c in CLAIMS], 1)
    await asyncio.sleep(0.01)
    store.close()
    (tmp_path / "audit.db").unlink()
    (tmp_path / "audit.db").write_text("no database " * 100)
    live = cast(Live, SimpleNamespace(policy=parse_policy(POLICY), tariff=TARIFF))
    done = await RecordedUse(store, ledger, lambda: live).recover()
    assert (done.settled, done.waiting) == (0, 1)


async def test_what_ends_after_the_store_lost_its_memory_counts_once(redis_server: RedisServer) -> None:
    store = RedisLedger(redis_server.url)
    metering = Metering(Fallback(store, None, probe_every_ms=10), TokenCounter())
    ended, refused = (meter_of(metering, exchange(id)) for id in ("ended", "refused"))
    at_once = (Measure.CONCURRENT, Claim("at-once/a", 9, 1, Concurrent()))
    for meter in (ended, refused):
        assert isinstance(await meter.reserve([*CLAIMS, at_once], {}), Reserved)
    redis_server.kill()
    redis_server.start()
    ended.settle(Response(200, usage=Usage(input=3, output=4)), 0, failed=False)
    ended.book(nothing())
    refused.release()
    assert await used(metering) == {"tokens/a": 7, "money/a": 110, "calls/a": 1}
    assert (await metering.ledger.settle("ended", {"tokens/a": 7})).booking is Booking.ALREADY
    await metering.close()


async def test_who_waits_for_room_while_the_store_comes_back_is_admitted_and_booked_once(
    redis_server: RedisServer,
) -> None:
    store = RedisLedger(redis_server.url, patience_s=0.25)
    ledger = Fallback(store, Allowance(500), probe_every_ms=10)
    metering = Metering(ledger, TokenCounter())
    claims = [
        (Measure.REQUESTS, Claim("rate/a", 2, 1, TokenBucket(1, 1000))),
        (Measure.REQUESTS, Claim("calls/a", 1000, 1, MONTH)),
    ]
    await asyncio.gather(
        *(store.now_ms() for _ in range(4))
    )  # opens connections, into which the calls are written
    redis_server.freeze()
    meters = [meter_of(metering, exchange(id)) for id in ("first", "second")]
    try:
        admitted = [asyncio.create_task(meter.reserve(claims, {"rate/a": 30.0})) for meter in meters]
        await asyncio.wait(admitted, return_when=asyncio.FIRST_COMPLETED)
    finally:
        redis_server.resume()
    # The store had taken both reservations without an answer, and gives back that of the one who waits.
    assert [type(answer) for answer in await asyncio.gather(*admitted)] == [Reserved, Reserved]
    for meter in meters:
        meter.settle(Response(200, usage=Usage(input=3, output=4)), 0, failed=False)
        meter.book(nothing())
    while ledger.owed or await metering.booked():
        await asyncio.sleep(0.01)
        await ledger.sweep()
    (level,) = await store.levels("calls/a")
    assert (level.used, level.reserved) == (2, 0)
    await metering.close()
