"""Prices against a table computed by hand from the providers' public price lists (US dollars per million)."""

import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from sallyport.exchange import Usage
from sallyport.metering import prices
from sallyport.metering.prices import ContractPrice, PriceList, UnknownPrice

AT = datetime(2026, 11, 1, tzinfo=UTC)
OPENAI, ANTHROPIC, GEMINI = "api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com"

PLAIN = Usage(input=1_000, output=500)
CACHED = Usage(input=10_000, cache_read=8_000, output=1_000)
WRITTEN = Usage(input=10_000, cache_read=2_000, cache_write=4_000, output=1_000)

# host, model, usage, micro-dollars: (fresh x input) + (read x cached) + (written x write) + (output x output)
BY_HAND = [
    (OPENAI, "gpt-4o", PLAIN, 2_500 + 5_000),
    (OPENAI, "gpt-4o", CACHED, 5_000 + 10_000 + 10_000),
    (OPENAI, "gpt-4o-mini", PLAIN, 150 + 300),
    (OPENAI, "gpt-4o-mini", CACHED, 300 + 600 + 600),
    (OPENAI, "gpt-4.1", PLAIN, 2_000 + 4_000),
    (OPENAI, "gpt-4.1", CACHED, 4_000 + 4_000 + 8_000),
    (OPENAI, "gpt-4.1-mini", PLAIN, 400 + 800),
    (OPENAI, "gpt-4.1-mini", CACHED, 800 + 800 + 1_600),
    (OPENAI, "gpt-4.1-nano", PLAIN, 100 + 200),
    (OPENAI, "gpt-5", PLAIN, 1_250 + 5_000),
    (OPENAI, "gpt-5", CACHED, 2_500 + 1_000 + 10_000),
    (OPENAI, "gpt-5-mini", PLAIN, 250 + 1_000),
    (OPENAI, "gpt-5-nano", PLAIN, 50 + 200),
    (OPENAI, "o3", PLAIN, 2_000 + 4_000),
    (OPENAI, "o4-mini", PLAIN, 1_100 + 2_200),
    (OPENAI, "text-embedding-3-small", Usage(input=10_000, output=0), 200),
    (OPENAI, "text-embedding-3-large", Usage(input=10_000, output=0), 1_300),
    (ANTHROPIC, "claude-sonnet-4-5", PLAIN, 3_000 + 7_500),
    (ANTHROPIC, "claude-sonnet-4-5", CACHED, 6_000 + 2_400 + 15_000),
    (ANTHROPIC, "claude-sonnet-4-5", WRITTEN, 12_000 + 600 + 15_000 + 15_000),
    (ANTHROPIC, "claude-sonnet-4-5-20250929", PLAIN, 3_000 + 7_500),
    (ANTHROPIC, "claude-opus-4-1", PLAIN, 15_000 + 37_500),
    (ANTHROPIC, "claude-opus-4-1", WRITTEN, 60_000 + 3_000 + 75_000 + 75_000),
    (ANTHROPIC, "claude-haiku-4-5", PLAIN, 1_000 + 2_500),
    (ANTHROPIC, "claude-haiku-4-5", CACHED, 2_000 + 800 + 5_000),
    (ANTHROPIC, "claude-3-5-haiku-latest", PLAIN, 800 + 2_000),
    (
        ANTHROPIC,
        "claude-sonnet-4-5",
        Usage(input=10_000, cache_write=4_000, cache_write_1h=4_000, output=0),
        18_000 + 24_000,
    ),
    (ANTHROPIC, "claude-sonnet-4-5", Usage(input=1_000, output=0, searches=3), 3_000 + 30_000),
    (GEMINI, "gemini-2.5-pro", PLAIN, 1_250 + 5_000),
    (GEMINI, "gemini-2.5-pro", Usage(input=300_000, output=1_000), 750_000 + 15_000),
    (GEMINI, "gemini-2.5-flash", PLAIN, 300 + 1_250),
    (GEMINI, "gemini-2.5-flash", CACHED, 600 + 240 + 2_500),
    (GEMINI, "gemini-2.5-flash-lite", PLAIN, 100 + 200),
    (OPENAI, "gpt-5", Usage(input=1_000, output=500, tier="flex"), 625 + 2_500),
    (ANTHROPIC, "claude-sonnet-4-5", Usage(input=1_000, output=500, tier="batch"), 1_500 + 3_750),
    # Of 1000 tokens 800 are sound and 900 cached, so at least 700 are both: 100 x 32, 900 x 0.40 / 400 x 64, 100 x 16.
    (
        OPENAI,
        "gpt-realtime",
        Usage(input=1_000, cache_read=900, audio_input=800, output=500, audio_output=400),
        3_200 + 360 + 25_600 + 1_600,
    ),
]


