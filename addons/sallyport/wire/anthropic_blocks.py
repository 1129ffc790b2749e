"""The shapes of the Messages API: content blocks by type, requests, answers, stream events."""

from collections.abc import Mapping

from sallyport.exchange import Surface
from sallyport.wire import leaves
from sallyport.wire.jsontext import Json
from sallyport.wire.shape import FREE, Shape, by
from sallyport.wire.shapes import (
    BASE64,
    CACHE_CONTROL,
    DOCUMENT_SCHEMA,
    MADE,
    MEDIA_TYPE,
    MODEL,
    OPAQUE,
    PLAIN,
    REFERENCE,
    TOOL_SCHEMA,
    WORD,
    made,
    plain,
    said,
    text,
    words,
)

_A = Surface.ASSISTANT
_R = Surface.REASONING
_C = Surface.TOOL_CALL
_RESULT = Surface.TOOL_RESULT
_D = Surface.DOCUMENT

_KNOWN = {"type": WORD, "cache_control": CACHE_CONTROL, "id": PLAIN, "tool_use_id": PLAIN, "is_error": PLAIN}


def _source(inner: Shape) -> Shape:
    """Return the shape of a source: base64, text, blocks, a URL or a file, by type."""
    known = {"type": WORD, "media_type": MEDIA_TYPE}
    inline = Shape(_D, {**known, "data": BASE64})
    other = Shape(
        _D,
        {
            **known,
            "data": text(_D),
            "content": inner,
            "url": Shape(_D, leaf=leaves.url(leaves.OCTETS)),
            "file_id": REFERENCE,
        },
    )
    return Shape(_D, choose=by("type", {"base64": inline}, other))


def blocks(surface: Surface) -> Shape:
    """Return the shape of a content: a string, or a list of blocks by type."""
    here = Shape(surface)
    documents = here if surface is _RESULT else Shape(_D)
    own = text(surface)
    written = Shape(surface, {**_KNOWN, "text": own, "citations": FREE[_D]})
    source = _source(documents)
    attached = Shape(
        _D, {**_KNOWN, "source": source, "citations": Shape(_D, plain("enabled")), **plain("title context")}
    )
    results = blocks(_RESULT) if surface is not _RESULT else here
    result = Shape(_RESULT, {**_KNOWN, "content": results})
    call = Shape(
        _C,
        {
            **_KNOWN,
            "name": text(_C),
            "input": FREE[_C],
            "caller": Shape(_C, words("type")),
            "server_name": text(_C),
        },
    )
    thinking = Shape(_R, {**_KNOWN, "thinking": text(_R), "signature": OPAQUE, "data": OPAQUE})
    search = Shape(
        _RESULT, {**_KNOWN, "content": FREE[_RESULT], "title": text(_RESULT), "source": text(_RESULT)}
    )
    search.fields["content"] = Shape(_RESULT, {**_KNOWN, "text": text(_RESULT), "encrypted_content": OPAQUE})
    cases = {
        "text": written,
        **dict.fromkeys(("image", "document"), attached),
        **dict.fromkeys(("tool_result", "mcp_tool_result"), result),
        **dict.fromkeys(("tool_use", "server_tool_use", "mcp_tool_use"), call),
        **dict.fromkeys(("thinking", "redacted_thinking"), thinking),
        "search_result": search,
        "container_upload": Shape(_D, {**_KNOWN, "file_id": REFERENCE}),
        "compaction": Shape(_D, {**_KNOWN, "content": text(_D), "encrypted_content": OPAQUE}),
    }
    for name in (
        "web_search",
        "web_fetch",
        "code_execution",
        "bash_code_execution",
        "text_editor_code_execution",
    ):
        cases[f"{name}_tool_result"] = _server_result(documents)
    here.choose = by("type", cases, written)
    if documents is not here:
        documents.choose = by(
            "type",
            {**cases, "text": Shape(_D, written.fields | {"text": text(_D)})},
            Shape(_D, {**_KNOWN, "text": text(_D)}),
        )
    return here


def _server_result(documents: Shape) -> Shape:
    """Return the shape of a server tool's result, at any depth: outputs, pages found, pages fetched."""
    inner = Shape(_RESULT, {**_KNOWN, "source": _source(documents), "encrypted_content": OPAQUE})
    inner.fields |= {"file_id": REFERENCE, "content": inner}
    return inner


