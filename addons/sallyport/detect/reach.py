"""How far a secret reaches: a pattern takes so much at most, and a key can be longer than anyone thought."""

import re

_LONG = 32
"""Characters from which a value that goes on without a break was cut by its pattern, and is not beside another."""
_VERY_LONG = 100
"""Likewise where the next sign may also stand between words: sk_live_..._used_by_the_shop."""
_FARTHEST = 8_192
_QUOTED = 24
"""Characters up to a closing quote: behind more than that stands something else."""
_QUOTES = "\"'`"
_JOINTS = "+/.~-_"
_PLAIN_JOINTS = "+/"
"""Signs that are part of some keys, and stand between others and what comes next: of a key that holds them."""

_RUNS = {
    joints: re.compile(rf"[A-Za-z0-9{re.escape(joints)}]*")
    for joints in (
        "".join(c for place, c in enumerate(_JOINTS) if 1 << place & n) for n in range(1 << len(_JOINTS))
    )
}
_PADDING = re.compile(r"={1,2}(?![\w=+/-])", re.ASCII)
_TO_QUOTE = {
    q: re.compile(rf"(?:[^\s\\\"'`<$,;&|]|<(?![A-Za-z/])|\$(?!\{{)){{1,{_QUOTED}}}{q}") for q in _QUOTES
}


def end_of_secret(text: str, start: int, end: int) -> int:
    """Return where a secret ends that was found from start to end: with its run, or with the quotes that it begins in.

    Says nothing of whether it is one: what was found is found, and no more than that is taken out with it.
    """
    if end - start >= _LONG and _is_cut(text, end):
        value, found = text[start:end], end
        joints = _JOINTS if len(value) >= _VERY_LONG else _PLAIN_JOINTS
        run = _RUNS["".join(c for c in joints if c in value)].match(text, end, end + _FARTHEST)
        end = run.end() if run else end
        while end > found and text[end - 1] in ".~":
            end -= 1
        padding = _PADDING.match(text, end)
        end = padding.end() if padding else end
    quote = text[start - 1 : start]
    if quote and quote in _QUOTES and not text.startswith(quote, end):
        quoted = _TO_QUOTE[quote].match(text, end)
        end = quoted.end() - 1 if quoted else end
    return end


def _is_cut(text: str, end: int) -> bool:
    last, following = text[end - 1], text[end : end + 1]
    goes_on = (following.isascii() and following.isalnum()) or (following != "" and following in "+/_-.~=")
    return goes_on and last.isascii() and last != "="
