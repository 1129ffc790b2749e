"""Which stand-in answers for which host. Hosts that are no AI provider answer plain text."""

from typing import Protocol

from sallyport.lab import anthropic, awshosts, bedrock, cohere, files, gemini, mistral, ollama, openai
from sallyport.lab.values import Incoming, Reply, text_reply

HOSTS = (
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "lab.openai.azure.com",
    "bedrock-runtime.us-east-1.amazonaws.com",
    "api.cohere.com",
    "ollama.com",
    "api.mistral.ai",
    "router.huggingface.co",
    "files.example.com",
)
_OPENAI_PATHS = ("/chat/completions", "/completions", "/embeddings", "/responses")


class StandIn(Protocol):
    """One provider that is told by its hosts."""

    def is_mine(self, request: Incoming, /) -> bool: ...

    def model_of(self, request: Incoming, /) -> str: ...

    def answer(self, request: Incoming, /) -> Reply: ...


_BY_HOST: tuple[StandIn, ...] = (files, bedrock, awshosts, cohere, ollama, mistral)


def model_of(request: Incoming) -> str:
    """Return the model a request names, in its body or its path; empty for hosts that are no provider."""
    for stand_in in _BY_HOST:
        if stand_in.is_mine(request):
            return stand_in.model_of(request)
    if _is_anthropic(request):
        return anthropic.model_of(request)
    if _is_gemini(request):
        return gemini.model_of(request)
    return openai.model_of(request) if _is_openai(request) else ""


def answer(request: Incoming) -> Reply:
    for stand_in in _BY_HOST:
        if stand_in.is_mine(request):
            return stand_in.answer(request)
    if _is_anthropic(request):
        return anthropic.answer(request)
    if _is_gemini(request):
        return gemini.answer(request)
    if _is_openai(request):
        return openai.answer(request)
    return text_reply(f"Plain text from {request.host}: {request.method} {request.path}\n")


def _is_anthropic(request: Incoming) -> bool:
    return request.host == "api.anthropic.com" or request.path.startswith("/anthropic/v1/")


def _is_gemini(request: Incoming) -> bool:
    return request.host == "generativelanguage.googleapis.com" and "/openai/" not in request.path


def _is_openai(request: Incoming) -> bool:
    """Whether OpenAI's stand-in answers: its own host, Azure, and any other host's compatible paths."""
    if request.host == "api.openai.com" or request.host.endswith(".openai.azure.com"):
        return True
    return not request.host.endswith(".example.com") and request.path.endswith(_OPENAI_PATHS)
