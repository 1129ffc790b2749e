"""What an operator may write about how much: limits on requests, tokens, bytes and money, and prices.

A budget is a limit on `cost` over a day, a week or a month: one idea, one list.
"""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from sallyport.decision import Mode
from sallyport.policy.condition import Condition
from sallyport.policy.problems import Wrong
from sallyport.policy.states import Canary, StageSection, check_stated
from sallyport.policy.vocabulary import Id, Name, Section

MILLION = 1_000_000


class Measure(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    TOTAL_TOKENS = "total_tokens"
    BYTES = "bytes"
    COST = "cost_usd"
    CREDITS = "credits"
    CONCURRENT = "concurrent"

    @property
    def needs_usage(self) -> bool:
        """Whether it is settled from the provider's report."""
        return self not in (Measure.REQUESTS, Measure.BYTES, Measure.CONCURRENT)


class Dimension(StrEnum):
    """What a limit counts apart: one counter for each combination of values."""

    PRINCIPAL = "principal"
    TENANT = "tenant"
    ROLE = "role"
    KEY = "key"
    MODEL = "model"
    PROVIDER = "provider"
    OPERATION = "operation"
    NETWORK = "network"


class Period(StrEnum):
    """Over how long a limit counts; a week begins on Monday."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def length(self) -> timedelta:
        """Return how long it is; a month counts 30 days where it rolls."""
        return _LENGTHS[self]


_LENGTHS = {
    Period.SECOND: timedelta(seconds=1),
    Period.MINUTE: timedelta(minutes=1),
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(days=7),
    Period.MONTH: timedelta(days=30),
}


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Wrong(
            "this time zone is not known", "Take a name of the IANA database: `Europe/Berlin`"
        ) from None
    return name


def _money(value: object) -> object:
    """Take what YAML read as a number as the decimal that was written."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Wrong("this is no amount of money", "Write US dollars as a number: 12.50")
    return Decimal(str(value))


def _webhook_url(url: str) -> str:
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not local):
        raise Wrong("this is no https address", "Write https://HOST/PATH; http only to localhost")
    if parts.username or parts.password:
        raise Wrong("the address holds credentials", "Put a secret into the variable that secret_env names")
    return url


WebhookUrl = Annotated[str, Field(max_length=2000), AfterValidator(_webhook_url)]
TimeZone = Annotated[str, AfterValidator(_zone)]
Usd = Annotated[
    Decimal,
    BeforeValidator(_money),
    Field(ge=0, le=1_000_000_000, allow_inf_nan=False),
    PlainSerializer(float, return_type=float),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1_000_000_000}),
]
Amount = Annotated[
    Decimal,
    BeforeValidator(_money),
    Field(ge=0, le=10**15, allow_inf_nan=False),
    PlainSerializer(float, return_type=float),
    WithJsonSchema({"type": "number", "minimum": 0}),
]


class Tier(Section):
    """Another amount for some."""

    role: Name | None = Field(default=None, description="For principals with this role.")
    tenant: Name | None = Field(default=None, description="For principals of this tenant.")
    limit: Amount = Field(description="The amount for them, in the unit of the limit.")

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if self.role is None and self.tenant is None:
            raise Wrong("the tier names neither role nor tenant", "Give one of the two, or both")
        return self


class Factor(Section):
    """A limit that moves with circumstances: at night, under load, after suspicious behaviour."""

    when: Condition = Field(description="CEL condition; an error counts as true, for the smaller limit.")
    times: Annotated[float, Field(gt=0, le=100)] = Field(description="What the limit is multiplied by.")


class Limit(Section):
    """One limit. It counts each combination of `by` apart; an empty `by` counts the whole gateway."""

    id: Id = Field(description="Stable name; a refusal gives `limits.<id>` as its reason.")
    measure: Measure = Field(
        default=Measure.REQUESTS,
        description="What is counted. `cost_usd` makes it a budget; `concurrent` counts what is under way.",
    )
    limit: Amount = Field(description="How much, in units of the measure (US dollars for `cost_usd`).")
    per: Period | None = Field(default=None, description="Over how long; only `concurrent` has none.")
    window: Literal["bucket", "calendar", "rolling"] | None = Field(
        default=None,
        description="`bucket` refills steadily, `calendar` starts anew with each minute, day or month, `rolling` "
        "looks back. null: `bucket` up to an hour, `calendar` from a day on.",
    )
    burst: Amount | None = Field(
        default=None, description="Most at once in a `bucket`; null takes the limit itself."
    )
    by: tuple[Dimension, ...] = Field(
        default=(Dimension.PRINCIPAL,), description="What is counted apart; `[]` is everybody together."
    )
    tenants: tuple[Name, ...] | None = Field(
        default=None, description="Only for principals of these tenants; null is all."
    )
    when: Condition | None = Field(
        default=None, description="Only where this holds; an error makes the limit apply."
    )
    tiers: tuple[Tier, ...] = Field(
        default=(), description="Other amounts for some; the largest that fits wins."
    )
    factors: tuple[Factor, ...] = Field(default=(), description="Multiplied into the limit, each that holds.")
    soft: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Part of the limit from which on the client is warned and an event is written.",
    )
    grace: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.0, description="Part of the limit that may be overdrawn before anything is refused."
    )
    wait_s: Annotated[float, Field(ge=0, le=60)] = Field(
        default=0.0, description="How long a request may be held back until it fits, before it is refused."
    )
    ask: Name | None = Field(default=None, description="Whom to ask; null takes `limits.ask`.")
    mode: Mode | None = Field(default=None, description="State of this limit; null takes the section's.")
    canary: Canary | None = Field(
        default=None,
        description="With `mode: canary`: the part of the traffic it is enforced for; it counts all.",
    )

    @property
    def kind(self) -> Literal["bucket", "calendar", "rolling", "concurrent"]:
        """Return the window that is meant."""
        if self.measure is Measure.CONCURRENT:
            return "concurrent"
        if self.window is not None:
            return self.window
        assert self.per is not None
        return "calendar" if self.per in (Period.DAY, Period.WEEK, Period.MONTH) else "bucket"

    def is_for(self, tenant: str) -> bool:
        """Say whether the limit holds for principals of a tenant, however its name is spelt."""
        return self.tenants is None or tenant.lower() in map(str.lower, self.tenants)

    @property
    def unit(self) -> int:
        """Return how many counted units one unit of `limit` is: money and credits are counted in millionths."""
        return MILLION if self.measure in (Measure.COST, Measure.CREDITS) else 1

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        check_stated(self)
        if self.measure is Measure.CONCURRENT and (self.per or self.window or self.burst is not None):
            raise Wrong("what is under way has no period", "Leave out per, window and burst")
        if self.measure is not Measure.CONCURRENT and self.per is None:
            raise Wrong(
                "the limit has no period", "Give per: second, minute, hour, day, week or month", ("per",)
            )
        if self.kind == "calendar" and self.per is Period.SECOND:
            raise Wrong("a second is no calendar window", "Set window to `bucket` or `rolling`", ("window",))
        if self.burst is not None and self.kind != "bucket":
            raise Wrong("only a bucket has a burst", "Leave out burst, or set window to `bucket`", ("burst",))
        if len(set(self.by)) != len(self.by):
            raise Wrong("the same dimension is given twice", "Keep one of the two", ("by",))
        return self


