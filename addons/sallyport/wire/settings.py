"""The settings of a request under normal names: temperature, store, max_output_tokens, whatever a dialect has.

Every number and boolean of a holder is a setting, known or not, so that policy can speak of what a provider
added yesterday. Strings are settings only under names known to hold words: elsewhere they are texts.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sallyport.exchange import FALLBACK_MODEL, Parameter, Scalar
from sallyport.wire import fields
from sallyport.wire.jsontext import Json, token
from sallyport.wire.shapes import snake

UNREADABLE = "(no single value)"
"""Value of a known setting where an object or a list stands in its place: it compares with nothing.

Also of any setting that is a number or a boolean in quotes: some servers take it for one, others do not.
"""

ALIASES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            *("max_tokens", "max_completion_tokens", "maxTokens", "maxOutputTokens", "max_gen_len"),
            *("max_tokens_to_sample", "maxTokenCount", "max_new_tokens", "num_predict"),
            *("max_response_output_tokens", "max_length", "maxNewTokens"),
        ),
        "max_output_tokens",
    ),
    **dict.fromkeys(("candidateCount", "candidate_count", "num_generations"), "n"),
    "random_seed": "seed",
}
"""Normal names of settings that go by others; of all others the normal name is the snake_case one."""

KNOWN = frozenset(
    (
        *("max_output_tokens", "temperature", "top_p", "top_k", "min_p", "n", "best_of", "seed", "store"),
        *(
            "stream",
            "background",
            "parallel_tool_calls",
            "disable_parallel_tool_use",
            "logprobs",
            "top_logprobs",
        ),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "max_tool_calls", "thinking_budget"),
        *(
            "service_tier",
            "reasoning_effort",
            "verbosity",
            "truncation",
            "thinking",
            "speed",
            "inference_geo",
        ),
        *("safety_mode", "think", "latency", "prompt_cache_retention", "raw", "echo", "prompt_mode"),
    )
)
"""Normal names that hold one value whatever its type; a string, a list or an object there is shown as well."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DIGITS = re.compile(r"[0-9]{1,15}")
_QUOTED = re.compile(
    r"\s*(?:[+-]?(?:[0-9_]+\.?[0-9_]*|\.[0-9_]+)(?:e[+-]?[0-9]+)?|true|false)\s*", re.IGNORECASE
)
_MAX_QUOTED_CHARS = 40

type Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a dialect keeps its settings.

    holders: paths of the objects whose members are settings; () is the body itself. deep: normal names of
    values that stand below, by path. aliases: normal names of the dialect's own, before ALIASES.
    digits: whole numbers may be written as strings, as protobuf JSON does.
    """

    holders: tuple[Path, ...] = ((),)
    deep: Mapping[Path, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    digits: bool = False
    _heads: frozenset[Path] = field(init=False)

    def __post_init__(self) -> None:
        # Objects that hold deep settings are therefore no setting themselves.
        object.__setattr__(self, "_heads", frozenset(path[:-1] for path in self.deep))

    def read(self, body: dict[str, Json], prefix: str = "") -> tuple[Parameter, ...]:
        """Return every setting that a body gives, also one that it gives twice. prefix: of the pointers."""
        found: list[Parameter] = []
        for path in self.holders:
            if path and path[0] not in body:
                continue
            holder = fields.get(body, *path)
            if type(holder) is not dict:
                continue
            at = prefix + "".join(f"/{part}" for part in path)
            for key, value in holder.items():
                kind = type(value)
                if value is None:
                    continue
                name = self._normal(key)
                if kind is dict or kind is list or kind is str:
                    if name not in KNOWN:
                        if name and type(value) is str and _is_quoted(value):
                            found.append(Parameter(name, UNREADABLE, f"{at}/{token(key)}"))
                        continue
                    if (*path, key) in self._heads:
                        continue
                elif not name:
                    continue
                found.append(Parameter(name, self._scalar(value), f"{at}/{token(key)}"))
        for path, name in self.deep.items():
            value = fields.get(body, *path) if path[0] in body else None
            if value is not None:
                found.append(Parameter(name, self._scalar(value), prefix + "".join(f"/{p}" for p in path)))
        for path in self.holders:
            holder = fields.get(body, *path)
            if type(holder) is dict:
                found += _other_models(holder, prefix + "".join(f"/{part}" for part in path))
        return tuple(found)

    def _normal(self, key: str) -> str:
        """Return the normal name of a member, "" for one that no setting can have."""
        known = self.aliases.get(key) or ALIASES.get(key)
        if known is not None:
            return known
        name = key if key.islower() else snake(key)
        return name if _NAME.fullmatch(name) else ""

    def _scalar(self, value: Json) -> Scalar:
        if type(value) is dict or type(value) is list or value is None:
            return UNREADABLE
        if self.digits and type(value) is str and _DIGITS.fullmatch(value):
            return int(value)
        return value  # type: ignore[return-value]


def absent(
    places: Mapping[str, str], found: tuple[Parameter, ...], prefix: str = ""
) -> tuple[tuple[str, str], ...]:
    """Return the name and pointer of each of these settings that a body does not give."""
    given = {parameter.name for parameter in found}
    return tuple((name, prefix + at) for name, at in places.items() if name not in given)


def _is_quoted(text: str) -> bool:
    """Say whether a string is a number or a boolean in quotes."""
    return len(text) <= _MAX_QUOTED_CHARS and _QUOTED.fullmatch(text) is not None


def _other_models(holder: dict[str, Json], at: str) -> Iterator[Parameter]:
    """Yield the models that a provider may ask besides the one that is named.

    They stand in for it (`fallbacks` of Anthropic, `models` of OpenRouter), or tools and plugins ask them:
    Anthropic's and OpenRouter's advisors, OpenAI's image generation.
    """
    for member in ("fallbacks", "models", "tools", "plugins"):
        listed = holder.get(member)
        for index, item in enumerate(listed if type(listed) is list else ()):
            if type(item) is str and member in ("fallbacks", "models"):
                yield Parameter(FALLBACK_MODEL, item, f"{at}/{member}/{index}")
            elif type(item) is dict:
                for path in (("model",), ("parameters", "model")):
                    model = fields.get(item, *path)
                    if type(model) is str or (model is not None and len(path) == 1):
                        where = f"{at}/{member}/{index}/{'/'.join(path)}"
                        yield Parameter(FALLBACK_MODEL, model if type(model) is str else UNREADABLE, where)
