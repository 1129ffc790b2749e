"""A stream of parts that clients show joined becomes what the same parts become in a buffered answer."""

import random
from itertools import pairwise
from typing import Any

import pytest

from proxy.test_divided_values import (
    CARD,
    JOAN,
    MASK,
    PLACEHOLDER,
    SCOPE,
    STREAMS,
    blocks,
    cohere,
    edited,
    frames,
    responses,
    said,
    texts_of,
    through,
    whole_body,
)

PIECES = [
    PLACEHOLDER,
    "4111 1111 1111 1111",
    "b@example.org",
    "See ",
    "https://a.example/?q=",
    "\n\n",
    "The year 1980",
    "](",
    ")",
    "<",
    "ä",
]
KINDS = [kind for kind in STREAMS if kind != "ollama_chat"]  # an answer of which has one text


def divided(rng: random.Random) -> tuple[str, ...]:
    """Return a text in parts. No value stands beside another: a part alone would hold what its text does not."""
    text = " and ".join(rng.choices(PIECES, k=rng.randint(1, 7)))
    cuts = sorted(rng.choices(range(len(text) + 1), k=rng.randint(0, 4)))
    return tuple(text[a:b] for a, b in pairwise([0, *cuts, len(text)]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_cutting_of_a_stream_gives_the_text_of_the_body(kind: str) -> None:
    rng, dialect = random.Random(11), kind.partition(" ")[0]
    masked = restored = 0
    for _ in range(60):
        parts = divided(rng)
        body = edited(dialect, whole_body(dialect, parts), MASK, SCOPE.original).body
        step = rng.choice([1, 5, 50, 100_000])
        out, tap = through(kind, STREAMS[kind][0](*parts), MASK, step, SCOPE.original)
        assert tap.failed is None
        text = said(kind, out)
        assert text == "".join(texts_of(dialect, body)), parts
        masked += "[CREDIT_CARD]" in text
        restored += JOAN in text
    assert masked > 10
    assert restored > 10


CALL = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
THOUGHT = {"type": "thinking", "thinking": "Hm."}


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize("between", [CALL, THOUGHT], ids=["call", "thought"])
def test_contents_of_cohere_are_one_text_whatever_comes_between(between: dict[str, Any], step: int) -> None:
    message: dict[str, Any] = {"content": [{"type": "text", "text": text} for text in CARD]}
    if between is CALL:
        message["tool_calls"] = [CALL]
    else:
        message["content"].insert(1, THOUGHT)
    body = edited("cohere_v2", {"id": "i", "message": message}, MASK).body
    out, tap = through("cohere_v2", cohere(CARD[0], between, CARD[1]), MASK, step)
    assert tap.failed is None
    for told in (body, out):
        assert b"[CREDIT_CARD]" in told
        assert b"1111" not in told


THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
REASONED = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm."}]}
BETWEEN = [
    pytest.param("anthropic_messages", blocks(CARD[0], THINKING, CARD[1]), id="messages"),
    pytest.param(
        "bedrock_converse", frames(CARD[0], {"reasoningContent": {"text": "Hm."}}, CARD[1]), id="converse"
    ),
    pytest.param("openai_responses", responses(CARD[0], REASONED, CARD[1]), id="responses"),
]


@pytest.mark.parametrize("step", [1, 10_000])
@pytest.mark.parametrize(("kind", "stream"), BETWEEN)
def test_a_value_divided_by_a_thought_is_masked_in_a_stream_too(kind: str, stream: bytes, step: int) -> None:
    out, tap = through(kind, stream, MASK, step)
    assert tap.failed is None
    assert "[CREDIT_CARD]" in said(kind, out)
    assert b"1111 1111" not in out
    assert b"Hm." in out
