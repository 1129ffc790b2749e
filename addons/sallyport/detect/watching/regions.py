"""A text is cut into regions by its own characters alone: what a value may be lies in one region.

A token is a run without white space, quotes, braces and letters of scripts that write no spaces; the separators
right behind it belong to it. A region is one token, or several that may be one value together: numbers in
groups, a date, an address that begins with its number, a private key. Where a region ends depends on what
stands there and never on how the text arrived, so that every cutting of a text gives the same regions. It is
known as soon as no continuation could change it: `12 ev` is no date, whatever follows.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean: letters that are no part of any value."""

BREAKS = '"`{}<>,|'
"""Separators: those right behind a token belong to it, others are a token of their own, in which no value is."""

_TOKEN = re.compile(rf"[^\s{BREAKS}{UNSPACED}]+[{BREAKS}]*|[{BREAKS}]+")
_GAP = re.compile(rf"[\s{UNSPACED}]+")

_STREET_HEADS = (
    r"Rua|Calle|C/|Via|Viale|Corso|Piazza|Largo|Avenida|Av\.|Avda\.|Plaza|Paseo|Praça|Travessa|Travesía"
)
_WORD = (
    rf"(?:[{BREAKS}]{{1,4}}|[{BREAKS}]{{0,4}}(?!(?:{_STREET_HEADS})[^A-Za-z])"
    rf"[A-Za-z]{{1,16}}[.,;:!?){BREAKS}]{{0,3}})[ \n]{{1,80}}"
)
_WORDS = re.compile(rf"(?:{_WORD})+(?=[A-Za-z{BREAKS}])")
"""Words with another word behind the last: each is a region of its own, in which no value is. So are separators."""

_ONLY_WORDS = re.compile(
    rf"[ \n]*(?:{_WORD})*(?:(?=[{BREAKS}]{{1,4}}\Z)|"
    rf"(?:[{BREAKS}]{{1,4}}|(?=[A-Za-z]))(?=[^\s{BREAKS}{UNSPACED}]+[{BREAKS}]*\Z))"
)
"""The same where nothing else is there but a last token, which may grow."""

_PEM = re.compile(r"-----BEGIN")
_PEM_HEAD = re.compile(r"-----BEGIN[^\n]{0,60}?-----")
_LONGEST_HEAD = 80
_PEM_END = re.compile(r"-----END[^\n]{0,60}?-----\S*")

_GROUP = re.compile(r"(?:.*[\d+)/.-]|\d)[*_)]{0,3}\Z", re.DOTALL)
_GROUP_START = re.compile(r"[*_(+/.-]{0,3}\d|[-/.–]\Z")
_CAPITALS = re.compile(r"[A-Z0-9](?:[A-Z0-9-]{0,4}[A-Z0-9])?\Z")
_IBAN = re.compile(r"[A-Za-z]{2}\d\d[A-Za-z0-9]{0,4}\Z")
_MONTHS = (
    "jan|feb|mar|mär|apr|mai|may|jun|jul|aug|sep|okt|oct|nov|dec|dez|fév|fev|avr|jui|aou|aoû|ene|abr"
    "|ago|dic|gen|mag|giu|lug|set|ott|mrt|mei|maj|stycz|luteg|kwiet|czerw|lipc|sierp|wrzes|wrześ|pazdz|paźdz|listop"
    "|grudn|ledna|února|břez|dubna|květ|červ|srpna|září|říjn|prosin|tammik|helmik|maalisk|huhtik|toukok|kesäk|heinäk|elok"
    "|syysk|lokak|marrask|jouluk|ianua|iunie|iulie"
)
_MONTH = re.compile(rf"(?i)(?:{_MONTHS})[^\W\d_]{{0,7}}\.?,?\Z")
_MONTH_AFTER_DAY = re.compile(rf"{_MONTH.pattern}|(?:de|of)\Z")
_DAY = re.compile(r"(?i)\d{1,2}(?:st|nd|rd|th|er|\.|º)?,?\Z")
_HOUSE = re.compile(r"\d{1,5}[A-Za-z]?\Z")
_YEAR = re.compile(r"(?:19|20)\d\d\Z")
_CAPITALISED = re.compile(r"[A-ZÀ-Þ][^\W\d_'’-]*[.'’-]?[^\W\d_]*\.?,?\Z")
_STREET = re.compile(
    r"(?i)(?:street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|square|way|terrace|"
    r"crescent|close|highway|hwy|parkway|pkwy|circle|trail|alley)[.,]*\Z"
)
_STREET_BEGIN = re.compile(rf"(?:{_STREET_HEADS})\Z")
_STREET_END = re.compile(
    r"(?i)[^\W\d_-]+(?:-[^\W\d_]+){0,4}(?<!_)(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|ufer|straat|gracht|laan|plein|gatan|vägen|gade|vej)\Z"
)
_FRENCH = r"bis|ter|rue|avenue|av\.|place|boulevard|bd|allée|chemin|impasse|quai|route|cours|square"
_STREET_FRENCH = re.compile(rf"(?i)(?:{_FRENCH}),?\Z")
_PARTICLES = "de|la|le|les|du|des|del|della|delle|dei|di|do|da|dos|das|y|e"
_PARTICLE = re.compile(rf"(?:{_PARTICLES}|l'[^\W\d_]{{1,24}},?)\Z")
_SPELLED = re.compile(r"(?i)[\[(](?:at|dot|@|\.)[\])]\Z")
_LOCAL_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z")
_IBAN_GROUP = re.compile(r"(?:[A-Z0-9]{1,4}|[a-z]{0,3}\d[a-z\d]{0,3})[.,]?\Z")
_WRAPPERS = "\"`{}<>|'*_"


