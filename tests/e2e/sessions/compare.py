"""Comparing what a client sent with what a provider saw, byte by byte."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sallyport.lab import provider
from sallyport.lab.record import SeenRequest
from sallyport.lab.values import Incoming, strings
from sallyport.stages.placeholder import PLACEHOLDER

_DECODER = json.JSONDecoder()
_CONTEXT = 80


@dataclass(frozen=True, slots=True)
class Aligned:
    """What stands for what: value -> placeholders, and placeholders that the client sent itself."""

    masks: dict[str, set[str]]
    kept: set[str]


def align(client: str, provider_saw: str, values: Sequence[str]) -> Aligned:
    """Walk both bodies; fail at the first byte that differs and is no mask of one of the values.

    A value may be spelled in the client's JSON plain or with escapes.
    """
    spellings = {spelled: value for value in values for spelled in _spellings(value)}
    longest_first = sorted(spellings, key=len, reverse=True)
    masks: defaultdict[str, set[str]] = defaultdict(set)
    kept: set[str] = set()
    here = there = 0
    for mark in PLACEHOLDER.finditer(provider_saw):
        piece = provider_saw[there : mark.start()]
        _same(client[here : here + len(piece)], piece)
        here += len(piece)
        there = mark.end()
        if client.startswith(mark.group(), here):
            kept.add(mark.group())
            here += len(mark.group())
            continue
        spelled = next((s for s in longest_first if client.startswith(s, here)), None)
        assert spelled is not None, f"masked what is no value: {client[here - _CONTEXT : here + _CONTEXT]!r}"
        masks[spellings[spelled]].add(mark.group())
        here += len(spelled)
    _same(client[here:], provider_saw[there:])
    return Aligned(dict(masks), kept)


def _spellings(value: str) -> set[str]:
    once = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    # Inside JSON source that is itself a JSON string, as in a call's arguments.
    return (
        once | {json.dumps(o)[1:-1] for o in once} | {json.dumps(o, ensure_ascii=False)[1:-1] for o in once}
    )


def _same(client: str, provider_saw: str) -> None:
    if client == provider_saw:
        return
    at = next((n for n, (a, b) in enumerate(zip(client, provider_saw, strict=False)) if a != b), None)
    at = min(len(client), len(provider_saw)) if at is None else at
    raise AssertionError(
        f"changed: sent {client[max(0, at - _CONTEXT) : at + _CONTEXT]!r}, "
        f"seen {provider_saw[max(0, at - _CONTEXT) : at + _CONTEXT]!r}"
    )


def members(source: str) -> dict[str, str]:
    """Return the source text of each member of a JSON object."""
    found: dict[str, str] = {}
    at = _skip(source, source.index("{") + 1)
    while source[at] != "}":
        name, at = _DECODER.raw_decode(source, at)
        at = _skip(source, at, ": \t\r\n")
        start = at
        _, at = _DECODER.raw_decode(source, at)
        found[name] = source[start:at]
        at = _skip(source, at)
    return found


def items(source: str) -> list[str]:
    """Return the source text of each item of a JSON array."""
    found: list[str] = []
    at = _skip(source, 1)
    while source[at] != "]":
        start = at
        _, at = _DECODER.raw_decode(source, at)
        found.append(source[start:at])
        at = _skip(source, at)
    return found


def _skip(source: str, at: int, what: str = ", \t\r\n") -> int:
    while source[at] in what:
        at += 1
    return at


def said(request: SeenRequest) -> set[str]:
    """Return every string of the lab's answer to a request; the lab always says the same to the same."""
    body = json.loads(request.body)
    body.pop("stream", None)
    path, _, query = request.path.partition("?")
    path = path.replace(":streamGenerateContent", ":generateContent")
    headers = {name.lower(): value for name, value in request.headers}
    asked = Incoming(request.host, request.method, path, query, headers, json.dumps(body).encode())
    return set(strings(json.loads(b"".join(provider.answer(asked).pieces))))


HISTORY = {"openai_chat": "messages", "anthropic_messages": "messages", "gemini_generate": "contents"}
"""The member that holds the history; `input` elsewhere."""


def history(session: str, body: str) -> list[str]:
    return items(members(body)[HISTORY.get(session, "input")])


def by_model(session: str, body: str) -> Iterator[str]:
    """Yield the strings of a history that the model wrote, reasoning and signatures included.

    Ids of calls are left out: the lab gives a streamed call another id than a whole one.
    """
    for source in history(session, body):
        item = json.loads(source)
        kind = item.get("type")
        if item.get("role") in ("assistant", "model") or kind in ("reasoning", "function_call"):
            yield from (t for t in strings(item) if t not in _WORDS and not t.startswith("call_"))


_WORDS = frozenset(("assistant", "model", "function"))
