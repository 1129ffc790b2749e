r"""The pattern of every beginning of what a pattern matches: what it does not match can no longer become a match.

Every character and every place that is still missing may be the end of the text (`\z`) instead; that needs no look at
how a pattern is built, only at what in it is one of them.
"""

import re

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\[:\^?\w+:\]|\\x\{[0-9A-Fa-f]+\}|\\.|[^\]\\])*\])"
    r"|(?P<boundary>\\[bB])"
    r"|(?P<place>\\[Az]|[\^$])"
    r"|(?P<escape>\\x\{[0-9A-Fa-f]+\}|\\x[0-9A-Fa-f]{2}|\\[0-7]{1,3}|\\[pP](?:\{\^?\w+\}|\w)|\\.)"
    r"|(?P<syntax>\((?:\?(?:P?<\w+>|[a-zA-Z-]*:|[a-zA-Z-]+\)))?|\)|\||(?:[*+?]|\{\d+(?:,\d*)?\})\??)"
    r"|(?P<char>.)",
    re.DOTALL,
)


def unfinished(source: str) -> str:
    r"""Return the RE2 source that matches, from the beginning of a text, what begins a match or is one.

    source: RE2; of one with `\Q`, which no token tells apart, every text is taken for a beginning.
    """
    if r"\Q" in source:
        return ""
    return "".join(_taken(token) for token in _TOKEN.finditer(source))


def _taken(token: re.Match[str]) -> str:
    kind, part = token.lastgroup, token.group()
    return part if kind == "syntax" else rf"(?:{part}|\z)"
