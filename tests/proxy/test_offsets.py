"""What a provider tells of places in its answer is true of the answer that the client gets."""

import json
from typing import Any

import pytest

from sallyport.decision import Refusal
from sallyport.exchange import Surface
from sallyport.proxy.editing import edited_answer
from sallyport.proxy.moving import MAX_CHARS, MAX_LOOKED, MAX_TEXTS, Moving
from sallyport.proxy.tap import AnswerTap
from sallyport.state.vault import MemoryVault
from sallyport.wire.dialect import Delta, StreamEvent
from sallyport.wire.dialects import DIALECTS

SCOPE = MemoryVault(b"k" * 32).scope("t", "p", "c")
MAIL = "marta.quill@example.com"
PLACEHOLDER = SCOPE.placeholder("EMAIL_ADDRESS", MAIL)
SAID = f"Für {PLACEHOLDER} gilt: 天 und {PLACEHOLDER}, the sky is blue. Ask {PLACEHOLDER} more."
SHOWN = SAID.replace(PLACEHOLDER, MAIL)
CITED = "the sky is blue"
START = SAID.index(CITED)
END = START + len(CITED)
BYTES = (len(SAID[:START].encode()), len(SAID[:END].encode()))
URL = {"title": "t", "url": "https://x.example/"}
ANNOTATION = {"type": "url_citation", "start_index": START, "end_index": END, **URL}
NESTED = {"type": "url_citation", "url_citation": {"start_index": START, "end_index": END, **URL}}
SUPPORT = {"segment": {"startIndex": BYTES[0], "endIndex": BYTES[1], "text": CITED}}
GROUNDED = {
    "groundingMetadata": {"groundingSupports": [SUPPORT]},
    "citationMetadata": {"citationSources": [{"startIndex": BYTES[0], "endIndex": BYTES[1]}]},
}
CITATION = {"start": START, "end": END, "text": CITED, "content_index": 0, "sources": []}


def _message(text: str, *annotations: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [*annotations]}
    return {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}


def _candidate(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **more}]}


ANSWERS = {
    "openai_chat": {
        "id": "c",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": SAID, "annotations": [NESTED]}},
            {"index": 1, "message": {"role": "assistant", "content": "no", "annotations": []}},
        ],
    },
    "openai_responses": {"id": "r", "status": "completed", "output": [_message(SAID, ANNOTATION)]},
    "gemini_generate": _candidate(SAID, **GROUNDED),
    "cohere_v2": {
        "id": "c",
        "message": {
            "role": "assistant",
            "content": [{"type": "text", "text": SAID}],
            "citations": [CITATION],
        },
    },
}


