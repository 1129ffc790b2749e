"""What log probabilities repeat of a text is gone where the text is told otherwise, and stays where it is not."""

import json
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from proxy.outflows import VALUES, exchange_of, output_filter, refused
from sallyport.decision import Refusal
from sallyport.proxy.editing import Edited, edited_answer
from sallyport.proxy.tap import AnswerTap, Looking
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Stamp, StreamEvent
from sallyport.wire.dialects import DIALECTS

MASK = "pii: mask; secrets: mask"
CUT = "pii: truncate; entities: {URL: observe}"
PIECES = ["The card ", "4111 1111", " 1111 1111", " is a test", " card, see you.", " Bye"]
PROSE = ["All ", "is well", " in the garden", " today,", " is it not?", " Bye"]
SECRET = ("4111", "1111")


def tokens(text: str) -> list[dict[str, Any]]:
    """A token for every three bytes, as providers cut: a character may lie in two of them."""
    data = text.encode()
    cut = [data[at : at + 3] for at in range(0, len(data), 3)]
    return [
        {
            "token": piece.decode("utf-8", "backslashreplace"),
            "bytes": [*piece],
            "logprob": -0.5,
            "top_logprobs": [],
        }
        for piece in cut
    ]


def _chat(text: str, whole: bool) -> dict[str, Any]:
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, ("message" if whole else "delta"): said, "finish_reason": "stop" if whole else None}
    return {
        "id": "c1",
        "object": "x",
        "choices": [{**choice, "logprobs": {"content": tokens(text), "refusal": None}}],
    }


def _completions(text: str, whole: bool) -> dict[str, Any]:
    told = {
        "tokens": [one["token"] for one in tokens(text)],
        "token_logprobs": [-1.0],
        "top_logprobs": [{text: -1.0}],
    }
    return {
        "id": "c1",
        "object": "text_completion",
        "choices": [{"index": 0, "text": text, "logprobs": told}],
    }


def _gemini(text: str, whole: bool) -> dict[str, Any]:
    chosen = [{"token": one["token"], "logProbability": -1.0} for one in tokens(text)]
    told = {"chosenCandidates": chosen, "topCandidates": [{"candidates": chosen}]}
    content = {"role": "model", "parts": [{"text": text}]}
    return {"candidates": [{"index": 0, "content": content, "logprobsResult": told}], "responseId": "r"}


def _ollama(text: str, whole: bool) -> dict[str, Any]:
    return {
        "model": "m",
        "message": {"role": "assistant", "content": text},
        "logprobs": tokens(text),
        "done": whole,
    }


def _cohere(text: str, whole: bool) -> dict[str, Any]:
    told = {"token_ids": [1, 2], "text": text, "logprobs": [-1.0, -1.0]}
    if whole:
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        return {"id": "i", "finish_reason": "COMPLETE", "message": message, "logprobs": [told]}
    return {
        "type": "content-delta",
        "index": 0,
        "delta": {"message": {"content": {"text": text}}},
        "logprobs": told,
    }


def _responses(text: str, whole: bool) -> dict[str, Any]:
    if not whole:
        place = {"item_id": "i", "output_index": 0, "content_index": 0}
        return {"type": "response.output_text.delta", **place, "delta": text, "logprobs": tokens(text)}
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": tokens(text)}
    item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [part]}
    return {"id": "r", "object": "response", "status": "completed", "output": [item]}


SPOKEN: dict[str, Callable[[str, bool], dict[str, Any]]] = {
    "openai_chat": _chat,
    "openai_completions": _completions,
    "gemini_generate": _gemini,
    "ollama_chat": _ollama,
    "cohere_v2": _cohere,
    "openai_responses": _responses,
}