_ROLES = {
    role: Shape(surface, {"role": WORD, "content": blocks(surface)})
    for role, surface in (("user", Surface.USER), ("assistant", _A), ("system", Surface.SYSTEM))
}
_TOOL = Shape(
    Surface.TOOL_DEFINITION,
    {
        "type": WORD,
        "input_schema": TOOL_SCHEMA,
        "input_examples": FREE[Surface.TOOL_DEFINITION],
        "cache_control": CACHE_CONTROL,
        **dict.fromkeys(("name", "description"), text(Surface.TOOL_DEFINITION)),
        **plain("max_uses strict defer_loading display_width_px display_height_px"),
    },
)
_FORMAT = Shape(_D, {"type": WORD, "schema": DOCUMENT_SCHEMA, **plain("name")})
REQUEST = Shape(
    _D,
    {
        "model": MODEL,
        "system": blocks(Surface.SYSTEM),
        "messages": Shape(Surface.USER, choose=by("role", _ROLES, _ROLES["user"])),
        "tools": _TOOL,
        "tool_choice": Shape(
            Surface.TOOL_DEFINITION,
            {"type": WORD, "disable_parallel_tool_use": PLAIN, "name": text(Surface.TOOL_DEFINITION)},
        ),
        "thinking": Shape(_D, {**words("type display"), **plain("budget_tokens")}),
        "output_config": Shape(_D, {"effort": WORD, "format": _FORMAT}),
        "metadata": Shape(_D, plain("user_id")),
        "cache_control": CACHE_CONTROL,
        "container": Shape(_D, {"id": REFERENCE}, leaf=leaves.reference),
        **words("service_tier inference_geo speed"),
        **plain("max_tokens stream temperature top_p top_k stop_sequences anthropic_version"),
    },
)


# Answers. Blocks are read by type; ids, signatures and counts are the provider's.

_MADE = {
    **made("type id tool_use_id index signature encrypted_content encrypted_index file_id media_type"),
    "data": BASE64,
}
_CITATION = Shape(_A, made("type file_id encrypted_index"), names=False)
_CITED = {"citation": _CITATION, "citations": _CITATION}


def _block(surface: Surface) -> Shape:
    return Shape(surface, {**_MADE, **_CITED, "content": said(surface)}, names=False)


_CALL_BLOCK = Shape(_C, {**_MADE, "input": FREE[_C], "caller": MADE}, names=False)
_THOUGHT_BLOCK = _block(_R)
_THOUGHT_BLOCK.fields["data"] = MADE  # a redacted thought, encrypted
_BLOCKS = {
    **dict.fromkeys(("tool_use", "server_tool_use", "mcp_tool_use"), _CALL_BLOCK),
    **dict.fromkeys(("thinking", "redacted_thinking"), _THOUGHT_BLOCK),
}
_RESULT_BLOCK = Shape(_RESULT, _MADE, names=False)
_RESULT_BLOCK.rest = _RESULT_BLOCK
_TEXT_BLOCK = _block(_A)


def _choose_block(members: Mapping[str, Json]) -> Shape:
    kind = members.get("type")
    if type(kind) is not str:
        return _TEXT_BLOCK
    return _BLOCKS.get(kind) or (_RESULT_BLOCK if kind.endswith("_result") else _TEXT_BLOCK)


_ERROR = Shape(_D, made("type code details"), names=False)
PROBLEM = Shape(_D, {"error": _ERROR, **made("type request_id")}, names=False)
ANSWER = Shape(
    _D,
    {
        "content": Shape(_A, choose=_choose_block, names=False),
        "error": _ERROR,
        **made("id type role model stop_reason usage container request_id input_tokens context_management"),
    },
    names=False,
)

_FLOWS = {
    "text_delta": Shape(_A, {"type": MADE, "text": Shape(_A, leaf=leaves.flow)}, names=False),
    "thinking_delta": Shape(_R, {"type": MADE, "thinking": Shape(_R, leaf=leaves.flow)}, names=False),
    "input_json_delta": Shape(
        _C, {"type": MADE, "partial_json": Shape(_C, leaf=leaves.source_flow)}, names=False
    ),
    "signature_delta": MADE,
    "compaction_delta": Shape(_A, {**_MADE, "content": Shape(_A, leaf=leaves.flow)}, names=False),
}
_OTHER_DELTA = Shape(_A, {**_MADE, **_CITED, "stop_reason": MADE, "container": MADE}, names=False)
_STARTED = Shape(
    _A,
    {**_MADE, "text": Shape(_A, leaf=leaves.flow), "content": Shape(_A, leaf=leaves.flow, names=False)},
    names=False,
)
_STARTED_THOUGHT = Shape(_R, {**_MADE, "thinking": Shape(_R, leaf=leaves.flow)}, names=False)
_STARTS = {"text": _STARTED, "compaction": _STARTED, "thinking": _STARTED_THOUGHT}


def _choose_start(members: Mapping[str, Json]) -> Shape:
    """Choose the shape of a block at its start: what text it brings is continued by its deltas."""
    kind = members.get("type")
    return _STARTS.get(kind) or _choose_block(members) if type(kind) is str else _TEXT_BLOCK


EVENT = Shape(
    _D,
    {
        "message": ANSWER,
        "content_block": Shape(_A, choose=_choose_start, names=False),
        "delta": Shape(_A, choose=by("type", _FLOWS, _OTHER_DELTA), names=False),
        "error": _ERROR,
        **made("type index usage request_id context_management"),
    },
    names=False,
)
