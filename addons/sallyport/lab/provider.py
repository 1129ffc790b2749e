"""Which stand-in answers for which host. Hosts that are no AI provider answer plain text."""

from sallyport.lab import anthropic, gemini, openai
from sallyport.lab.values import Incoming, Reply, text_reply

HOSTS = (
    "api.openai.com",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "lab.openai.azure.com",
    "files.example.com",
)
_OPENAI_PATHS = ("/chat/completions", "/completions", "/embeddings", "/responses")


def model_of(request: Incoming) -> str:
    """Return the model a request names, in its body or its path; empty for hosts that are no provider."""
    if _is_anthropic(request):
        return anthropic.model_of(request)
    if _is_gemini(request):
        return gemini.model_of(request)
    return openai.model_of(request) if _is_openai(request) else ""


def answer(request: Incoming) -> Reply:
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
