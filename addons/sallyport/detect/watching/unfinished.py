r"""The pattern of every beginning of what a pattern matches: what it does not match can no longer become a match.

Every character that is still missing may be the end of the text (`\z`) instead; that needs no look at how a pattern
is built, only at what in it is a character.
"""

import re

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\x\{[0-9A-Fa-f]+\}|\\.|[^\]\\])*\])"
    r"|(?P<boundary>\\[bB])"
    r"|(?P<place>\\[Az]|[\^$])"
    r"|(?P<escape>\\x\{[0-9A-Fa-f]+\}|\\x[0-9A-Fa-f]{2}|\\[pP](?:\{\^?\w+\}|\w)|\\.)"
    r"|(?P<syntax>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:|[a-zA-Z-]+\)))?|\)|\||(?:[*+?]|\{\d+(?:,\d*)?\})\??)"
    r"|(?P<char>.)",
    re.DOTALL,
)


def unfinished(source: str) -> str:
    r"""Return the RE2 source that matches, from the beginning of a text, what begins a match or is one.

    source: RE2 without `\Q` and `(?x)`; a literal brace is escaped.
    """
    return "".join(_taken(token) for token in _TOKEN.finditer(source))


def _taken(token: re.Match[str]) -> str:
    kind, part = token.lastgroup, token.group()
    return part if kind in ("syntax", "place") else rf"(?:{part}|\z)"
