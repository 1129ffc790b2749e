"""Whether a model may think where nobody sees it: tokens that are charged, and are told in the last report alone.

Of an answer that breaks off before that report, the texts that were seen say nothing of them.
"""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from sallyport.exchange import Parameter, Scalar

_UNASKED = (
    *("o1*", "o3*", "o4*", "gpt-5*", "gpt-6*", "codex*"),
    *("gemini-2.5*", "gemini-3*", "grok-4*", "grok-3-mini*"),
)
"""Models that think unless they are told not to, and show a summary of it or nothing (providers' pages, 2026-11)."""

_PLAIN = ("gpt-5*-chat*", "*non-reasoning*")
"""Of their families those that do not."""

_ASKED = frozenset({"reasoning_effort", "thinking", "thinking_budget", "think"})
_OFF: frozenset[Scalar] = frozenset({"none", "disabled", "off", 0})  # False is 0


def may_think(names: Iterable[str], settings: Sequence[Parameter]) -> bool:
    """Say whether a model of these names, lower case, may think at these settings. What is not known may not."""
    asked = [setting.value for setting in settings if setting.name in _ASKED]
    if asked:
        return any(value not in _OFF for value in asked)
    return any(_fits(name, _UNASKED) and not _fits(name, _PLAIN) for name in names)


def _fits(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
