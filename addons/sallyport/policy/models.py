"""The names that one model goes by: a list that names it once means all of them.

gpt-4o is also openai/gpt-4o (routers), models/gpt-4o, gpt-4o-2024-08-06 (a dated snapshot);
claude-sonnet-4 is also us.anthropic.claude-sonnet-4-20250514-v1:0 (Bedrock) and claude-sonnet-4@20250514 (Vertex).
"""

import re
from functools import lru_cache

_PATH = re.compile(r"^.*/")
_PROFILE = re.compile(r"^(?:us-gov|us|eu|apac|global|jp|au|ca)\.(?=[a-z0-9]+\.)")
_VENDOR = re.compile(
    r"^(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|mistral|openai|qwen|stability|writer)\."
)
_BUILD = re.compile(r"-v[0-9]+(?::[0-9a-z]+){0,2}$|:[0-9a-z]+$")
_DATE = re.compile(r"[-@](?:20[0-9]{2}-?[01][0-9]-?[0-3][0-9]|latest)$")
_TUNED = re.compile(r"ft:([^:]+):")
_MAX_CHARS = 200


def spellings(model: str) -> tuple[str, ...]:
    """Return the names of a model, lower case, the one that was written first."""
    return _spellings(model) if len(model) <= _MAX_CHARS else (model.casefold(),)


def ancestors(model: str) -> tuple[str, ...]:
    """Return its names and those of the model it was fine-tuned from: what is forbidden stays so when tuned."""
    tuned = _TUNED.match(model.strip().casefold())
    return spellings(model) + (spellings(tuned[1]) if tuned else ())


@lru_cache(4096)
def _spellings(model: str) -> tuple[str, ...]:
    found = {model.strip().casefold(): None}
    for part in (_PATH, _PROFILE, _VENDOR, _BUILD, _DATE):
        found |= dict.fromkeys([shorter for name in found if (shorter := part.sub("", name, count=1))])
    return tuple(found)
