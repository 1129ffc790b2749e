"""Log probabilities say a text a second time, token by token: who changes the text must empty them as well.

OpenAI and those who speak like it: `logprobs` with `token` and `bytes` (chat, Responses, Realtime, transcriptions,
Ollama), `tokens` (old completions), `text` (Cohere); Gemini: `logprobsResult`; Cohere on Bedrock: `token_likelihoods`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sallyport.exchange import Segment, Surface
from sallyport.wire import jsonsplice
from sallyport.wire.dialect import Delta
from sallyport.wire.errors import WireError
from sallyport.wire.jsonlines import read_lines
from sallyport.wire.jsontext import MAX_ANSWER_NODES, Json, parse, token
from sallyport.wire.ndjson import lines_of

_NAMES = frozenset({"logprobs", "logprobsResult", "logprobs_result", "token_likelihoods"})
_FILLED = re.compile(rb'(?:ogprobs(?:_?[rR]esult)?|token_likelihoods)"[ \t\r\n]*:[ \t\r\n]*[\[{]')
_OF_OPENAI = ("choices", "message", "delta", "content", "output", "response", "part", "item", "body")
_OF_BATCHES = ("inlinedResponses", "inlined_responses")
_HOLDERS = frozenset((*_OF_OPENAI, *_OF_BATCHES, "candidates", "outputs", "generations", "completions"))
"""What log probabilities lie below. The arguments and results of tools are not: what is called so there is content."""


@dataclass(frozen=True, slots=True)
class Echo:
    """Log probabilities of a text.

    at: pointer to them. beside: pointer to the object whose texts they repeat. spelled: each list of them as the text
    its tokens make, in UTF-8; None where they have no form that is known. tokens: where they are one list of an object
    for each token, the pointer to that list, and each object with its part of the text.
    """

    at: str
    beside: str
    spelled: tuple[bytes, ...] | None
    tokens: tuple[str, tuple[tuple[bytes, Json], ...]] | None = None


def echoes(payload: Json, at: str = "") -> Iterator[Echo]:
    """Yield the log probabilities of an answer, or of one event of it; empty ones are left out."""
    if type(payload) is list:
        for number, value in enumerate(payload):
            yield from echoes(value, f"{at}/{number}")
    elif type(payload) is dict:
        for name, value in payload.items():
            if name in _NAMES:
                if value:
                    yield Echo(f"{at}/{name}", at, _spelled(value), _tokens(f"{at}/{name}", value))
            elif type(value) in (dict, list) and (_holds(name, value) or (not at and name.isdecimal())):
                yield from echoes(value, f"{at}/{token(name)}")


def to_empty(
    payload: Json, texts: Sequence[Delta | Segment], changed: Mapping[str, str], *, strict: bool
) -> list[str]:
    """Return the pointers of log probabilities that must not go out.

    texts: of the answer or the event as the provider wrote them. changed: those of them that go out otherwise, by
    pointer. strict: texts are masked, so that what cannot be laid beside a text goes too.
    """
    return [echo.at for echo in echoes(payload) if _is_told_otherwise(echo, texts, changed, strict)]


def without(changed: Mapping[str, str], emptied: Sequence[str]) -> dict[str, str | bytes | None]:
    """Return what StreamReader.rewrite is told: new texts, and None for what is emptied with all that lies in it."""
    kept = {at: text for at, text in changed.items() if not _lies_in(at, emptied)}
    return {**kept, **dict.fromkeys(emptied)}


def may_echo(data: bytes) -> bool:
    """Say whether an answer, or an event of one, may hold log probabilities: most have none, or null.

    A frame of AWS, whose length comes first, hides them in base64.
    """
    if data[:1] == b"\0":
        return True
    named = b"ogprobs" in data or b"token_likelihoods" in data
    return named and _FILLED.search(data) is not None


def emptied(body: bytes, pointers: Sequence[str]) -> bytes:
    """Return a buffered answer, JSON or lines of JSON, with these places emptied. Raises WireError."""
    if not pointers:
        return body
    try:
        parse(body, MAX_ANSWER_NODES)
    except WireError as error:
        if error.reason != "json.trailing_data":
            raise
        return _emptied_lines(body, pointers)
    return jsonsplice.replace(body, dict.fromkeys(pointers))


def _emptied_lines(body: bytes, pointers: Sequence[str]) -> bytes:
    spans = lines_of(body)
    for number, _ in reversed(read_lines(body)):
        head = f"/{number}"
        inside = {at.removeprefix(head): None for at in pointers if at.startswith(head + "/")}
        start, end = spans[number]
        body = body[:start] + jsonsplice.replace(body[start:end], inside) + body[end:]
    return body


def _is_told_otherwise(
    echo: Echo, texts: Sequence[Delta | Segment], changed: Mapping[str, str], strict: bool
) -> bool:
    """Say whether an echo tells of a text that goes out otherwise, or, where strict, of none that stands beside it."""
    beside = [one for one in texts if one.at.startswith(echo.beside + "/")]
    if any(changed.get(one.at, one.text) != one.text for one in beside):
        return True
    if not strict:
        return False
    own = [one for one in beside if not _lies_in(one.at, (echo.at,))]
    said = {"", "".join(one.text for one in own), *(one.text for one in own)}
    said |= {"".join(one.text for one in own if one.surface is surface) for surface in Surface}
    known = {text.encode("utf-8", "replace").strip() for text in said}
    return echo.spelled is None or any(run.strip() not in known for run in echo.spelled)


def _lies_in(at: str, holders: Sequence[str]) -> bool:
    return any(at.startswith(holder + "/") for holder in holders)


def _holds(name: str, value: Json) -> bool:
    """Say whether log probabilities may lie below a member; the metadata of a batch that goes on holds its answers."""
    return name in _HOLDERS or (
        name == "metadata" and type(value) is dict and type(value.get("output")) is dict
    )


def _tokens(at: str, value: Json) -> tuple[str, tuple[tuple[bytes, Json], ...]] | None:
    if type(value) is dict:
        filled = [name for name in ("content", "refusal") if value.get(name)]
        if len(filled) != 1 or any(
            type(other) is list for name, other in value.items() if name not in filled
        ):
            return None
        at, value = f"{at}/{filled[0]}", value[filled[0]]
    if type(value) is not list or not all(type(one) is dict for one in value):
        return None
    runs = [_run([one]) for one in value]
    return (
        (at, tuple((run[0], one) for run, one in zip(runs, value, strict=True) if run)) if all(runs) else None
    )


def _spelled(value: Json) -> tuple[bytes, ...] | None:
    if type(value) is list:
        return _run(value)
    if type(value) is not dict:
        return None
    for name in ("chosenCandidates", "chosen_candidates", "tokens"):
        if name in value:
            return _run(value[name])
    if "text" in value:
        return _run([value])
    lists = [_run(value[name]) for name in ("content", "refusal") if value.get(name)]
    if not lists or None in lists:
        return None
    return tuple(run for each in lists if each is not None for run in each)


def _run(tokens: Json) -> tuple[bytes] | None:
    """Return what a list of tokens spells; a character that several of them share is whole in their bytes alone."""
    if type(tokens) is not list:
        return None
    pieces: list[bytes] = []
    for one in tokens:
        said = one if type(one) is str else None
        if type(one) is dict:
            raw = one.get("bytes")
            if type(raw) is list and raw and all(type(b) is int and 0 <= b < 256 for b in raw):
                pieces.append(bytes(b for b in raw if type(b) is int))
                continue
            said = next((v for n in ("token", "text") if type(v := one.get(n)) is str), None)
        if said is None:
            return None
        pieces.append(said.encode("utf-8", "replace"))
    return (b"".join(pieces),)
