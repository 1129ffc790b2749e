"""One text of an event is replaced where it stands, however the provider spells it and whatever stands beside it."""

import json
import random

import pytest

from sallyport.exchange import Surface
from sallyport.wire.dialect import Delta, StreamEvent
from sallyport.wire.streams import SseReader

TEXTS = [
    ":",
    "",
    "a",
    '"',
    "\\",
    "\n",
    'say "no"',
    "é 你 \u2028",
    "/",
    "</b>",
    "text",
    ",",
    "\\u0041",
    "\x01",
    "\U0001f600",
]


class Unread:
    """An interpreter that nobody asks."""

    def event(self, payload: object, raw: bytes) -> StreamEvent:
        raise AssertionError


def spelled(value: object, spelling: str) -> str:
    body = json.dumps(value, ensure_ascii=spelling == "escaped", separators=(",", ":"))
    return body.replace("/", "\\/") if spelling == "slashes" else body


@pytest.mark.parametrize("spelling", ["plain", "escaped", "slashes"])
def test_a_text_is_replaced_and_all_else_stays(spelling: str) -> None:
    rng = random.Random(spelling)
    reader = SseReader(Unread())
    for text in TEXTS:
        for beside in TEXTS:
            for new in rng.sample(TEXTS, 4):
                for payload in ({"text": text}, {"text": text, "x": beside}, {"x": beside, "text": text}):
                    raw = f"data: {spelled(payload, spelling)}\n\n".encode()
                    delta = Delta("text", Surface.ASSISTANT, "/text", text)
                    made = reader.rewrite(StreamEvent(raw, deltas=(delta,)), {"/text": new})
                    assert json.loads(made.removeprefix(b"data: ")) == {**payload, "text": new}
