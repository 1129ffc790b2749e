"""Where a text stands inside HTML tags, whoever of its readers is right about where a tag begins.

Within a tag the rules are those of browsers (HTML Living Standard, 13.2.5.6 to 13.2.5.40, read 2026-11-23). Markdown
and HTML differ on which "<" begins one, so every "<" with a letter behind it is followed by itself: a state is one of
these, and a position is held to stand in all the states of a set. The set is finite, and so is the memory.
"""

import string

States = frozenset[str]

NONE: States = frozenset()
_NAME, _BETWEEN, _ATTRIBUTE, _EQUALS, _BARE = "name", "between", "attribute", "equals", "bare"
_QUOTED = {'"': '"', "'": "'"}
_WITH_URL = {'"': '"url', "'": "'url"}
_LOST = "lost"
_VALUES = frozenset({_EQUALS, _BARE, *_QUOTED.values(), *_WITH_URL.values(), _LOST})
_BLANK = " \t\n\r\f"


def begun(states: States, piece: str) -> States:
    """Return the states behind a "<" that this text follows; a tag's name begins with an ASCII letter."""
    return states | {_NAME} if piece[0] in string.ascii_letters else states


def in_value(states: States) -> bool:
    """Say whether the value of an attribute stands here."""
    return not states.isdisjoint(_VALUES)


def through(states: States, piece: str) -> States:
    """Return the states behind a text without white space, quotes, "<", ">" and "="."""
    return frozenset(after for state in states for after in _through(state, piece))


def _through(state: str, piece: str) -> tuple[str, ...]:
    match state:
        case "name":
            if "/" not in piece:
                return (_NAME,)
            return (_BETWEEN if piece[-1] == "/" else _ATTRIBUTE,)
        case "between" | "attribute":
            return (_BETWEEN if piece[-1] == "/" else _ATTRIBUTE,)
        case "equals":
            # Text that is quoted once more says \" here; who undoes that reads a quote, the others a bare value.
            return (_BARE,) if piece.strip("\\") else (_BARE, _EQUALS)
        case _:
            return (state,)


def at(states: States, char: str, *, url: bool, line_start: bool) -> States:
    """Return the states behind white space, a quote, "<", ">", "=" or a bracket.

    url: what stands before belongs to a URL. line_start: nothing stands before on this line but what a Markdown
    block may begin with, so that ">" may be the mark of a quotation, which is no part of the tag.
    """
    if char == ">" and line_start:
        return states
    return frozenset(after for state in states if (after := _at(state, char, url)) is not None)


def _at(state: str, char: str, url: bool) -> str | None:
    if state == _LOST:
        return state
    if state[0] in _QUOTED:
        return _in_quotes(state, char, url)
    if char == ">":
        return None
    match state:
        case "name":
            return _BETWEEN if char in _BLANK else _NAME
        case "between":
            return _BETWEEN if char in _BLANK else _ATTRIBUTE
        case "attribute":
            return _EQUALS if char == "=" else _ATTRIBUTE
        case "equals":
            return _EQUALS if char in _BLANK else _QUOTED.get(char, _BARE)
        case _:
            return _BETWEEN if char in _BLANK else _BARE


def _in_quotes(state: str, char: str, url: bool) -> str:
    quote = state[0]
    if url:
        state = _WITH_URL[quote]
    # Markdown may take the next line for prose and write a quote there as &quot;: then the URL goes on to wherever
    # the next tag has one, over all that stands between.
    if char in "\r\n" and state == _WITH_URL[quote]:
        return _LOST
    return _BETWEEN if char == quote else state
