"""Bedrock's runtime as a client sees it: Converse and InvokeModel, whole and in event-stream frames.

Signatures are checked as AWS checks them. InvokeModel speaks the families of Claude, Titan (`inputText`) and Llama
(`prompt`). A model with `tamper` in its name gets one bit of a frame wrong in the middle of its stream.
"""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

from sallyport.lab import anthropic
from sallyport.lab.awsauth import trouble_with
from sallyport.lab.behaviour import behaviour_of
from sallyport.lab.mind import Heard, Said, deltas, say, tool
from sallyport.lab.values import (
    Incoming,
    Json,
    Reply,
    dumps,
    json_reply,
    object_at,
    objects,
    string_at,
    strings,
)
from sallyport.wire.eventstream import json_frame

_HOST = re.compile(
    r"bedrock-runtime(?:-fips)?\.[a-z0-9-]+\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws)"
)
_PATH = re.compile(
    r"/model/(?P<model>[^/]+)/(?P<verb>converse|converse-stream|invoke|invoke-with-response-stream)"
)
_ERRORS = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_FRAMES = "application/vnd.amazon.eventstream"


def is_mine(request: Incoming) -> bool:
    return _HOST.fullmatch(request.host) is not None and request.path.startswith("/model/")


def model_of(request: Incoming) -> str:
    found = _PATH.fullmatch(request.path)
    return unquote(found["model"]) if found else ""


def answer(request: Incoming) -> Reply:
    """Answer a request as bedrock-runtime would."""
    if trouble := trouble_with(request, "bedrock"):
        return error(403, trouble, "The security token or the signature of the request is not valid.")
    found = _PATH.fullmatch(request.path)
    if found is None or request.method != "POST":
        return error(404)
    model, verb = unquote(found["model"]), found["verb"]
    if status := behaviour_of(model).error:
        return error(status)
    body = request.json()
    if verb.startswith("converse"):
        return _converse(body, model, stream=verb == "converse-stream")
    return _invoke(body, model, stream=verb == "invoke-with-response-stream")


def error(status: int, kind: str = "", message: str = "") -> Reply:
    """Return an error as AWS's: its name in a header, its text in the body."""
    name = kind or _ERRORS.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    reply = json_reply({"message": message or f"The lab answers {status}."}, status)
    return Reply(reply.status, reply.content_type, reply.pieces, headers=(("x-amzn-errortype", name),))


def _converse(body: Json, model: str, *, stream: bool) -> Reply:
    messages = [*objects(body.get("messages"))]
    if not messages:
        return error(400, message="The messages member must not be empty.")
    newest = [*objects(messages[-1].get("content"))]
    results = [object_at(block, "toolResult") for block in newest if "toolResult" in block]
    users = [_texts(entry) for entry in messages if entry.get("role") == "user"]
    specs = [object_at(entry, "toolSpec") for entry in objects(object_at(body, "toolConfig").get("tools"))]
    heard = Heard(
        model=model,
        last=next((text for text in reversed(users) if text), ""),
        texts=(*strings(body.get("system")), *strings(body.get("messages"))),
        tools=tuple(
            tool(string_at(spec, "name"), object_at(object_at(spec, "inputSchema"), "json"))
            for spec in specs
            if spec
        ),
        tool_result=_texts(results[-1]) if results else None,
        stream=stream,
    )
    said = say(heard)
    usage = {
        "inputTokens": heard.tokens,
        "outputTokens": said.tokens,
        "totalTokens": heard.tokens + said.tokens,
    }
    metrics = {"latencyMs": 7}
    if stream:
        events = [*_converse_events(said, heard), ("metadata", {"usage": usage, "metrics": metrics})]
        return _frames(model, [json_frame("event", kind, dumps(event).encode()) for kind, event in events])
    message = {"role": "assistant", "content": _blocks(said, heard)}
    return json_reply(
        {"output": {"message": message}, "stopReason": _stop(said), "usage": usage, "metrics": metrics}
    )


def _texts(holder: Json) -> str:
    return "\n".join(text for block in objects(holder.get("content")) if (text := string_at(block, "text")))


def _stop(said: Said) -> str:
    return "tool_use" if said.call else "end_turn"


def _blocks(said: Said, heard: Heard) -> list[Json]:
    blocks: list[Json] = []
    if said.reasoning:
        thought = {"text": said.reasoning, "signature": f"SIGNED+{heard.id}=="}
        blocks.append({"reasoningContent": {"reasoningText": thought}})
    if said.call:
        call = {"toolUseId": f"tooluse_{heard.id}", "name": said.call.tool, "input": said.call.arguments}
        return [*blocks, {"toolUse": call}]
    return [*blocks, {"text": said.text}]


