"""What one code point means to a rule: compatibility forms, accents, look-alikes and invisibles removed.

The fold is defined per code point, so that an offset map stays exact and a rule's own letters can be
folded the same way. Sources: Unicode NFKD, the general categories, and a hand-kept part of Unicode's
confusables.txt (UTS 39) that commutes with case.
"""

import unicodedata

_CYRILLIC = dict(
    zip(
        "авеёкмнорстухіїјѕԁԛԝһӏүѵАВЕЁКМНОРСТУХІЇЈЅԀԚԜҺӀҮѴ",
        "abeekmhopctyxiijsdqwhlyvABEEKMHOPCTYXIIJSDQWHLYV",
        strict=True,
    )
)
_GREEK = dict(zip("αβγεηικνορτυχωΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abyenikvoptuxwABEZHIKMNOPTYX", strict=True))
_OTHER = dict(
    zip(
        "օսհոցզᎪᎬᎻᎫᏦᏞᎷᏢᏚᎢᏔᏃᏟᏴᎠᏀᎡᏙᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢıɑɡɩʋøØłŁđĐħĦŧŦðÐȷ",
        "ouhngqAEHJKLMPSTWZCBDGRVABCDEFGHIJKLMNOPRSTUVWYZiagivoOlLdDhHtTdDj",
        strict=True,
    )
)
_MARKS = {
    **dict.fromkeys("‘’‚‛′ʼʹˈ＇´", "'"),
    **dict.fromkeys("“”„‟″＂", '"'),
    **dict.fromkeys("⁄∕⧸", "/"),
    **dict.fromkeys("∶ː꞉", ":"),
    **dict.fromkeys("。｡", "."),
    **dict.fromkeys("−˗⁃", "-"),
    "ß": "ss",
    "ẞ": "SS",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "\u2800": " ",
}
_FILLERS = frozenset("\u034f\u115f\u1160\u3164\uffa0\u17b4\u17b5")
_LOOK_ALIKES = {**_CYRILLIC, **_GREEK, **_OTHER, **_MARKS}


class _Table(dict[str, str]):
    """Fold of single characters, computed at first sight of each; assigned characters only, so bounded."""

    def __missing__(self, char: str) -> str:
        folded = _fold(char)
        if unicodedata.category(char) not in ("Cn", "Co"):
            self[char] = folded
        return folded


def _fold(char: str) -> str:
    if char in _LOOK_ALIKES:
        return _LOOK_ALIKES[char]
    code = ord(char)
    if 0xD800 <= code < 0xE000:
        return "\ufffd"
    if 0x1F150 <= code <= 0x1F169:
        return chr(code - 0x1F150 + 65)
    if 0x1F170 <= code <= 0x1F189:
        return chr(code - 0x1F170 + 65)
    if 0x1F1E6 <= code <= 0x1F1FF:
        return chr(code - 0x1F1E6 + 65)
    if _invisible(char):
        return ""
    category = unicodedata.category(char)
    if category == "Pd":
        return "-"
    if category == "Zs":
        return " "
    if category in ("Zl", "Zp") or code == 0x85:
        return "\n"
    if category == "Cc":
        return char if char in "\t\n\r" else ""
    if category == "Nd":
        return str(unicodedata.decimal(char))
    return _decomposed(char)


def _decomposed(char: str) -> str:
    parts = unicodedata.normalize("NFKD", char)
    bare = "".join(p for p in parts if not unicodedata.combining(p))
    whole = unicodedata.normalize("NFKC", bare)
    return whole if whole == char else "".join(FOLD[p] if p != char else p for p in whole)


def _invisible(char: str) -> bool:
    code = ord(char)
    return (
        char in _FILLERS
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0000 <= code <= 0xE0FFF
        or 0x180B <= code <= 0x180F
        or unicodedata.category(char) in ("Cf", "Me")
        or unicodedata.combining(char) != 0
    )


FOLD = _Table({chr(c): chr(c) for c in range(0x20, 0x7F)} | {c: c for c in "\t\n\r"})


def fold(text: str) -> str:
    """Fold every code point of a text; for rule patterns and keywords."""
    return text if text.isascii() else "".join(FOLD[c] for c in text)
