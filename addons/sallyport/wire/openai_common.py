"""What the OpenAI dialects share: error bodies, parts of messages, tools, token counts."""

import re
from dataclasses import replace

from sallyport.decision import Refusal
from sallyport.exchange import Surface, Usage
from sallyport.wire import fields, jsonsplice, leaves
from sallyport.wire.jsondialect import message
from sallyport.wire.jsontext import Json, parse_object
from sallyport.wire.shape import Shape, by
from sallyport.wire.shapes import (
    BASE64,
    CACHE_CONTROL,
    FILE_DATA,
    PLAIN,
    REFERENCE,
    TOOL_SCHEMA,
    WORD,
    made,
    plain,
    text,
)

TOOL = Surface.TOOL_DEFINITION

# {"error": {"message", "type", "param", "code"}}; Azure adds innererror, other clouds metadata.
PROBLEM = Shape(
    Surface.DOCUMENT,
    {
        "error": Shape(Surface.DOCUMENT, made("type code status"), names=False),
        **made("object type code status"),
    },
    names=False,
)

LOGPROB = Shape(Surface.ASSISTANT, made("bytes logprob"), names=False)

GRAMMAR = Shape(TOOL, {"type": WORD, "syntax": WORD, "definition": text(TOOL), "grammar": text(TOOL)})
FUNCTION = Shape(
    TOOL,
    {
        **dict.fromkeys(("name", "description"), text(TOOL)),
        **dict.fromkeys(("parameters", "output_schema"), TOOL_SCHEMA),
        "format": GRAMMAR,
        "strict": PLAIN,
    },
)
GRAMMAR.fields["grammar"] = GRAMMAR
TOOL_CHOICE = Shape(
    TOOL, {"type": WORD, "mode": WORD, "function": FUNCTION, "custom": FUNCTION}, leaf=leaves.word
)

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_exceeded"}


def parts(surface: Surface) -> Shape:
    """Return the shape of a content: a string, or a list of parts by type."""
    base = {"type": WORD, "cache_control": CACHE_CONTROL}
    own = text(surface)
    image = leaves.url("image/*")
    image_url = Shape(surface, leaf=image)
    image_url.fields |= {"url": Shape(surface, leaf=image), "detail": WORD, "media_type": WORD}
    media = leaves.url("application/octet-stream")
    media_url = Shape(surface, {"url": Shape(surface, leaf=media)}, leaf=media)
    file = {"filename": own, "file_data": FILE_DATA, "file_id": REFERENCE, "detail": WORD}
    file["file_url"] = Shape(surface, leaf=media)
    images = {"image_url": image_url, "file_id": REFERENCE, "detail": WORD}
    texts = Shape(surface, {**base, "text": own, "annotations": Shape(surface), **plain("logprobs")})
    reasoning = Shape(Surface.REASONING, {**base, "text": text(Surface.REASONING)})
    reasoning.fields["thinking"] = reasoning
    refusal = Shape(surface, {**base, "refusal": own})
    cases = {
        **dict.fromkeys(("text", "input_text", "output_text", "summary_text"), texts),
        **dict.fromkeys(("thinking", "reasoning", "reasoning_text"), reasoning),
        **dict.fromkeys(
            ("image_url", "input_image", "computer_screenshot"), Shape(surface, {**base, **images})
        ),
        **dict.fromkeys(("video_url",), Shape(surface, {**base, "video_url": media_url})),
        **dict.fromkeys(("audio_url",), Shape(surface, {**base, "audio_url": media_url})),
        "input_audio": Shape(
            surface, {**base, "input_audio": Shape(surface, {"data": BASE64, "format": WORD})}
        ),
        "file": Shape(surface, {**base, "file": Shape(surface, file)}),
        "input_file": Shape(surface, {**base, **file}),
        "refusal": refusal,
    }
    return Shape(surface, choose=by("type", cases, Shape(surface, {"type": WORD, "text": own})))


def answer_parts() -> dict[str, Shape]:
    """Return fields of a part of an answer, whatever its type."""
    return {
        **made("type id"),
        "thinking": Shape(Surface.REASONING, made("type"), names=False),
        "logprobs": LOGPROB,
        "data": BASE64,
    }


def tier(payload: Json) -> str:
    """Return the service tier that an answer was served with; "auto", as one that begins says, tells nothing."""
    found = fields.string(payload, "service_tier")
    return found if found in ("default", "flex", "priority", "fast", "scale") else ""