def _beginnings(words: str) -> str:
    """Return the pattern of every beginning of alternative words, themselves among them. A dot in them is escaped."""
    found = {
        word[:end] for word in words.split("|") for end in range(1, len(word) + 1) if word[end - 1] != "\\"
    }
    return "|".join(sorted(found))


_SPELLED_BEGUN = re.compile(rf"(?i)[\[(](?:(?:{_beginnings(r'at|dot|@|\.')})[\])]?)?\Z")
_MONTH_BEGUN = re.compile(rf"(?i)(?:{_beginnings(f'{_MONTHS}|of')})\Z")
_FRENCH_BEGUN = re.compile(rf"(?i)(?:{_beginnings(_FRENCH)})\Z")
_PARTICLE_BEGUN = re.compile(rf"(?:{_beginnings(_PARTICLES)}|l')\Z")
_IBAN_GROUP_BEGUN = re.compile(r"[a-z]{1,3}\Z")
_CAPITALS_BEGUN = re.compile(r"[A-Z0-9][A-Z0-9-]{0,5}\Z")
_GROUP_START_BEGUN = re.compile(r"[*_(+/.–-]{1,3}\Z")
_LONGEST_WORD = 24
"""Characters of a word after which it is no month and no part of a street's name."""

_MAX_STREET_WORDS = 6
_MAX_GAP = 3


class Region(NamedTuple):
    """Characters start to end of the whole text."""

    start: int
    end: int


class Regions:
    """Cuts one text into regions, whatever the pieces it arrives in.

    max_chars: a longer region ends there. open_from: start of what is not decided, the length of the text if
    nothing is. Keeps the undecided text and nothing else.
    """

    def __init__(self, max_chars: int) -> None:
        self._max = max_chars
        self._text = ""
        self._base = 0

    @property
    def open_from(self) -> int:
        """The first character that belongs to no finished region and to no gap between regions."""
        return self._base

    def feed(self, text: str, *, plain: bool = True) -> list[Region]:
        """Take the next piece; return the regions that are finished now. plain: small words among them, too."""
        self._text += text
        if not plain and len(self._text) < self._max and (words := _ONLY_WORDS.match(self._text)):
            passed = words.end()
            self._text = self._text[passed:]
            self._base += passed
            return []
        return self._cut(final=False, plain=plain)

    def skip(self, chars: int) -> None:
        """Pass over so many characters in which no value is, up to the end of a line; nothing is undecided."""
        self._base += chars

    def end(self, *, plain: bool = True) -> list[Region]:
        """Return what is left at the end of the text."""
        return self._cut(final=True, plain=plain)

    def _cut(self, *, final: bool, plain: bool) -> list[Region]:
        found: list[Region] = []
        position = 0
        text = self._text
        while position < len(text):
            gap = _GAP.match(text, position)
            if gap is not None:
                position = gap.end()
                continue
            if not plain and (words := _WORDS.match(text, position)) is not None:
                position = words.end()
            end = self._region_end(position, final=final)
            if end is None:
                break
            found.append(Region(self._base + position, self._base + end))
            position = end
        self._text = text[position:]
        self._base += position
        return found

    def _region_end(self, start: int, *, final: bool) -> int | None:
        """Return where the region that begins at start ends, None if that depends on what comes."""
        most = start + self._max
        if len(self._text) > most:
            # Nothing beyond the bound is looked at, or where it ends would depend on how much has come.
            end = _end_of_region(self._text[start:most], 0, final=True)
            return None if end is None else start + end
        return _end_of_region(self._text, start, final=final)


