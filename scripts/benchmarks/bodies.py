"""What the benchmark sends: chat requests in clean prose and code, each one a little different.

A mark in every message is replaced by a word of its own, so that no two requests share a text that a cache
could know. In a resent conversation only the last message differs, as when an agent takes its next turn.
"""

import json
from dataclasses import dataclass

MARK = b"XXXXXXXX"
_STREAM_MARK = "XXXXXXXX"

_PROSE = (
    "The release train leaves on Thursday, so the review has to be finished before the team meets.",
    "Please rewrite the second paragraph so that a reader without background can follow the argument.",
    "We measured the queue under load and saw that the slow path is taken far more often than expected.",
    "Nobody could say why the nightly build takes twice as long on the older branch.",
    "The customer wants a short summary first, and the details in an appendix that can be skipped.",
    "Each step should name its input, its output, and what happens when the input is empty.",
    "If the cache is cold, the first answer comes late; after that the difference is hard to notice.",
    "Compare both designs, say which one you would choose, and list what would change your mind.",
    "The old document mixes policy and procedure, which makes it hard to see what is mandatory.",
    "Keep the tone friendly, avoid jargon, and do not promise a date.",
    "A reader asked whether the limits apply per team or per project; the text leaves it open.",
    "The tests pass on a fast machine and fail on a slow one, which smells like a race.",
)

_CODE = (
    "def merge(left, right):\n    out = []\n    while left and right:\n"
    "        out.append(left.pop(0) if left[0] <= right[0] else right.pop(0))\n    return out + left + right\n",
    "for (const row of rows) {\n  if (!row.visible) continue;\n  total += row.width + gap;\n}\n",
    "SELECT team, count(*) AS open_items FROM items WHERE state = 'open' GROUP BY team ORDER BY open_items;\n",
    "func (s *Stack) Pop() (int, error) {\n\tif len(s.items) == 0 {\n\t\treturn 0, ErrEmpty\n\t}\n"
    "\tlast := s.items[len(s.items)-1]\n\ts.items = s.items[:len(s.items)-1]\n\treturn last, nil\n}\n",
)

_SYSTEM = (
    "You are a careful assistant for a software team. Answer in full sentences and show your reasoning. "
)


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request. template holds MARK where a word of the request's own goes; stream says what to expect."""

    template: bytes
    stream: bool = False
    fixed: bytes = b""

    def body(self, connection: int, number: int) -> bytes:
        """Return the body of one request; number is unique within the run, connection within the target."""
        body = self.template.replace(MARK, word(number))
        return body.replace(self.fixed, word(connection)) if self.fixed else body


def word(number: int) -> bytes:
    """Return a pronounceable word of eight letters for a number."""
    consonants, vowels = b"bdfgklmnprstvz", b"aeiou"
    letters = bytearray()
    for _ in range(4):
        number, first = divmod(number, len(consonants))
        number, second = divmod(number, len(vowels))
        letters += bytes((consonants[first], vowels[second]))
    return bytes(letters)


def loads() -> dict[str, Load]:
    """Return every load by name; sizes are of the whole body, to within a few bytes."""
    return {
        "2k": Load(_chat(2048, messages=2)),
        "50k": Load(_chat(50 * 1024, messages=12)),
        "resent": Load(_resent(50 * 1024, messages=12), fixed=b"YYYYYYYY"),
        "stream-1ms": Load(_chat(2048, messages=2, stream_gap_ms=1), stream=True),
        "stream-20ms": Load(_chat(2048, messages=2, stream_gap_ms=20), stream=True),
    }


def _text(size: int, seed: int, mark: str) -> str:
    """Return prose with a code block now and then; the mark stands in its first sentence."""
    parts = [f"This is about the module called {mark}."]
    length = len(parts[0])
    index = seed
    while length < size:
        piece = _PROSE[index % len(_PROSE)]
        if index % 9 == 8:
            piece = f"\n```\n{_CODE[index % len(_CODE)]}```\n"
        parts.append(piece)
        length += len(piece) + 1
        index += 1
    return " ".join(parts)[: max(size, len(parts[0]))]


def _chat(size: int, *, messages: int, stream_gap_ms: int | None = None) -> bytes:
    def build(share: int) -> bytes:
        roles = ("user", "assistant")
        turns = [{"role": "system", "content": _SYSTEM + _text(120, 1, _STREAM_MARK)}]
        turns += [
            {"role": roles[n % 2], "content": _text(share, n * 5, _STREAM_MARK)} for n in range(messages - 1)
        ]
        body: dict[str, object] = {"model": "gpt-4o-mini", "messages": turns, "temperature": 0.2}
        if stream_gap_ms is not None:
            body = {**body, "model": f"bench-gap{stream_gap_ms}", "stream": True}
        return json.dumps(body).encode()

    share = size // (messages - 1)
    return build(share - (len(build(share)) - size) // (messages - 1))


def _resent(size: int, *, messages: int) -> bytes:
    """A conversation of which all but the last message was sent before."""
    head, mark, tail = _chat(size, messages=messages).rpartition(MARK)
    return head.replace(MARK, b"YYYYYYYY") + mark + tail
