"""Attempts to get around limits without touching the network: names, numbers, attachments, odd reports."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sallyport.decision import Action, Decision, Mode
from sallyport.exchange import (
    Attachment,
    Client,
    Exchange,
    Operation,
    Principal,
    Request,
    Response,
    Segment,
    Surface,
    Usage,
)
from sallyport.metering.prices import ContractPrice, PriceList
from sallyport.metering.tariff import Tariff
from sallyport.metering.tokens import TokenCounter
from sallyport.policy.limits import Limits
from sallyport.policy.load import parse_policy
from sallyport.stages.ledger import MAX_KEY_CHARS, Level
from sallyport.stages.limits import LimitsStage
from sallyport.stages.stage import Ports
from sallyport.state.booking import Metering
from sallyport.state.ledger.memory import MemoryLedger
from sallyport.state.meter import ExchangeMeter
from sallyport.wire.dialect import Call
from sallyport.wire.dialects import DIALECTS
from sallyport.wire.errors import WireError

LONG = "x" * 700
ANN = Principal(id="ann", tenant="acme", roles=("dev",))
PRICES = PriceList([ContractPrice("*", "lab-*", input=10, output=20)])  # type: ignore[arg-type]


def limits(rule: str, more: str = "") -> Limits:
    return parse_policy(f"version: 1\nlimits:\n{more}  rules:\n    - {{id: a, {rule}}}\n").limits


def asking(who: Principal = ANN, address: str = "10.0.0.7", **request: Any) -> Exchange:
    fields: dict[str, Any] = {"provider": "openai", "dialect": "openai_chat", "operation": Operation.CHAT}
    fields |= {"model": "lab-x", "segments": (Segment("/m", Surface.USER, "Say hello."),)}
    return Exchange(
        id="x1",
        conversation="c1",
        received_at=datetime(2026, 11, 21, 9, 30, tzinfo=UTC),
        host="api.openai.com",
        client=Client(address, "explicit", credential="fp1"),
        request=Request(**(fields | request)),
        principal=who,
    )


@dataclass
class House:
    """The counters of one gateway, and its stage."""

    section: Limits
    enforced: bool = True
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    number: int = 0

    def __post_init__(self) -> None:
        self.metering = Metering(self.ledger, TokenCounter())

    def meter(self, exchange: Exchange, request_bytes: int = 100) -> ExchangeMeter:
        self.number += 1
        exchange = replace(exchange, id=f"x{self.number}")
        tariff = Tariff(PRICES)
        return ExchangeMeter(self.metering, tariff, exchange, request_bytes=request_bytes)

    async def decided(self, exchange: Exchange, request_bytes: int = 100) -> Decision:
        meter = self.meter(exchange, request_bytes)
        limiting = Mode.ENFORCE if self.enforced else Mode.OBSERVE
        ports = Ports(scanner=None, vault=None, meter=meter, limiting=limiting)  # type: ignore[arg-type]
        return await LimitsStage().decide(exchange, self.section, ports)

    async def levels(self) -> list[Level]:
        return list(await self.ledger.levels(""))

    async def allowed(self, *exchanges: Exchange) -> list[bool]:
        return [(await self.decided(e)).action is Action.ALLOW for e in exchanges]


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "one", "other"),
    [
        ("[principal]", {"id": "b:c", "tenant": "a"}, {"id": "c", "tenant": "a:b"}),
        ("[role]", {"roles": ("b:c",), "tenant": "a"}, {"roles": ("c",), "tenant": "a:b"}),
        ("[principal]", {"id": LONG + "1"}, {"id": LONG + "2"}),
        ("[principal]", {"id": "ü" * 200 + "1"}, {"id": "ü" * 200 + "2"}),
        ("[tenant, principal]", {"tenant": LONG, "id": "1"}, {"tenant": LONG, "id": "2"}),
        ("[principal]", {"id": "%61nn"}, {"id": "ann"}),
        ("[principal, tenant]", {"id": "ann/tenant=acme"}, {"id": "ann"}),
    ],
    ids=["tenant-colon", "role-colon", "long", "long-quoted", "long-tenant", "percent", "slash"],
)
async def test_two_people_never_share_a_counter(by: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    house = House(limits(f"limit: 1, per: month, by: {by}"))
    assert await house.allowed(asking(replace(ANN, **one)), asking(replace(ANN, **other))) == [True, True]
    assert await house.allowed(asking(replace(ANN, **one)), asking(replace(ANN, **other))) == [False, False]
    assert all(len(level.key) <= MAX_KEY_CHARS for level in await house.levels())


async def test_a_long_name_cannot_be_spelt_so_that_it_is_anothers_counter() -> None:
    house = House(limits("limit: 1, per: month"))
    await house.allowed(asking(replace(ANN, id=LONG)))
    (level,) = await house.levels()
    stolen = level.key.partition(":")[2]
    assert await house.allowed(asking(replace(ANN, id=stolen))) == [True]


@pytest.mark.parametrize("roles", [("dev", "dev"), (LONG + "1", LONG + "2"), ("", "")])
async def test_roles_that_look_alike_are_counted_and_refuse_nobody(roles: tuple[str, ...]) -> None:
    house = House(limits("limit: 1, per: month, by: [role]"))
    assert await house.allowed(*[asking(replace(ANN, roles=roles))] * 2) == [True, False]


async def test_a_host_that_makes_up_addresses_in_its_own_network_has_one_counter() -> None:
    house = House(limits("limit: 1, per: month, by: [network]"))
    addresses = ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1", "::ffff:10.0.0.7", "10.0.0.7")
    assert await house.allowed(*(asking(address=a) for a in addresses)) == [True, False, True, True, False]


# -- how much a request asks for -----------------------------------------------------------------------


def request_of(dialect: str, body: dict[str, Any], model: str | None = None) -> Request:
    operation = Operation.COMPLETION if dialect == "openai_completions" else Operation.CHAT
    call = Call(provider="p", operation=operation, model=model, stream=None, content_type="application/json")
    return DIALECTS[dialect].read_request(json.dumps(body).encode(), call)


CHAT = {"model": "lab-x", "messages": [{"role": "user", "content": "Hello"}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}


@pytest.mark.parametrize(
    ("dialect", "body", "most"),
    [
        ("openai_chat", {**CHAT, "max_completion_tokens": 1, "max_tokens": 9000}, 9000),
        ("openai_chat", {**CHAT, "max_tokens": 10, "n": 128}, 1280),
        ("openai_chat", {**CHAT, "max_tokens": 0}, None),
        ("openai_completions", {"model": "m", "prompt": ["a", "b"], "max_tokens": 5, "best_of": 4}, 40),
        (
            "gemini_generate",
            {
                **GEMINI,
                "generationConfig": {"maxOutputTokens": 1},
                "generation_config": {"max_output_tokens": 9000},
            },
            9000,
        ),
        (
            "gemini_generate",
            {**GEMINI, "generationConfig": {"max_output_tokens": 7, "candidateCount": "3"}},
            21,
        ),
        ("gemini_generate", {**GEMINI, "generationConfig": {"maxOutputTokens": 0}}, None),
        (
            "bedrock_converse",
            {
                **CONVERSE,
                "inferenceConfig": {"maxTokens": 1},
                "additionalModelRequestFields": {"max_tokens": 9},
            },
            9,
        ),
        (
            "bedrock_invoke",
            {"inputText": "x", "max_tokens": 1, "textGenerationConfig": {"maxTokenCount": 900}},
            900,
        ),
    ],
    ids=[
        *("both-names", "n", "zero", "best_of", "both-spellings", "string-count", "zero-is-unset", "beside"),
        "invoke",
    ],
)
def test_the_largest_output_that_a_request_may_mean_is_what_counts(
    dialect: str, body: dict[str, Any], most: int | None
) -> None:
    assert request_of(dialect, body, "lab-x").max_output_tokens == most


@pytest.mark.parametrize("many", ["128", -1, 1.5, [2], True])
@pytest.mark.parametrize(
    ("dialect", "name"),
    [("openai_chat", "n"), ("openai_completions", "best_of"), ("openai_completions", "n")],
)
def test_a_number_of_answers_that_only_a_lenient_provider_understands_is_refused(
    dialect: str, name: str, many: object
) -> None:
    body = {**CHAT, name: many} if dialect == "openai_chat" else {"model": "m", "prompt": "a", name: many}
    with pytest.raises(WireError, match=r"json\.type"):
        request_of(dialect, body)


@pytest.mark.parametrize(
    ("dialect", "body", "many"),
    [
        ("openai_chat", {**CHAT, "n": 128}, 128),
        ("openai_completions", {"model": "m", "prompt": ["a", "b", "c"], "n": 2}, 6),
        ("gemini_generate", {**GEMINI, "generationConfig": {"candidateCount": 8}}, 8),
    ],
)
def test_many_answers_without_a_limit_reserve_the_assumed_output_for_each(
    dialect: str, body: dict[str, Any], many: int
) -> None:
    meter = House(limits("limit: 1, per: month")).meter(
        replace(asking(), request=request_of(dialect, body, "lab-x"))
    )
    assert meter.estimate(100).output_tokens == 100 * many


# -- content that is no text ---------------------------------------------------------------------------

IDS = Attachment("/prompt", "application/x-token-ids", 4 * 50_000)
IMAGES = tuple(Attachment(f"/i/{n}", "image/png", 90_000) for n in range(20))


@pytest.mark.parametrize(
    ("attachments", "at_least"),
    [((IDS,), 50_000), (IMAGES, 20_000), ((Attachment("/f", "audio/wav", None),), 500)],
)
def test_content_that_is_no_text_is_reserved_and_charged_after_an_abort(
    attachments: tuple[Attachment, ...], at_least: int
) -> None:
    meter = House(limits("limit: 1, per: month")).meter(asking(attachments=attachments))
    assert meter.estimate(1).input_tokens >= at_least
    meter.hear("Hel")
    used = meter.settle(Response(200), 100, failed=False)
    assert used.usage is not None
    assert (used.usage.input or 0) >= at_least


async def test_what_no_dialect_reads_is_not_free_under_a_budget() -> None:
    house = House(limits("measure: cost_usd, limit: 1, per: month"))
    body = Attachment("", "application/json", 4000)
    unread = asking(
        operation=Operation.OPAQUE, dialect="opaque", model=None, segments=(), attachments=(body,)
    )
    refused = await house.decided(unread, 4000)
    assert (refused.action, refused.reason) == (Action.DENY, "limits.no_price")
    listing = asking(operation=Operation.OPAQUE, dialect="opaque", model=None, segments=())
    assert (await house.decided(listing, 0)).action is Action.ALLOW


# -- reports -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "odd",
    [
        Usage(input=1000, output=100, cache_write=100, cache_write_1h=200),
        Usage(input=10, cache_read=5000, output=100, audio_input=900),
    ],
)
def test_a_report_that_no_price_list_understands_is_not_free(odd: Usage) -> None:
    house = House(limits("limit: 1, per: month"))
    exchange = replace(asking(provider="anthropic", model="claude-sonnet-4-5"), host="api.anthropic.com")
    used = house.meter(exchange).settle(Response(200, usage=odd), 100, failed=False)
    assert used.cost_micro_usd is not None
    assert used.cost_micro_usd > 1500


# -- only watching -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "reason"),
    [({"max_output_tokens": 99}, "limits.ceiling"), ({"model": "nobody-knows-it"}, "limits.no_price")],
)
async def test_what_would_be_refused_for_itself_is_counted_where_limits_are_only_watched(
    request_: dict[str, Any], reason: str
) -> None:
    rules = "limit: 5, per: month}\n    - {id: money, measure: cost_usd, limit: 1, per: month"
    section = limits(rules, "  ceilings: {max_output_tokens: 10}\n")
    for enforced, used in ((True, []), (False, [1])):
        house = House(section, enforced)
        assert (await house.decided(asking(**request_))).reason == reason
        assert [level.reserved for level in await house.levels() if level.key.startswith("a/")] == used
