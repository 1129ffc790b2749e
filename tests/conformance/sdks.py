"""Runs calls of official SDKs as a user's program would: one JSON object a line in, what the SDK showed a line out.

Nothing here knows of a gateway but the environment. One client per SDK and address, as programs keep them.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import sdk_files

type Call = dict[str, Any]

GIVE_UP_S = 0.4
"""After which a call that is to be abandoned is, where no piece of an answer ever comes."""


def main() -> None:
    for line in sys.stdin:
        call: Call = json.loads(line)
        answer: Call = {}
        try:
            run = FILES if call.get("filed") else RUN
            found = run[call["sdk"]](call)
            answer = found if isinstance(found, dict) else {"text": found, "status": 200}
        except Exception as error:
            answer = {"raised": type(error).__name__, "status": _status(error), "code": _code(error)}
        print(json.dumps(answer), flush=True)


def _status(error: Any) -> int:
    for name in ("status_code", "code", "http_status"):
        if isinstance(found := getattr(error, name, None), int):
            return found
    response = getattr(error, "response", None)
    found = (
        (response.get("ResponseMetadata") or {}).get("HTTPStatusCode") if isinstance(response, dict) else 0
    )
    return int(found or 0)


def _code(error: Any) -> str:
    body = getattr(error, "body", None)
    return str(
        getattr(error, "code", None)
        or (
            body.get("error", {}).get("code")
            if isinstance(body, dict) and isinstance(body.get("error"), dict)
            else ""
        )
        or ""
    )


def read(call: Call, pieces: Iterable[Any], text: Callable[[Any], str | None]) -> str:
    """Join a stream's text; of a call that is abandoned, take one piece and go."""
    if not call["abort"]:
        return "".join(text(piece) or "" for piece in pieces)
    first = text(next(iter(pieces)))
    close = getattr(pieces, "close", None)
    if close is not None:
        close()
    return first or ""


def base_of(call: Call, ending: str) -> str:
    return str(call["url"]).removesuffix(ending)


# -- OpenAI ------------------------------------------------------------------------------------------


@cache
def _openai(base: str, azure: bool) -> Any:
    import openai

    if azure:
        return openai.AzureOpenAI(
            api_key="azure-test-EXAMPLE", azure_endpoint=base, api_version="2024-10-21", max_retries=0
        )
    return openai.OpenAI(api_key="sk-test-EXAMPLE", base_url=base, max_retries=0)


_OPENAI_ENDINGS = ("/chat/completions", "/completions", "/responses", "/embeddings", "/moderations")


def openai(call: Call) -> str:
    url, model, text, stream = call["url"], call["model"], call["text"], call["stream"]
    ending = next(end for end in _OPENAI_ENDINGS if url.endswith(end))
    azure = "/openai/deployments/" in url or (".azure.com/openai/" in url and "/openai/v1/" not in url)
    base = url[: url.index("/openai/")] if azure else base_of(call, ending)
    client = _openai(base, azure).with_options(max_retries=call["retries"])
    if call["abort"] and not stream:
        client = client.with_options(timeout=GIVE_UP_S)
    match ending:
        case "/chat/completions":
            asked = client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": text}], stream=stream
            )
            if stream:
                return read(call, asked, lambda c: c.choices[0].delta.content if c.choices else "")
            return str(asked.choices[0].message.content)
        case "/responses":
            asked = client.responses.create(model=model, input=text, stream=stream)
            if stream:
                return read(call, asked, lambda e: e.delta if e.type == "response.output_text.delta" else "")
            return str(asked.output_text)
        case "/completions":
            asked = client.completions.create(model=model, prompt=text, stream=stream)
            if stream:
                return read(call, asked, lambda c: c.choices[0].text)
            return str(asked.choices[0].text)
        case "/embeddings":
            return str(len(client.embeddings.create(model=model, input=text).data))
        case _:
            return str(len(client.moderations.create(model=model, input=text).results))


# -- Anthropic ---------------------------------------------------------------------------------------


@cache
def _anthropic(base: str) -> Any:
    import anthropic

    return anthropic.Anthropic(api_key="sk-ant-test-EXAMPLE", base_url=base, max_retries=0)


def anthropic(call: Call) -> str:
    counts = call["url"].endswith("/count_tokens")
    client = _anthropic(base_of(call, "/v1/messages/count_tokens" if counts else "/v1/messages"))
    client = client.with_options(max_retries=call["retries"])
    messages = [{"role": "user", "content": call["text"]}]
    if counts:
        return str(client.messages.count_tokens(model=call["model"], messages=messages).input_tokens)
    if call["abort"] and not call["stream"]:
        client = client.with_options(timeout=GIVE_UP_S)
    asked = client.messages.create(
        model=call["model"], max_tokens=100, messages=messages, stream=call["stream"]
    )
    if call["stream"]:
        return read(
            call, asked, lambda e: getattr(e.delta, "text", "") if e.type == "content_block_delta" else ""
        )
    return "".join(block.text for block in asked.content if block.type == "text")


