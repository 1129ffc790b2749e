"""Originals come back into an answer's text, and only into its text.

A hostile answer can put a placeholder where a renderer would send the value away: into a URL, a link
target, an HTML tag. There it stays a placeholder. The context is followed over the whole channel, however
the text was cut, so that every cutting gives the same output.
"""

import json
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import accumulate

from sallyport.stages import tags
from sallyport.stages.placeholder import JSON_PLACEHOLDER, MAX_LENGTH, PLACEHOLDER

_OPENER = re.compile(r"<[A-Z]?[A-Z0-9_]{0,51}(?:_[a-z2-7]{0,10})?\Z")
_JSON_OPENER = re.compile(
    r"(?:<|\\u003[cC])[A-Z0-9_]{0,51}(?:_[a-z2-7]{0,10})?(?:\\(?:u(?:0(?:0(?:3)?)?)?)?)?\Z|\\(?:u(?:0(?:0(?:3)?)?)?)?\Z"
)
_TLD = r"(?:xn--[a-z0-9-]{1,59}|[^\W\d_]{2,24})"
_URLISH = re.compile(
    r"(?i)//|(?:^|(?<=[\"'(<=]))[/\\]{2}|\b[a-z][a-z0-9+.-]{1,20}:[/\\]|www\.|\burl\(|"
    r"\b(?:https?|ftps?|wss?|mailto|tel|sms|data|javascript|vbscript|file|blob):|"
    r"%[0-9a-f]{2}|&[a-z]{1,20}=|\?[\w.-]{1,30}=|&(?:#(?:0{0,4}4[67]|0{0,4}58|x0{0,4}(?:2[ef]|3a))|sol|colon|period);|"
    rf"\\0{{0,4}}(?:2f|3a)|[\w-]\.{_TLD}[/?#:]"
)
_STYLE_URL = re.compile(r"(?i)\burl\Z")
_HOST_SO_FAR = re.compile(rf"(?i)[\w-]\.{_TLD}\Z")
_AFTER_URL = re.compile(rf"(?:\.[\w-]+)*(?:\.{_TLD}[/:?#]|://|/)", re.IGNORECASE)
_DECISIVE = re.compile(r"[\s\"'`<>)\]},;!\\]|[.:?](?=[\s\"'])")
_WINDOW = 64
"""Characters of the current word that are kept; longer than anything _URLISH can match."""
_BLANK = " \t\n\v\f\r\x1c\x1d\x1e\x1f"
"""What ends a URL that stands by itself. Other white space, such as U+00A0, is part of it for Markdown."""
_BLOCK_MARKS = "-+*.0123456789"
_BEFORE_QUOTED = (*_BLANK, "", *"(=:,[{")


_JSON_PIECE = re.compile(r"\\u([0-9a-fA-F]{4})|\\([^u])|(\")|([^\\\"]+)|(\\.*)", re.DOTALL)
_JSON_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def _json_pieces(source: str) -> Iterator[tuple[str, str]]:
    """Yield what JSON source says, in pieces: ("text", decoded), ("quote", '"'), ("rest", an unfinished escape)."""
    for match in _JSON_PIECE.finditer(source):
        code, escaped, quote, plain, rest = match.groups()
        if code is not None:
            yield "text", chr(int(code, 16))
        elif escaped is not None:
            yield "text", _JSON_CONTROL.get(escaped, escaped)
        elif quote is not None:
            yield "quote", quote
        elif plain is not None:
            yield "text", plain
        else:
            yield "rest", rest