def _converse_events(said: Said, heard: Heard) -> Iterator[tuple[str, Json]]:
    yield "messageStart", {"role": "assistant"}
    for index, block in enumerate(_blocks(said, heard)):
        at = {"contentBlockIndex": index}
        if call := object_at(block, "toolUse"):
            start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
            yield "contentBlockStart", {**at, "start": start}
            parts: list[Json] = [{"toolUse": {"input": piece}} for piece in deltas(dumps(call["input"]))]
        elif thought := object_at(object_at(block, "reasoningContent"), "reasoningText"):
            texts: list[Json] = [{"text": piece} for piece in deltas(string_at(thought, "text"))]
            parts = [{"reasoningContent": part} for part in (*texts, {"signature": thought["signature"]})]
        else:
            parts = [{"text": piece} for piece in deltas(string_at(block, "text"))]
        for part in parts:
            yield "contentBlockDelta", {**at, "delta": part, "p": "abcdefgh"}
        yield "contentBlockStop", at
    yield "messageStop", {"stopReason": _stop(said)}


def _invoke(body: Json, model: str, *, stream: bool) -> Reply:
    if "anthropic_version" in body:
        return _claude(body, model, stream=stream)
    text = string_at(body, "inputText") or string_at(body, "prompt")
    if not text:
        return error(400, message="The body fits none of the lab's families.")
    heard = Heard(model=model, last=text, texts=(*strings(body),), stream=stream)
    said = say(heard)
    counts = {"inputTokenCount": heard.tokens, "outputTokenCount": said.tokens}
    metrics = {"amazon-bedrock-invocationMetrics": {**counts, "invocationLatency": 7, "firstByteLatency": 3}}
    if "inputText" in body:
        told = {"tokenCount": said.tokens, "outputText": said.text, "completionReason": "FINISH"}
        whole: Json = {"inputTextTokenCount": heard.tokens, "results": [told]}
        pieces: list[Json] = [
            {"outputText": piece, "index": 0, "completionReason": None} for piece in deltas(said.text)
        ]
        last: Json = {"outputText": "", "index": 0, "completionReason": "FINISH", **metrics}
    else:
        tokens = {"prompt_token_count": heard.tokens, "generation_token_count": said.tokens}
        whole = {"generation": said.text, **tokens, "stop_reason": "stop"}
        pieces = [{"generation": piece, "stop_reason": None} for piece in deltas(said.text)]
        last = {"generation": "", **tokens, "stop_reason": "stop", **metrics}
    return _frames(model, [_chunk(piece) for piece in (*pieces, last)]) if stream else json_reply(whole)


def _claude(body: Json, model: str, *, stream: bool) -> Reply:
    """Answer as Claude's own API does, in frames instead of lines."""
    asked = {**body, "model": model, "stream": stream}
    headers = {"x-api-key": "bedrock", "anthropic-version": string_at(body, "anthropic_version")}
    reply = anthropic.answer(Incoming("bedrock", "POST", "/v1/messages", "", headers, dumps(asked).encode()))
    if not stream or reply.status != 200:
        return reply
    events = [json.loads(piece.partition(b"data: ")[2]) for piece in reply.pieces]
    counts = {"inputTokenCount": 1, "outputTokenCount": 1, "invocationLatency": 7, "firstByteLatency": 3}
    events[-1] = {**events[-1], "amazon-bedrock-invocationMetrics": counts}
    return _frames(model, [_chunk(event) for event in events if event.get("type") != "ping"])


def _chunk(event: Json) -> bytes:
    wrapped = {"bytes": base64.b64encode(dumps(event).encode()).decode(), "p": "abcdefghij"}
    return json_frame("event", "chunk", dumps(wrapped).encode())


def _frames(model: str, frames: list[bytes]) -> Reply:
    half = len(frames) // 2
    if "stream-error" in model:
        failure = dumps({"message": "The lab's model broke off."}).encode()
        frames = [*frames[:half], json_frame("exception", "modelStreamErrorException", failure)]
    if "tamper" in model:
        wrong = frames[half]
        frames[half] = wrong[:-1] + bytes((wrong[-1] ^ 1,))
    return Reply(200, _FRAMES, tuple(frames), streamed=True)
