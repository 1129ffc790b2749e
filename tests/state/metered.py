"""An exchange, and the meter that counts it."""

from datetime import UTC, datetime
from decimal import Decimal

from sallyport.exchange import (
    Client,
    Exchange,
    Operation,
    Request,
    Segment,
    Surface,
)
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tariff import Tariff
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Measure
from sallyport.stages.ledger import Calendar, Claim, Unit
from sallyport.state.booking import Metering
from sallyport.state.meter import ExchangeMeter

TARIFF = Tariff(PriceList([ContractPrice("*", "lab-*", Decimal(10), Decimal(20))]))
DEARER = Tariff(
    PriceList(
        [
            ContractPrice("*", "lab-dear*", Decimal(100), Decimal(200)),
            ContractPrice("*", "lab-*", Decimal(10), Decimal(20)),
        ]
    )
)
"""As before, and models that are ten times as dear."""

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


def meter_of(metering: Metering, of: Exchange | None = None) -> ExchangeMeter:
    return ExchangeMeter(metering, TARIFF, of or exchange(), request_bytes=700)


async def nothing() -> None:
    """The end event is durable."""


async def used(metering: Metering) -> dict[str, int]:
    await metering.booked()
    return {level.key: level.used for level in await metering.ledger.levels()}


def tokens(text: str) -> int:
    return TokenCounter().count([text], "lab-m").tokens
