"""The shapes of Google's generateContent family; every name in camelCase and in snake_case."""

from collections.abc import Mapping

from sallyport.exchange import Surface
from sallyport.wire import leaves
from sallyport.wire.jsontext import Json
from sallyport.wire.shape import FREE, Choose, Shape, by
from sallyport.wire.shapes import (
    BASE64,
    MADE,
    MEDIA_TYPE,
    MODEL,
    OPAQUE,
    PLAIN,
    RANDOM,
    REFERENCE,
    WORD,
    both_spellings,
    made,
    plain,
    said,
    schema,
    text,
    words,
)

_A = Surface.ASSISTANT
_R = Surface.REASONING
_C = Surface.TOOL_CALL
_RESULT = Surface.TOOL_RESULT
_TOOLS = Surface.TOOL_DEFINITION
_D = Surface.DOCUMENT

_INLINE = Shape(_D, {"mimeType": MEDIA_TYPE, "data": BASE64, "displayName": text(_D)})
_FILE = Shape(
    _D,
    {
        "mimeType": MEDIA_TYPE,
        "fileUri": Shape(_D, leaf=leaves.url(leaves.FILE_REFERENCE)),
        "displayName": text(_D),
    },
)


def _parts(surface: Surface) -> Shape:
    """Return the shape of parts; a part with thought: true is reasoning."""
    response = Shape(
        _RESULT, {"id": PLAIN, "name": text(_RESULT), "response": FREE[_RESULT], **words("scheduling")}
    )
    others = {
        "thought": PLAIN,
        "thoughtSignature": OPAQUE,
        "inlineData": _INLINE,
        "fileData": _FILE,
        "functionCall": Shape(_C, {"id": PLAIN, "name": text(_C), "args": FREE[_C]}),
        "functionResponse": response,
        "executableCode": Shape(_C, {"language": WORD, "code": text(_C), "id": PLAIN}),
        "codeExecutionResult": Shape(_RESULT, {"outcome": WORD, "output": text(_RESULT), "id": PLAIN}),
        "toolCall": FREE[_C],
        "toolResponse": FREE[_RESULT],
        "videoMetadata": Shape(_D, plain("startOffset endOffset fps")),
        "mediaResolution": Shape(_D, {"level": WORD}, leaf=leaves.word),
    }
    part = Shape(surface, {**others, "text": text(surface)})
    thought = Shape(_R, {**others, "text": text(_R)})
    response.fields["parts"] = _parts(_RESULT) if surface is not _RESULT else part
    both_spellings((part, thought))
    return Shape(surface, choose=_by_thought(part, thought))


def _by_thought(part: Shape, thought: Shape) -> Choose:
    def choose(members: Mapping[str, Json]) -> Shape:
        return thought if members.get("thought") is True else part

    return choose


def _content(surface: Surface) -> Shape:
    return Shape(surface, {"role": WORD, "parts": _parts(surface)})


