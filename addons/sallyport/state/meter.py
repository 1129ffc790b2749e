"""The counters of one exchange: an estimate reserved before its request leaves, what it used settled after it.

Nothing stays reserved: an exchange that is refused later releases, one that breaks settles what was seen, and
one whose gateway dies expires with its lease.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, replace

from sallyport.exchange import Exchange, Operation, Request, Response, Usage
from sallyport.metering import terms
from sallyport.metering.attached import attached_tokens
from sallyport.metering.credible import is_credible
from sallyport.metering.free import is_free
from sallyport.metering.tariff import Charge, Tariff
from sallyport.metering.thinking import may_think
from sallyport.metering.tokens import PER_TEXT, Count
from sallyport.policy.limits import Measure
from sallyport.policy.models import spellings
from sallyport.stages.ledger import (
    MAX_AMOUNT,
    AlreadySettled,
    Claim,
    Denied,
    LedgerUnavailable,
    Reserved,
)
from sallyport.stages.places import in_body
from sallyport.stages.stage import Estimate
from sallyport.state.booking import Metering
from sallyport.state.ledger.ids import further

_COUNT_CHARS = 64 * 1024
_MOST_TOKENS = 2**20
"""Of one answer: who asks for more gets no more, and must not fill counters and bills with what cannot be."""

_MOST_ANSWERS = 2**16
_MOST_MODELS = 64
"""That may answer one request: of more nobody looks up the prices, and they have none."""

_MOST_ATTEMPTS = 64
_NOTHING = Usage(input=0, output=0)

_LATER = frozenset({"background", "deferred"})
"""Settings by which a provider answers with a receipt, or goes on after the client has left: of Responses, of xAI."""


@dataclass(frozen=True, slots=True)
class Metered:
    """What an exchange used. source: provider (reported), counted (from what was seen), estimated, or empty.

    cost_micro_usd: millionths of a dollar, None where nobody knows the price. model: at whose price, where that is
    one that answered in place of the model asked for; else "".
    """

    usage: Usage | None
    source: str = ""
    cost_micro_usd: int | None = None
    model: str = ""


class ExchangeMeter:
    """The counters of one exchange: the Meter port of the stages, and what the proxy settles.

    answer: what the ledger said, None where it was not asked. reservation: by what id the ledger knows it. held: what
    was reserved under it.
    """

    def __init__(
        self,
        metering: Metering,
        tariff: Tariff,
        exchange: Exchange,
        *,
        request_bytes: int,
    ) -> None:
        self._metering = metering
        self._tariff = tariff
        self._request_bytes = request_bytes
        self._claims: tuple[tuple[Measure, Claim], ...] = ()
        self._input: Count | None = None
        self._expected_output: int | None = None
        self._reserved = Metered(None)
        self._heard: list[str] = []
        self._unheard = 0
        self._output = 0
        self._told: int | None = None
        self._owed: dict[str, int] | None = None
        self._may_answer = _may_answer(exchange.request)
        self.exchange = exchange
        self.reservation = exchange.id
        self.held: Sequence[Claim] = ()
        self.answer: Reserved | Denied | None = None

    @property
    def _is_billed(self) -> bool:
        """Whether providers charge for it: what nobody here reads is not free, unless it sends nothing."""
        operation = self.exchange.request.operation
        return operation.is_billed or (operation is Operation.OPAQUE and self._request_bytes > 0)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(self._name, self._may_answer)))

    def _name(self, model: str | None) -> str:
        """Return the name a model is counted by."""
        return self._tariff.prices.name_of(self.exchange.request.provider, self.exchange.host, model)

    def input(self) -> Count:
        """Return the tokens of the request: its texts, what its format adds to each, what is attached, and what the
        provider keeps of the conversation.
        """
        if self._input is None:
            request = self.exchange.request
            # Headers and what stands in the target are scanned like texts; no model reads them.
            texts = [s.text for s in request.segments if in_body(s.at)]
            count = self._metering.tokens.count(texts, request.model)
            more = PER_TEXT * len(texts) + attached_tokens(request.attachments) + request.kept_tokens
            self._input = replace(count, tokens=count.tokens + more)
        return self._input

    def estimate(self, assumed_output_tokens: int) -> Estimate:
        output = self._expected_output = self._most_output(assumed_output_tokens)
        tokens = self.input().reserved if self._is_billed else 0
        cost: int | None = 0
        tier = ""
        if self._is_billed:
            dearest = self._charged(Usage(input=tokens, output=output), presumed=True, held=True)
            cost, tier = dearest.cost_micro_usd, dearest.tier
        self._reserved = Metered(Usage(input=tokens, output=output, tier=tier), "estimated", cost)
        return Estimate(tokens, output, self._request_bytes, cost, self._tariff.credits(cost))

    def _most_output(self, assumed_output_tokens: int) -> int:
        """Return how many tokens all answers may have: as the request says, else as the policy assumes."""
        request = self.exchange.request
        if not request.operation.generates:
            return 0
        output = request.max_output_tokens
        if output is None:
            output = assumed_output_tokens * request.answers
        return min(output, _MOST_TOKENS * min(request.answers, _MOST_ANSWERS))

    async def reserve(
        self, claims: Sequence[tuple[Measure, Claim]], waits_s: Mapping[str, float]
    ) -> Reserved | Denied:
        asked = [claim for _, claim in claims]
        began = asyncio.get_running_loop().time()
        answer = await self._ask(asked)
        if isinstance(answer, Denied) and await self._metering.booked():
            answer = await self._ask(asked)
        while True:
            if isinstance(answer, Reserved):
                self._claims, self.held = tuple(claims), asked
                self._metering.opened(self)
                self.answer = answer
                return answer
            fits_in_ms = answer.fits_in_ms
            wait_s = min(waits_s.get(denial.claim.key, 0.0) for denial in answer.denials)
            left_s = began + wait_s - asyncio.get_running_loop().time()
            if fits_in_ms is None or fits_in_ms / 1000 > left_s:
                self.answer = answer
                return answer
            await asyncio.sleep(max(0.005, fits_in_ms / 1000))
            answer = await self._ask(asked)

    async def _ask(self, asked: Sequence[Claim]) -> Reserved | Denied:
        """Ask the ledger, under a further id where what was asked before is over.

        A store that went away had taken that without an answer, and has given it back since; it knows each id once.
        """
        for attempt in range(1, _MOST_ATTEMPTS):
            try:
                return await self._metering.ledger.reserve(self.reservation, asked, self._metering.lease_ms)
            except AlreadySettled:
                self.reservation = further(self.exchange.id, attempt)
        raise LedgerUnavailable("the ledger's store comes and goes")

    def release(self) -> None:
        """Give everything back: nothing has left."""
        if self._claims:
            self._metering.later(self, None)
            self._claims = ()

    @property
    def reserved(self) -> Metered:
        """What is held of limits, for the case that nobody lives to settle it."""
        return self._reserved if self._claims else Metered(None)

    def hear(self, text: str) -> None:
        """Take note of a text the provider wrote, for the case that it does not say how many tokens it was."""
        self._heard.append(text)
        self._unheard += len(text)
        if self._unheard > _COUNT_CHARS:
            self._count_heard()

    def report(self, usage: Usage) -> None:
        """Take note of what the provider says it has used so far; its output covers the texts heard before.

        A report before any text says nothing of the answer: Anthropic begins a stream with one token.
        """
        if is_credible(usage) and usage.output and (self._heard or self._output or self._told is not None):
            self._heard.clear()
            self._unheard = self._output = 0
            self._told = usage.output

    def _count_heard(self) -> int:
        """Return the tokens of the texts that no report of the provider covers."""
        if self._heard:
            count = self._metering.tokens.count(["".join(self._heard)], self.exchange.request.model)
            self._output += count.tokens
            self._heard.clear()
            self._unheard = 0
        return self._output

    def book(self, recorded: Awaitable[None]) -> None:
        """Book what settle said, once the end event is recorded."""
        self._metering.later(self, self._owed, recorded)
        self._owed = None

    @property
    def owes(self) -> bool:
        """Whether settle left something to book."""
        return self._owed is not None

    def settle(
        self, answer: Response | None, response_bytes: int, *, failed: bool, cut: bool = False
    ) -> Metered:
        """Say what was used; book() then books it. failed: the provider did not answer, and charges nothing.

        What the provider reported counts. Where it reported nothing, the request's own texts and what was
        heard of the answer count; where the client did not wait for an answer, or was given a receipt in its
        place, the estimate does, for the provider works on. cut: the answer broke off; of a model that may have
        thought unseen the estimate then counts as well, or a client that leaves early thinks for nothing.
        """
        if not self._is_billed or failed or (answer is not None and is_free(answer.status)):
            self._owe(_NOTHING, 0, response_bytes, self._may_answer[0])
            return Metered(None, cost_micro_usd=0)
        if answer is None or (answer.status == 0 and not self._heard and not self._output):
            usage, source = Usage(input=self.input().tokens, output=self._expected()), "estimated"
        else:
            usage, source = self._used(answer.usage)
            if self._goes_on(answer, source) or (cut and self._thought_unseen(answer, source)):
                # A running total of what goes on is no less than what was expected of the whole.
                usage = replace(usage, output=max(usage.output or 0, self._expected()))
                source = "estimated"
        said = answer.model if answer is not None else None
        charge = self._charged(usage, said, presumed=not self._told_input(answer))
        model, cost = charge.model, charge.cost_micro_usd
        self._owe(usage, cost, response_bytes, model)
        other = model if model and model != self.exchange.request.model else ""
        return Metered(terms.told(replace(usage, tier=charge.tier)), source, cost, other)

    def _charged(
        self, usage: Usage, said: str | None = None, *, presumed: bool, held: bool = False
    ) -> Charge:
        """Return what the model that answered costs: the one that the answer names.

        said: the name in it. Where that is none of those that may answer, or there is none yet, the dearest of them
        answered, and on the dearest terms that it did not rule out; what has no price is dearer than all that has.
        presumed, held: as Tariff.charges takes them.
        """
        models = self._may_answer
        if said and len(models) > 1:
            models = self._called(said) or models
        may = (
            charge
            for model in models
            for charge in self._tariff.charges(self.exchange, usage, model, presumed=presumed, held=held)
        )
        return max(may, key=lambda each: (each.cost_micro_usd is None, each.cost_micro_usd or 0))

    def _told_input(self, answer: Response | None) -> bool:
        """Say whether the provider told how much it has read."""
        usage = answer.usage if answer is not None else None
        return usage is not None and is_credible(usage) and bool(usage.input)

    def _called(self, said: str) -> tuple[str | None, ...]:
        """Return which of the models that may answer an answer means by a name; providers add dates, and leave out
        whose model it is.
        """
        same: tuple[str | None, ...]
        same = tuple(m for m in self._may_answer if m and m.casefold() == said.casefold())
        if same:
            return same
        name = self._name(said)
        if name != "other" and (same := tuple(m for m in self._may_answer if self._name(m) == name)):
            return same
        said_too = set(spellings(said))
        return tuple(m for m in self._may_answer if m and not said_too.isdisjoint(spellings(m)))

    def _expected(self) -> int:
        """Return the output that was reserved; where no limit asked for it, what would have been."""
        if self._expected_output is None:
            self._expected_output = self._most_output(self._metering.assumed_output_tokens)
        return self._expected_output

    def _goes_on(self, answer: Response, source: str) -> bool:
        """Say whether the provider works on behind an answer, so that nobody here learns what it will have used.

        A batch is answered with a receipt, and so is what is asked for in the background. source: of the usage that
        the answer tells; of one that says how it ended, or what all of it used, nothing more comes.
        """
        request = self.exchange.request
        if request.operation is Operation.BATCH or answer.finish_reason == "pending":
            return True
        ended = answer.finish_reason is not None or source == "provider"
        return not ended and any(p.name in _LATER and p.value is not False for p in request.parameters)

    def _thought_unseen(self, answer: Response, source: str) -> bool:
        """Say whether an answer that broke off may have cost thoughts of which nothing told: no total at its end, and
        no running total of them. source: of the usage that it told.
        """
        request, told = self.exchange.request, answer.usage
        if source == "provider" and answer.finish_reason is not None:
            return False
        if told is not None and told.reasoning is not None and is_credible(told):
            return False
        names = (name for model in self._may_answer if model for name in spellings(model))
        return request.operation.generates and may_think(names, request.parameters)

    def _used(self, usage: Usage | None) -> tuple[Usage, str]:
        unreported = self._count_heard()
        usage = usage if usage is not None and is_credible(usage) else None
        # No request has no input: who reports none has not counted it.
        whole = usage is not None and (usage.input or 0) > 0 and usage.output is not None
        if usage is not None and whole and not unreported:
            return usage, "provider"
        usage = usage or Usage()
        told = (self._told or 0) if unreported else (usage.output or 0)
        counted = replace(
            usage,
            input=usage.input or self.input().tokens,
            output=told + unreported,
        )
        return counted, "counted"

    def _owe(self, usage: Usage, cost: int | None, response_bytes: int, model: str | None) -> None:
        """Note what is to be booked. model: that answered; counters of others are let go."""
        if self._claims:
            size, own = self._request_bytes + response_bytes, (None, self._name(model))
            self._owed = {
                c.key: used_of(m, usage, cost, size, self._tariff, c.amount) if c.model in own else 0
                for m, c in self._claims
            }
            self._claims = ()


def _may_answer(request: Request) -> tuple[str | None, ...]:
    """Return every model that may answer, the one that is asked for first; at least one, None where it has no name."""
    named = dict.fromkeys(model for model in (request.model, *request.stand_ins) if model)
    return tuple(named) if 0 < len(named) <= _MOST_MODELS else (None,)


def used_of(measure: Measure, usage: Usage, cost: int | None, size: int, tariff: Tariff, held: int) -> int:
    """Return what an exchange used of a measure, in counted units. size: bytes of request and answer.

    held: what was reserved; where nobody knows the price it counts as money, or a budget would never be used up.
    """
    given, made = usage.input or 0, usage.output or 0
    used = {
        Measure.INPUT_TOKENS: given,
        Measure.OUTPUT_TOKENS: made,
        Measure.TOTAL_TOKENS: given + made,
        Measure.BYTES: size,
        Measure.COST: held if cost is None else cost,
        Measure.CREDITS: held if cost is None else tariff.credits(cost) or 0,
    }
    return min(used.get(measure, 1), MAX_AMOUNT)
