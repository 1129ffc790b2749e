"""The cassettes and what the manifest says each must yield."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sallyport.exchange import Operation
from sallyport.wire.dialect import Call, Dialect, StreamEvent
from sallyport.wire.dialects import DIALECTS

CASSETTES = Path(__file__).parent.parent / "cassettes"
_FOLDERS = {
    "openai_chat": "openai_chat",
    "azure_openai": "openai_chat",
    "openai_responses": "openai_responses",
    "anthropic_messages": "anthropic_messages",
    "gemini_generate": "gemini_generate",
}
_OTHERS = {
    "openai_other/completions_request.json": "openai_completions",
    "openai_other/completions_response.json": "openai_completions",
    "openai_other/completions_stream.sse": "openai_completions",
    "openai_other/embeddings_request.json": "openai_embeddings",
    "openai_other/embeddings_response.json": "openai_embeddings",
}
_MORE_FOLDERS = {name: name for name in ("bedrock_converse", "bedrock_invoke", "cohere_v2", "ollama_chat")}
"""Dialects whose cassettes have tests of their own (test_more_providers); the fuzzer takes them too."""

_LEFT_OUT = {"anthropic_messages/batch_request.json"}  # the batch dialect's


@dataclass(frozen=True)
class Sample:
    name: str
    kind: str
    dialect: Dialect
    content_type: str
    status: int
    expected: dict

    @property
    def body(self) -> bytes:
        return (CASSETTES / self.name).read_bytes()

    def __str__(self) -> str:
        return self.name


@cache
def manifest() -> dict:
    return json.loads((CASSETTES / "manifest.json").read_text())


def samples(*kinds: str, every: bool = False) -> list[Sample]:
    """Return the samples of these kinds of the main dialects; every: of all dialects that have cassettes."""
    folders = _FOLDERS | _MORE_FOLDERS if every else _FOLDERS
    found = []
    for name, expected in manifest()["files"].items():
        dialect = _OTHERS.get(name) or folders.get(name.split("/")[0])
        if dialect and expected["kind"] in kinds and name not in _LEFT_OUT:
            kind, content_type = expected["kind"], expected["content_type"]
            found.append(
                Sample(name, kind, DIALECTS[dialect], content_type, expected.get("status", 200), expected)
            )
    return found


def streams() -> list[Sample]:
    return samples("stream", "stream_error", "block_stream")


def call(operation: Operation = Operation.CHAT, **more) -> Call:
    return Call(provider="test", operation=operation, **more)


def operation_of(sample: Sample) -> Operation:
    if "embeddings" in sample.name:
        return Operation.EMBEDDING
    if "completions" in sample.name:
        return Operation.COMPLETION
    return Operation.COUNT_TOKENS if "count_tokens" in sample.name else Operation.CHAT


def feed(dialect: Dialect, content_type: str, pieces: list[bytes]) -> list[StreamEvent]:
    reader = dialect.open_stream(content_type)
    events = []
    for piece in pieces:
        events += reader.feed(piece)
    return events + reader.end()