class Context:
    """Where a position in a text stands: in an HTML attribute, a link target, a URL-like word.

    feed() takes the text in order, in any cutting; forbidden says whether a value may not appear here.
    Memory is bounded by _WINDOW. json: the text is JSON source, where a bare quote ends every context, and a
    link may be spelt in escapes that whoever reads the arguments will undo.
    """

    _STRUCTURE = re.compile(r"[<>()\[\]\s\"'`|=]")

    def __init__(self, *, json: bool = False) -> None:
        self._json = json
        self._escape = ""
        self._reset()

    def _reset(self) -> None:
        self._tag_opening = False
        self._in_tag = False
        self._in_attribute = False
        self._tags = tags.NONE
        self._in_target = False
        self._in_definition = False
        self._on_next_line = False  # the definition has gone over the one line end it may
        self._awaiting = False  # a link's destination, and nothing but white space has come since
        self._in_angle = False
        self._depth = 0
        self._line_start = True
        self._previous = ""
        self._word = ""
        self._quote = ""  # the one that the current or next word stands in from its first character on
        self._url = False

    def feed(self, text: str) -> None:
        if not self._json:
            self._follow(text)
            return
        source, self._escape = self._escape + text, ""
        for kind, piece in _json_pieces(source):
            match kind:
                case "text":
                    self._follow(piece)
                case "quote":
                    self._reset()
                case _:
                    self._escape = piece

    def _follow(self, text: str) -> None:
        position = 0
        for match in self._STRUCTURE.finditer(text):
            if match.start() > position:
                self._extend(text[position : match.start()])
            self._structure(match.group())
            position = match.end()
        if position < len(text):
            self._extend(text[position:])

    def _extend(self, piece: str) -> None:
        if self._tag_opening:
            self._in_tag = self._in_tag or piece[0].isalpha() or piece[0] in "/!?"
            self._tags = tags.begun(self._tags, piece)
            self._tag_opening = False
        if self._tags:
            self._tags = tags.through(self._tags, piece)
        self._awaiting = False
        if piece[0] == ":" and self._previous == "]":
            # [x]: URL "title", a Markdown reference, to the end of its line; the URL may stand on the next
            self._in_definition, self._on_next_line, self._awaiting = True, False, len(piece) == 1
        self._line_start = self._line_start and not piece.strip(_BLOCK_MARKS)
        self._previous = piece[-1]
        self._grow(piece)

    def _grow(self, piece: str) -> None:
        word = self._word + piece
        self._url = self._url or bool(_URLISH.search(word))
        self._word = word[-_WINDOW:]

    def _structure(self, char: str) -> None:
        previous, self._previous = self._previous, char
        self._tag_opening = char == "<"
        if self._tags:
            url = self._url or self._in_target
            self._tags = tags.at(self._tags, char, url=url, line_start=self._line_start)
        self._destination(char, previous)
        match char:
            case ">":
                self._in_tag = self._in_attribute = False
            case "=":
                self._in_attribute = self._in_tag
            case _:
                pass
        if char not in _BLANK:
            self._line_start = self._line_start and char in ">)"
        elif char in "\r\n" and not (previous == "\r" and char == "\n"):
            self._line_start = True
        self._split(char, previous)

    def _destination(self, char: str, previous: str) -> None:
        """Follow where a link leads: ](...), the same in <...>, [x]: ... and url(...)."""
        if self._in_angle:  # spaces and brackets are part of it
            self._in_angle = char not in "\r\n" and (char != ">" or previous == "\\")
        else:
            self._in_angle = self._awaiting and char == "<"
            match char:
                case "(" if previous == "]" or (not self._in_target and _STYLE_URL.search(self._word)):
                    self._depth = self._depth + 1 if self._in_target else 0
                    self._in_target = True
                case "(" if self._in_target:
                    self._depth += 1
                case ")" if self._in_target and previous != "\\":
                    self._depth -= 1
                    self._in_target = self._depth >= 0
                case "\n" if previous == "\n":
                    self._in_target = False  # a Markdown link does not span a blank line
                case _:
                    pass
        if self._in_definition and char in _BLANK and not (previous == "\r" and char == "\n"):
            self._define(char)
        if char not in _BLANK and not (char == ">" and self._line_start):
            self._awaiting = char == "(" and previous == "]"

    def _define(self, char: str) -> None:
        """Follow a definition over white space; a URL on the next line ends it, so that prose there is not lost."""
        if char not in "\r\n":
            self._in_definition = not self._on_next_line or self._awaiting or self._in_angle
        elif self._awaiting and not self._on_next_line:
            self._on_next_line = True
        else:
            self._in_definition = False

    def _split(self, char: str, previous: str) -> None:
        """Begin a new word where every renderer ends a URL."""
        if char in _BLANK and previous == "\\":
            self._previous = previous if char == "\r" else char  # in a style sheet it is part of the URL
        elif char in "\r\n":
            self._word, self._url, self._quote = "", False, ""
        elif char in _BLANK:
            if not (self._url and self._quote):
                # Only a quote that nothing follows yet can begin a URL; in quotes a URL may hold spaces.
                self._quote = "" if self._word else self._quote
                self._word, self._url = "", False
        elif char in "<>\"'`|" and not self._url:
            self._word = ""
            self._quote = char if char in "\"'" and previous in _BEFORE_QUOTED else ""
        else:
            if char == self._quote:
                self._quote = ""
            elif char in "\"'" and previous == "(" and self._in_target:
                self._quote = char  # url("...")
            self._grow(char)

    @property
    def in_link(self) -> bool:
        """Whether it stands where Markdown or HTML says that a link is, whatever the characters are."""
        named = self._in_attribute or self._in_target or self._in_definition or self._in_angle
        return named or tags.in_value(self._tags)

    @property
    def forbidden(self) -> bool:
        return self.in_link or self._url or bool(_HOST_SO_FAR.search(self._word))