def usage(counts: Json, served_as: str = "") -> Usage | None:
    """Normalise prompt_tokens and completion_tokens; None if absent.

    DeepSeek counts its cache, Perplexity its searches and what they brought, in members of their own.
    """
    if type(counts) is not dict:
        return None
    details = counts.get("prompt_tokens_details")
    found = Usage(
        input=fields.total(fields.count(counts, "prompt_tokens"), fields.count(counts, "citation_tokens")),
        cache_read=first(
            fields.count(details, "cached_tokens"), fields.count(counts, "prompt_cache_hit_tokens")
        ),
        cache_write=cache_write(details),
        output=_output(counts),
        reasoning=first(
            fields.count(counts, "completion_tokens_details", "reasoning_tokens"),
            fields.count(counts, "reasoning_tokens"),
        ),
        audio_input=fields.some(details, "audio_tokens"),
        audio_output=fields.some(counts, "completion_tokens_details", "audio_tokens"),
        searches=fields.some(counts, "num_search_queries")
        or fields.some(counts, "server_tool_use", "web_search_requests"),
    )
    return None if found == Usage() else replace(found, tier=served_as)


def _output(counts: dict[str, Json]) -> int | None:
    """Return all tokens of output.

    xAI and Gemini leave reasoning out of completion_tokens and have it in total_tokens; Perplexity has it in
    neither, and counts it beside them.
    """
    written = fields.count(counts, "completion_tokens")
    if written is None:
        return None
    apart = fields.count(counts, "reasoning_tokens")
    if apart is not None:
        return written + apart
    given, everything = fields.count(counts, "prompt_tokens"), fields.count(counts, "total_tokens")
    return written if given is None or everything is None else max(written, everything - given)


def ask_usage(body: bytes) -> bytes | None:
    """Return the body with stream_options.include_usage set; None if it is, or if there is no object to set it in.

    Spliced in: nothing else of the body changes. The body must have been read before.
    """
    payload = parse_object(body)
    options = payload.get("stream_options")
    if type(options) is dict:
        if options.get("include_usage") is True:
            return None
        if "include_usage" in options:
            return _reset(body, "/stream_options/include_usage", b"true")
        return _reset(body, "/stream_options", None)
    if "stream_options" in payload:
        return _reset(body, "/stream_options", b'{"include_usage":true}') if options is None else None
    start = body.index(b"{") + 1
    return (
        body[:start] + b'"stream_options":{"include_usage":true}' + (b"," if payload else b"") + body[start:]
    )


_AFTER_KEY = re.compile(rb"\s*:\s*")
_LITERAL = re.compile(rb"[a-z]+")


def _reset(body: bytes, pointer: str, value: bytes | None) -> bytes | None:
    """Put a value in place of the literal at a pointer; with None, open the object there with include_usage."""
    key = jsonsplice.spans(body, [f"{pointer}~k"])[f"{pointer}~k"]
    colon = _AFTER_KEY.match(body, key[1])
    if colon is None:
        return None
    at = colon.end()
    if value is None:
        rest = body[at + 1 :]
        more = b"" if rest.lstrip().startswith(b"}") else b","
        return body[: at + 1] + b'"include_usage":true' + more + rest
    literal = _LITERAL.match(body, at)
    return None if literal is None else body[:at] + value + body[literal.end() :]


def first(*counts: int | None) -> int | None:
    """Return the first count that is there."""
    return next((c for c in counts if c is not None), None)


def cache_write(details: Json) -> int | None:
    """Return the tokens written to the cache; a provider that tells of reads alone charges no writes."""
    written = fields.count(details, "cache_write_tokens")
    return 0 if written is None and fields.count(details, "cached_tokens") is not None else written


def refusal_body(refusal: Refusal) -> dict[str, Json]:
    """Return {"error": ...} as the SDK reads it: code, param and type become members of its exception.

    Flat ones have the same at the top as well, with param as text: Cerebras takes no null there.
    """
    other = "server_error" if refusal.status >= 500 else "policy_refusal"
    error: dict[str, Json] = {
        "message": message(refusal),
        "type": _TYPES.get(refusal.status, other),
        "param": None,
        "code": refusal.reason,
    }
    return {"object": "error", **error, "param": "", "error": error} if refusal.flat else {"error": error}


def tool_names(tools: Json) -> tuple[str, ...]:
    """Return the names of declared tools; a built-in tool goes by its type."""
    names = []
    for tool in fields.objects(tools):
        name = (
            fields.string(tool, "name")
            or fields.string(tool, "function", "name")
            or fields.string(tool, "custom", "name")
            or fields.string(tool, "server_label")
            or fields.string(tool, "type")
        )
        if name:
            names.append(name)
        names += tool_names(tool.get("tools"))
    return tuple(names)
