"""The dialects the gateway speaks, one line each; the provider catalogue names them by their keys."""

from sallyport.wire.anthropic_messages import AnthropicMessages
from sallyport.wire.anthropic_other import AnthropicForm, AnthropicOther
from sallyport.wire.bedrock_converse import BedrockConverse
from sallyport.wire.bedrock_invoke import BedrockInvoke
from sallyport.wire.cohere_v2 import CohereV2
from sallyport.wire.dialect import Dialect
from sallyport.wire.gemini_batch import GeminiBatch
from sallyport.wire.gemini_generate import GeminiGenerate
from sallyport.wire.ollama_chat import OllamaChat
from sallyport.wire.opaque import Opaque
from sallyport.wire.openai_batch import OpenAIBatch
from sallyport.wire.openai_chat import OpenAIChat
from sallyport.wire.openai_completions import OpenAICompletions
from sallyport.wire.openai_embeddings import OpenAIEmbeddings
from sallyport.wire.openai_form import OpenAIForm
from sallyport.wire.openai_other import OpenAIOther
from sallyport.wire.openai_realtime import OpenAIRealtime
from sallyport.wire.openai_responses import OpenAIResponses
from sallyport.wire.openai_responses_socket import OpenAIResponsesSocket

DIALECTS: dict[str, Dialect] = {
    "anthropic_form": AnthropicForm(),
    "anthropic_messages": AnthropicMessages(),
    "anthropic_other": AnthropicOther(),
    "bedrock_converse": BedrockConverse(),
    "bedrock_invoke": BedrockInvoke(),
    "cohere_v2": CohereV2(),
    "gemini_batch": GeminiBatch(),
    "gemini_generate": GeminiGenerate(),
    "ollama_chat": OllamaChat(),
    "opaque": Opaque(),
    "openai_batch": OpenAIBatch(),
    "openai_chat": OpenAIChat(),
    "openai_completions": OpenAICompletions(),
    "openai_embeddings": OpenAIEmbeddings(),
    "openai_form": OpenAIForm(),
    "openai_other": OpenAIOther(),
    "openai_realtime": OpenAIRealtime(),
    "openai_responses": OpenAIResponses(),
    "openai_responses_socket": OpenAIResponsesSocket(),
}
