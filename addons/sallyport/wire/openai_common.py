"""What the OpenAI dialects share: error bodies, parts of messages, tools, token counts."""

from sallyport.decision import Refusal
from sallyport.exchange import Surface, Usage
from sallyport.wire import fields, leaves
from sallyport.wire.jsondialect import message
from sallyport.wire.jsontext import Json
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
    said,
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
        "thinking": said(Surface.REASONING),
        "logprobs": LOGPROB,
        "data": BASE64,
    }


def usage(counts: Json) -> Usage | None:
    """Normalise prompt_tokens and completion_tokens, DeepSeek's cache counts included; None if absent."""
    if type(counts) is not dict:
        return None
    details = counts.get("prompt_tokens_details")
    found = Usage(
        input=fields.count(counts, "prompt_tokens"),
        cache_read=first(
            fields.count(details, "cached_tokens"), fields.count(counts, "prompt_cache_hit_tokens")
        ),
        cache_write=cache_write(details),
        output=fields.count(counts, "completion_tokens"),
        reasoning=fields.count(counts, "completion_tokens_details", "reasoning_tokens"),
    )
    return None if found == Usage() else found


def first(*counts: int | None) -> int | None:
    """Return the first count that is there."""
    return next((c for c in counts if c is not None), None)


def cache_write(details: Json) -> int | None:
    """Return the tokens written to the cache; a provider that tells of reads alone charges no writes."""
    written = fields.count(details, "cache_write_tokens")
    return 0 if written is None and fields.count(details, "cached_tokens") is not None else written


def refusal_body(refusal: Refusal) -> dict[str, Json]:
    """Return {"error": ...} as the SDK reads it: code, param and type become members of its exception."""
    other = "server_error" if refusal.status >= 500 else "policy_refusal"
    return {
        "error": {
            "message": message(refusal),
            "type": _TYPES.get(refusal.status, other),
            "param": None,
            "code": refusal.reason,
        }
    }


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