def _end_of_region(text: str, start: int, *, final: bool) -> int | None:
    first = _token(text, start, final=final)
    if first is None:
        return None
    end = first
    core = _core(text, start, first)
    if core.isalpha() and not _STREET_BEGIN.match(core):
        gap = _GAP.match(text, end)
        if gap is not None and gap.end() < len(text) and text[gap.end()].isalpha():
            return end  # two words, as most are: below comes the same
    elif begin := _PEM.search(text, start, first):
        return _end_of_key(text, begin.start(), first, final=final)
    run = [core]
    while True:
        gap = _GAP.match(text, end)
        if gap is None and end >= len(text):
            return end if final or not _may_go_on(run) else None
        if gap is None:
            return end  # a token right behind separators: a region of its own
        if not _may_go_on(run) or gap.end() - gap.start() > _MAX_GAP or "\n" in gap.group():
            return end
        if gap.end() >= len(text):
            return end if final else None
        second = _token(text, gap.end(), final=final)
        answer = _joins(
            run, text[gap.end() : second] if second else text[gap.end() :], whole=second is not None
        )
        if answer is False:
            return end
        if answer is None or second is None:
            return None
        run.append(_core(text, gap.end(), second))
        end = second


def _token(text: str, start: int, *, final: bool) -> int | None:
    """Return where the token at start ends, None if it may grow."""
    match = _TOKEN.match(text, start)
    assert match is not None
    return match.end() if final or match.end() < len(text) else None


def _core(text: str, start: int, end: int) -> str:
    """Return a token without separators before and behind it, but for the comma that a date may have."""
    return _stripped(text[start:end])


def _may_go_on(run: list[str]) -> bool:
    """Say whether anything could belong to a value that begins so."""
    last = run[-1]
    return bool(
        _LOCAL_PART.match(last)
        or _GROUP.match(last)
        or _CAPITALS.match(last)
        or _MONTH.match(last)
        or _DAY.match(last)
        or _HOUSE.match(last)
        or _IBAN.match(last)
        or _SPELLED.match(last)
        or _STREET_END.match(last)
        or _is_street(run)
    )


def _joins(run: list[str], token: str, *, whole: bool) -> bool | None:
    """Say whether a token may belong to the value that the run began; None if its beginning does not tell yet.

    Each answer depends on a number of first characters that those before them fix: more of them change nothing.
    """
    last, first = run[-1], token[0]
    if first in BREAKS:
        return False
    if _SPELLED.match(last):
        return True
    if first.isdigit():
        return _is_numeric(run)
    if first in "[(" and _LOCAL_PART.match(last) and not _is_numeric(run):
        return _fits(token, 8, _SPELLED, _SPELLED_BEGUN, whole=whole)
    if first in "(+/-.*_–":
        if not _is_numeric(run):
            return False
        if whole or len(token) >= 4 or not _GROUP_START_BEGUN.match(token):
            return bool(_GROUP_START.match(token[:4]))
        return None
    return _joins_word(run, token, whole=whole) if first.isalpha() else False