@pytest.mark.parametrize(("host", "model", "usage", "micro_usd"), BY_HAND)
def test_a_price_is_what_the_list_says(host: str, model: str, usage: Usage, micro_usd: int) -> None:
    assert PriceList().price("any", host, model, usage, AT).micro_usd == micro_usd


def test_an_unknown_model_has_no_price() -> None:
    for model in ("no-such-model-9", "", None):
        with pytest.raises(UnknownPrice):
            PriceList().price("openai", OPENAI, model, PLAIN, AT)
    with pytest.raises(UnknownPrice):
        PriceList().price("own", "llm.corp.example", "gpt-4o-of-ours", PLAIN, AT)


def test_a_contract_price_comes_first_and_a_star_prices_what_nobody_knows() -> None:
    listed = PriceList(
        (
            ContractPrice("*", "*", Decimal(100), Decimal(200)),
            ContractPrice("openai", "gpt-4o*", Decimal(2), Decimal(8), cache_read=Decimal("0.5")),
        )
    )
    assert listed.price("openai", OPENAI, "GPT-4o", CACHED, AT).micro_usd == 4_000 + 4_000 + 8_000
    assert listed.price("azure", OPENAI, "gpt-4o", PLAIN, AT).source == "list"
    assert listed.price("openai", OPENAI, "secret-model", PLAIN, AT).micro_usd == 100_000 + 100_000


def test_a_price_is_rounded_up_so_that_nothing_is_free() -> None:
    assert PriceList().price("openai", OPENAI, "gpt-5-nano", Usage(input=1, output=0), AT).micro_usd == 1


def test_a_regional_host_that_the_list_does_not_name_costs_what_its_provider_costs() -> None:
    regional = PriceList().price("openai", "eu.api.openai.com", "gpt-5", PLAIN, AT)
    assert regional == PriceList().price("openai", OPENAI, "gpt-5", PLAIN, AT)
    with pytest.raises(UnknownPrice):
        PriceList().price("nobody", "eu.api.example.com", "gpt-5", PLAIN, AT)


def test_known_rates_give_what_the_price_table_itself_calculates() -> None:
    chosen = random.Random(7)
    for host, model in {(host, model) for host, model, _, _ in BY_HAND}:
        for _ in range(40):
            size = chosen.choice((100, 10_000, 190_000, 400_000))
            read, written = chosen.randrange(size), chosen.randrange(size)
            usage = Usage(
                input=read + written + chosen.randrange(size),
                cache_read=read,
                cache_write=written if host == ANTHROPIC else None,
                output=size + chosen.randrange(size),
                reasoning=chosen.randrange(size),
            )
            calculated = prices._calculated("", host, model, usage, AT)
            assert prices._listed("", host, model, usage, AT) == calculated, (model, usage)


@pytest.mark.parametrize(
    ("odd", "as_if"),
    [
        (Usage(input=10, cache_read=1_000, output=5), Usage(input=1_000, cache_read=1_000, output=5)),
        (Usage(input=10, audio_input=900, output=5), Usage(input=900, audio_input=900, output=5)),
        (Usage(input=10, output=5, audio_output=800), Usage(input=10, output=800, audio_output=800)),
        (
            Usage(input=10, cache_write=7, cache_write_1h=50, output=5),
            Usage(input=50, cache_write=50, cache_write_1h=50, output=5),
        ),
    ],
    ids=["cache", "sound", "spoken", "an hour"],
)
def test_a_report_whose_parts_exceed_the_whole_still_has_its_price(odd: Usage, as_if: Usage) -> None:
    for host, model in (
        (OPENAI, "gpt-realtime"),
        (ANTHROPIC, "claude-sonnet-4-5"),
        (GEMINI, "gemini-2.5-flash"),
    ):
        price = PriceList().price("p", host, model, odd, AT).micro_usd
        assert price == PriceList().price("p", host, model, as_if, AT).micro_usd
        assert price > PriceList().price("p", host, model, Usage(input=1, output=1), AT).micro_usd