_BEGINS_JSON = re.compile(r"""\{["}]|\[["{\[\]0-9tfn-]""")
"""What JSON begins with that may hold a text."""

_TWO = re.compile(r"\s*(\S?)\s*(\S?)")


class Restorer:
    """Restores one text channel of an answer. lookup: placeholder -> original, None if unknown.

    json: the channel is JSON source, so originals are escaped for a JSON string. structured: it is if it begins like
    it, since that was asked for; a link in Markdown or HTML that somebody shows it as counts all the same.
    """

    def __init__(
        self, lookup: Callable[[str], str | None], *, json: bool = False, structured: bool = False
    ) -> None:
        self._lookup = lookup
        self._json = json
        self._undecided = structured and not json
        self._beginning = ""
        self._held = ""
        self._contexts = [Context(json=json)]  # by itself; and behind what it is shown joined to
        self._shown: Context | None = None  # where JSON stands that clients may show as a text
        self._pattern = JSON_PLACEHOLDER if json else PLACEHOLDER
        self._opener = _JSON_OPENER if json else _OPENER

    def _decide(self, text: str) -> None:
        """Take a text for JSON source by the first two characters of it that are not blank: [a] begins a link."""
        self._beginning = (self._beginning + "".join(_TWO.match(text).groups("")))[:2]  # type: ignore[union-attr]
        self._undecided = len(self._beginning) < 2 and self._beginning in ("", "{", "[")
        if _BEGINS_JSON.match(self._beginning):
            self._json, self._pattern, self._opener = True, JSON_PLACEHOLDER, _JSON_OPENER
            self._shown, self._contexts[0] = self._contexts[0], Context(json=True)

    @property
    def held(self) -> bool:
        return bool(self._held)

    def follow(self, before: "Restorer") -> None:
        """Begin where another text has ended, for whoever is shown both joined."""
        by_itself, *joined = before._contexts
        self._contexts.append(copy(joined[-1] if joined else before._shown or by_itself))

    def stand_behind(self, context: Context) -> None:
        """Go on from a context too, and carry it on: what is fed here is fed to it."""
        if context not in self._contexts:
            self._contexts.append(context)

    def feed(self, text: str) -> str:
        """Return what may go out now. Holds back from the first place a placeholder may have begun."""
        if self._undecided:
            self._decide(text)
        return self._run(self._held + text, final=False)

    def end(self) -> str:
        """Return what is still held, at the end of the channel."""
        return self._run(self._held, final=True)

    def _run(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        position = 0
        if "<" in text or (self._json and "\\" in text):
            for match in self._pattern.finditer(text):
                after = text[match.end() : match.end() + _WINDOW]
                if not final and not self._decided(after):
                    out.append(self._plain(text[position : match.start()]))
                    self._held = text[match.start() :]
                    return "".join(out)
                out.append(self._plain(text[position : match.start()]))
                out.append(self._one(match, after))
                position = match.end()
            if not final:
                opener = self._opener.search(text, max(position, len(text) - MAX_LENGTH - 16))
                if opener:
                    out.append(self._plain(text[position : opener.start()]))
                    self._held = text[opener.start() :]
                    return "".join(out)
        out.append(self._plain(text[position:]))
        self._held = ""
        return "".join(out)

    def _decided(self, after: str) -> bool:
        """Say whether enough follows to know that the value does not become part of a host name or path."""
        return len(after) >= _WINDOW or bool(_DECISIVE.search(self._read(after)))

    def _read(self, source: str) -> str:
        """Return what a text says, without an escape that is not finished."""
        if not self._json:
            return source
        return "".join(piece for kind, piece in _json_pieces(source) if kind != "rest")

    def _plain(self, text: str) -> str:
        if text:
            self._follow(text)
        return text

    def _follow(self, text: str) -> None:
        for context in self._contexts:
            context.feed(text)
        if self._shown is not None:
            self._shown.feed(text)

    def _one(self, match: re.Match[str], after: str) -> str:
        whole = match.group()
        spelled = f"<{match.group('name')}>" if self._json else whole
        original = self._lookup(spelled)
        if original is None:
            return self._plain(whole)
        is_link = any(context.forbidden for context in self._contexts)
        is_link = is_link or (self._shown is not None and self._shown.in_link)
        self._follow("x")  # something was written, so that later text is judged rightly
        if is_link or _AFTER_URL.match(self._read(after)):
            return whole
        return json.dumps(original, ensure_ascii=False)[1:-1] if self._json else original


def restore(
    text: str, lookup: Callable[[str], str | None], *, json: bool = False, structured: bool = False
) -> str:
    """Restore a whole text at once; the same result as any cutting through Restorer."""
    restorer = Restorer(lookup, json=json, structured=structured)
    return restorer.feed(text) + restorer.end()


def restore_parts(
    texts: Sequence[str], lookup: Callable[[str], str | None], behind: Context | None = None
) -> list[str]:
    """Restore the parts of a text that clients show joined; a value that is divided comes back where it begins.

    What stands in the parts before is context, and so is each part by itself, since it may be shown alone. behind: the
    context of a text that clients show before these; it goes on with them.
    """
    parts = _Parts(texts, Context() if behind is None else behind)
    for match in PLACEHOLDER.finditer(parts.joined):
        parts.pass_over(match.start())
        original = lookup(match.group())
        if original is None:
            parts.pass_over(match.end())
        else:
            parts.restore(match.end(), original)
    parts.pass_over(len(parts.joined))
    return ["".join(pieces) for pieces in parts.out]


class _Parts:
    """Parts of one text on their way out, followed from place to place of the text joined."""

    def __init__(self, texts: Sequence[str], together: Context) -> None:
        self.joined = "".join(texts)
        self.out: list[list[str]] = [[] for _ in texts]
        self._starts = list(accumulate(map(len, texts), initial=0))
        self._at = self._part = 0
        self._together, self._alone = together, Context()

    def pass_over(self, end: int) -> None:
        """Let the text up to a place go out as it is."""
        for piece in self._pieces(end):
            self._together.feed(piece)
            self._alone.feed(piece)

    def restore(self, end: int, original: str) -> None:
        """Put an original in the place of the text up to a place, if it may stand there."""
        after = self.joined[end : end + _WINDOW]
        self._enter()
        if self._together.forbidden or self._alone.forbidden or _AFTER_URL.match(after):
            deque(self._pieces(end), maxlen=0)
        else:
            self.out[self._part].append(original)
            self._at = end - 1
            self._enter()
            self._at = end
        # The contexts keep that something was written, so that later text is judged rightly.
        self._together.feed("x")
        self._alone.feed("x")

    def _pieces(self, end: int) -> Iterator[str]:
        """Write the text up to a place, and yield what of it falls to each part."""
        while self._at < end:
            self._enter()
            stop = min(end, self._starts[self._part + 1])
            piece, self._at = self.joined[self._at : stop], stop
            self.out[self._part].append(piece)
            yield piece

    def _enter(self) -> None:
        part = bisect_right(self._starts, self._at) - 1
        if part != self._part:
            self._part, self._alone = part, Context()
