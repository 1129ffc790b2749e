"""The shapes of the Responses API: items by type, requests, answers, stream events."""

from collections.abc import Mapping

from sallyport.exchange import Surface
from sallyport.wire import leaves, openai_common
from sallyport.wire.jsontext import Json
from sallyport.wire.shape import FREE, Leaf, Shape, by
from sallyport.wire.shapes import (
    BASE64,
    DOCUMENT_SCHEMA,
    MADE,
    MODEL,
    OPAQUE,
    PLAIN,
    REFERENCE,
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

_KNOWN = {"type": WORD, "status": WORD, **plain("id call_id")}


def _message(surface: Surface) -> Shape:
    return Shape(
        surface,
        {
            **_KNOWN,
            "role": WORD,
            "phase": WORD,
            "content": openai_common.parts(surface),
            "name": text(surface),
        },
    )


_ROLES = {
    **dict.fromkeys(("system", "developer"), _message(Surface.SYSTEM)),
    "user": _message(Surface.USER),
    "assistant": _message(_A),
    "tool": _message(_RESULT),
}
_message_shape = by("role", _ROLES, _ROLES["user"])


def _item(surface: Surface, names: str, **others: Shape) -> Shape:
    """Return an item whose members with these names are texts of a surface."""
    return Shape(surface, {**_KNOWN, **dict.fromkeys(names.split(), FREE[surface]), **others})


_ARGUMENTS = Shape(_C, leaf=leaves.source)
_OUTPUT = openai_common.parts(_RESULT)
_REASONING = _item(_R, "summary content", encrypted_content=OPAQUE)
for _name in ("summary", "content"):
    _REASONING.fields[_name] = Shape(_R, {"type": WORD, "text": text(_R)})
_ITEMS = {
    "reasoning": _REASONING,
    "function_call": _item(_C, "name namespace", arguments=_ARGUMENTS),
    "custom_tool_call": _item(_C, "name namespace input"),
    "mcp_call": _item(_C, "name server_label error", arguments=_ARGUMENTS, output=text(_RESULT)),
    "mcp_approval_request": _item(_C, "name server_label", arguments=_ARGUMENTS),
    "web_search_call": _item(_C, "action"),
    "file_search_call": _item(_C, "queries", results=FREE[_RESULT]),
    "code_interpreter_call": _item(_C, "code container_id", outputs=FREE[_RESULT]),
    "computer_call": _item(_C, "action actions pending_safety_checks"),
    "local_shell_call": _item(_C, "action"),
    "shell_call": _item(_C, "action environment"),
    "apply_patch_call": _item(_C, "operation"),
    "program": _item(_C, "code"),
    "tool_search_call": _item(_C, "arguments execution"),
    "image_generation_call": _item(_C, "revised_prompt", result=BASE64),
    "function_call_output": _item(_RESULT, "name", output=_OUTPUT),
    "custom_tool_call_output": _item(_RESULT, "name", output=_OUTPUT),
    "computer_call_output": _item(_RESULT, "acknowledged_safety_checks", output=_OUTPUT),
    "local_shell_call_output": _item(_RESULT, "output"),
    "shell_call_output": _item(_RESULT, "output"),
    "apply_patch_call_output": _item(_RESULT, "output"),
    "program_output": _item(_RESULT, "result"),
    "mcp_approval_response": _item(Surface.USER, "reason approval_request_id"),
    "mcp_list_tools": _item(Surface.TOOL_DEFINITION, "server_label tools error"),
    "item_reference": Shape(Surface.DOCUMENT, {"type": WORD, "status": WORD, "role": WORD, "id": REFERENCE}),
    "compaction": _item(Surface.DOCUMENT, "", encrypted_content=OPAQUE),
}


_PICTURE_REFERENCE = Shape(_C, {**_KNOWN, "id": Shape(_C, leaf=leaves.kept("image/*"))})
_BARE = frozenset({"id", "type", "status", "role"})


def _choose_item(members: Mapping[str, Json]) -> Shape:
    """Choose by type. Without one it is a message; with an id and nothing else a reference, whose type is optional."""
    kind = members.get("type")
    if kind == "image_generation_call" and not members.get("result"):
        return _PICTURE_REFERENCE
    if type(kind) is str and kind in _ITEMS:
        return _ITEMS[kind]
    if "id" in members and ((kind is None and members.get("role") is None) or members.keys() <= _BARE):
        return _ITEMS["item_reference"]
    if kind is None or kind == "message":
        return _message_shape(members)
    return _PARTS.choose(members) if _PARTS.choose and "role" not in members else _OTHER


_PARTS = openai_common.parts(Surface.USER)  # content parts stand among the items in some requests
_OTHER = Shape(Surface.USER, {**_KNOWN, "role": WORD, "content": _PARTS})
_TOOL = Shape(Surface.TOOL_DEFINITION, {**openai_common.FUNCTION.fields, "type": WORD})
_TOOL.fields["tools"] = _TOOL
for _name in ("additional_tools", "tool_search_output"):
    _ITEMS[_name] = Shape(
        Surface.TOOL_DEFINITION, {**_KNOWN, "role": WORD, "tools": _TOOL, "execution": WORD}
    )
_INPUT = Shape(Surface.USER, choose=_choose_item)
_FORMAT = Shape(
    Surface.DOCUMENT, {"type": WORD, "schema": DOCUMENT_SCHEMA, **plain("name description strict")}
)
_SETTINGS = {
    "text": Shape(Surface.DOCUMENT, {"format": _FORMAT, "verbosity": WORD}),
    "reasoning": Shape(Surface.DOCUMENT, words("effort summary generate_summary")),
    "tool_choice": openai_common.TOOL_CHOICE,
    "tools": _TOOL,
    **words("truncation service_tier prompt_cache_retention"),
    **plain("user safety_identifier prompt_cache_key store background temperature top_p top_logprobs"),
    **plain("max_output_tokens max_tool_calls parallel_tool_calls previous_response_id"),
}
_STORED = leaves.PROMPT_REFERENCE
_PROMPT = Shape(Surface.DOCUMENT, leaf=leaves.kept(_STORED))
_VARIABLES = Shape(Surface.USER, rest=openai_common.parts(Surface.USER))
_INSTRUCTIONS = Shape(Surface.SYSTEM, choose=_choose_item)
REQUEST = Shape(
    Surface.DOCUMENT,
    {
        "model": MODEL,
        "input": _INPUT,
        "instructions": _INSTRUCTIONS,
        "include": Shape(Surface.DOCUMENT),
        "metadata": FREE[Surface.DOCUMENT],
        "prompt": Shape(
            Surface.DOCUMENT,
            {"variables": _VARIABLES, "id": _PROMPT, **plain("version")},
            leaf=leaves.kept(_STORED),
        ),
        "conversation": Shape(Surface.DOCUMENT, plain("id")),
        "stream": PLAIN,
        "stream_options": Shape(Surface.DOCUMENT, plain("include_obfuscation")),
        **_SETTINGS,
    },
)


# Answers. The provider made ids, types and states; everything else said is text.

_MADE = made("type id status call_id item_id object role phase")
_FILE_PART = {"image_url": said(_A), "data": BASE64, "logprobs": openai_common.LOGPROB}


def _answer_part(surface: Surface) -> Shape:
    return Shape(surface, {**_MADE, **_FILE_PART}, names=False)


def _answer_item(surface: Surface, **others: Shape) -> Shape:
    part = _answer_part(surface)
    return Shape(surface, {**_MADE, "content": part, "summary": part, **others}, names=False)


_ARGUMENTS_MADE = {"arguments": _ARGUMENTS, "encrypted_content": MADE}
_CALL = _answer_item(
    _C, **_ARGUMENTS_MADE, output=said(_RESULT), outputs=said(_RESULT), results=said(_RESULT)
)
_CALL.fields["result"] = BASE64
_ANSWER_ITEMS: dict[str, Shape] = {
    "message": _answer_item(_A),
    "reasoning": _answer_item(_R, encrypted_content=MADE),
    "mcp_list_tools": _answer_item(Surface.TOOL_DEFINITION),
    "compaction": _answer_item(Surface.DOCUMENT, encrypted_content=MADE),
}
for _name in _ITEMS:
    if _name not in _ANSWER_ITEMS:
        _ANSWER_ITEMS[_name] = _answer_item(_RESULT) if _name.endswith("_output") else _CALL
_OUTPUT_ITEM = Shape(_A, choose=by("type", _ANSWER_ITEMS, _answer_item(_A)))
ANSWER = Shape(
    Surface.DOCUMENT,
    {
        "output": _OUTPUT_ITEM,
        "output_text": text(_A),
        "input": _INPUT,
        "instructions": _INSTRUCTIONS,
        "error": openai_common.PROBLEM.fields["error"],
        "tools": said(Surface.TOOL_DEFINITION),
        "text": Shape(
            Surface.DOCUMENT,
            {"verbosity": MADE, "format": Shape(Surface.DOCUMENT, made("type"), names=False)},
            names=False,
        ),
        **made(
            "id object created_at completed_at status model usage tool_usage incomplete_details reasoning"
        ),
        **made("service_tier truncation tool_choice previous_response_id billing prompt_cache_retention"),
    },
    names=False,
)

_EVENT_FIELDS = {
    **made("type item_id obfuscation status sequence_number output_index content_index"),
    "item": _OUTPUT_ITEM,
    "response": ANSWER,
    "partial_image_b64": BASE64,
    "logprobs": openai_common.LOGPROB,
    "error": openai_common.PROBLEM.fields["error"],
}


def _event(surface: Surface, piece: Leaf, whole: Leaf | None = None) -> Shape:
    """Return an event whose `delta` is read by one leaf and whose other texts are whole."""
    text_members = dict.fromkeys(
        ("text", "refusal", "arguments", "input", "code", "command"), Shape(surface, leaf=whole)
    )
    part = Shape(surface, {**_MADE, "logprobs": openai_common.LOGPROB}, names=False)
    delta = Shape(surface, leaf=piece, names=False)
    return Shape(surface, {**_EVENT_FIELDS, **text_members, "part": part, "delta": delta}, names=False)


_REASONING_EVENT = _event(_R, leaves.flow)
_SOURCE_EVENT = _event(_C, leaves.source_flow, leaves.source)
_CALL_EVENT = _event(_C, leaves.flow)
_TEXT_EVENT = _event(_A, leaves.flow)
_PART_OF = {"reasoning_text": _REASONING_EVENT, "summary_text": _REASONING_EVENT}
_EVENTS: dict[str, Shape] = {}
for _stem, _shape in {
    "reasoning_text": _REASONING_EVENT,
    "reasoning_summary_text": _REASONING_EVENT,
    "reasoning_summary_part": _REASONING_EVENT,
    "function_call_arguments": _SOURCE_EVENT,
    "mcp_call_arguments": _SOURCE_EVENT,
    "custom_tool_call_input": _CALL_EVENT,
    "code_interpreter_call_code": _CALL_EVENT,
    "shell_call_command": _CALL_EVENT,
    "shell_call_output_content": _event(_RESULT, leaves.flow),
    "audio": _event(_A, leaves.base64),
}.items():
    for _end in ("delta", "done", "added"):
        _EVENTS[f"response.{_stem}.{_end}"] = _shape


def _choose_event(members: Mapping[str, Json]) -> Shape:
    kind = members.get("type")
    part = members.get("part")
    if type(part) is dict and type(part.get("type")) is str:
        return _PART_OF.get(str(part["type"]), _TEXT_EVENT)
    return _EVENTS.get(kind, _TEXT_EVENT) if type(kind) is str else _TEXT_EVENT


EVENT = Shape(Surface.DOCUMENT, choose=_choose_event, names=False)
