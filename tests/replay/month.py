"""A month of calls of every dialect, made by hand: what changes from one policy to the other is known beforehand."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mitmproxy import http

from replay.recording import flow
from sallyport.lab.provider import answer
from sallyport.lab.values import Incoming

BASE = """\
version: 1
identity:
  unknown: anonymous
  networks:
    - {cidr: 10.1.0.0/16, principal: ann, tenant: north}
    - {cidr: 10.2.0.0/16, principal: bob, tenant: south}
masking: {entities: {CREDIT_CARD: allow, EMAIL_ADDRESS: placeholder}}
output: {pii: observe, secrets: observe, rules: {"output.commands.*": observe}}
"""
PER_DAY = 24
CANDIDATE = f"""\
version: 1
identity:
  unknown: anonymous
  networks:
    - {{cidr: 10.1.0.0/16, principal: ann, tenant: north}}
    - {{cidr: 10.2.0.0/16, principal: bob, tenant: south}}
access: {{models: {{forbid: [gpt-4-0613]}}}}
limits: {{rules: [{{id: daily, measure: requests, per: day, limit: {PER_DAY}, by: [tenant]}}]}}
masking: {{entities: {{CREDIT_CARD: deny, EMAIL_ADDRESS: allow}}}}
output:
  pii: observe
  secrets: observe
  entities: {{EMAIL_ADDRESS: mask, IBAN_CODE: refuse}}
  rules: {{"output.commands.*": truncate}}
  tools: {{allow: [search], action: truncate}}
"""

_DAY_S = 86_400
_EVERY_S = 1_200
"""72 calls a day, of two tenants."""

type Speak = Callable[[str, str, bool, bool], tuple[str, dict[str, object]]]
"""Makes path and body of a call from its text and model; whether it streams, whether it offers tools."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of call: what is asked, what is answered, and what changes. rule: under which it is counted."""

    asked: str
    answered: str = "Good."
    change: str = "same"
    rule: str = ""
    calls: bool = False


TOOL = 'call erase with {"path": "notes.txt"}'
KINDS = {
    "plain": Kind("Summarise the minutes of the meeting."),
    "mail": Kind("Write to ann.smith@example.com.", "Done.", "masks_changed", "masking.EMAIL_ADDRESS"),
    "card": Kind("Pay with 4111 1111 1111 1111", "Paid.", "newly_refused", "masking.denied"),
    "mail_answered": Kind(
        "Whom do I write to?",
        "Write to joe@example.org today.",
        "answer_changed",
        "pii.contact.email_address",
    ),
    "iban_answered": Kind(
        "Where do I pay?",
        "Pay to DE89 3704 0044 0532 0130 00 today.",
        "answer_newly_ended",
        "pii.finance.iban",
    ),
    "command_answered": Kind(
        "How do I clean up?",
        "Run `rm -rf / --no-preserve-root` at once.",
        "answer_newly_ended",
        "output.commands.recursive_delete",
    ),
    "tool_called": Kind("Clean up.", TOOL, "answer_newly_ended", "output.tools.not_allowed", calls=True),
}
_SHARES = (8, 2, 1, 2, 1, 1, 1)


