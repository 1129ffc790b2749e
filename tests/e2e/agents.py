"""A small agent on three SDKs: it reads one report a turn with a tool, and sends its whole history again."""

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gateways import GatewayProcess

TOOL = "read_report"
_PARAMETERS = {"type": "object", "properties": {"which": {"type": "string"}}, "required": ["which"]}
_ROUNDS = 4
"""Calls of tools in one turn before the agent gives up."""


@dataclass
class Told:
    """What one turn ended in: the answer that the agent would show. results: how many tools it ran."""

    text: str
    results: int


@dataclass
class Agent:
    """Asks about one report a turn. reports: what the tool says, by turn. kept: the provider keeps the history.

    Every second turn is streamed, from the first on.
    """

    gateway: GatewayProcess
    model: str
    reports: list[str]
    kept: bool = False
    history: list[Any] = field(default_factory=list)
    last: str | None = None
    stream: bool = False

    def run(self) -> Iterator[Told]:
        """Yield each turn's end. Raises what the SDK raises."""
        for number, report in enumerate(self.reports):
            self.stream = number % 2 == 0
            self.hear(f"Read report number {number} and sum it up.")
            for results in range(_ROUNDS):
                text, calls = self.ask()
                if not calls:
                    yield Told(text, results)
                    break
                for call in calls:
                    self.give(call, report)
            else:
                raise AssertionError("the agent calls tools without end")

    def hear(self, text: str) -> None:
        raise NotImplementedError

    def ask(self) -> tuple[str, list[str]]:
        """Return what the assistant said and the ids of the calls it made."""
        raise NotImplementedError

    def give(self, call: str, result: str) -> None:
        raise NotImplementedError

    def http(self, module: Any) -> Any:
        """Return an HTTP client that knows the proxy and its authority, and nothing of the environment."""
        trusted = ssl.create_default_context(cafile=str(self.gateway.confdir / "ca-cert.pem"))
        proxy = f"http://127.0.0.1:{self.gateway.port}"
        return module.DefaultHttpxClient(proxy=proxy, verify=trusted, trust_env=False)


class OpenAIAgent(Agent):
    @cached_property
    def client(self) -> Any:
        import openai

        return openai.OpenAI(api_key="sk-test-EXAMPLE", http_client=self.http(openai))


class ChatAgent(OpenAIAgent):
    def hear(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def give(self, call: str, result: str) -> None:
        self.history.append({"role": "tool", "tool_call_id": call, "content": result})

    def ask(self) -> tuple[str, list[str]]:
        function = {"name": TOOL, "description": "Read a report.", "parameters": _PARAMETERS}
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": self.history,
            "tools": [{"type": "function", "function": function}],
        }
        if self.stream:
            with self.client.chat.completions.stream(**asked) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = self.client.chat.completions.create(**asked).choices[0].message
        self.history.append(message.model_dump(exclude_none=True, exclude={"parsed"}))
        for call in self.history[-1].get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
        calls = [call.id for call in message.tool_calls or ()]
        assert all(json.loads(call.function.arguments) for call in message.tool_calls or ())
        return message.content or "", calls


class ResponsesAgent(OpenAIAgent):
    def hear(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def give(self, call: str, result: str) -> None:
        self.history.append({"type": "function_call_output", "call_id": call, "output": result})

    def ask(self) -> tuple[str, list[str]]:
        tool = {"type": "function", "name": TOOL, "description": "Read a report.", "parameters": _PARAMETERS}
        asked: dict[str, Any] = {"model": self.model, "input": self.history, "tools": [tool]}
        if self.kept and self.last is not None:
            asked["previous_response_id"] = self.last
        if self.stream:
            with self.client.responses.stream(**asked) as stream:
                response = stream.get_final_response()
        else:
            response = self.client.responses.create(**asked)
        self.last = response.id
        items = [item.model_dump(exclude_none=True) for item in response.output]
        for item in items:
            item.pop("parsed_arguments", None)
            for part in item.get("content", ()):
                part.pop("parsed", None)
        self.history = [] if self.kept else self.history + items
        return response.output_text, [item["call_id"] for item in items if item["type"] == "function_call"]


class MessagesAgent(Agent):
    @cached_property
    def client(self) -> Any:
        import anthropic

        return anthropic.Anthropic(api_key="sk-ant-test-EXAMPLE", http_client=self.http(anthropic))

    def hear(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def give(self, call: str, result: str) -> None:
        block = {"type": "tool_result", "tool_use_id": call, "content": [{"type": "text", "text": result}]}
        self.history.append({"role": "user", "content": [block]})

    def ask(self) -> tuple[str, list[str]]:
        asked: dict[str, Any] = {
            "model": self.model,
            "max_tokens": 500,
            "messages": self.history,
            "tools": [{"name": TOOL, "description": "Read a report.", "input_schema": _PARAMETERS}],
        }
        if self.stream:
            with self.client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = self.client.messages.create(**asked)
        blocks = [block.model_dump(exclude_none=True) for block in message.content]
        for block in blocks:
            for name in ("parsed_output", "citations", "caller"):
                block.pop(name, None)
        self.history.append({"role": "assistant", "content": blocks})
        said = "".join(block["text"] for block in blocks if block["type"] == "text")
        return said, [block["id"] for block in blocks if block["type"] == "tool_use"]


AGENTS: dict[str, Callable[..., Agent]] = {
    "openai_chat": ChatAgent,
    "openai_responses": ResponsesAgent,
    "openai_kept": lambda *asked, **more: ResponsesAgent(*asked, kept=True, **more),
    "anthropic_messages": MessagesAgent,
}
