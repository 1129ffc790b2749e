"""Values cut over strings, parts, messages, items, keys and arguments: joined they are there again."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from evasion.carriers import (
    COMPLETIONS,
    EMBEDDINGS,
    HELLO,
    OPENAI,
    RESPONSES,
    Call,
    Carrier,
    _anthropic,
    _gemini,
    _tool_call,
    chat,
    dump,
    user,
)

type Join = Callable[[list[str]], Call]

MARK = "\x01"
"""Stands in a text where it is to be cut."""


def _texts(pieces: list[str]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": p} for p in pieces]


def _apart(pieces: list[str]) -> Call:
    """Cut over messages of the user, with the assistant's in between."""
    said = [m for p in pieces for m in (user(p), {"role": "assistant", "content": None, "refusal": "Go on."})]
    return chat(*said[:-1])


WITHIN: dict[str, Join] = {
    "parts": lambda p: chat(user(_texts(p))),
    "anthropic-blocks": lambda p: _anthropic(messages=[user(_texts(p))]),
    "gemini-parts": lambda p: _gemini(contents=[{"role": "user", "parts": [{"text": x} for x in p]}]),
    "responses-parts": lambda p: Call(
        OPENAI,
        RESPONSES,
        dump({"model": "gpt-5", "input": [user([{"type": "input_text", "text": x} for x in p])]}),
    ),
    "tool-result-blocks": lambda p: _anthropic(
        messages=[user([{"type": "tool_result", "tool_use_id": "t", "content": _texts(p)}])]
    ),
}
OVER: dict[str, Join] = {
    "messages": lambda p: chat(*[user(x) for x in p]),
    "messages-apart": _apart,
    "completion-prompts": lambda p: Call(OPENAI, COMPLETIONS, dump({"model": "davinci", "prompt": p})),
    "embedding-items": lambda p: Call(
        OPENAI, EMBEDDINGS, dump({"model": "text-embedding-3-small", "input": p})
    ),
    "list-items": lambda p: chat(HELLO, notes=p),
    "members": lambda p: chat(HELLO, **{f"n{i}": x for i, x in enumerate(p)}),
    "metadata": lambda p: chat(HELLO, metadata={f"n{i}": x for i, x in enumerate(p)}),
    "keys": lambda p: (
        chat(HELLO, **{x: i for i, x in enumerate(p)}) if len({*p}) == len(p) else chat(user("".join(p)))
    ),
    "stop": lambda p: chat(HELLO, stop=p),
    "tool-arguments": lambda p: chat(
        HELLO, _tool_call(json.dumps({f"n{i}": x for i, x in enumerate(p)}, ensure_ascii=False))
    ),
    "anthropic-tool-input": lambda p: _anthropic(
        messages=[
            user("Hello"),
            {
                "role": "assistant",
                "content": [
                    {
                        "type": "tool_use",
                        "id": "t",
                        "name": "save",
                        "input": {f"n{i}": x for i, x in enumerate(p)},
                    }
                ],
            },
            user([{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]),
        ]
    ),
    "tool-results": lambda p: chat(
        HELLO, *[{"role": "tool", "tool_call_id": f"c{i}", "content": x} for i, x in enumerate(p)]
    ),
}


def _cut(text: str) -> list[str]:
    return text.split(MARK)


def splits() -> Iterator[Carrier]:
    for name, join in {**WITHIN, **OVER}.items():
        yield Carrier(
            name,
            "split over strings, parts, messages",
            lambda t, j=join: j(_cut(t)),
            tier=2,
            override=name in WITHIN,
        )


def cuts(text: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text with marks): the value cut in two, in three, and into its characters."""
    size = len(value)
    for name, places in (
        ("halves", (size // 2,)),
        ("first", (1,)),
        ("last", (size - 1,)),
        ("thirds", (size // 3, 2 * size // 3)),
        ("fours", tuple(range(4, size, 4))),
    ):
        marked = value
        for place in reversed(places):
            marked = marked[:place] + MARK + marked[place:]
        yield name, text.replace(value, marked)
