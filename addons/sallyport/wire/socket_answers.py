"""Answers of the gateway's own on a WebSocket: the events of an assistant who says one sentence and is done."""

import json
from dataclasses import replace

from sallyport.exchange import Request
from sallyport.wire.dialect import Stamp
from sallyport.wire.endings import responses
from sallyport.wire.jsondialect import dump
from sallyport.wire.jsontext import Json

_DATA = b"data: {"


def realtime_answer(text: str, stamp: Stamp) -> list[bytes]:
    """Return the events of a finished realtime answer, as a provider sends them for text."""
    said: dict[str, Json] = {"type": "output_text", "text": text}
    item: dict[str, Json] = {
        "id": f"item_{stamp.id}",
        "object": "realtime.item",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [said],
    }
    response: dict[str, Json] = {
        "id": f"resp_{stamp.id}",
        "object": "realtime.response",
        "status": "in_progress",
        "output": [],
    }
    usage: dict[str, Json] = {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0}
    of_answer: dict[str, Json] = {"response_id": response["id"], "output_index": 0}
    of_part: dict[str, Json] = {**of_answer, "item_id": item["id"], "content_index": 0}
    begun: dict[str, Json] = {**item, "status": "in_progress", "content": []}
    events: list[dict[str, Json]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", **of_answer, "item": begun},
        {"type": "response.content_part.added", **of_part, "part": {"type": "text", "text": ""}},
        {"type": "response.output_text.delta", **of_part, "delta": text},
        {"type": "response.output_text.done", **of_part, "text": text},
        {"type": "response.content_part.done", **of_part, "part": {"type": "text", "text": text}},
        {"type": "response.output_item.done", **of_answer, "item": item},
        {
            "type": "response.done",
            "response": {**response, "status": "completed", "output": [item], "usage": usage},
        },
    ]
    return [dump({"event_id": f"event_{stamp.id}_{n}", **event}) for n, event in enumerate(events)]


def responses_answer(text: str, request: Request, stamp: Stamp, lane: str) -> list[bytes]:
    """Return the events of a finished answer of Responses, those of its stream, in a lane."""
    streamed = responses.say(text, replace(request, stream=True), stamp)
    lines = [line for line in streamed.body.splitlines() if line.startswith(_DATA)]
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines]
    return [dump({**event, "stream_id": lane} if lane else event) for event in events]
