"""What passes between the lab's server and its providers. Providers are pure: a request in, a reply out."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

type Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Incoming:
    """A whole request. path: without query; headers: names in lower case; body: decoded bytes."""

    host: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the body as an object; empty where it is anything else."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. pieces: the body as it is cut on the wire; one piece where it is not streamed."""

    status: int
    content_type: str
    pieces: tuple[bytes, ...]
    streamed: bool = False
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, "application/json", (dumps(value).encode(),))


def text_reply(text: str, status: int = 200) -> Reply:
    return Reply(status, "text/plain; charset=utf-8", (text.encode(),))


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def sse(value: object, event: str | None = None) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {dumps(value)}\n\n".encode()


def objects(value: object) -> Iterator[Json]:
    """Yield the objects of a list; nothing if it is no list."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def object_at(value: Json, key: str) -> Json:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def string_at(value: Json, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def strings(value: object) -> Iterator[str]:
    """Yield every string value in a JSON value, depth first."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def content_text(content: object, kinds: frozenset[str] = frozenset({"text", "input_text"})) -> str:
    """Return the text of a message content: a string, or the text parts of a list, joined by newlines."""
    if isinstance(content, str):
        return content
    parts = [string_at(part, "text") for part in objects(content) if string_at(part, "type") in kinds]
    return "\n".join(parts)