def _joins_word(run: list[str], token: str, *, whole: bool) -> bool | None:
    """The same for a token that begins with a letter."""
    last, upper = run[-1], token[0].isupper()
    if _IBAN.match(run[0]):
        return _fits(token, 8, _IBAN_GROUP, _IBAN_GROUP_BEGUN, whole=whole)
    if upper and any(map(str.isdigit, last)):
        if not whole and len(token) < 2:
            return None
        if not token[1:2].islower():
            return _fits(token, 8, _CAPITALS, _CAPITALS_BEGUN, whole=whole)
    answers: list[bool | None] = []
    if len(run) <= 2 and _DAY.match(last):
        answers.append(_fits(token, _LONGEST_WORD, _MONTH_AFTER_DAY, _MONTH_BEGUN, whole=whole))
    if _is_street(run):
        answers += _joins_street(run, token, upper=upper, whole=whole)
    return True if True in answers else None if None in answers else False


def _joins_street(run: list[str], token: str, *, upper: bool, whole: bool) -> Iterator[bool | None]:
    """Yield the same for each kind of word that may go on a street's name."""
    if upper:
        yield _fits(token, _LONGEST_WORD, _CAPITALISED, _CAPITALISED, whole=whole)
    elif not _HOUSE.match(run[0].rstrip(",")):
        yield _fits(token, _LONGEST_WORD, _PARTICLE, _PARTICLE_BEGUN, whole=whole)
    else:
        yield _fits(token, _LONGEST_WORD, _STREET_FRENCH, _FRENCH_BEGUN, whole=whole)
        if len(run) > 1 and _STREET_FRENCH.match(run[1]):
            yield _fits(token, _LONGEST_WORD, _PARTICLE, _PARTICLE_BEGUN, whole=whole)


def _fits(
    token: str, most: int, pattern: re.Pattern[str], begun: re.Pattern[str], *, whole: bool
) -> bool | None:
    """Say whether a pattern matches the first characters of a token, at most so many; None while they may come to it.

    begun: matches every beginning of what the pattern matches that the pattern does not match itself. A sign that
    wraps a word may turn out to stand inside of it.
    """
    word = _stripped(token[:most])
    matches = pattern.match(word) is not None
    if whole or len(token) >= most:
        return matches
    inside = token.lstrip(_WRAPPERS)
    if matches or not word or begun.match(word) or begun.match(inside) or pattern.match(inside):
        return None
    return False


def _is_numeric(run: list[str]) -> bool:
    """Say whether a number may follow within the same value."""
    last = run[-1]
    if _GROUP.match(last) or _MONTH.match(last) or _CAPITALS.match(last) or _IBAN.match(run[0]):
        return True
    if _STREET_END.match(last) or (len(run) > 1 and _STREET_BEGIN.match(run[0]) and _is_street(run)):
        return True
    return len(run) > 1 and bool(_MONTH.match(run[-2]) and _DAY.match(last))


def _stripped(token: str) -> str:
    return token.strip(_WRAPPERS)


def _is_street(run: list[str]) -> bool:
    """Say whether a run may be the beginning of a street address that is not over."""
    first, last = run[0], run[-1]
    if len(run) > _MAX_STREET_WORDS or _STREET.match(last):
        return False
    if _STREET_BEGIN.match(first):
        return all(_CAPITALISED.match(word) or _PARTICLE.match(word) for word in run[1:])
    if not _HOUSE.match(first.rstrip(",")) or _YEAR.match(first):
        return False
    if len(run) > 1 and _STREET_FRENCH.match(run[1]):
        return all(_is_french(word) for word in run[2:])
    return all(_CAPITALISED.match(word) for word in run[1:])


def _is_french(word: str) -> bool:
    return bool(_CAPITALISED.match(word) or _PARTICLE.match(word) or _STREET_FRENCH.match(word))


def _end_of_key(text: str, start: int, first: int, *, final: bool) -> int | None:
    """Return the end of a PEM block that may be a private key; of any other its head is a region."""
    head = _PEM_HEAD.match(text, start)
    if head is None:
        decided = final or len(text) - start > _LONGEST_HEAD or "\n" in text[start : start + _LONGEST_HEAD]
        return first if decided else None
    if "PRIVATE" not in head.group():
        return head.end()
    tail = _PEM_END.search(text, head.end())
    if tail is not None and (final or tail.end() < len(text)):
        return tail.end()
    return len(text) if final else None