# -- Google ------------------------------------------------------------------------------------------


@cache
def _genai(version: str, timeout_ms: int) -> Any:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(api_version=version, timeout=timeout_ms)
    return genai.Client(api_key="AIza-test-EXAMPLE", http_options=options)


def genai(call: Call) -> str:
    _, _, _, version, kind, rest = call["url"].split("/", 5)
    verb = rest.rpartition(":")[2]
    model = f"{kind}/{call['model']}"
    gives_up = call["abort"] and not call["stream"]
    models = _genai(version, int(GIVE_UP_S * 1000) if gives_up else 20_000).models
    match verb:
        case "generateContent":
            return str(models.generate_content(model=model, contents=call["text"]).text)
        case "streamGenerateContent":
            return read(
                call, models.generate_content_stream(model=model, contents=call["text"]), lambda c: c.text
            )
        case "countTokens":
            return str(models.count_tokens(model=model, contents=call["text"]).total_tokens)
        case _:
            return str(len(models.embed_content(model=model, contents=call["text"]).embeddings))


# -- the others --------------------------------------------------------------------------------------


@cache
def _bedrock(url: str, gives_up: bool) -> Any:
    import boto3
    from botocore.config import Config

    timeout_s = GIVE_UP_S if gives_up else 20
    return boto3.client(
        "bedrock-runtime",
        region_name="eu-central-1",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=timeout_s),
    )


def bedrock(call: Call) -> str:
    host, _, verb = call["url"].rpartition("/")
    client = _bedrock(host.partition("/model/")[0], call["abort"] and not call["stream"])
    content = [{"role": "user", "content": [{"text": call["text"]}]}]
    model = call["model"]
    match verb:
        case "converse":
            message = client.converse(modelId=model, messages=content)["output"]["message"]
            return "".join(part.get("text", "") for part in message["content"])
        case "converse-stream":
            pieces = client.converse_stream(modelId=model, messages=content)["stream"]
            return read(
                call, pieces, lambda e: e.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
            )
    body = json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": call["text"]}],
        }
    )
    if verb == "invoke":
        whole = json.loads(client.invoke_model(modelId=model, body=body)["body"].read())
        return "".join(block.get("text", "") for block in whole["content"])
    pieces = client.invoke_model_with_response_stream(modelId=model, body=body)["body"]
    return read(call, pieces, lambda e: (json.loads(e["chunk"]["bytes"]).get("delta") or {}).get("text", ""))


@cache
def _cohere(base: str) -> Any:
    import cohere

    return cohere.ClientV2(api_key="co-test-EXAMPLE", base_url=base)


def cohere(call: Call) -> str:
    client = _cohere(call["url"].partition("/v2/")[0])
    options: Any = {"max_retries": call["retries"]}
    if call["abort"] and not call["stream"]:
        options["timeout_in_seconds"] = GIVE_UP_S
    if call["url"].endswith("/embed"):
        embedded = client.embed(
            model=call["model"],
            texts=[call["text"]],
            input_type="search_document",
            embedding_types=["float"],
            request_options=options,
        )
        return str(len(embedded.embeddings.float_))
    messages = [{"role": "user", "content": call["text"]}]
    if call["stream"]:
        pieces = client.chat_stream(model=call["model"], messages=messages, request_options=options)
        return read(call, pieces, _cohere_text)
    answer = client.chat(model=call["model"], messages=messages, request_options=options)
    return "".join(part.text for part in answer.message.content if part.type == "text")


class CohereFinishedInError(Exception):
    """What a careful program makes of it: the SDK raises nothing for an error within a stream."""


def _cohere_text(event: Any) -> str:
    if event.type == "message-end" and event.delta.finish_reason == "ERROR":
        raise CohereFinishedInError
    return str(event.delta.message.content.text) if event.type == "content-delta" else ""


@cache
def _mistral(base: str) -> Any:
    from mistralai.client import Mistral

    return Mistral(api_key="mistral-test-EXAMPLE", server_url=base)


