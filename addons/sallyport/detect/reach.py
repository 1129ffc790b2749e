"""How far a secret reaches: a pattern takes so much at most, and a key can be longer than anyone thought."""

import re

_LONG = 32
"""Characters from which a value that goes on without a break was cut by its pattern, and is not beside another."""
_VERY_LONG = 100
"""Likewise where the next sign may also stand between words: sk_live_..._used_by_the_shop."""
_FARTHEST = 8_192
_QUOTED = 24
"""Characters up to a closing quote: behind more than that stands something else."""
_QUOTED_WHOLE = 100
"""Likewise of signs that part nothing."""
_BEFORE = 100
"""Characters before a value in which the end of the line before is looked for."""
_SHORT = 6
"""Signs of a value before the quote that closes it, from which on what stands behind the quote is none of it."""
_CLOSING = re.compile(r"([\"'`])[,;)\]}]{0,3}\Z")
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
_EMPTY = re.compile(
    r"[A-Za-z0-9_\"'`\])][ \t]{0,8}([:=])[ \t]{0,40}\r?\n\s{0,40}?"
    r"([ \t]{0,40}(?:(?:export|set|env)[ \t]|-[ \t])?)[\"'`]?$"
)
"""The end of a line that sets nothing, up to where the next line begins."""
_SETTING = re.compile(
    r"([A-Z_][A-Z0-9_.-]{0,60}|[a-z_][a-z0-9_.-]{0,60}|[A-Z]?[a-z]{2,20}(?:[A-Z][a-z]{1,20}){0,4}\d?)[\"'`]?"
    r"(?:[ \t]{1,8}([:=])(?=\s|$)|(:)(?=\s|$)|(=)(?=[^\s=])|(=)(?=\s|$))"
)
_SHORT_NAME = 12
_PADDING = re.compile(r"={1,2}(?![\w=+/-])", re.ASCII)
_TO_QUOTE = {
    q: re.compile(
        rf"(?:(?:[^\s\\\"'`<$,;&|]|<(?![A-Za-z/])|\$(?!\{{)){{1,{_QUOTED}}}"
        rf"|[^\s\\\"'`<>$,;&|:=/]{{1,{_QUOTED_WHOLE}}}){q}"
    )
    for q in _QUOTES
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
    closing = _CLOSING.search(text, start, end)
    if closing and closing.group(1) == quote and closing.start() - start >= _SHORT:
        return closing.start()
    return end


def is_next_setting(text: str, start: int) -> bool:
    """Say whether what begins at start is no value of the setting on the line before, but the next setting.

    A setting with nothing behind it has no value: in PASSWORD= and DB_HOST=localhost, a line each, there is none.
    """
    line = text[max(0, start - _BEFORE) : start]
    if "\n" not in line or (ends := _EMPTY.search(line)) is None:
        return False
    if (following := _SETTING.match(text, start)) is None:
        return False
    name, padding = following.group(1), following.group(5)
    joined = "_" in name or "." in name
    if padding and not joined and len(name) > _SHORT_NAME:
        return False  # base32 with its padding
    if ends.group(1) == "=" or joined:
        return True
    sets = next(filter(None, following.groups()[1:]))
    return sets == ":" and (bool(ends.group(2)) or name.isalpha())


def _is_cut(text: str, end: int) -> bool:
    last, following = text[end - 1], text[end : end + 1]
    goes_on = (following.isascii() and following.isalnum()) or (following != "" and following in "+/_-.~=")
    return goes_on and last.isascii() and last != "="