class Ceilings(Section):
    """What one request may hold at most; null does not limit."""

    input_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Tokens of all its texts, counted or estimated."
    )
    max_output_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Output it may ask for. A request that names no limit is let through."
    )
    texts: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Texts it may hold: messages, parts, tool results, tool descriptions."
    )


class Webhook(Section):
    """Where to tell of limits that are passed and of unusual behaviour."""

    url: WebhookUrl = Field(
        description="Receives JSON by POST: https, or http on this machine. Redirects are not followed."
    )
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = Field(
        description="Environment variable with the secret of the HMAC-SHA256 signature."
    )
    min_interval_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=10.0, description="Shortest time between two calls; what happens meanwhile goes together."
    )


class StoreDown(StrEnum):
    """What happens while the store of the counters cannot be asked."""

    REFUSE = "refuse"
    ALLOWANCE = "allowance"


class Limits(StageSection):
    """How much may be used: per person, key, model, or together; over a minute or a month."""

    time_zone: TimeZone = Field(default="UTC", description="IANA time zone in which days and months begin.")
    ask: Name = Field(default="your security team", description="Whom a refused caller is told to ask.")
    assumed_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=4096, description="Output set aside for a request that names no limit of its own."
    )
    ceilings: Ceilings = Field(default_factory=lambda: Ceilings(), description="Bounds of a single request.")
    store_down: StoreDown = Field(
        default=StoreDown.REFUSE,
        description="While the store of the counters is down: refuse, or let a local `allowance` be used.",
    )
    allowance: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.1, description="Part of every limit that may be used locally while the store is down."
    )
    lease_s: Annotated[float, Field(ge=2, le=3600)] = Field(
        default=90.0,
        description="How long what a gateway that died had reserved stays reserved; one that lives renews it.",
    )
    anomaly_score: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=0.8,
        description="`behaviour.score` from which on an `anomaly` event is written, once an episode; null never.",
    )
    webhook: Webhook | None = Field(
        default=None,
        description="Told of soft and hard limits, anomalies, resets and grants; null tells nobody.",
    )
    rules: tuple[Limit, ...] = Field(
        default=(), description="All that apply must have room; all are taken at once, or none."
    )

    @property
    def longest_wait_s(self) -> float:
        """Return how long any request may be held back on purpose."""
        return max((rule.wait_s for rule in self.rules), default=0.0)

    @model_validator(mode="after")
    def _no_id_twice(self) -> Self:
        listed = [rule.id for rule in self.rules]
        for value, times in Counter(listed).items():
            if times > 1:
                second = listed.index(value, listed.index(value) + 1)
                raise Wrong("the same id is given twice", "Keep one of the two", ("rules", second, "id"))
        return self


Glob = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[a-z0-9*?\[\]!._:/@-]+$")]


class ContractPrice(Section):
    """A price of your own, in US dollars per million tokens."""

    provider: Glob = Field(default="*", description="Provider of the catalogue, or a glob.")
    model: Glob = Field(
        description="Model as clients name it, lower case, or a glob; `*` prices unknown models."
    )
    input_usd: Usd = Field(description="Per million input tokens.")
    output_usd: Usd = Field(description="Per million output tokens.")
    cache_read_usd: Usd | None = Field(
        default=None, description="Per million cached tokens; null takes input."
    )
    cache_write_usd: Usd | None = Field(
        default=None, description="Per million tokens written to the cache; null takes input."
    )
    request_usd: Usd = Field(default=Decimal(0), description="Per call.")


class Prices(Section):
    """What models cost. List prices ship with Sallyport; your contract comes before them."""

    contract: tuple[ContractPrice, ...] = Field(
        default=(),
        description="Your prices; the first that fits wins, `model: '*'` only where no list price is.",
    )
    credit_usd: Usd = Field(
        default=Decimal("0.01"), description="What one credit is worth, for limits in `credits`."
    )
    unknown_model: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="A model without a price, where a limit counts money: refuse, or count it as nothing and say so.",
    )
    unnamed_tier: Literal["default", "flex", "priority"] = Field(
        default="default",
        description="Service tier of a request that names none: what your projects at OpenAI are set to.",
    )
