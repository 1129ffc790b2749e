"""Where a match may begin, also while the text is still being written.

An opener is a small part of RE2 syntax: characters, classes, escapes, (?:groups), alternatives, and counted
repetitions with an upper bound; `\\b` may stand first. From it come two patterns: one that finds a whole
opener, and one that also finds what may become one at the end of the text: there every character that is
still missing may be the end (`\\z`) instead.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_CHARS = 40
"""Longest opener; so much of a text may wait although no match has begun yet."""

_TOKEN = re.compile(
    r"(?P<atom>\\x\{[0-9A-Fa-f]{1,6}\}|\\x[0-9A-Fa-f]{2}|\\[dDsSwW]|\\[^A-Za-z0-9]|\\[nrtf]"
    r"|\[\^?\]?(?:\\x\{[0-9A-Fa-f]+\}|\\.|[^\]\\\[])*\]|[^\\\[\](){}|?*+.^$])"
    r"|(?P<open>\(\?:)|(?P<close>\))|(?P<or>\|)|(?P<boundary>\\b)"
    r"|(?P<count>\?|\{(?P<low>\d+)(?:,(?P<high>\d+))?\})",
    re.DOTALL,
)


class OpenerError(ValueError):
    """Not an opener; the message says what is met, where, and what to do."""


@dataclass(frozen=True, slots=True)
class Opener:
    """Compiled sources. whole, begun: RE2 sources; fewest, most: characters of a whole opener.

    bounded: all sources begin with `\\b`. RE2 knows ASCII letters alone; with bounded, whoever searches can ask
    the same of the letters of every script.
    """

    whole: str
    begun: str
    fewest: int
    most: int
    bounded: bool


def opener(sources: Sequence[str]) -> Opener:
    """Read an opener of one or more alternatives. Raises OpenerError."""
    made = [_single(source) for source in sources]
    return Opener(
        _either([single.whole for single in made]),
        _either([single.begun for single in made]),
        min(single.fewest for single in made),
        max(single.most for single in made),
        all(single.bounded for single in made),
    )


def _single(source: str) -> Opener:
    bounded = source.startswith(r"\b")
    tokens = [*_tokens(source[2:] if bounded else source)]
    node, rest = _alternatives(tokens, 0)
    if rest != len(tokens):
        raise OpenerError('has a ")" without a group')
    fewest, most = node.width
    if fewest == 0:
        raise OpenerError("may be empty; make one character mandatory")
    if most > MAX_CHARS:
        raise OpenerError(f"may be {most} characters long, more than {MAX_CHARS}; move its end to pattern")
    edge = r"\b" if bounded else ""
    return Opener(f"{edge}(?:{node.whole})", f"{edge}(?:{node.begun})", fewest, most, bounded)


def widths(source: str) -> tuple[int, int]:
    """Return the fewest and the most characters that a source of this syntax matches. Raises OpenerError."""
    tokens = [*_tokens(source)]
    node, rest = _alternatives(tokens, 0)
    if rest != len(tokens):
        raise OpenerError('has a ")" without a group')
    return node.width


@dataclass(frozen=True, slots=True)
class _Node:
    """A part: its source; what of it may stand before the end of the text, and the same but not empty."""

    whole: str
    cut: str
    begun: str
    width: tuple[int, int]


def _tokens(source: str) -> Iterator[re.Match[str]]:
    at = 0
    while at < len(source):
        token = _TOKEN.match(source, at)
        if token is None:
            raise OpenerError(
                f"has at {at} what an opener has not: only counted repetitions, classes, groups"
            )
        if token["boundary"]:
            raise OpenerError(r"has a \b inside; it may only stand first")
        yield token
        at = token.end()


def _alternatives(tokens: list[re.Match[str]], at: int) -> tuple[_Node, int]:
    branches: list[_Node] = []
    while True:
        node, at = _sequence(tokens, at)
        branches.append(node)
        if at == len(tokens) or not tokens[at]["or"]:
            break
        at += 1
    if len(branches) == 1:
        return branches[0], at
    return _Node(
        _either([b.whole for b in branches]),
        _either([b.cut for b in branches]),
        _either([b.begun for b in branches if b.begun]),
        (min(b.width[0] for b in branches), max(b.width[1] for b in branches)),
    ), at


def _sequence(tokens: list[re.Match[str]], at: int) -> tuple[_Node, int]:
    parts: list[_Node] = []
    while at < len(tokens) and not tokens[at]["or"] and not tokens[at]["close"]:
        token = tokens[at]
        at += 1
        if token["open"]:
            part, at = _alternatives(tokens, at)
            if at == len(tokens):
                raise OpenerError('has a "(?:" without its ")"')
            part = _Node(f"(?:{part.whole})", f"(?:{part.cut})", f"(?:{part.begun})", part.width)
            at += 1
        elif token["atom"]:
            char = token.group()
            part = _Node(char, rf"(?:{char}|\z)", char, (1, 1))
        else:
            raise OpenerError(f'has "{token.group()}" with nothing before it')
        if at < len(tokens) and tokens[at]["count"]:
            part = _repeated(part, tokens[at])
            at += 1
        parts.append(part)
    return _joined(parts), at


def _repeated(part: _Node, count: re.Match[str]) -> _Node:
    low, high = (0, 1) if count["low"] is None else (int(count["low"]), int(count["high"] or count["low"]))
    if high < max(low, 1):
        raise OpenerError(f"repeats {count.group()}")
    more = f"(?:{part.cut}){{{max(low - 1, 0)},{high - 1}}}" if high > 1 else ""
    return _Node(
        f"(?:{part.whole}){{{low},{high}}}",
        f"(?:{part.cut}){{{low},{high}}}",
        part.begun + more,
        (part.width[0] * low, part.width[1] * high),
    )


def _joined(parts: list[_Node]) -> _Node:
    """Return the sequence of parts. It has begun with its first part, or, where that may be empty, later."""
    begun: list[str] = []
    for index, part in enumerate(parts):
        begun.append(part.begun + "".join(later.cut for later in parts[index + 1 :]))
        if part.width[0]:
            break
    return _Node(
        "".join(part.whole for part in parts),
        "".join(part.cut for part in parts),
        _either(begun) if begun else "",
        (sum(part.width[0] for part in parts), sum(part.width[1] for part in parts)),
    )


def _either(branches: list[str]) -> str:
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
