"""Runs one scripted session with an official SDK, as an agent would, and prints what it sent and got as JSON.

usage: client.py SESSION MODEL. Nothing here knows of a gateway but the environment. The whole history is sent
again on every turn, as the SDK returned it; every second answer is streamed.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from sessions import script

sent: list[str] = []
got: list[dict[str, Any]] = []


def listen() -> None:
    """Keep a copy of every body as it goes on the wire."""
    import httpx
    import httpx2

    for library in (httpx, httpx2):

        def send(self: Any, request: Any, *given: Any, _send: Any = library.Client.send, **named: Any) -> Any:
            sent.append(base64.b64encode(request.read()).decode())
            return _send(self, request, *given, **named)

        library.Client.send = send  # type: ignore[method-assign]


def openai_chat(model: str) -> None:
    import openai

    client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0)
    functions = [("Bash", script.TOOL_TEXT, script.SCHEMA), ("Read", script.SECOND_TOOL, script.FILE_SCHEMA)]
    tools = [
        {"type": "function", "function": {"name": n, "description": d, "parameters": s, "strict": False}}
        for n, d, s in functions
    ]
    messages: list[Any] = [{"role": "developer", "content": script.SYSTEM}]
    fixed = {"model": model, "tools": tools, "temperature": 0.20, "seed": 4012888888881881, "user": "u-1"}

    def ask(stream: bool) -> Any:
        if not stream:
            return client.chat.completions.create(messages=messages, **fixed).choices[0].message
        with client.chat.completions.stream(messages=messages, **fixed) as events:
            for _ in events:
                pass
            return events.get_final_completion().choices[0].message

    for number, (text, result) in enumerate(script.TURNS):
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{script.IMAGE}"}}
        parts: Any = [{"type": "text", "text": text}, image] if number == 3 else text
        messages.append({"role": "user", "content": parts})
        called = ask(number % 2 == 1)
        messages.append(called)
        call = called.tool_calls[0]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        said = ask(number % 2 == 0)
        messages.append(said)
        got.append({"arguments": json.loads(call.function.arguments), "text": said.content})


def _responses(model: str, *, kept: bool) -> None:
    """kept: the provider keeps the history, and only what is new is sent."""
    import openai

    client = openai.OpenAI(api_key="sk-test-EXAMPLE", max_retries=0)
    tools: Any = [
        {"type": "function", "name": "Bash", "description": script.TOOL_TEXT, "parameters": script.SCHEMA},
        {
            "type": "function",
            "name": "Read",
            "description": script.SECOND_TOOL,
            "parameters": script.FILE_SCHEMA,
        },
    ]
    fixed: Any = {"model": model, "instructions": script.SYSTEM, "tools": tools, "store": kept}
    fixed["include"] = ["reasoning.encrypted_content"]
    fixed["prompt_cache_key"] = "0192f3c4-7b1e-7d2a-9c3f-5a6b7c8d9e0f"
    history: list[Any] = []
    previous: str | None = None

    def ask(new: list[Any], stream: bool) -> Any:
        nonlocal previous
        history.extend(new)
        more: Any = {"input": new if kept else history}
        if kept and previous:
            more["previous_response_id"] = previous
        if stream:
            with client.responses.stream(**fixed, **more) as events:
                for _ in events:
                    pass
                answer = events.get_final_response()
        else:
            answer = client.responses.create(**fixed, **more)
        previous = answer.id
        for item in answer.output:
            plain = item.model_dump(exclude_none=True, exclude={"parsed_arguments"}, mode="json")
            if item.type == "reasoning":
                plain["encrypted_content"] = script.SEALED
            for part in plain.get("content", []):
                part.pop("parsed", None)
            history.append(plain)
        return answer

    for number, (text, result) in enumerate(script.TURNS):
        content = [{"type": "input_text", "text": text}]
        called = ask([{"role": "user", "content": content}], number % 2 == 1)
        call = next(item for item in called.output if item.type == "function_call")
        output = {"type": "function_call_output", "call_id": call.call_id, "output": result}
        said = ask([output], number % 2 == 0)
        got.append({"arguments": json.loads(call.arguments), "text": said.output_text})


def openai_responses(model: str) -> None:
    _responses(model, kept=False)


def openai_kept(model: str) -> None:
    _responses(model, kept=True)


def anthropic_messages(model: str) -> None:
    import anthropic

    client = anthropic.Anthropic(api_key="sk-ant-test-EXAMPLE", max_retries=0)
    cached = {"type": "ephemeral", "ttl": "1h"}
    fixed: Any = {
        "model": model,
        "max_tokens": 4096,
        "system": [
            {"type": "text", "text": "You are Harbour, an agent for the command line."},
            {"type": "text", "text": script.SYSTEM, "cache_control": cached},
        ],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "tools": [
            {"name": "Bash", "description": script.TOOL_TEXT, "input_schema": script.SCHEMA},
            {
                "name": "Read",
                "description": script.SECOND_TOOL,
                "input_schema": script.FILE_SCHEMA,
                "cache_control": cached,
            },
        ],
        "metadata": {
            "user_id": "user_3f786850e387550fdab836ed7e6dc881de23001b_account__session_6f1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
        },
    }
    messages: list[Any] = []

    def ask(stream: bool) -> Any:
        # As agents do it: the newest block carries the marker, the one before loses it.
        for message in messages:
            if isinstance(message["content"], list) and isinstance(message["content"][-1], dict):
                message["content"][-1].pop("cache_control", None)
        messages[-1]["content"][-1]["cache_control"] = {"type": "ephemeral"}
        if not stream:
            return client.messages.create(messages=messages, **fixed)
        with client.messages.stream(messages=messages, **fixed) as events:
            return events.get_final_message()

    for number, (text, result) in enumerate(script.TURNS):
        content: list[Any] = [{"type": "text", "text": text}]
        if number == 3:
            source = {"type": "base64", "media_type": "image/png", "data": script.IMAGE}
            content.insert(0, {"type": "image", "source": source})
        messages.append({"role": "user", "content": content})
        called = ask(number % 2 == 1)
        messages.append({"role": "assistant", "content": called.content})
        call = next(block for block in called.content if block.type == "tool_use")
        block = {"type": "tool_result", "tool_use_id": call.id, "content": result}
        if number % 3 == 0:
            block["content"] = [{"type": "text", "text": result}]
            block["is_error"] = False
        messages.append({"role": "user", "content": [block]})
        said = ask(number % 2 == 0)
        messages.append({"role": "assistant", "content": said.content})
        text = "".join(b.text for b in said.content if b.type == "text")
        thought = [b.thinking for b in said.content if b.type == "thinking"]
        got.append({"arguments": dict(call.input), "text": text, "thought": thought})


def gemini_generate(model: str) -> None:
    from google import genai
    from google.genai import types

    client = genai.Client(api_key="AIza-test-EXAMPLE")
    declared = [
        types.FunctionDeclaration(name=n, description=d, parameters_json_schema=s)
        for n, d, s in (
            ("Bash", script.TOOL_TEXT, script.SCHEMA),
            ("Read", script.SECOND_TOOL, script.FILE_SCHEMA),
        )
    ]
    config = types.GenerateContentConfig(
        system_instruction=script.SYSTEM,
        temperature=0.5,
        tools=[types.Tool(function_declarations=declared)],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True),
    )
    contents: list[Any] = []

    def ask(stream: bool) -> Any:
        asked: Any = {"model": model, "contents": contents, "config": config}
        if not stream:
            content = client.models.generate_content(**asked).candidates[0].content
        else:
            parts = [
                part
                for chunk in client.models.generate_content_stream(**asked)
                for part in chunk.candidates[0].content.parts
            ]
            texts = "".join(p.text for p in parts if p.text and not p.thought)
            thought = "".join(p.text for p in parts if p.text and p.thought)
            joined = [types.Part(text=thought, thought=True)] if thought else []
            joined += [p for p in parts if p.function_call]
            joined += [types.Part(text=texts)] if texts else []
            content = types.Content(role="model", parts=joined)
        contents.append(content)
        return content

    for number, (text, result) in enumerate(script.TURNS):
        contents.append(types.Content(role="user", parts=[types.Part(text=text)]))
        called = ask(number % 2 == 1)
        call = next(part.function_call for part in called.parts if part.function_call)
        answer = types.Part.from_function_response(name=call.name, response={"result": result})
        contents.append(types.Content(role="user", parts=[answer]))
        said = ask(number % 2 == 0)
        text = "".join(part.text for part in said.parts if part.text and not part.thought)
        got.append({"arguments": dict(call.args), "text": text})


SESSIONS = {
    f.__name__: f for f in (openai_chat, openai_responses, openai_kept, anthropic_messages, gemini_generate)
}


def main() -> None:
    session, model = sys.argv[1:3]
    listen()
    raised = ""
    try:
        SESSIONS[session](model)
    except Exception as error:
        raised = f"{type(error).__name__}: {error}"
    print(json.dumps({"sent": sent, "got": got, "raised": raised}))


if __name__ == "__main__":
    main()