def mistral(call: Call) -> str:
    client, model, text = _mistral(call["url"].partition("/v1/")[0]), call["model"], call["text"]
    options: Any = {"timeout_ms": int(GIVE_UP_S * 1000)} if call["abort"] and not call["stream"] else {}
    if call["url"].endswith("/embeddings"):
        return str(len(client.embeddings.create(model=model, inputs=[text]).data))
    if call["url"].endswith("/fim/completions"):
        if call["stream"]:
            return _mistral_stream(call, client.fim.stream(model=model, prompt=text))
        return str(client.fim.complete(model=model, prompt=text, **options).choices[0].message.content)
    messages = [{"role": "user", "content": text}]
    if call["stream"]:
        return _mistral_stream(call, client.chat.stream(model=model, messages=messages))
    return str(client.chat.complete(model=model, messages=messages, **options).choices[0].message.content)


def _mistral_stream(call: Call, pieces: Any) -> str:
    with pieces:
        return read(call, iter(pieces), lambda e: e.data.choices[0].delta.content or "")


_LAST = ("response.done", "response.completed", "error")


def openai_sockets(call: Call) -> Call:
    """One turn of Realtime or of Responses over WebSocket. raised: what ends the session, if anything does."""
    realtime = call["url"].endswith("/realtime")
    client = _openai(base_of(call, "/realtime" if realtime else "/responses"), False)
    model, text = call["model"], call["text"]
    answer: Call = {"text": "", "status": 101}
    patient: Any = {"open_timeout": 60}  # ten seconds by default, which a busy machine needs
    with (
        client.realtime.connect(model=model, websocket_connection_options=patient)
        if realtime
        else client.responses.connect(websocket_connection_options=patient)
    ) as connection:
        try:
            if realtime:
                content = [{"type": "input_text", "text": text}]
                connection.conversation.item.create(
                    item={"type": "message", "role": "user", "content": content}
                )
                connection.response.create()
            else:
                connection.response.create(model=model, input=text)
            for event in connection:
                if event.type == "response.output_text.delta":
                    answer["text"] += event.delta
                    if call["abort"]:
                        break
                if event.type == "error":
                    answer["code"] = _error_code(event)
                if event.type in _LAST and not _ends_soon(answer.get("code", "")):
                    break
        except Exception as error:
            answer["raised"] = type(error).__name__
    return answer


def _error_code(event: Any) -> str:
    error = getattr(event, "error", None)
    found = error.get("code") if isinstance(error, dict) else getattr(error, "code", None)
    return str(found or getattr(event, "code", None) or "")


def _ends_soon(code: str) -> bool:
    """Say whether the session is closed behind an error of this name."""
    return code in ("output.refused", "upstream.unreadable", "upstream.broken")


@cache
def _ollama(base: str, gives_up: bool) -> Any:
    import ollama

    return ollama.Client(
        host=base,
        headers={"Authorization": "Bearer ollama-test-EXAMPLE"},
        timeout=GIVE_UP_S if gives_up else 20,
    )


def ollama(call: Call) -> str:
    base = call["url"].partition("/api/")[0]
    client = _ollama(base, call["abort"] and not call["stream"])
    model, text, stream = call["model"], call["text"], call["stream"]
    if call["url"].endswith("/embed"):
        return str(len(client.embed(model=model, input=text).embeddings))
    if call["url"].endswith("/generate"):
        asked = client.generate(model=model, prompt=text, stream=stream)
        return read(call, asked, lambda e: e.response) if stream else str(asked.response)
    asked = client.chat(model=model, messages=[{"role": "user", "content": text}], stream=stream)
    return read(call, asked, lambda e: e.message.content) if stream else str(asked.message.content)


RUN: dict[str, Callable[[Call], str | Call]] = {
    "openai-python": openai,
    "openai-python over websocket": openai_sockets,
    "anthropic-python": anthropic,
    "google-genai": genai,
    "boto3": bedrock,
    "cohere": cohere,
    "mistralai": mistral,
    "ollama": ollama,
}


def _patience(call: Call) -> dict[str, Any]:
    return {"max_retries": call["retries"], **({"timeout": GIVE_UP_S} if call["abort"] else {})}


def _openai_files(call: Call) -> str:
    base = call["url"].partition("/v1/")[0] + "/v1"
    return sdk_files.with_openai(_openai(base, False).with_options(**_patience(call)), call)


def _anthropic_files(call: Call) -> str:
    base = call["url"].partition("/v1/")[0]
    return sdk_files.with_anthropic(_anthropic(base).with_options(**_patience(call)), call)


def _genai_files(call: Call) -> str:
    return sdk_files.with_genai(_genai("v1beta", int(GIVE_UP_S * 1000) if call["abort"] else 20_000), call)


FILES: dict[str, Callable[[Call], str]] = {
    "openai-python": _openai_files,
    "anthropic-python": _anthropic_files,
    "google-genai": _genai_files,
}
"""Calls about files and batches."""

if __name__ == "__main__":
    os.environ.setdefault("AWS_BEARER_TOKEN_BEDROCK", "bedrock-test-EXAMPLE")
    main()
