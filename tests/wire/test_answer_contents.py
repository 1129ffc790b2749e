"""What an answer holds beside its texts is told, buffered and streamed: an answer with a picture was read in part."""

import base64
import json
from typing import Any

import pytest

from sallyport.decision import Refusal
from sallyport.proxy.covering import answer_unread
from sallyport.proxy.streamed import answer_of
from sallyport.proxy.tap import AnswerTap
from sallyport.wire.dialects import DIALECTS

DATA = base64.b64encode(bytes(range(256))).decode()
_CALL = {"type": "image_generation_call", "id": "i", "status": "completed", "result": DATA}
ANSWERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "openai_chat": (
        {"choices": [{"index": 0, "message": {"content": "Hi", "audio": {"id": "a", "data": DATA}}}]},
        {"choices": [{"index": 0, "delta": {"content": "Hi", "audio": {"id": "a", "data": DATA}}}]},
        "answer.application/octet-stream",
    ),
    "openai_responses": (
        {"id": "r", "status": "completed", "output": [_CALL]},
        {"type": "response.output_item.done", "output_index": 0, "item": _CALL},
        "answer.application/octet-stream",
    ),
    "gemini_generate": (
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": DATA}}]}}]},
        {"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": DATA}}]}}]},
        "answer.image/png",
    ),
    "ollama_chat": (
        {"model": "m", "message": {"role": "assistant", "content": "Hi", "images": [DATA]}, "done": True},
        {"model": "m", "message": {"role": "assistant", "content": "Hi", "images": [DATA]}, "done": False},
        "answer.application/octet-stream",
    ),
    "openai_realtime": (
        {"type": "response.output_audio.delta", "response_id": "r", "delta": DATA},
        {"type": "response.output_audio.delta", "response_id": "r", "delta": DATA},
        "answer.application/octet-stream",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_content_of_a_whole_answer_is_told(name: str) -> None:
    whole, _, said = ANSWERS[name]
    assert answer_unread(DIALECTS[name].read_response(json.dumps(whole).encode(), 200), unread=False) == said


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("times", [1, 3])
def test_content_of_a_stream_is_told_once_with_all_its_bytes(name: str, times: int) -> None:
    dialect, (_, event, said) = DIALECTS[name], ANSWERS[name]
    tap = AnswerTap(
        dialect, dialect.open_stream(), Refusal("r", "m", "i", 502), lookup=None, remember=lambda text: None
    )
    data = json.dumps(event)
    raw = {"ollama_chat": f"{data}\n", "openai_realtime": data}.get(name, f"data: {data}\n\n").encode()
    for _ in range(times):
        tap.feed(raw)
    tap.end()
    assert tap.failed is None
    answer = answer_of(tap, 200)
    assert answer_unread(answer, unread=False) == said
    assert [one.size for one in answer.attachments] == [256 * times]


def test_an_encrypted_thought_is_no_content() -> None:
    body = {
        "type": "message",
        "content": [{"type": "redacted_thinking", "data": DATA}, {"type": "text", "text": "Hi"}],
    }
    answer = DIALECTS["anthropic_messages"].read_response(json.dumps(body).encode(), 200)
    assert answer_unread(answer, unread=False) == ""


def test_a_signed_thought_of_a_cloud_is_no_content() -> None:
    details = [{"type": "reasoning.encrypted", "data": DATA, "format": "x"}]
    body = {"choices": [{"index": 0, "message": {"content": "Hi", "reasoning_details": details}}]}
    answer = DIALECTS["openai_chat"].read_response(json.dumps(body).encode(), 200)
    assert answer_unread(answer, unread=False) == ""


@pytest.mark.parametrize("vector", [DATA, [0.5, -0.5]], ids=["base64", "numbers"])
def test_a_vector_is_no_content(vector: object) -> None:
    body = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": vector}]}
    answer = DIALECTS["openai_embeddings"].read_response(json.dumps(body).encode(), 200)
    assert answer_unread(answer, unread=False) == ""