def _chat(**delta: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": delta}]}


def _responses(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "item_id": "m", "output_index": 0, "content_index": 0, **more}


def _cohere(kind: str, **message: Any) -> dict[str, Any]:
    return {"type": kind, "index": 0, "delta": {"message": message}}


def streamed(dialect: str, pieces: list[str]) -> list[dict[str, Any]]:
    match dialect:
        case "openai_chat":
            return [*(_chat(content=piece) for piece in pieces), _chat(annotations=[NESTED])]
        case "openai_responses":
            part = _message(SAID, ANNOTATION)["content"][0]
            return [
                *(_responses("output_text.delta", delta=piece) for piece in pieces),
                _responses("output_text.annotation.added", annotation_index=0, annotation=ANNOTATION),
                _responses("output_text.done", text=SAID),
                _responses("content_part.done", part=part),
                {"type": "response.output_item.done", "output_index": 0, "item": _message(SAID, ANNOTATION)},
                {"type": "response.completed", "response": ANSWERS["openai_responses"]},
            ]
        case "gemini_generate":
            return [*map(_candidate, pieces[:-1]), _candidate(pieces[-1], **GROUNDED)]
        case _:
            texts = (_cohere("content-delta", content={"text": piece}) for piece in pieces)
            return [*texts, _cohere("citation-start", citations=CITATION)]


def pairs(value: Any) -> list[tuple[int, int, bool]]:
    """All pairs of offsets, and whether they count bytes."""
    found = []
    if isinstance(value, list):
        return [pair for one in value for pair in pairs(one)]
    if not isinstance(value, dict):
        return []
    for start, end in (("start_index", "end_index"), ("startIndex", "endIndex"), ("start", "end")):
        if end in value:
            found.append((value[start], value[end], start == "startIndex"))
    return [*found, *(pair for one in value.values() for pair in pairs(one))]


def check(found: list[tuple[int, int, bool]], count: int) -> None:
    assert len(found) == count
    for start, end, in_bytes in found:
        cut = SHOWN.encode()[start:end].decode() if in_bytes else SHOWN[start:end]
        assert cut == CITED


@pytest.mark.parametrize("dialect", ANSWERS)
def test_offsets_of_a_buffered_answer_move_with_its_text(dialect: str) -> None:
    body = json.dumps(ANSWERS[dialect]).encode()
    answer = DIALECTS[dialect].read_response(body, 200)
    edited = edited_answer(DIALECTS[dialect], answer, body, SCOPE.original, None).body
    assert SHOWN in json.dumps(json.loads(edited), ensure_ascii=False)
    check(pairs(json.loads(edited)), len(pairs(ANSWERS[dialect])))


@pytest.mark.parametrize("dialect", ANSWERS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_offsets_of_a_stream_move_with_its_text(dialect: str, size: int) -> None:
    events = streamed(dialect, [SAID[at : at + size] for at in range(0, len(SAID), size)])
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    tap = AnswerTap(
        DIALECTS[dialect],
        DIALECTS[dialect].open_stream("text/event-stream"),
        Refusal("upstream.unreadable", "Ended.", "id-1", 502),
        lookup=SCOPE.original,
        remember=lambda text: None,
    )
    got = b"".join([*tap.feed(data).out, *tap.end().out])
    assert tap.failed is None
    given = [json.loads(line[6:]) for line in got.decode().split("\n\n") if line]
    check(pairs(given), len(pairs(events)))


@pytest.mark.parametrize("dialect", ANSWERS)
def test_offsets_of_an_answer_in_which_nothing_came_back_stay_as_they_are(dialect: str) -> None:
    body = json.dumps(ANSWERS[dialect]).encode()
    answer = DIALECTS[dialect].read_response(body, 200)
    assert edited_answer(DIALECTS[dialect], answer, body, lambda placeholder: None, None).body == body


@pytest.mark.parametrize(("texts", "chars"), [(1, MAX_CHARS + 1), (MAX_TEXTS + 1, 1)])
def test_beyond_their_bounds_offsets_stay_and_no_text_is_remembered(texts: int, chars: int) -> None:
    moving = Moving(SCOPE.original)
    for number in range(texts):
        delta = Delta(f"choices/{number}/content", Surface.ASSISTANT, "/text", "x" * chars)
        moving.write(StreamEvent(b"{}", (delta,)), {})
    (*said, annotated) = streamed("openai_chat", [SAID])
    for payload in said:
        delta = Delta("choices/0/content", Surface.ASSISTANT, "/text", SAID)
        moving.write(StreamEvent(b"{}", (delta,), payload=payload), {"/text": SHOWN})
    assert moving.write(StreamEvent(json.dumps(annotated).encode(), payload=annotated), {}) == {}


def test_a_text_that_grows_between_many_offsets_is_looked_through_so_often_only() -> None:
    """Each event that tells of a text which has grown lays the whole of it beside what went out."""
    moving = Moving(SCOPE.original)
    *_, annotated = streamed("openai_chat", [SAID])
    raw = json.dumps(annotated).encode()

    def told(said: str, sent: str) -> bool:
        delta = Delta("choices/0/content", Surface.ASSISTANT, "/text", said)
        moving.write(StreamEvent(b"{}", (delta,)), {"/text": sent})
        return moving.write(StreamEvent(raw, payload=annotated), {}) != {}

    assert told(SAID + "x" * (MAX_CHARS // 2), SHOWN + "x" * (MAX_CHARS // 2))
    times = 1
    while told("x", "x"):
        times += 1
    assert times == -(-MAX_LOOKED // (MAX_CHARS // 2 + len(SAID)))
