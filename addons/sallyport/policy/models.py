"""The names that one model goes by: a list that names it once means all of them.

gpt-4o is also openai/gpt-4o (routers), models/gpt-4o, gpt-4o-2024-08-06 and gpt-4-0613 (dated snapshots),
openai/gpt-4o:nitro and openai/gpt-4o:fireworks-ai (where a router sends it);
claude-sonnet-4 is also us.anthropic.claude-sonnet-4-20250514-v1:0 (Bedrock) and claude-sonnet-4@20250514 (Vertex).
"""

import re
from functools import lru_cache

from sallyport.fold import FOLD

_PRESET = "@preset/"
_PATH = re.compile(r"^.*/")
_PROFILE = re.compile(r"^(?:us-gov|us|eu|apac|global|jp|au|ca)\.(?=[a-z0-9]+\.)")
_VENDOR = re.compile(
    r"^(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|openai|qwen|stability|writer)\."
)
_BUILD = re.compile(r"-v[0-9]+(?::[0-9a-z]+){0,2}$|(?::[0-9a-z][0-9a-z-]*)+$")
_DATE = re.compile(
    r"[-@](?:20[0-9]{2}-?[01][0-9]-?[0-3][0-9]|[01][0-9]-20[0-9]{2}|[01][0-9]-[0-3][0-9]"
    r"|[01][0-9][0-3][0-9]|2[0-9][01][0-9]|00[0-9]|latest)$"
)
"""2024-08-06; 08-2024 of Cohere; 05-20 and 001 of Gemini; 0613 of OpenAI; 2411 (year and month) of Mistral."""
_TUNED = re.compile(r"ft:([^:]+):")
_MAX_CHARS = 200


def spellings(model: str) -> tuple[str, ...]:
    """Return the names of a model, lower case, the one that was written first."""
    return _spellings(model) if len(model) <= _MAX_CHARS else (model.casefold(),)


def ancestors(model: str) -> tuple[str, ...]:
    """Return its names and those of the model behind it: what is forbidden stays so when tuned, or in a preset.

    So it does in letters that look alike, or with some that nobody sees: who knows what a server makes of them.
    """
    found: tuple[str, ...] = ()
    plainly = model.isascii() and model.isprintable()
    for name in (model,) if plainly else (model, "".join(FOLD[char] for char in model[:_MAX_CHARS])):
        folded = name.strip().casefold()
        tuned = _TUNED.match(folded)
        plain = folded.partition(_PRESET)[0] if _PRESET in folded else ""
        found += (
            spellings(name) + (spellings(tuned[1]) if tuned else ()) + (spellings(plain) if plain else ())
        )
    return found


@lru_cache(4096)
def _spellings(model: str) -> tuple[str, ...]:
    found = {model.strip().casefold(): None}
    if any(_PRESET in name for name in found):
        return tuple(
            found
        )  # what a preset of OpenRouter asks, its owner alone knows: it goes by its own name
    for part in (_PATH, _PROFILE, _VENDOR, _BUILD, _DATE):
        found |= dict.fromkeys([shorter for name in found if (shorter := part.sub("", name, count=1))])
    return tuple(found)
