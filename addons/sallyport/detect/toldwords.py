"""Whether a word is a password, where a sentence, a label or a column says that one stands there.

In such a place stands a password, or what is said of one: "is required", "is wrong", "to something longer". That is
few words, of which most are here or end as such words do; any other word is one that somebody chose.
"""

import re
from collections.abc import Iterator

from sallyport.detect.letters import is_random, is_short_random
from sallyport.detect.passwords import is_said, pieces_of, plain_letters
from sallyport.detect.published import is_published
from sallyport.detect.rows import Rows
from sallyport.detect.saidwords import SAID
from sallyport.detect.standins import is_placeholder, is_word_placeholder

_ENDS = re.compile(
    r"(?:[^aeiou]ed|[aeiou][^aeiou]ed|ied|ued|[ai]ble|ional|[ts]ive|[bcdfglmnprtuv]ous|[ai]cal|[aeilnrst]ly|[^aeiou]ful|less"
    r"|ified|[ai]sed|[ai]zed|isable|[it]ory|proof|wise|[tc]ion|ness|ibly|ably|ially|ment|abel|[ai]bile|bili|[au]t[oa]|[ai]d[oa]s?"
    r"|[nrst]os[oa]|[ai]mente|mente|[tz]ione|cion|cao|lich|isch|bar|haft|sam|ung|heit|keit|lijk|baar|loos|eux|euse|iquement"
    r"|aire|ality|ility|urity|[dt]est)$"
)
"""How words end that are said of things, in eight languages, where few names of things do."""

_PARTICIPLE = re.compile(
    r"(?:ge|ver|ent|zer|abge|ange|aufge|ausge|einge|zuruckge|opge|uitge)[a-z]{2,}(?:[^n]t|[^n]en|rd|gd)$"
)
"""What was done with a thing, in German and Dutch: small letters only, since with a great one it is a noun."""

_THINGS_WORDS = """
pudding herring sterling starling duckling gosling seedling dumpling darling sibling viking wedding evening morning
lightning earring stocking ceiling clothing building painting drawing spring string king ring wing sling bing boeing
sapling fledgling changeling hireling inkling yearling halfling earthling beijing reading kipling
"""
_THINGS = frozenset(_THINGS_WORDS.split())
"""Things whose names end as what somebody does."""

_SHORTEST, _LONGEST = 5, 32
_LONGEST_CELL = 128
_MOST_PIECES = 4


def told_word(value: str) -> bool:
    """A word that somebody chose, or letters at random, and not what is said of a password in its place."""
    bare = value.rstrip("!?*#.@$%&+")
    if not _SHORTEST <= len(bare) <= _LONGEST or not bare.isalpha():
        return False
    return _is_chosen(bare)


def short_word(value: str) -> bool:
    """The same where a word of four letters is one as well: in quotes, behind the name of a setting."""
    return 4 <= len(value) <= _LONGEST and value.isalpha() and _is_chosen(value)


def told_value(value: str) -> bool:
    """A word that somebody chose or any other value that is neither said of a password nor stands for one."""
    if value.isalpha():
        return told_word(value)
    if is_placeholder(value) or is_published(value) or not any(map(str.isalnum, value)):
        return False
    if " " in value or value.isdecimal():
        return False
    words = [word for word in re.split(r"[\W\d_]+", plain_letters(value)) if word]
    return any(map(str.isdigit, value)) or not all(word in SAID or is_said(word) for word in words)


def in_column(rows: Rows, start: int) -> Iterator[tuple[int, int, float]]:
    """Yield (start, end, 1.0) of the passwords in the column of a table at whose head a place stands."""
    for low, high in rows.below(start):
        if _SHORTEST <= high - low <= _LONGEST_CELL and told_value(rows.text[low:high]):
            yield low, high, 1.0


def session_id(value: str) -> bool:
    """What a cookie of a session holds: letters at random, or words with a number; not what became of the session."""
    if is_placeholder(value):
        return False
    if value.isalpha():
        return is_random(value)
    return len(value) >= 12 and told_value(value)


def _is_chosen(bare: str) -> bool:
    if is_word_placeholder(bare):
        return False
    if is_random(bare) or is_short_random(bare):
        return True
    if is_said(bare):
        return False
    plain = plain_letters(bare)
    if plain in SAID or plain.removesuffix("s") in SAID:
        return False
    pieces = pieces_of(bare)
    if len(pieces) >= _MOST_PIECES and len(bare) <= 2.5 * len(pieces):
        return True
    if len(pieces) > _MOST_PIECES:
        return False
    if len(pieces) > 1:
        known = [piece in SAID or is_said(piece) or len(piece) < 3 for piece in pieces]
        return bare[0].isupper() and not all(known) and max(map(len, pieces)) >= 4
    if _ENDS.search(plain) or (bare[0].islower() and _PARTICIPLE.match(plain)):
        return False
    if plain.endswith("ing") and not plain.endswith("erling") and plain not in _THINGS:
        return False
    return not any(plain[:at] in SAID and plain[at:] in SAID for at in range(3, len(plain) - 2))