def told(value: Any) -> Iterator[Any]:
    """Every log probability of a body that is there."""
    if isinstance(value, list):
        for one in value:
            yield from told(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name in ("logprobs", "logprobsResult"):
                yield one
            else:
                yield from told(one)


def plain(data: bytes) -> str:
    """Bytes as whoever reads them may put them together: strings, and the bytes of tokens, without white space."""
    text = data.decode()
    for one in told([json.loads(line.removeprefix("data: ")) for line in text.splitlines() if "{" in line]):
        spelled = [t for t in one if isinstance(t, dict)] if isinstance(one, list) else []
        spelled += (one or {}).get("content") or [] if isinstance(one, dict) else []
        text += bytes(b for t in spelled for b in t.get("bytes") or []).decode("utf-8", "replace")
    return text


def streamed(
    dialect_name: str, pieces: list[str], policy: str | None, lookup: Any = None
) -> tuple[bytes, AnswerTap]:
    dialect = DIALECTS[dialect_name]
    output = output_filter(policy, dialect) if policy is not None else None
    looking = None
    content_type = "application/x-ndjson" if dialect_name == "ollama_chat" else "text/event-stream"
    if output is not None:
        looking = Looking(
            output, dialect.ending(exchange_of(dialect).request, Stamp("i", 1), content_type), refused
        )
    tap = AnswerTap(
        dialect,
        dialect.open_stream(content_type),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=lookup,
        remember=lambda text: None,
        looking=looking,
    )
    out: list[bytes] = []
    for piece in pieces:
        event = json.dumps(SPOKEN[dialect_name](piece, False))
        out += tap.feed(
            (f"{event}\n" if dialect_name == "ollama_chat" else f"data: {event}\n\n").encode()
        ).out
    out += tap.end().out
    assert tap.failed is None
    return b"".join(out), tap


def whole_answer(dialect_name: str, text: str, policy: str | None, lookup: Any = None) -> Edited:
    dialect = DIALECTS[dialect_name]
    body = json.dumps(SPOKEN[dialect_name](text, True)).encode()
    output = output_filter(policy, dialect) if policy is not None else None
    return edited_answer(dialect, dialect.read_response(body, 200), body, lookup, output)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_a_masked_stream_does_not_spell_what_was_masked(dialect: str) -> None:
    data, _ = streamed(dialect, PIECES, MASK)
    assert b"[CREDIT_CARD]" in data
    assert not any(part in plain(data) for part in SECRET)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_a_masked_answer_does_not_spell_what_was_masked(dialect: str) -> None:
    edited = whole_answer(dialect, "".join(PIECES), MASK)
    assert b"[CREDIT_CARD]" in edited.body
    assert not any(part in plain(edited.body) for part in SECRET)
    assert not any(told(json.loads(edited.body)))


@pytest.mark.parametrize("dialect", SPOKEN)
def test_a_shortened_answer_does_not_spell_what_was_cut_off(dialect: str) -> None:
    edited = whole_answer(dialect, "".join(PIECES), CUT)
    assert edited.stop is not None
    body = DIALECTS[dialect].shortened(edited.body, *edited.cut)
    assert not any(part in plain(body) for part in SECRET)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_a_stream_that_is_cut_does_not_spell_the_rest(dialect: str) -> None:
    data, tap = streamed(dialect, PIECES, CUT)
    assert tap.ended_early is not None
    assert not any(part in plain(data) for part in SECRET)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_what_goes_out_as_it_came_keeps_its_log_probabilities(dialect: str) -> None:
    rules = "pii: observe; secrets: observe"  # images and unseen characters are masked, as shipped
    edited = whole_answer(dialect, "".join(PROSE), rules)
    assert not edited.changed
    data, _ = streamed(dialect, PROSE, rules)
    sent = "".join(
        (f"{one}\n" if dialect == "ollama_chat" else f"data: {one}\n\n")
        for one in (json.dumps(SPOKEN[dialect](piece, False)) for piece in PROSE)
    )
    assert data.decode() == sent


TOKEN_BY_TOKEN = ["openai_chat", "ollama_chat", "openai_responses"]


def spelled(dialect: str, data: bytes) -> list[tuple[str, list[bytes]]]:
    """Each event's text, and the bytes of its tokens."""
    found = []
    for line in data.decode().splitlines():
        if "{" in line:
            event = json.loads(line.removeprefix("data: "))
            (listed,) = told(event)
            listed = (listed or {}).get("content") if isinstance(listed, dict) else listed
            said = "".join(d.text for e in read_one(dialect, line) for d in e.deltas if not d.whole)
            found.append((said, [bytes(one["bytes"]) for one in listed or []]))
    return found


def read_one(dialect: str, line: str) -> list[StreamEvent]:
    reader = DIALECTS[dialect].open_stream(
        "application/x-ndjson" if dialect == "ollama_chat" else "text/event-stream"
    )
    return reader.feed(f"{line}\n\n".encode()[: -1 if dialect == "ollama_chat" else None])


@pytest.mark.parametrize("dialect", TOKEN_BY_TOKEN)
def test_log_probabilities_of_prose_go_out_with_its_words(dialect: str) -> None:
    data, _ = streamed(dialect, PROSE, MASK)
    events = spelled(dialect, data)
    assert [text for text, _ in events] != PROSE
    assert b"".join(b"".join(each) for _, each in events).decode() == "".join(PROSE)
    gone = told_so_far = b""
    for text, each in events:
        gone, told_so_far = gone + text.encode(), told_so_far + b"".join(each)
        assert gone.startswith(told_so_far)
        assert len(gone) - len(told_so_far) < 3


@pytest.mark.parametrize("dialect", TOKEN_BY_TOKEN)
def test_tokens_before_and_behind_a_masked_value_stay(dialect: str) -> None:
    data, _ = streamed(dialect, [*PIECES, " now. ", " And ", "ever."], MASK)
    left = b"".join(b"".join(each) for _, each in spelled(dialect, data)).decode()
    assert left.startswith("The card ")
    assert left.endswith("ever.")
    assert not any(part in left for part in SECRET)


@pytest.mark.parametrize("dialect", TOKEN_BY_TOKEN)
@pytest.mark.parametrize("seed", range(40))
def test_tokens_that_are_left_spell_what_goes_out_in_its_order(dialect: str, seed: int) -> None:
    rng = random.Random(seed)
    scope = MemoryVault(b"k" * 32).scope("t", "p", "c")
    parts = [*VALUES, *PROSE, scope.placeholder("EMAIL_ADDRESS", "joan.arc@example.org"), "ä€𝄞 "]
    text = " ".join(rng.choices(parts, k=6))
    cuts = sorted(rng.sample(range(1, len(text)), k=min(len(text) - 1, rng.randint(3, 40))))
    data, _ = streamed(dialect, [text[a:b] for a, b in pairwise([0, *cuts, len(text)])], MASK, scope.original)
    gone, at = b"", 0
    for said, each in spelled(dialect, data):
        gone += said.encode()
        for token in each:
            at = gone.index(token, at) + len(token)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_log_probabilities_beside_another_text_go_where_texts_are_masked(dialect: str) -> None:
    body = json.dumps(SPOKEN[dialect]("All is well in the garden.", True)).encode()
    lying = json.loads(body)
    holder = lying["choices"][0] if "choices" in lying else lying.get("candidates", [lying])[0]
    holder = lying["output"][0]["content"][0] if "output" in lying else holder
    name = "logprobsResult" if "candidates" in lying else "logprobs"
    other = SPOKEN[dialect]("Call 4111 1111 1111 1111.", True)
    holder[name] = next(told(other))
    spoken = DIALECTS[dialect]
    edited = edited_answer(
        spoken, spoken.read_response(body, 200), json.dumps(lying).encode(), None, output_filter(MASK, spoken)
    )
    assert not any(part in plain(edited.body) for part in SECRET)


@pytest.mark.parametrize("dialect", SPOKEN)
def test_no_placeholder_is_left_where_an_original_came_back(dialect: str) -> None:
    scope = MemoryVault(b"k" * 32).scope("t", "p", "c")
    placeholder = scope.placeholder("EMAIL_ADDRESS", "joan.arc@example.org")
    text = f"Write to {placeholder} today."
    edited = whole_answer(dialect, text, None, scope.original)
    assert b"joan.arc@example.org" in edited.body
    assert "EMAIL_ADDRESS" not in plain(edited.body)
    data, _ = streamed(dialect, [text[:12], text[12:20], text[20:]], None, scope.original)
    assert b"joan.arc@example.org" in data
    assert "EMAIL_ADDRESS" not in plain(data)


@pytest.mark.parametrize("dialect", ["openai_chat", "gemini_generate"])
def test_an_argument_of_a_tool_that_is_called_logprobs_is_no_log_probability(dialect: str) -> None:
    body = {
        "openai_chat": {
            "choices": [
                {
                    "index": 0,
                    "message": {"tool_calls": [{"id": "1", "function": {"arguments": {"logprobs": [1]}}}]},
                }
            ]
        },
        "gemini_generate": {
            "candidates": [
                {"content": {"parts": [{"functionCall": {"name": "f", "args": {"logprobs": ["a"]}}}]}}
            ]
        },
    }[dialect]
    spoken = DIALECTS[dialect]
    data = json.dumps(body).encode()
    edited = edited_answer(spoken, spoken.read_response(data, 200), data, None, output_filter(MASK, spoken))
    assert edited.body == data


def test_sdks_read_what_is_left() -> None:
    pytest.importorskip("openai")
    pytest.importorskip("google.genai")
    from google.genai.types import GenerateContentResponse
    from openai.types import Completion
    from openai.types.chat import ChatCompletionChunk
    from openai.types.responses import ResponseOutputText, ResponseTextDeltaEvent
    from pydantic import BaseModel

    def events(dialect: str, model: type[BaseModel], pieces: list[str] = PIECES) -> list[Any]:
        data, _ = streamed(dialect, pieces, MASK)
        found = []
        for line in data.decode().split("\n\n"):
            if line:
                event = {
                    "created": 1,
                    "model": "m",
                    "sequence_number": 1,
                    **json.loads(line.removeprefix("data: ")),
                }
                event |= {"object": "chat.completion.chunk"} if model is ChatCompletionChunk else {}
                for choice in event.get("choices", []):
                    choice.setdefault("finish_reason", "stop")
                found.append(
                    model.model_validate(
                        event if "choices" in event or "type" in event else json.loads(line[6:])
                    )
                )
        return found

    card = PIECES[1:3]
    assert all(c.choices[0].logprobs is None for c in events("openai_chat", ChatCompletionChunk, card))
    assert any(c.choices[0].logprobs is not None for c in events("openai_chat", ChatCompletionChunk))
    assert all(c.choices[0].logprobs is None for c in events("openai_completions", Completion))
    assert all(e.logprobs == [] for e in events("openai_responses", ResponseTextDeltaEvent, card))
    assert any(e.logprobs for e in events("openai_responses", ResponseTextDeltaEvent))
    gemini = events("gemini_generate", GenerateContentResponse)
    assert all(c.candidates[0].logprobs_result is None for c in gemini)
    whole = json.loads(whole_answer("openai_responses", "".join(PIECES), MASK).body)
    assert ResponseOutputText.model_validate(whole["output"][0]["content"][0]).logprobs == []


@pytest.mark.parametrize("member", ["response", "metadata"])
def test_a_batch_of_gemini_does_not_spell_what_was_masked_in_it(member: str) -> None:
    one = {"inlinedResponses": {"inlinedResponses": [{"response": _gemini("".join(PIECES), True)}]}}
    body = {"name": "batches/b", member: one if member == "response" else {"output": one}}
    spoken, data = DIALECTS["gemini_batch"], json.dumps(body).encode()
    edited = edited_answer(spoken, spoken.read_response(data, 200), data, None, output_filter(MASK, spoken))
    assert b"[CREDIT_CARD]" in edited.body
    assert not any(told(json.loads(edited.body)))
