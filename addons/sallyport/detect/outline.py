"""A pattern with less to remember, which matches wherever the pattern itself does: asked first, and mostly in vain.

What counts up to forty characters has another state for every number of them and for every place where the count could
have begun, and most of these states are new in a text that is new. Without its upper bounds a pattern has a tenth of
them. Where its outline does not occur, it need not be tried.
"""

import re

_MANY = 8
"""Repetitions from which on a bound is left out."""

_ENOUGH = 16
"""Of a number of repetitions that is asked for, as many are still asked for: more would say little."""

_PART = re.compile(
    r"\\(?:[pP]\{[^}]*\}|x\{[^}]*\}|.)"
    r"|\[\^?\]?(?:\\(?:[pP]\{[^}]*\}|x\{[^}]*\}|.)|\[:\^?[a-z]+:\]|[^\]\\])*\]"
    r"|(?P<repeat>\{(?P<least>[0-9]+)(?:,(?P<most>[0-9]*))?\})",
    re.DOTALL,
)
"""What may hold braces in a pattern, and a repetition; all else stands for itself."""


def outline(source: str) -> str:
    """Return a pattern, as RE2 takes it, that occurs in every text in which `source` does, and in some others."""
    return source if r"\Q" in source else _PART.sub(_unbounded, source)


def _unbounded(part: re.Match[str]) -> str:
    if part["repeat"] is None:
        return part[0]
    least = int(part["least"])
    most = least if part["most"] is None else int(part["most"]) if part["most"] else None
    is_small = most is not None and (most < _MANY or most == least <= _ENOUGH)
    return part[0] if is_small else f"{{{min(least, _ENOUGH)},}}"