def _openai_chat(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    tool = {"type": "function", "function": {"name": "erase", "parameters": _PARAMETERS}}
    more = {"tools": [tool]} if calls else {}
    messages = [{"role": "user", "content": text}]
    return "/v1/chat/completions", {"model": model, "messages": messages, "stream": stream, **more}


def _openai_responses(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    tool = {"type": "function", "name": "erase", "parameters": _PARAMETERS}
    return "/v1/responses", {
        "model": model,
        "input": text,
        "stream": stream,
        **({"tools": [tool]} if calls else {}),
    }


def _anthropic(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    more = {"tools": [{"name": "erase", "input_schema": _PARAMETERS}]} if calls else {}
    messages = [{"role": "user", "content": text}]
    return "/v1/messages", {"model": model, "max_tokens": 99, "messages": messages, "stream": stream, **more}


def _gemini(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return _gemini_call(text, model, verb, calls)


def _gemini_array(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    return _gemini_call(text, model, "streamGenerateContent" if stream else "generateContent", calls)


def _gemini_call(text: str, model: str, verb: str, calls: bool) -> tuple[str, dict[str, object]]:
    tool = {"functionDeclarations": [{"name": "erase", "parameters": _PARAMETERS}]}
    body: dict[str, object] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return f"/v1beta/models/{model}:{verb}", {**body, **({"tools": [tool]} if calls else {})}


def _converse(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    tool = {"toolSpec": {"name": "erase", "inputSchema": {"json": _PARAMETERS}}}
    body: dict[str, object] = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    path = f"/model/{model}/converse{'-stream' if stream else ''}"
    return path, {**body, **({"toolConfig": {"tools": [tool]}} if calls else {})}


def _ollama(text: str, model: str, stream: bool, calls: bool) -> tuple[str, dict[str, object]]:
    tool = {"type": "function", "function": {"name": "erase", "parameters": _PARAMETERS}}
    messages = [{"role": "user", "content": text}]
    return "/api/chat", {
        "model": model,
        "messages": messages,
        "stream": stream,
        **({"tools": [tool]} if calls else {}),
    }


_PARAMETERS = {"type": "object", "properties": {"path": {"type": "string"}}}
FORBIDDEN = "gpt-4-0613"
SPEAKERS: tuple[tuple[str, tuple[str, ...], Speak], ...] = (
    ("api.openai.com", ("gpt-5-mini", FORBIDDEN), _openai_chat),
    ("api.openai.com", ("gpt-5-mini",), _openai_responses),
    ("api.anthropic.com", ("claude-sonnet-4-5",), _anthropic),
    ("generativelanguage.googleapis.com", ("gemini-2.5-flash",), _gemini),
    ("generativelanguage.googleapis.com", ("gemini-2.5-pro",), _gemini_array),
    ("bedrock-runtime.us-east-1.amazonaws.com", ("anthropic.claude-3-haiku-20240307-v1:0",), _converse),
    ("ollama.com", ("gpt-oss:20b",), _ollama),
)
KEYS = {"x-api-key": "k", "anthropic-version": "2023-06-01", "x-goog-api-key": "k"}


@dataclass(slots=True)
class Expected:
    """What a replay of the same calls has to find."""

    flows: int
    changes: Counter[str]
    rules: dict[str, Counter[str]]
    tenants: dict[str, Counter[str]]

    def add(self, change: str, rule: str, tenant: str) -> None:
        self.changes[change] += 1
        if change != "same":
            self.rules.setdefault(rule, Counter())[change] += 1
            self.tenants.setdefault(tenant, Counter())[change] += 1


def month(count: int, seed: int = 7) -> tuple[Callable[[], Iterator[http.HTTPFlow]], Expected]:
    """Return what makes the flows, in the order of time, and what changes from BASE to CANDIDATE."""
    expected = Expected(count, Counter(), {}, {})
    used: Counter[tuple[int, str]] = Counter()
    for number, (kind, model, tenant, _, _) in enumerate(_drawn(count, seed)):
        today = (_day(number), tenant)
        if model == FORBIDDEN:
            expected.add("newly_refused", "access.model", tenant)
        elif used[today] >= PER_DAY:
            expected.add("newly_refused", "limits.daily", tenant)
        else:
            # What is refused behind the limits gives its place back.
            used[today] += kind.change != "newly_refused"
            expected.add(kind.change, kind.rule, tenant)
    return lambda: (_flow(number, *drawn) for number, drawn in enumerate(_drawn(count, seed))), expected


def _day(number: int) -> int:
    return int(number * _EVERY_S + FIRST_S) // _DAY_S


FIRST_S = 40_000
"""Seconds of the first day that are over when the first call comes."""


def _drawn(count: int, seed: int) -> Iterator[tuple[Kind, str, str, int, bool]]:
    chosen = random.Random(seed)
    kinds = [*KINDS.values()]
    for _ in range(count):
        (kind,) = chosen.choices(kinds, _SHARES)
        speaker = chosen.randrange(len(SPEAKERS))
        model = chosen.choice(SPEAKERS[speaker][1])
        yield kind, model, chosen.choice(("north", "south")), speaker, chosen.random() < 0.5


def _flow(number: int, kind: Kind, model: str, tenant: str, speaker: int, stream: bool) -> http.HTTPFlow:
    host, _, speak = SPEAKERS[speaker]
    path, body = speak(f"{kind.asked} ({number})", model, stream, kind.calls)
    _, other = speak(kind.answered, model, stream, kind.calls)
    where, _, query = path.partition("?")
    headers = {**KEYS, "authorization": "Bearer k", "content-type": "application/json"}
    reply = answer(Incoming(host, "POST", where, query, headers, json.dumps(other).encode()))
    assert reply.status == 200, reply.pieces
    return flow(
        "",
        at=FIRST_S + number * _EVERY_S - BEGAN_S,
        host=host,
        path=path,
        address=f"10.{1 if tenant == 'north' else 2}.0.9",
        body=json.dumps(body).encode(),
        answer=b"".join(reply.pieces),
        kind=reply.content_type,
        headers=KEYS,
    )


BEGAN_S = 1_780_000_000 % _DAY_S
"""Seconds of its day at which recording.BEGAN is."""
