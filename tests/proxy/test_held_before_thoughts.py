"""A text that ends in what may go on keeps what is thought or called behind it no longer than `hold_s`."""

import pytest

from proxy.outflows import output_filter, refused
from proxy.test_divided_values import (
    JOAN,
    MASK,
    PLACEHOLDER,
    SCOPE,
    STREAMS,
    blocks,
    cohere,
    dialect_of,
    frames,
    responses,
    said,
    through,
)
from sallyport.decision import Refusal
from sallyport.proxy.tap import HOLD_S, AnswerTap, Looking

THOUGHT = b"Hmm, hmm."
_WORDS = THOUGHT.decode()
CALL = {"id": _WORDS, "type": "function", "function": {"name": "f", "arguments": "{}"}}
SUMMARY = {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": _WORDS}]}
MAKERS = {
    "anthropic_messages": lambda a, b: blocks(a, {"type": "thinking", "thinking": _WORDS}, b),
    "openai_responses": lambda a, b: responses(a, SUMMARY, b),
    "bedrock_converse": lambda a, b: frames(a, {"reasoningContent": {"text": _WORDS}}, b),
    "cohere_v2": lambda a, b: cohere(a, CALL, b),
}


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    ("text", "shown"),
    [("Mail b@example.org", "Mail [EMAIL_ADDRESS]"), (f"Ask {PLACEHOLDER}.", f"Ask {JOAN}.")],
    ids=["value", "placeholder"],
)
def test_a_text_keeps_no_thought_behind_it_for_longer(kind: str, text: str, shown: str, looks: bool) -> None:
    if not looks and text != f"Ask {PLACEHOLDER}.":
        return
    now = [0.0]
    dialect, content_type = dialect_of(kind), STREAMS[kind][1]
    tap = AnswerTap(
        dialect,
        dialect.open_stream(content_type),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=SCOPE.original,
        remember=lambda text: None,
        looking=Looking(output_filter(MASK, dialect), None, refused) if looks else None,
        clock=lambda: now[0],
    )
    data = MAKERS[kind](text, "So it is.")
    behind = data.index(b"So")
    step = tap.feed(data[:behind])
    out = b"".join(step.out)
    assert THOUGHT not in out
    assert step.wake_s == HOLD_S
    now[0] += HOLD_S + 0.1
    out += b"".join(tap.wake().out)
    assert THOUGHT in out
    out += b"".join([*tap.feed(data[behind:]).out, *tap.end().out])
    assert tap.failed is None
    told = said(kind, out)
    assert told.startswith(shown)
    assert told.endswith("So it is.")


@pytest.mark.parametrize("policy", ["pii: truncate", "pii: refuse"])
def test_what_waits_behind_a_text_in_which_the_answer_ends_does_not_go_out(policy: str) -> None:
    for step in (1, 37, 10_000):
        out, tap = through("cohere_v2", cohere("Mail b@example.org", CALL), policy, step)
        assert tap.ended_early is not None
        assert said("cohere_v2", out) == "Mail "
        assert b"tool-call" not in out