_SYSTEM = _content(Surface.SYSTEM)
_ROLES = {
    "user": _content(Surface.USER),
    "model": _content(_A),
    "function": _content(_RESULT),
    "system": _SYSTEM,
}
_CONTENTS = Shape(Surface.USER, choose=by("role", _ROLES, _ROLES["user"]))
_TOOL_SCHEMA = schema(_TOOLS)
_SCHEMA = schema(_D)
_DECLARATION = Shape(
    _TOOLS,
    {
        **dict.fromkeys(("name", "description"), text(_TOOLS)),
        **dict.fromkeys(
            ("parameters", "parametersJsonSchema", "response", "responseJsonSchema"), _TOOL_SCHEMA
        ),
        "behavior": WORD,
    },
)
_CONFIG = Shape(
    _D,
    {
        **plain("maxOutputTokens temperature topP topK candidateCount presencePenalty frequencyPenalty"),
        **plain("stopSequences responseLogprobs logprobs enableEnhancedCivicAnswers audioTimestamp"),
        **words("responseModalities mediaResolution"),
        **dict.fromkeys(("responseSchema", "responseJsonSchema"), _SCHEMA),
        "seed": RANDOM,
        "responseMimeType": MEDIA_TYPE,
        "thinkingConfig": Shape(_D, {"thinkingLevel": WORD, **plain("includeThoughts thinkingBudget")}),
    },
)
_CALLING = Shape(_TOOLS, {"mode": WORD, "allowedFunctionNames": text(_TOOLS)})
REQUEST = Shape(
    _D,
    {
        "model": MODEL,
        "contents": _CONTENTS,
        "content": _content(_D),
        "systemInstruction": _SYSTEM,
        "tools": Shape(_TOOLS, {"functionDeclarations": _DECLARATION}),
        "toolConfig": Shape(_TOOLS, {"functionCallingConfig": _CALLING}),
        "safetySettings": Shape(_D, words("category threshold method")),
        "generationConfig": _CONFIG,
        "cachedContent": REFERENCE,
        "labels": FREE[_D],
        "taskType": WORD,
        **plain("title outputDimensionality autoTruncate store stream"),
        **words("serviceTier"),
    },
)
# Requests inside requests: token counts, batches of embeddings, inline batches.
_BATCH = Shape(_D, {"requests": Shape(_D, {"request": REQUEST, "metadata": FREE[_D]})})
REQUEST.fields |= {
    "generateContentRequest": REQUEST,
    "embedContentRequest": REQUEST,
    "requests": REQUEST,
    "batch": Shape(_D, {"displayName": PLAIN, "inputConfig": Shape(_D, {"requests": _BATCH})}),
}
both_spellings((REQUEST, *_ROLES.values()))


# Answers.


def _answer_parts(flowing: bool) -> Shape:
    """Return the shape of an answer's parts. flowing: the texts of a stream continue each other."""
    leaf = leaves.flow if flowing else None
    others = {
        **made("thought thoughtSignature"),
        "inlineData": _INLINE,
        "fileData": said(_D),
        "functionCall": Shape(_C, {"id": MADE, "args": FREE[_C], "partialArgs": said(_C)}, names=False),
        "functionResponse": said(_RESULT),
        "executableCode": Shape(_C, made("language id"), names=False),
        "codeExecutionResult": Shape(_RESULT, made("outcome id"), names=False),
        "toolCall": said(_C),
        "toolResponse": said(_RESULT),
    }
    part = Shape(_A, {**others, "text": Shape(_A, leaf=leaf)}, names=False)
    thought = Shape(_R, {**others, "text": Shape(_R, leaf=leaf)}, names=False)
    both_spellings((part, thought))
    return Shape(_A, choose=_by_thought(part, thought), names=False)


_ERROR = Shape(_D, made("code status @type reason domain"), names=False)
PROBLEM = Shape(_D, {"error": _ERROR, **made("code status")}, names=False)


def _answer(flowing: bool) -> Shape:
    content = Shape(_A, {"role": MADE, "parts": _answer_parts(flowing)}, names=False)
    candidate = Shape(
        _A,
        {
            "content": content,
            "groundingMetadata": said(_D),
            "citationMetadata": said(_D),
            **made("index finishReason safetyRatings avgLogprobs tokenCount"),
        },
        names=False,
    )
    feedback = Shape(_D, made("blockReason safetyRatings"), names=False)
    answer = Shape(
        _D,
        {
            "candidates": candidate,
            "promptFeedback": feedback,
            "error": _ERROR,
            **made("usageMetadata modelVersion responseId createTime embedding embeddings modelStatus"),
            **made("totalTokens promptTokensDetails"),
        },
        names=False,
    )
    both_spellings((answer,))
    return answer


def _batch_answer() -> Shape:
    """Return the shape of a batch, whose answers lie in what it has become or, while it goes on, in its metadata.

    A list of batches holds each as it is by itself.
    """
    answer = _answer(flowing=False)
    answer.fields |= dict.fromkeys(
        ("response", "metadata", "output", "inlinedResponses", "inlined_responses", "operations"), answer
    )
    return answer


ANSWER = _answer(flowing=False)
BATCH_ANSWER = _batch_answer()
CHUNK = _answer(flowing=True)
