"""OpenAI's old text completions; the chunks of a stream are the answer's own shape."""

from collections.abc import Mapping

from sallyport.exchange import Operation, Surface
from sallyport.wire import fields
from sallyport.wire.dialect import Call
from sallyport.wire.errors import WireError
from sallyport.wire.jsontext import Json
from sallyport.wire.openai_chat import OpenAIChat
from sallyport.wire.shape import FREE, Shape
from sallyport.wire.shapes import MODEL, RANDOM, plain, text

_PROMPT = Shape(Surface.USER, tokens=True)

REQUEST = Shape(
    Surface.DOCUMENT,
    {
        "model": MODEL,
        "prompt": _PROMPT,
        "suffix": text(Surface.USER),
        "seed": RANDOM,
        "logit_bias": FREE[Surface.DOCUMENT],
        "stream_options": Shape(Surface.DOCUMENT, plain("include_usage include_obfuscation")),
        **plain("stop user stream n best_of echo logprobs temperature top_p max_tokens"),
        **plain("frequency_penalty presence_penalty"),
    },
)


_PLACES = {
    "max_output_tokens": "/max_tokens",
    **{name: f"/{name}" for name in ("temperature", "top_p", "n", "seed")},
}


class OpenAICompletions(OpenAIChat):
    """POST /completions: prompt is a string, strings, or token ids that nobody here can read."""

    name = "openai_completions"
    request = REQUEST
    completions = True

    def check(self, payload: dict[str, Json], operation: Operation) -> None:
        if type(payload.get("prompt", "")) not in (str, list):
            raise WireError("json.type", "/prompt")

    def tools(self, payload: dict[str, Json]) -> tuple[str, ...]:
        return ()

    def places(self, payload: dict[str, Json], call: Call) -> Mapping[str, str]:
        return _PLACES

    def answers(self, payload: dict[str, Json]) -> int:
        answers = fields.answers(payload, "n", "best_of")
        prompts = payload.get("prompt")
        if type(prompts) is list and prompts and type(prompts[0]) is not int:
            answers *= len(prompts)  # one answer for each prompt
        return answers
