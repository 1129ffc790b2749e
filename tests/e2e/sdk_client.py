"""Runs one call of an official SDK, as a user's program would, and prints what it got as JSON.

usage: sdk_client.py SDK CALL MODEL TEXT — nothing here knows of a gateway but the environment.
"""

import json
import sys
from typing import Any

TOOL = {"type": "object", "properties": {"to": {"type": "string"}, "body": {"type": "string"}}}


def openai_call(call: str, model: str, text: str) -> Any:
    import openai

    client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=2)
    messages = [{"role": "user", "content": text}]
    if call == "chat":
        return client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    if call == "stream":
        chunks = client.chat.completions.create(model=model, messages=messages, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    if call == "tool":
        tool = {"type": "function", "function": {"name": "send_mail", "parameters": TOOL}}
        answer = client.chat.completions.create(model=model, messages=messages, tools=[tool])
        return [c.function.arguments for c in answer.choices[0].message.tool_calls or []]
    if call == "tool_stream":
        tool = {"type": "function", "function": {"name": "send_mail", "parameters": TOOL}}
        pieces = client.chat.completions.create(model=model, messages=messages, tools=[tool], stream=True)
        return "".join(
            t.function.arguments or ""
            for p in pieces if p.choices for t in p.choices[0].delta.tool_calls or []
        )  # fmt: skip
    if call == "responses":
        return client.responses.create(model=model, input=text).output_text
    if call == "responses_stream":
        events = client.responses.create(model=model, input=text, stream=True)
        return "".join(e.delta for e in events if e.type == "response.output_text.delta")
    if call == "embeddings":
        return len(client.embeddings.create(model=model, input=text).data)
    if call == "models":
        return [m.id for m in client.models.list()][:3]
    raise SystemExit(f"no call {call}")


def anthropic_call(call: str, model: str, text: str) -> Any:
    import anthropic

    client = anthropic.Anthropic(api_key="sk-ant-test-EXAMPLE", max_retries=2)
    messages = [{"role": "user", "content": text}]
    if call == "chat":
        answer = client.messages.create(model=model, max_tokens=100, messages=messages)
        return "".join(b.text for b in answer.content if b.type == "text")
    if call == "stream":
        with client.messages.stream(model=model, max_tokens=100, messages=messages) as stream:
            return "".join(stream.text_stream)
    if call == "tool":
        tool = {"name": "send_mail", "input_schema": TOOL}
        answer = client.messages.create(model=model, max_tokens=100, messages=messages, tools=[tool])
        return [json.dumps(b.input) for b in answer.content if b.type == "tool_use"]
    if call == "count":
        return client.messages.count_tokens(model=model, messages=messages).input_tokens
    raise SystemExit(f"no call {call}")


def gemini_call(call: str, model: str, text: str) -> Any:
    from google import genai

    client = genai.Client(api_key="AIza-test-EXAMPLE")
    if call == "chat":
        return client.models.generate_content(model=model, contents=text).text
    if call == "stream":
        return "".join(
            c.text or "" for c in client.models.generate_content_stream(model=model, contents=text)
        )
    raise SystemExit(f"no call {call}")


CALLS = {"openai": openai_call, "anthropic": anthropic_call, "google-genai": gemini_call}


def main() -> None:
    sdk, call, model, text = sys.argv[1:5]
    try:
        print(json.dumps({"got": CALLS[sdk](call, model, text)}))
    except Exception as error:
        status = getattr(error, "status_code", None) or getattr(error, "code", None)
        print(json.dumps({"raised": type(error).__name__, "status": status, "message": str(error)}))


if __name__ == "__main__":
    main()
